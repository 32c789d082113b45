"""How well a host's samples come: what is lost, what began again, whose clock is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.backends.sampler.panel import Panel
from sidestep.fleet.labels import Label

#: a host's clock is told as wrong above the first, and as right again below the second (s)
SKEWED: Final = 2.0
STRAIGHT: Final = 1.0


class HostHealth(Struct, frozen=True, kw_only=True):
    """One host's connection and samples in numbers; seconds, NaN is unknown."""

    host: Label
    state: str
    reason: Label
    #: which sampler runs: python, perl, awk, sh or sftp
    kind: str
    connected: bool
    #: handshakes that succeeded, and failures in a row
    connections: int
    failures: int
    #: age of the newest sample, and how much of it passed on the way
    age: float
    lag: float
    #: samples that were made and not seen; sampler runs after the first; counters that went back
    gaps: int
    restarts: int
    resets: int
    #: how far the host's clock is ahead of ours
    skew: float


class Oddities:
    """Tells once what is odd about samples: losses each time they doubled, resets, wrong clocks."""

    def __init__(self, panel: Panel, say: Callable[[int, str], None]) -> None:
        count = len(panel.seen)
        self._panel, self._say = panel, say
        self._gaps, self._resets = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self._skewed = np.zeros(count, dtype=np.bool_)

    def look(self) -> None:
        """Compare with the last look."""
        panel = self._panel
        for row in _rows((panel.gaps > 0) & (panel.gaps >= 2 * self._gaps)):
            self._gaps[row] = panel.gaps[row]
            self._say(row, f"{panel.gaps[row]} samples were made and not seen")
        for row in _rows(panel.resets != self._resets):
            self._resets[row] = panel.resets[row]
            self._say(row, "counters went back: the sample has no rates")
        with np.errstate(invalid="ignore"):
            skew = np.abs(panel.skew)
            skewed = np.where(self._skewed, skew > STRAIGHT, skew > SKEWED)
        for row in _rows(skewed != self._skewed):
            seconds = panel.skew[row]
            side = "ahead of" if seconds > 0 else "behind"
            said = f"its clock is {abs(seconds):.1f} s {side} ours" if skewed[row] else "its clock is right again"
            self._say(row, said)
        self._skewed = skewed


def _rows(mask: NDArray[np.bool_]) -> list[int]:
    return [int(row) for row in np.flatnonzero(mask)]
