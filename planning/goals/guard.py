"""A goal from elsewhere, which may be wrong in any way: it then has no say, and the plan is made without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sidestep.fleet.labels import Label, scrub
from sidestep.planning.goals.about import About
from sidestep.planning.model import State
from sidestep.planning.model.problem import F64, I64


class Guarded:
    """A goal of a plugin by the name under which it was found.

    ``fault`` is why it has no say any more, "" while it has: it raised, or what it answered is not
    one number for every host. A score that is no number (NaN) counts as the worst of all.
    """

    def __init__(self, name: str, maker: Callable[[About], Any], about: About) -> None:
        self.name, self.grain = name, 0.0
        self.fault = Label("")
        try:
            self._goal = maker(about)
            grain = float(getattr(self._goal, "grain", 0.0))
            if not math.isfinite(grain) or grain < 0:
                self._fail(f"its grain is {grain}")
            else:
                self.grain = grain
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._fail(f"{type(error).__name__}: {error}")

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """(k,) what the goal says; zeros once it has failed."""
        if self.fault:
            return np.zeros(len(rows))
        try:
            said = np.asarray(self._goal.score(state, shard, rows.copy()), dtype=np.float64)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._fail(f"{type(error).__name__}: {error}")
            return np.zeros(len(rows))
        if said.shape != (len(rows),):
            self._fail(f"it scored {said.shape} for {len(rows)} hosts")
            return np.zeros(len(rows))
        return np.where(np.isnan(said), np.inf, said)

    def _fail(self, why: str) -> None:
        self.fault = scrub(f"goal {self.name} has no say: {why}")
