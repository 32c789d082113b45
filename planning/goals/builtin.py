"""The goals that come with the planner; each is a small class, as a plugin's is."""

from __future__ import annotations

import numpy as np

from sidestep.planning.goals.about import About
from sidestep.planning.model import State
from sidestep.planning.model.problem import F64, I64


class Headroom:
    """Rather where most room stays, in the column that has least."""

    name = "headroom"
    #: hosts whose room differs by less than this share of their capacity are equally good, so that later goals count
    grain = 0.05

    def __init__(self, about: About) -> None:
        del about

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """Least room that stays, negative: a fraction of capacity."""
        return -state.spare(shard, rows)


class Finest(Headroom):
    """The same without a grain, which decides between hosts that all goals find equally good."""

    grain = 1e-6


class Cost:
    """Rather the host that costs least per hour, and any host in use before an empty one is opened.

    A host whose cost nobody declares costs nothing.
    """

    name = "cost"
    grain = 0.0

    def __init__(self, about: About) -> None:
        del about

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """Cost per hour; for an empty host, that of the dearest one besides."""
        del shard
        problem = state.problem
        _, starts = problem.members
        held = starts[rows + 1] - starts[rows] - state.left[rows] + state.came[rows]
        cost = np.nan_to_num(problem.cost)
        return np.asarray(cost[rows] + np.where(held > 0, 0.0, cost.max(initial=0.0)), dtype=np.float64)


class Affinity:
    """Rather near those whom the shard prefers to be near, and those who prefer to be near it."""

    name = "affinity"
    grain = 1e-9

    def __init__(self, about: About) -> None:
        self._about = about

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """Share of its partners that would not be on its host, in its rack, in its zone; their mean, 0 without any."""
        partners = self._about.partners(shard)
        if not len(partners):
            return np.zeros(len(rows))
        return 1.0 - self._about.nearness(partners, state.at, rows)


class Spread:
    """Rather where the host, the rack and the zone hold least of the same app."""

    name = "spread"
    grain = 1e-9

    def __init__(self, about: About) -> None:
        self._about = about

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """Share of the app's other shards that would be on its host, in its rack, in its zone; their mean."""
        return self._about.nearness(self._about.kin(shard), state.at, rows)
