"""The whole search: greedy, then walks from the start and from the greedy's end, and the better of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sidestep.planning.rebalance.anneal import Schedule, anneal, key_of
from sidestep.planning.rebalance.cost import Cost, bound_of, broken_by, cost_of
from sidestep.planning.rebalance.greedy import descend
from sidestep.planning.rebalance.model import I64, Reassignment
from sidestep.planning.rebalance.state import State, begin

#: greedy moves between two looks at the clock count as so many proposals
_GREEDY_MOVE = 20_000


@dataclass(frozen=True)
class Settings:
    """What a search may spend and how it begins: the same settings find the same bytes.

    ``proposals``: the budget. ``compiled``: whether to walk with numba; ``None``: if it is there.
    """

    proposals: int = 20_000_000
    seed: int = 0
    compiled: bool | None = None


@dataclass(frozen=True)
class Found:
    """The best assignment found; ``readings`` are what the caller's clock said, to be played back."""

    host: I64 = field(repr=False)  # (N,)
    cost: Cost
    bound: int
    broken: dict[str, int]
    proposals: int
    compiled: bool
    readings: tuple[float, ...] = field(default=(), repr=False)


class Allowance:
    """How much of the budget is spent: proposals made, or what a clock of the caller's says if that is more."""

    def __init__(self, proposals: int, clock: Callable[[], float] | None, played: Sequence[float] = ()) -> None:
        self._proposals = max(1, proposals)
        self._clock = clock
        self._played = iter(played)
        self._before = 0
        self.readings: list[float] = []

    def spent(self, made: int) -> float:
        """The share spent once ``made`` proposals were made in this stage."""
        read = next(self._played, None)
        if read is None:
            read = self._clock() if self._clock is not None else 0.0
        self.readings.append(read)
        return max(read, (self._before + made) / self._proposals)

    def close(self, made: int) -> None:
        """A stage ended."""
        self._before += made

    def part(self, begin: float, end: float) -> Callable[[int], float]:
        """The share spent of the part of the budget from ``begin`` to ``end``."""
        return lambda made: (self.spent(made) - begin) / max(1e-9, end - begin)


def rebalance(
    problem: Reassignment,
    settings: Settings | None = None,
    *,
    clock: Callable[[], float] | None = None,
    readings: Sequence[float] = (),
    tell: Callable[[int, int], None] | None = None,
) -> Found:
    """Look for the cheapest feasible assignment; never worse than where the shards are.

    ``clock`` may end the search early: it returns the share of the caller's allowance that is
    spent. Its answers are kept, and given back as ``readings`` they lead to the same bytes.
    ``tell`` hears of every improvement: constraints broken, cost. Raises nothing for an
    infeasible start: what is broken is repaired first and never worsened.
    """
    settings = settings or Settings()
    compiled = importlib.util.find_spec("numba") is not None if settings.compiled is None else settings.compiled
    allowance = Allowance(settings.proposals, clock, readings)
    start = np.array(problem.home)
    state = begin(problem, start)
    best = (key_of(state), start)
    greedy_share = 0.15
    spent = allowance.part(0.0, greedy_share)
    moves = 0

    def stop() -> bool:
        nonlocal moves
        moves += 1
        return spent(moves * _GREEDY_MOVE) >= 1

    descend(state, 4 * problem.shards, stop)
    allowance.close(moves * _GREEDY_MOVE)
    if key_of(state) < best[0]:
        best = (key_of(state), state.host.astype(np.int64))
        if tell:
            tell(*best[0])
    made = 0
    if compiled:
        begun = allowance.spent(0)
        schedule = schedule_for(problem, state)
        found, made = anneal(
            state, schedule, settings.seed, allowance.part(begun, 1.0), lambda b: tell(*b.key) if tell else None
        )
        if found.key < best[0]:
            best = (found.key, found.host.astype(np.int64))
    host = best[1]
    return Found(
        host, cost_of(problem, host), bound_of(problem), broken_by(problem, host), made, compiled,
        tuple(allowance.readings),
    )  # fmt: skip


def schedule_for(problem: Reassignment, state: State) -> Schedule:
    """Temperatures by what there is to gain: the gap between the cost and the bound, for each shard."""
    cost, bound = cost_of(problem, problem.home).total, bound_of(problem)
    gap = (int(state.sums[-1]) - bound) / max(1, cost)
    each = max(1, cost - bound) / max(1, problem.shards)
    hot = each * (0.01 if gap < 0.003 else 0.5)
    return Schedule(hot, max(3.0, hot * 1e-5), (40, 10, 50, 0, 0, 0), soft=0.5)
