"""What came, and which of it a rule saw coming: onsets, leads, false alarms, Brier scores. Pure arithmetic.

Columns are (T, S): T steps, S series. A series is *over* where its value is above its
limit, and *in contention* through every run of at least ``duration`` such steps; runs with
shorter pauses between them are one. An *onset* is the first step of one. Only *calm* steps
count for alarms: those outside contention, known, and after ``begin``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
I64 = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What really came. ``window`` and ``duration`` in steps."""

    window: int
    duration: int
    begin: int
    over: Mask
    contention: Mask
    #: (n, 2) step and series of every onset that could have been foreseen: a whole window after ``begin``
    onsets: I64
    calm: Mask
    #: whether it lasted ``duration`` steps within the window after each step; meaningless in the last window
    came: Mask

    @property
    def judged(self) -> Mask:
        """Calm steps whose window is over, so that it is known what came."""
        found = self.calm.copy()
        found[max(0, len(found) - self.window) :] = False
        return found


def truth_of(values: Floats, limit: F64, *, window: int, duration: int, begin: int) -> Truth:
    """Look at all that came: ``values`` (T, S) and ``limit`` (S,), NaN for none."""
    with np.errstate(invalid="ignore"):
        over = np.asarray(values > limit)
    duration = max(1, min(duration, window))
    starts = _lasting(over, duration)
    contention = _bridged(_widened(starts, duration), duration - 1)
    first = contention.copy()
    first[1:] &= ~contention[:-1]
    first[: begin + window] = False
    calm = ~contention & np.isfinite(values) & np.isfinite(limit)
    calm[:begin] = False
    return Truth(
        window=window,
        duration=duration,
        begin=begin,
        over=over,
        contention=contention,
        onsets=np.argwhere(first),
        calm=calm,
        came=_ahead(starts, 1, window - duration + 1),
    )


def _lasting(over: Mask, duration: int) -> Mask:
    """(T, S) whether it is over for ``duration`` steps from here on."""
    found = np.zeros_like(over)
    if len(over) >= duration:
        found[: len(over) - duration + 1] = sliding_window_view(over, duration, axis=0).all(axis=-1)
    return found


def _widened(starts: Mask, duration: int) -> Mask:
    """Every step of the runs that begin in ``starts``."""
    found = starts.copy()
    for back in range(1, duration):
        found[back:] |= starts[:-back]
    return found


def _bridged(runs: Mask, pause: int) -> Mask:
    """Runs with pauses of at most ``pause`` steps between them made one."""
    if pause <= 0 or not len(runs):
        return runs
    steps = np.arange(len(runs))[:, None]
    before = np.maximum.accumulate(np.where(runs, steps, -(10**9)), axis=0)
    after = np.minimum.accumulate(np.where(runs, steps, 10**9)[::-1], axis=0)[::-1]
    return np.asarray(after - before - 1 <= pause)


def _ahead(marks: Mask, first: int, last: int) -> Mask:
    """(T, S) whether there is a mark in the steps ``first`` to ``last`` from here."""
    total = np.zeros((len(marks) + 1, marks.shape[1]), dtype=np.int32)
    np.cumsum(marks, axis=0, out=total[1:])
    steps = np.arange(len(marks))
    begin, end = np.minimum(steps + first, len(marks)), np.minimum(steps + last + 1, len(marks))
    return np.asarray(total[end] > total[begin])


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one rule's alarms were worth; NaN where there was nothing to judge."""

    onsets: int
    foreseen: int
    #: steps from the beginning of the alarm to the onset, of those foreseen: quartiles
    leads: tuple[float, float, float]
    #: alarms in calm times, and those that nothing came of within the window after their end
    alarms: int
    false: int
    #: calm series-steps, and the share of them in alarm
    steps: int
    in_alarm: float
    #: against each series' own frequency; NaN for a rule without chances
    brier: float
    climatology: float


def judge(truth: Truth, alarm: Mask, chance: Floats | None = None) -> Judged:
    """Compare ``alarm`` (T, S) with what came; ``chance`` (T, S) where the rule has one, NaN where it says none.

    An onset is foreseen if the alarm was on before it within the window; its lead is that of
    the last alarm that was not interrupted for longer than the duration.
    """
    calm = truth.calm
    raised = alarm & calm
    leads = _leads(truth, raised)
    runs = _bridged(raised, truth.duration) & calm
    ends = runs.copy()
    ends[:-1] &= ~runs[1:]
    ends[max(0, len(ends) - truth.window) :] = False
    followed = ends & _ahead(truth.contention, 1, truth.window)
    known = leads[leads > 0]
    quartiles = np.quantile(known, [0.25, 0.5, 0.75]) if len(known) else np.full(3, np.nan)
    brier, plain = _brier(truth, chance)
    return Judged(
        onsets=len(truth.onsets),
        foreseen=len(known),
        leads=(float(quartiles[0]), float(quartiles[1]), float(quartiles[2])),
        alarms=int(ends.sum()),
        false=int(ends.sum() - followed.sum()),
        steps=int(calm.sum()),
        in_alarm=float(raised.sum() / calm.sum()) if calm.any() else float("nan"),
        brier=brier,
        climatology=plain,
    )


def _leads(truth: Truth, raised: Mask) -> F64:
    """(n,) steps of warning before every onset; 0 for none."""
    if not len(truth.onsets):
        return np.zeros(0)
    back = np.arange(1, truth.window + 1)
    at, series = truth.onsets[:, :1], truth.onsets[:, 1:]
    rows = np.maximum(at - back, 0)
    on = raised[rows, series] & (at - back >= 0)
    found = np.zeros(len(on))
    begun = np.zeros(len(on), np.bool_)
    over = np.zeros(len(on), np.bool_)
    pause = np.zeros(len(on))
    for column in range(on.shape[1]):
        now = on[:, column] & ~over
        found = np.where(now, column + 1.0, found)
        begun |= now
        pause = np.where(now, 0.0, pause + 1)
        over |= begun & (pause > truth.duration)
    return found


def _brier(truth: Truth, chance: Floats | None) -> tuple[float, float]:
    """The mean Brier score of the chances, and that of each series' own frequency, over the same steps."""
    if chance is None:
        return float("nan"), float("nan")
    where = truth.judged & np.isfinite(chance)
    number = where.sum()
    if not number:
        return float("nan"), float("nan")
    came = truth.came & where
    share = came.sum(axis=0) / np.maximum(where.sum(axis=0), 1)
    said = np.where(where, np.nan_to_num(chance), 0.0).astype(np.float32)
    score = float(np.square(said - came, dtype=np.float32)[where].astype(np.float64).mean())
    plain = float((share * (1 - share) * where.sum(axis=0)).sum() / number)
    return score, plain


def yesterday(truth: Truth, season: int) -> Mask | None:
    """The alarm of who expects each window to be as it was one season ago; None for a season longer than the data."""
    if not 0 < season < len(truth.came):
        return None
    found = np.zeros_like(truth.came)
    found[season:] = truth.came[:-season]
    return found


def level(values: Floats, limit: F64, truth: Truth, share: float) -> Mask:
    """The alarm on the present level, at such a height that it is on for ``share`` of the calm steps."""
    with np.errstate(invalid="ignore", divide="ignore"):
        height = np.asarray(values / limit, dtype=np.float32)
    calm = truth.calm & np.isfinite(height)
    if not calm.any() or not share > 0:
        return np.zeros_like(truth.over)
    return np.asarray(calm & (height > np.quantile(height[calm], max(0.0, 1 - share), method="higher")))
