"""The recent past of every host, for the screens: a ring of fractions of allocatable capacity."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot

STEPS: Final = 120


class Past:
    """The last ``steps`` ticks; what was not measured is NaN."""

    def __init__(self, hosts: int, steps: int = STEPS) -> None:
        self._ring = np.full((hosts, PLANNED, steps), np.nan, dtype=np.float32)
        self._next = 0

    @property
    def steps(self) -> int:
        """How many ticks are kept."""
        return int(self._ring.shape[2])

    def add(self, snapshot: Snapshot) -> None:
        """Take one tick."""
        allocatable = snapshot.hosts.allocatable[:, :PLANNED]
        with np.errstate(divide="ignore", invalid="ignore"):
            self._ring[:, :, self._next] = snapshot.hosts.use[:, :PLANNED] / allocatable
        self._next = (self._next + 1) % self.steps

    def columns(self) -> NDArray[np.float32]:
        """(H, R, P), oldest first."""
        return np.roll(self._ring, -self._next, axis=2)
