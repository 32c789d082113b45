"""Learning the network: samples from panels, and Adam on the pinball loss. Numpy only.

Used by the script that makes the shipped weights and by the trainer that fits them to a
fleet. The same samples and the same seed give the same weights on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.network.features import COUNT, KNOTS, WINDOWS, features
from sidestep.forecasting.network.memory import F32, LEVELS, Memory
from sidestep.forecasting.network.net import CORNER, MEDIAN, SAID, Weights, ladder

#: a target farther from the location than so many scales counts as that far
WILD: Final = 1e4
#: bounds of a sample's scale against that of its whole series, and the values after which a series is grown
LIGHT, HEAVY = 0.05, 3.0
GROWN: Final = 96.0
_QUANTILES: Final = np.array(LEVELS, np.float32)
_BETAS: Final = (0.9, 0.999)
HIDDEN: Final = (128, 128)


@dataclass(frozen=True, eq=False)
class Samples:
    """(n, COUNT) features, (n, SAID) targets in scales from the location with NaN for unknown, (n,) weights."""

    seen: F32
    came: F32
    weight: F32

    def __len__(self) -> int:
        return len(self.seen)

    @classmethod
    def joined(cls, parts: Iterable[Samples]) -> Samples:
        """All of them."""
        each = [part for part in parts if len(part)]
        if not each:
            return cls(np.zeros((0, COUNT), np.float32), np.zeros((0, SAID), np.float32), np.zeros(0, np.float32))
        return cls(*(np.concatenate([getattr(part, f.name) for part in each]) for f in fields(cls)))


def collect(
    values: NDArray[np.floating],
    season: float,
    generator: np.random.Generator,
    *,
    share: float,
    begin: int = 2,
    missing: float = 0.0,
    outages: float = 0.0,
    spread: NDArray[np.floating] | None = None,
) -> Samples:
    """Samples of a panel (T, S): at every step from ``begin`` on, of a random ``share`` of the series.

    ``missing`` values at random, and whole ``outages`` of a dozen steps, are hidden from the
    memory and not from the targets. ``spread`` (S,) is each series' own size, by default its
    standard deviation.
    """
    steps, series = values.shape
    values = np.asarray(values, np.float32)
    hidden = generator.random(values.shape, np.float32) < missing
    if outages:
        starts = generator.random(values.shape, np.float32) < outages / 12
        for offset in range(12):
            hidden[offset:] |= starts[: steps - offset]
    shown = np.where(hidden, np.float32(np.nan), values)
    size = np.nanstd(values, axis=0) if spread is None else spread
    memory, parts, ahead = Memory(series, season), list[Samples](), KNOTS[-1]
    for now in range(steps - KNOTS[3]):
        memory.observe(shown[now])
        if now + 1 < begin:
            continue
        rows = np.flatnonzero((generator.random(series) < share) & (memory.seen[0] >= 2) & (size > 0))
        if len(rows):
            parts.append(_samples(memory, rows, values[now + 1 : now + 1 + ahead], size))
    return Samples.joined(parts)


def _samples(memory: Memory, rows: NDArray[np.int64], future: F32, size: NDArray[np.floating]) -> Samples:
    seen, location, scale = features(memory, rows)
    moved = scale > 1e-6 * size[rows]
    seen, rows = seen[moved], rows[moved]
    came = np.full((KNOTS[-1], len(rows)), np.nan, np.float32)
    came[: len(future)] = future[:, rows]
    came = (came - memory.anchor[0, rows].astype(np.float32) - location[moved]) / scale[moved]
    targets = [came[knot - 1] for knot in KNOTS]
    for window in WINDOWS:
        known = np.isfinite(came[:window]).mean(axis=0)
        with np.errstate(invalid="ignore"):
            targets.append(np.where(known > 0.7, np.fmax.reduce(came[:window], axis=0), np.nan))
    weight = np.clip(scale[moved] / size[rows], LIGHT, HEAVY) ** _power(memory.seen[0, rows])
    return Samples(seen, np.clip(np.stack(targets, axis=1), -WILD, WILD), weight.astype(np.float32))


def _power(seen: F32) -> F32:
    """(n,) how much a quiet moment's errors count less: of the young fully, whose scale is not known yet, then half."""
    return np.asarray(1.0 - 0.5 * np.minimum(seen / GROWN, 1.0))


def fresh(samples: Samples, seed: int, hidden: tuple[int, int] = HIDDEN) -> Weights:
    """Weights that know only the size of the features."""
    generator = np.random.default_rng(seed)

    def normal(rows: int, columns: int, gain: float = 1.0) -> F32:
        return generator.normal(0, gain / np.sqrt(rows), (rows, columns)).astype(np.float32)

    out = SAID * len(LEVELS)
    bias = np.full((SAID, len(LEVELS)), 0.3, np.float32)
    bias[:, MEDIAN] = 0.0
    return Weights(
        mean=samples.seen.mean(axis=0),
        unit=samples.seen.std(axis=0) + np.float32(0.05),
        first=normal(COUNT, hidden[0]), first_bias=np.zeros(hidden[0], np.float32),
        second=normal(*hidden), second_bias=np.zeros(hidden[1], np.float32),
        third=normal(hidden[1], out, 0.1), third_bias=bias.reshape(-1), short=np.zeros((COUNT, out), np.float32),
    )  # fmt: skip


def gradient(weights: Weights, seen: F32, came: F32, weight: F32) -> tuple[float, dict[str, F32]]:
    """The mean pinball loss of a batch and its gradient; ``seen`` is scaled already."""
    count = len(seen)
    one = np.maximum(seen @ weights.first + weights.first_bias, 0.0)
    two = np.maximum(one @ weights.second + weights.second_bias, 0.0)
    raw = (two @ weights.third + seen @ weights.short + weights.third_bias).reshape(count, SAID, len(LEVELS))
    error = came[:, :, None] - np.moveaxis(ladder(np.moveaxis(raw, 2, 0)), 0, 2)
    known = np.isfinite(error)
    loss = np.where(known, np.maximum(_QUANTILES * error, (_QUANTILES - 1) * error), 0.0)
    slope = np.where(known, np.where(error > 0, -_QUANTILES, 1 - _QUANTILES), 0.0).astype(np.float32)
    by = weight[:, None, None] / np.float32(count * SAID * len(LEVELS))
    slope *= by
    # every level beyond one of the ladder's rungs moves with it
    above = np.cumsum(slope[..., :MEDIAN:-1], axis=-1)[..., ::-1]
    below = np.cumsum(slope[..., :MEDIAN], axis=-1)
    rung = 0.5 * (1 + raw / np.sqrt(np.square(raw) + np.float32(CORNER)))
    back = np.empty_like(raw)
    back[..., MEDIAN] = slope.sum(axis=-1)
    back[..., MEDIAN + 1 :] = above * rung[..., MEDIAN + 1 :]
    back[..., :MEDIAN] = -below * rung[..., :MEDIAN]
    flat = back.reshape(count, -1)
    to_two = (flat @ weights.third.T) * (two > 0)
    to_one = (to_two @ weights.second.T) * (one > 0)
    return float((loss * by).sum()), {
        "third": two.T @ flat, "third_bias": flat.sum(axis=0), "short": seen.T @ flat,
        "second": one.T @ to_two, "second_bias": to_two.sum(axis=0),
        "first": seen.T @ to_one, "first_bias": to_one.sum(axis=0),
    }  # fmt: skip


def fit(
    weights: Weights,
    samples: Samples,
    *,
    epochs: int,
    seed: int = 0,
    rate: float = 2e-3,
    batch: int = 2048,
    decay: float = 1e-5,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Weights:
    """Weights after so many passes over the samples, the rate falling to 0 along a cosine."""
    generator = np.random.default_rng(seed)
    seen = (samples.seen - weights.mean) / weights.unit
    batch = min(batch, len(samples))
    turns = max(1, len(samples) // max(1, batch))
    learned = {f.name: getattr(weights, f.name).copy() for f in fields(weights)}
    still = ("mean", "unit")
    moments = {name: (np.zeros_like(a), np.zeros_like(a)) for name, a in learned.items() if name not in still}
    step = 0
    for epoch in range(epochs):
        order, total = generator.permutation(len(samples)), 0.0
        for turn in range(turns):
            rows = order[turn * batch : (turn + 1) * batch]
            loss, slopes = gradient(Weights(**learned), seen[rows], samples.came[rows], samples.weight[rows])
            total += loss
            step += 1
            pace = rate * 0.5 * (1 + np.cos(np.pi * step / (epochs * turns)))
            for name, slope in slopes.items():
                first, second = moments[name]
                first += (1 - _BETAS[0]) * (slope - first)
                second += (1 - _BETAS[1]) * (np.square(slope) - second)
                move = (first / (1 - _BETAS[0] ** step)) / (np.sqrt(second / (1 - _BETAS[1] ** step)) + 1e-10)
                learned[name] -= np.float32(pace) * (move + np.float32(decay / rate) * learned[name])
        report(epoch, total / turns)
    return Weights(**learned)


def loss_of(weights: Weights, samples: Samples, batch: int = 8192) -> float:
    """The mean weighted pinball loss over samples that were not learned."""
    total = 0.0
    for at in range(0, len(samples), batch):
        part = slice(at, at + batch)
        seen = (samples.seen[part] - weights.mean) / weights.unit
        total += gradient(weights, seen, samples.came[part], samples.weight[part])[0] * len(seen)
    return total / max(1, len(samples))


def thinned(samples: Samples, most: int, generator: np.random.Generator) -> Samples:
    """At most so many of them, at random."""
    if len(samples) <= most:
        return samples
    rows = np.sort(generator.choice(len(samples), most, replace=False))
    return Samples(samples.seen[rows], samples.came[rows], samples.weight[rows])


__all__: Sequence[str] = ("Samples", "collect", "fit", "fresh", "gradient", "loss_of", "thinned")
