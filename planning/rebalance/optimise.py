"""The whole search: greedy, then walks from the start and from the greedy's end, and the better of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.rebalance.anneal import FREE, JAMMED, Schedule, anneal, key_of
from sidestep.planning.rebalance.cost import Cost, bound_of, broken_by, cost_of
from sidestep.planning.rebalance.greedy import descend
from sidestep.planning.rebalance.model import I64, Reassignment
from sidestep.planning.rebalance.state import State, begin

#: one look of the greedy counts as so many proposals
_GREEDY_LOOK = 20_000
#: share of the budget for the greedy at most
GREEDY = 0.15
#: temperatures, in the gap between the cost and the bound for each shard: from the start, and
#: where slow cooling ends
HOT, COLD = 5.0, 0.015
#: temperature after the greedy, in the mean cost of a move
WARM = 0.15
#: the temperature at which nothing but ties is left
STILL = 3.0
#: a greedy so close to the bound, in initial costs, is walked on from
CLOSE = 0.003


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
    search = _Search(problem, settings, Allowance(settings.proposals, clock, readings), tell or (lambda *_: None))
    search.greedy(GREEDY if compiled else 1.0)
    if compiled:
        search.walk()
    return search.found(compiled)


class _Search:
    """The stages of one search, and the best that they found."""

    def __init__(
        self, problem: Reassignment, settings: Settings, allowance: Allowance, tell: Callable[[int, int], None]
    ) -> None:
        self.problem, self.settings, self.allowance, self.tell = problem, settings, allowance, tell
        self.state = begin(problem, np.array(problem.home))
        self.key, self.host = key_of(self.state), np.array(problem.home)
        self.initial, self.bound = self.key[1], bound_of(problem)
        self.proposals = 0
        # nothing jams where moves hold nothing behind
        self.mix = JAMMED if problem.transient.any() else FREE

    def greedy(self, end: float) -> None:
        """Best moves, until there are none or the share ``end`` of the budget is spent."""
        spent, looks = self.allowance.part(0.0, end), 0

        def stop() -> bool:
            nonlocal looks
            looks += 1
            return spent(looks * _GREEDY_LOOK) >= 1

        descend(self.state, 4 * self.problem.shards, stop)
        self.allowance.close(looks * _GREEDY_LOOK)
        self._keep(key_of(self.state), self.state.host)

    def walk(self) -> None:
        """Walk on from a greedy close to the bound, otherwise from the start."""
        each = max(1, self.initial - self.bound) / max(1, self.problem.shards)
        begun = self.allowance.spent(0)
        if self.key[1] - self.bound < CLOSE * self.initial:
            hot = max(WARM * self._move_cost(), STILL)
            self._anneal(self.state, Schedule(hot, STILL, STILL, self.mix), begun, 1.0)
            return
        state = begin(self.problem, np.array(self.problem.home))
        self._anneal(state, Schedule(HOT * each, max(COLD * each, STILL), STILL, self.mix), begun, 1.0)

    def _move_cost(self) -> float:
        """What a move costs in the mean over shards and ways."""
        state = self.state
        hosts = len(state.cost)
        ways = int(state.way_cost.sum()) / max(1, hosts * (hosts - 1))
        return int(state.move_cost.sum()) / max(1, self.problem.shards) + ways

    def _anneal(self, state: State, schedule: Schedule, start: float, end: float) -> list[tuple[float, int]]:
        best, made, curve = anneal(
            state, schedule, self.settings.seed, self.allowance.part(start, end), lambda found: self._hear(found.key)
        )
        self.allowance.close(made)
        self.proposals += made
        self._keep(best.key, best.host)
        return curve

    def _hear(self, key: tuple[int, int]) -> None:
        if key < self.key:
            self.tell(*key)

    def _keep(self, key: tuple[int, int], host: NDArray[np.int32]) -> None:
        if key < self.key:
            self.key, self.host = key, host.astype(np.int64)
            self.tell(*key)

    def found(self, compiled: bool) -> Found:
        """The best so far."""
        problem, host = self.problem, self.host
        return Found(
            host, cost_of(problem, host), self.bound, broken_by(problem, host), self.proposals, compiled,
            tuple(self.allowance.readings),
        )  # fmt: skip
