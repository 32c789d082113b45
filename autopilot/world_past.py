"""The recent past of every host, for the screens: fractions of allocatable capacity, a slot a tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.history import History, RingSpec
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import Snapshot

STEPS: Final = 120


class Past:
    """The last ``steps`` ticks of the hosts; what was not measured is NaN.

    Ticks are counted and not timed, so that a tick that begins a little late leaves no gap.
    """

    def __init__(self, hosts: Sequence[str], steps: int = STEPS) -> None:
        self.steps = steps
        self._series = tuple(f"{host} {dimension}" for host in hosts for dimension in DIMENSIONS[:PLANNED])
        self._history = History([RingSpec(1.0, steps)], dtype=np.float32)
        self._ticks = 0

    def add(self, snapshot: Snapshot) -> None:
        """Take one tick."""
        with np.errstate(divide="ignore", invalid="ignore"):
            fractions = snapshot.hosts.use[:, :PLANNED] / snapshot.hosts.allocatable[:, :PLANNED]
        self._history.append(float(self._ticks), self._series, fractions.ravel())
        self._ticks += 1

    def columns(self) -> NDArray[np.float32]:
        """(H, R, P), oldest first."""
        _, values = self._history.window(0, self.steps, self._series)
        return np.asarray(values, dtype=np.float32).reshape(-1, PLANNED, self.steps)
