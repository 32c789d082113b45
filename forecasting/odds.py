"""Contention inside the worker: peaks, the model's chance, and what that has been worth on this fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.resources import PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.cores import Core, PeakCore
from sidestep.forecasting.expand import weights_of
from sidestep.forecasting.peak import ChanceBook, at_knots, raw_chance

T = TypeVar("T", bound=np.generic)
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: numbers of the past that are kept until the first question
MOST_BEFORE: Final = 1 << 20
#: windows of the peaks, as parts of the horizon
WINDOWS: Final = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Question:
    """What contention is: demand above ``limits`` (H, PLANNED) for ``duration`` of the next ``window`` steps."""

    limits: F64
    window: int
    duration: int


@dataclass(frozen=True)
class Chances:
    """(H * PLANNED,) the calibrated chance, and whether such chances have proved right."""

    chance: F64
    proven: NDArray[np.bool_]


class Contentions:
    """The book of chances over hosts' planned series, and the question that it answers; all lengths in steps."""

    def __init__(self, steps: int, season: float = 0.0) -> None:
        self._season = season
        self.windows = tuple(sorted({max(1, round(part * steps)) for part in WINDOWS}))
        self._book: ChanceBook | None = None
        self._question: Question | None = None
        self._hosts = 0
        #: steps (H * PLANNED,) from before the first question
        self._before: list[F32] = []

    def align(self, kept: NDArray[np.int64]) -> None:
        """The hosts are other ones: the old row of each, -1 for a new one."""
        if len(kept) != self._hosts or (kept != np.arange(len(kept))).any():
            self._before = []
        self._hosts = len(kept)
        self._question = None
        if self._book is not None:
            rows = np.where(kept[:, None] >= 0, kept[:, None] * PLANNED + np.arange(PLANNED), -1)
            self._book.select(rows.reshape(-1))

    def ask(self, limits: F32, window: int, duration: int) -> None:
        """Answer this from now on. What was learned of another window or duration is forgotten."""
        before = self._question
        self._question = Question(limits.astype(np.float64).reshape(-1), window, duration)
        other = before is not None and (before.window, before.duration) != (window, duration)
        if self._book is None or other:
            self._book = ChanceBook(self._hosts * PLANNED, window, duration, self._season)
            if self._before:
                self._book.prime(np.array(self._before), self._question.limits)
            self._before = []

    def settle(self, truth: F32) -> None:
        """One closed step of all series (S,)."""
        if self._book is not None and self._question is not None:
            self._book.settle(planned(truth, self._hosts), self._question.limits)
        elif self._book is None:
            # nothing is asked before the past is learned: its signs are, as soon as there is a limit
            self._before.append(planned(truth, self._hosts).copy())
            del self._before[: -max(1, MOST_BEFORE // max(1, self._hosts * PLANNED))]

    def say(self, found: F32, peaks: F32, knots: tuple[int, ...], steps: int, levels: tuple[float, ...]) -> Chances:
        """The chances; ``found`` (S, B, Q) at ``knots``, ``peaks`` (S', W, Q) or of no rows."""
        assert self._book is not None and self._question is not None
        count = self._hosts * PLANNED
        top = planned(peaks, self._hosts) if len(peaks) else np.zeros((count, 0, len(levels)))
        question = self._question
        windows, window = self.windows if len(peaks) else (), min(question.window, steps)
        curves = planned(found, self._hosts)
        if question.duration > 1:
            curves = np.matmul(weights_of(knots, steps).T, curves)
        else:
            curves = at_knots(curves, np.array(knots), window)
        raw = raw_chance(top, windows, curves, levels, question.limits, window, question.duration)
        chance, proven = self._book.say(raw)
        return Chances(np.asarray(chance, dtype=np.float64), np.asarray(proven, dtype=np.bool_))

    @property
    def asked(self) -> bool:
        """Whether there is a question."""
        return self._question is not None


def peaks_of(core: Core, windows: tuple[int, ...], levels: tuple[float, ...], hosts: int) -> F32:
    """(H * HOST_SERIES, W, Q) quantiles of the highest value of each window; of no rows from a core that has none."""
    if not isinstance(core, PeakCore) or not hosts:
        return np.zeros((0, 0, 0), np.float32)
    peaks = core.peaks(np.array(windows, dtype=np.int64), levels, hosts * wire.HOST_WIDTH)
    return np.asarray(peaks, dtype=np.float32)


def raised(peaks: F32, windows: tuple[int, ...], found: F32, ahead: NDArray[np.int64], columns: list[int]) -> F32:
    """``peaks`` (R, W, Q), nowhere below what ``found`` (S, B, Q') says of a step within the window at these columns.

    Whoever says the curves (another model, or what is known to come), the highest value is at
    least as high as each. R are the first rows of S; ``windows`` ascend.
    """
    if not len(peaks):
        return peaks
    out, own, done = peaks.copy(), found[: len(peaks)], 0
    top = np.full((len(peaks), len(columns)), np.nan, np.float32)
    for at, window in enumerate(windows):
        end = int(np.searchsorted(ahead, window, side="right"))
        for b in range(done, end):
            np.fmax(top, own[:, b][:, columns], out=top)
        done = end
        np.fmax(out[:, at], top, out=out[:, at])
        if 0 < end < len(ahead) and ahead[end - 1] != window:
            # between knots there are lines
            part = np.float32((window - ahead[end - 1]) / (ahead[end] - ahead[end - 1]))
            last = own[:, end - 1] * (1 - part) + own[:, end] * part
            np.fmax(out[:, at], last[:, columns], out=out[:, at])
    return out


def planned(values: NDArray[T], hosts: int) -> NDArray[T]:
    """(H * PLANNED, ...) of (S, ...): the hosts' series that planning looks at."""
    own = values[: hosts * wire.HOST_WIDTH]
    return own.reshape(hosts, wire.HOST_WIDTH, *own.shape[1:])[:, :PLANNED].reshape(hosts * PLANNED, *own.shape[1:])
