"""What was learned, by pair: how one row answers to one lesson, over the time since it began.

A pair holds ``BINS`` bins over its lesson's window: a step wide at first, wider later. In
each the effect on demand, how it differs between occurrences, and how many there were. The
effect is served only where it stands out of the noise, and shrunk the less it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Ints = NDArray[np.int64]

BINS: Final = 24
#: the newest occurrence counts at least this much
RATE: Final = 0.25
#: how far an effect must stand out of the noise (deviations): after one occurrence, after more,
#: to stay in service, and below which a pair that was never served is given up after TRIALS
AT_ONCE: Final = 10.0
STANDS_OUT: Final = 5.5
STAYS: Final = 3.5
NOTHING: Final = 3.5
TRIALS: Final = 3
#: and how large it must be, in deviations of one step
LEAST: Final = 1.0
#: bins below this are cut to nothing, those above shrunk towards it
CUT: Final = 1.5
#: neighbouring bins that may stand out together
RUNS: Final = (1, 2, 4)
#: a latest occurrence that was this much of the profile was as large as it
ALIKE: Final = 0.85
#: what one occurrence counts
FIRST: Final = 0.6
#: occurrences that the noise of the row stands for when the variance between occurrences is learned
WEIGHT: Final = 2.0
#: how fast the size of the latest occurrence is followed
FOLLOW: Final = 0.6


@dataclass(frozen=True)
class Uplift:
    """What to add to forecasts: ``rows`` (n,) of the panel, ``mean`` and ``spread`` (n, T) in the rows' units.

    Add ``mean`` to every quantile and widen about the median by the standard deviation ``spread``.
    """

    rows: Ints
    mean: F64
    spread: F64

    def highest(self, steps: Ints, windows: Sequence[int]) -> F64:
        """(n, W) what to add to the highest value of each window, which ends so many steps ahead.

        ``steps`` (T,) ascending are those of ``mean``; the first stands for windows that end before it.
        """
        best = np.maximum.accumulate(self.mean, axis=1)
        last = np.searchsorted(steps, np.asarray(windows), side="right") - 1
        return np.asarray(best[:, np.maximum(last, 0)])


def _windows(columns: F64, run: int) -> F64:
    """(p, BINS - run + 1, run)."""
    return np.lib.stride_tricks.sliding_window_view(columns, run, axis=1)


def bins_of(steps: F64, window: F64) -> Ints:
    """The bin of a time since the beginning, both in steps: edges at ``b + c b^2``, so none is below a step."""
    curve = np.maximum(window - BINS, 0.0) / BINS**2
    with np.errstate(divide="ignore", invalid="ignore"):
        bent = (np.sqrt(1.0 + 4.0 * curve * steps) - 1.0) / (2.0 * curve)
    return np.clip(np.where(curve > 1e-9, bent, steps), 0, BINS - 1).astype(np.int64)


def edges_of(window: float) -> F64:
    """(BINS + 1,) edges of the bins in steps."""
    number = np.arange(BINS + 1, dtype=np.float64)
    return number + max(window - BINS, 0.0) / BINS**2 * number**2


class Profiles:
    """Columns over pairs. About 300 bytes a pair; at most as many as the calendar lets in."""

    #: name and how much of a pair it is
    COLUMNS: Final = (
        ("lesson", np.int64, False),
        ("code", np.int64, False),
        ("mean", np.float32, True),
        ("scatter", np.float32, True),
        ("count", np.uint8, True),
        ("total", np.float64, False),
        ("steps", np.float32, False),
        ("size", np.float32, False),
        ("match", np.float64, False),
        ("power", np.float64, False),
        ("tries", np.int32, False),
        ("served", np.bool_, False),
        ("clear", np.float32, False),
    )

    def __init__(self) -> None:
        self.lesson: Ints = np.zeros(0, dtype=np.int64)
        #: which row: the number of its owner times 8, and its metric
        self.code: Ints = np.zeros(0, dtype=np.int64)
        #: (P, BINS) effect; variance between occurrences; occurrences
        self.mean: F32 = np.zeros((0, BINS), np.float32)
        self.scatter: F32 = np.zeros((0, BINS), np.float32)
        self.count: NDArray[np.uint8] = np.zeros((0, BINS), np.uint8)
        #: sum and number of the steps in the bin that is open
        self.total: F64 = np.zeros(0)
        self.steps: F32 = np.zeros(0, np.float32)
        #: size of the latest occurrences in units of the profile, and what it is reckoned from
        self.size: F32 = np.zeros(0, np.float32)
        self.match: F64 = np.zeros(0)
        self.power: F64 = np.zeros(0)
        self.tries: NDArray[np.int32] = np.zeros(0, np.int32)
        self.served: NDArray[np.bool_] = np.zeros(0, np.bool_)
        #: how far the effect stood out when it was judged last
        self.clear: F32 = np.zeros(0, np.float32)

    def __len__(self) -> int:
        return len(self.lesson)

    def open(self, lesson: Ints, code: Ints) -> None:
        """Add pairs that nothing is known of."""
        for name, dtype, wide in self.COLUMNS:
            given = {"lesson": lesson, "code": code, "size": np.ones(len(lesson))}.get(name)
            new = np.zeros((len(lesson), BINS) if wide else len(lesson), dtype)
            if given is not None:
                new[:] = given
            setattr(self, name, np.concatenate([getattr(self, name), new]))

    def keep(self, pairs: Ints | NDArray[np.bool_]) -> None:
        """Keep and reorder pairs."""
        for name, _, _ in self.COLUMNS:
            setattr(self, name, getattr(self, name)[pairs])

    def expected(self, pairs: Ints, bins: Ints) -> F64:
        """(p,) what was learned of these bins, served or not."""
        return np.where(self.count[pairs, bins] > 0, self.mean[pairs, bins], 0.0).astype(np.float64)

    def add(self, pairs: Ints, values: F64) -> None:
        """One step of the open bin; NaN is missing."""
        good = np.isfinite(values)
        self.total[pairs] += np.where(good, values, 0.0)
        self.steps[pairs] += good

    def close(self, pairs: Ints, bins: Ints) -> None:
        """The open bin of these pairs is over: it is one more observation of ``bins`` (p,)."""
        had = self.steps[pairs] > 0
        its, at = pairs[had], bins[had]
        weight = self.steps[its].astype(np.float64)
        value = self.total[its] / weight
        number = self.count[its, at].astype(np.float64)
        before = np.where(number > 0, self.mean[its, at], value).astype(np.float64)
        rate = np.maximum(1.0 / (number + 1.0), RATE)
        off = value - before
        now = before + rate * off
        self.mean[its, at] = now
        spread = self.scatter[its, at].astype(np.float64)
        self.scatter[its, at] = (1.0 - rate) * (spread + rate * off * off)
        self.count[its, at] = np.minimum(number + 1, 255)
        self.match[its] += weight * value * now
        self.power[its] += weight * now * now
        self.total[pairs] = self.steps[pairs] = 0.0

    def deviation(self, pairs: Ints, noise: F64, gain: F64, width: F64) -> F64:
        """(p, BINS) variance of one occurrence's bin, from the row's noise and from what was seen."""
        base = noise[:, None] * (1.0 / width + gain[:, None])
        number = np.minimum(self.count[pairs], 1.0 / RATE).astype(np.float64)
        seen = self.scatter[pairs].astype(np.float64) * number
        return np.asarray((WEIGHT * base + seen) / (WEIGHT + np.maximum(number - 1.0, 0.0)))

    def bare(self, pairs: Ints, width: F64) -> F64:
        """(p, BINS) effect without the straight line from the beginning that fits it best.

        A model without a season misses the slope of the day at every beginning alike. That is
        no effect of a timer, which begins, or ends, at some time.
        """
        middle = np.cumsum(width, axis=1) - width / 2
        mean = self.mean[pairs].astype(np.float64)
        weight = width * (self.count[pairs] > 0)
        slope = (weight * middle * mean).sum(axis=1) / np.maximum((weight * middle**2).sum(axis=1), 1e-30)
        return np.asarray(mean - slope[:, None] * middle)

    def evidence(
        self, pairs: Ints, noise: F64, gain: F64, width: F64, runs: tuple[int, ...] = RUNS, mean: F64 | None = None
    ) -> F64:
        """(p, BINS) how far each bin's effect (or ``mean``) stands out, in deviations of its mean.

        The best of what runs of neighbours say together counts for each of them: the noise of
        steps averages out, what the row's level is unsure by and what differs between
        occurrences does not.
        """
        number = np.minimum(self.count[pairs], 1.0 / RATE).astype(np.float64)
        mean = self.mean[pairs].astype(np.float64) if mean is None else mean
        seen = self.scatter[pairs] * number
        best = np.zeros(mean.shape)
        for run in runs:
            steps = _windows(width, run).sum(axis=2)
            together = _windows(mean * width, run).sum(axis=2) / steps
            times = _windows(number, run).min(axis=2)
            base = noise[:, None] * (1.0 / steps + gain[:, None])
            scatter = _windows(seen, run).mean(axis=2)
            variance = (WEIGHT * base + scatter) / (WEIGHT + np.maximum(times - 1.0, 0.0))
            clear = np.abs(together) * np.sqrt(times / np.maximum(variance, 1e-30))
            for shift in range(run):
                part = slice(shift, BINS - run + 1 + shift)
                alike = np.sign(mean[:, part]) == np.sign(together)
                best[:, part] = np.maximum(best[:, part], np.where(alike, clear, 0.0))
        return best

    def judge(self, pairs: Ints, noise: F64, gain: F64, width: F64) -> F64:
        """An occurrence is over: decide which pairs are served. Returns (p,) the evidence of each one's best bin."""
        power = self.power[pairs]
        had = power > 0
        latest = np.where(
            had, np.clip(self.match[pairs] / np.where(had, power, 1.0) / ALIKE, 0.0, 1.0), self.size[pairs]
        )
        self.size[pairs] += (latest - self.size[pairs]) * FOLLOW
        self.match[pairs] = self.power[pairs] = 0.0
        self.tries[pairs] += 1
        bare = self.bare(pairs, width)
        evidence = self.evidence(pairs, noise, gain, width, mean=bare)
        large = np.abs(bare) >= LEAST * np.sqrt(noise)[:, None]
        once = np.where(large & (self.count[pairs] >= 1), evidence, 0.0).max(axis=1, initial=0.0)
        more = np.where(large & (self.count[pairs] >= 2), evidence, 0.0).max(axis=1, initial=0.0)
        served = self.served[pairs]
        self.served[pairs] = (once >= AT_ONCE) | (more >= np.where(served, STAYS, STANDS_OUT))
        self.clear[pairs] = np.maximum(once, more)
        return np.asarray(np.maximum(once, more))

    def answers(self, pairs: Ints, noise: F64, gain: F64, width: F64) -> tuple[F64, F64]:
        """(p, BINS) effect to expect, shrunk, and its standard deviation beyond the row's own noise."""
        evidence = self.evidence(pairs, noise, gain, width)
        with np.errstate(divide="ignore"):
            shrink = np.maximum(1.0 - (CUT / evidence) ** 2, 0.0)
        count = self.count[pairs]
        shrink = np.where(count == 1, FIRST, 1.0) * np.where(count > 0, shrink, 0.0)
        mean = self.mean[pairs].astype(np.float64)
        effect = mean * shrink * self.size[pairs].astype(np.float64)[:, None]
        variance = self.deviation(pairs, noise, gain, width)
        between = np.maximum(self.scatter[pairs] - noise[:, None] / width, 0.0)
        unsure = np.where(count > 0, variance / np.maximum(np.minimum(count, 1.0 / RATE), 1.0), 0.0)
        # What is not served of a clear effect is not known away.
        doubt = (mean * shrink - effect) ** 2 / 4 + np.where(count == 1, (mean - effect) ** 2 / 4, 0.0)
        return effect, np.sqrt(np.where(shrink > 0, between + unsure + doubt, 0.0))

    def stretch(self, pairs: Ints, old: float, new: float) -> None:
        """The window of these pairs became another: read their bins at the middles of the new ones."""
        edges = edges_of(new)
        middle = (edges[1:] + edges[:-1]) / 2
        source = bins_of(middle, np.full(BINS, old))
        inside = middle < max(old, 1.0)
        for column in (self.mean, self.scatter, self.count):
            column[pairs] = np.where(inside, column[pairs][:, source], 0).astype(column.dtype)
