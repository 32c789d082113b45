"""Which cover for which host, and where its shards go: a bounded branch and bound.

Hot hosts are taken in order of their contention. The first descent takes for each the
cheapest cover that can be placed beside everything placed before; the search then improves
on it until it is proved best or ``STEPS`` placements have been tried. What is least counts
first: hosts left hot, how soon those are hot, bytes moved, moves. Destinations are tried in
order of the room that stays there.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.covers import Cover, Relief
from sidestep.planning.load import Load
from sidestep.planning.rules import Rules
from sidestep.planning.trial import TOLERANCE, Move, Trial, arrivals, spare
from sidestep.planning.uncertainty import F64

#: placements tried before the best plan so far is taken
STEPS = 4000
#: placements tried for one cover
COVER_STEPS = 400
#: destinations, not yet used by this plan, that are tried for a shard
WIDTH = 24

Key = tuple[int, tuple[bool, ...], float, int]


@dataclass(frozen=True)
class Found:
    """The best plan: all moves of the trial, and for every relief whether it is left hot."""

    moves: tuple[Move, ...]
    left: tuple[bool, ...]


class Destinations:
    """Where a shard can go, given what a trial has already placed."""

    def __init__(self, load: Load, rules: Rules, closed: NDArray[np.bool_]) -> None:
        self.load, self.rules = load, rules
        #: hosts that may receive: not the hot ones
        self.open = rules.accepts & ~closed
        self._base: dict[int, list[tuple[float, int]]] = {}
        self._rows = np.arange(len(rules.host_names))

    def room(self, shard: int) -> F64:
        """(H,) the room that stays on every host if only this shard came."""
        return spare(self.load, self._rows, arrivals(self.load, shard))

    def _sorted(self, shard: int) -> list[tuple[float, int]]:
        if shard not in self._base:
            room = self.room(shard)
            fits = self.open & (room >= -TOLERANCE)
            fits[self.rules.host[shard]] = False
            for other in self.rules.conflicts(shard):
                if self.rules.host[other] >= 0:
                    fits[self.rules.host[other]] = False
            rows = np.flatnonzero(fits)
            rows = rows[np.lexsort((self.rules.rank[rows], -room[rows]))]
            self._base[shard] = [(float(room[row]), int(row)) for row in rows]
        return self._base[shard]

    def none(self, shard: int) -> bool:
        """Whether no host at all has room for it."""
        return not self._sorted(shard)

    def of(self, trial: Trial, shard: int) -> list[int]:
        """Hosts with room, the one that keeps most of it first."""
        found: list[tuple[float, int, int]] = []
        fresh = 0
        for room, host in self._sorted(shard):
            left = room
            if trial.touched(host):
                left = trial.headroom(host, shard, leaving=False)
                if left < -TOLERANCE or trial.avoided(shard, host):
                    continue
            else:
                fresh += 1
            found.append((-left, int(self.rules.rank[host]), host))
            if fresh >= WIDTH:
                break
        return [host for _, _, host in sorted(found)]


class Search:
    """One joint search over the reliefs of several hot hosts."""

    def __init__(self, trial: Trial, where: Destinations, reliefs: tuple[Relief, ...], max_moves: int) -> None:
        self.trial, self.where, self.reliefs, self.max_moves = trial, where, reliefs, max_moves
        self.load = trial.load
        self.steps = 0
        self._last = 0
        self.best: Key | None = None
        self.moves = tuple(trial.moves)
        self._outcome: list[tuple[bool, float]] = []
        least = [r.covers[0].bytes for r in reliefs]
        #: bytes that the reliefs from here on cost at least, if none is left hot
        self.ahead = [sum(least[i:]) for i in range(len(least) + 1)]

    def run(self) -> Found:
        """The best plan that was found within the budget."""
        stack = [self._options(0)] if self.reliefs else []
        while stack:
            if self.steps > STEPS and self.best is not None:
                break
            del self._outcome[len(stack) - 1 :]
            option = next(stack[-1], None)
            if option is None:
                stack.pop()
                continue
            self._outcome.append(option)
            key = self._key(self._outcome, len(self.trial.moves))
            if self.best is not None and key >= self.best:
                continue
            if len(self._outcome) == len(self.reliefs):
                self.best, self.moves = key, tuple(self.trial.moves)
            else:
                stack.append(self._options(len(stack)))
        return Found(self.moves, self.best[1] if self.best is not None else ())

    def _key(self, outcome: list[tuple[bool, float]], moves: int) -> Key:
        """What this plan counts, or the least that any plan beginning like this can count."""
        states = tuple(state for state, _ in outcome)
        rest = len(self.reliefs) - len(outcome)
        cost = sum(cost for _, cost in outcome) + self.ahead[len(outcome)]
        return sum(states), states + (False,) * rest, cost, moves + rest

    def _hopeless(self, index: int, cover: Cover, moves: int) -> bool:
        """Whether no plan that goes on with this cover can be better than the best one."""
        begun = [*self._outcome[:index], (False, cover.bytes)]
        return self.best is not None and self._key(begun, moves + len(cover.shards)) >= self.best

    def _options(self, index: int) -> Iterator[tuple[bool, float]]:
        """Every way to relieve one host, the moves pushed on the trial; leaving it hot comes last."""
        relief, moves = self.reliefs[index], len(self.trial.moves)
        self.steps += 1
        share = self.steps + max(COVER_STEPS, STEPS // len(self.reliefs))
        for cover in relief.covers:
            if moves + len(cover.shards) > self.max_moves:
                continue
            if self._hopeless(index, cover, moves):
                break
            if any(self.where.none(shard) for shard in cover.shards):
                continue
            self._last = self.steps + COVER_STEPS
            if self.best is None:
                self._last = min(self._last, share)
            places = self._places(relief, hardest_first(self.load, self.trial.rules, cover))
            for _ in places:
                yield False, cover.bytes
                if self._hopeless(index, cover, moves):
                    places.close()
                    break
        yield True, 0.0

    def _places(self, relief: Relief, shards: tuple[int, ...]) -> Generator[None, None, None]:
        if not shards:
            yield None
            return
        shard = shards[0]
        for host in self.where.of(self.trial, shard):
            if self.steps > self._last:
                return
            self.steps += 1
            self.trial.push(Move(shard, relief.host, host, relief.host))
            try:
                yield from self._places(relief, shards[1:])
            finally:
                self.trial.pop()


def hardest_first(load: Load, rules: Rules, cover: Cover) -> tuple[int, ...]:
    """A cover's shards, the one that takes the biggest part of a host first."""
    rows = list(cover.shards)
    limit = np.maximum(load.limit[rules.host[rows]], 1e-9)
    biggest = (load.shard_mean[rows].max(axis=2) / limit).max(axis=1)
    return tuple(rows[i] for i in np.argsort(-biggest, kind="stable"))
