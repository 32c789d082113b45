"""The plan being made: what has been placed so far, where a shard still fits, and taking it all back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.planning.model import Duty, Move, State
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief.goals import PER_MOVE, Place, Tasks, best_place

#: a shard that takes at most this part of a typical host's room is as easy to place as any smaller one
EASY = 0.5
#: sets of up to so many shards are bounded column by column
TOP = 12


class Desk:
    """A trial with what relief asks of it: room found, moves made, moves taken back in any order."""

    def __init__(self, tasks: Tasks, places: tuple[Place, ...], max_moves: int) -> None:
        self.tasks, self.places, self.max_moves = tasks, places, max_moves
        self.problem = tasks.problem
        self.state = State(self.problem)
        #: placements that were tried: what the budget counts
        self.steps = 0
        self.count = 0
        duties = tasks.duties
        #: hosts that are to be emptied, or whose peak is to fall by a gain: nothing more comes
        self.closed: Mask = np.zeros(self.problem.hosts, dtype=np.bool_)
        for duty in duties:
            if duty.host >= 0 and duty.kind in {"drain", "failover"}:
                self.closed[duty.host] = True
        self.gains: Mask = np.zeros(self.problem.hosts, dtype=np.bool_)
        self.gains[[duty.host for duty in duties if duty.kind == "contention" and duty.gain > 0]] = True
        self.free = self.problem.movable & np.where(
            self.problem.host >= 0, self.problem.gives[np.maximum(self.problem.host, 0)], True
        )
        lost = [shard for duty in duties if duty.kind == "failover" for shard in duty.shards]
        self.free[lost] = self.problem.movable[lost]
        #: so many moves are settled while one duty is tried; what (guest, evictions) then was in vain
        self.settled = 0
        self.hopeless: set[tuple[int, int, int]] = set()
        self._typical: F64 | None = None
        self._tops: dict[int, F64] = {}
        self._totals: dict[int, F64] = {}

    @property
    def typical(self) -> F64:
        """(D,) room that a host in the middle has at the start, or more where that is nothing."""
        if self._typical is None:
            p = self.problem
            room = np.where(np.isfinite(p.room), p.room, np.nan)[p.accepts]
            if not len(room):
                self._typical = np.ones(p.limit.shape[1])
                return self._typical
            sign = -1.0 if p.z < 0 else 1.0
            room = np.maximum(room - (p.median + sign * p.away)[p.accepts], 0.01 * room)
            room = np.where(np.isnan(room), np.inf, room)
            self._typical = np.maximum(np.median(room, axis=0), 1e-12)
        return self._typical

    def hardness(self, shards: I64) -> F64:
        """(M,) the largest part of a typical host's room that each shard takes in any column."""
        p = self.problem
        asked = p.mean[shards] + abs(p.z) * p.sd[shards]
        return np.asarray((asked / self.typical).max(axis=1, initial=0.0), dtype=np.float64)

    def effort(self, shards: I64) -> F64:
        """(M,) how hard each shard is to place, in coarse steps: 0 for all that are easy."""
        hard = self.hardness(shards)
        return np.where(hard <= EASY, 0.0, np.ceil(4 * np.log2(np.maximum(hard, EASY) / EASY)))

    def tops(self, host: int) -> F64:
        """(TOP + 1, D) the most that any 0, 1, 2 ... movable shards of a host ask for together, column by column."""
        if host not in self._tops:
            rows = self.problem.on(host)
            rows = rows[self.free[rows]]
            asked = self.problem.mean[rows].astype(np.float64) + abs(self.problem.z) * self.problem.sd[rows]
            best = np.cumsum(-np.sort(-asked, axis=0)[:TOP], axis=0)
            out = np.zeros((TOP + 1, asked.shape[1]))
            out[1 : len(best) + 1] = best
            out[len(best) + 1 :] = best[-1] if len(best) else 0.0
            self._tops[host] = out
        return self._tops[host]

    def fewest(self, rows: I64, lack: F64) -> I64:
        """(k,) of how many shards the departure may be enough for what hosts lack (k, D), each column by itself.

        ``TOP + 1`` where it takes more than ``TOP``, whether or not all are enough.
        """
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        tops = np.stack([self.tops(host) for host in rows.tolist()])
        enough: Mask = np.logical_and.reduce(tops >= lack[:, None, :], axis=2)
        return np.where(enough.any(axis=1), enough.argmax(axis=1), TOP + 1)

    def most(self, host: int, count: int) -> F64:
        """(D,) the most that any ``count`` movable shards of a host ask for together, column by column."""
        if count <= TOP:
            return np.asarray(self.tops(host)[count], dtype=np.float64)
        if host not in self._totals:
            rows = self.problem.on(host)
            rows = rows[self.free[rows]]
            asked = self.problem.mean[rows].astype(np.float64) + abs(self.problem.z) * self.problem.sd[rows]
            self._totals[host] = np.asarray(asked.sum(axis=0), dtype=np.float64)
        return self._totals[host]

    def movable_at_start(self, host: int) -> I64:
        """The shards of a host that may move at all."""
        rows = self.problem.on(host)
        return np.asarray(rows[self.free[rows]], dtype=np.int64)

    def movable_on(self, host: int) -> I64:
        """The shards of a host that may move and have not."""
        rows = self.problem.on(host)
        return np.asarray(rows[self.free[rows] & (self.state.at[rows] == host)], dtype=np.int64)

    def rows(self, shard: int, *, during: bool = True, besides: int = -1) -> I64:
        """Hosts that may receive the shard and have room, while everything moves or else after it all."""
        self.steps += 1
        may = self.state.open(shard) & ~self.closed
        if not during:
            may &= ~self.gains
        if besides >= 0:
            may[besides] = False
        hosts = self._perhaps(shard, np.flatnonzero(may), during=during)
        return self.state.roomy(shard, hosts, during=during)

    def _perhaps(self, shard: int, hosts: I64, *, during: bool) -> I64:
        """The hosts less those that lack room in the one column that is scarcest for the shard."""
        p = self.problem
        if not p.certain:
            return hosts
        column = int((p.mean[shard] / self.typical).argmax())
        if not p.mean[shard, column] > 0:
            return hosts
        median = (self.state.during if during else self.state.after)[0][hosts, column]
        free = p.room[hosts, column] - (median + p.fixed[hosts, column] + float(p.mean[shard, column]))
        return np.asarray(hosts[free >= -2 * TOLERANCE * p.capacity[hosts, column]], dtype=np.int64)

    def put(self, shard: int, relieves: int, *, during: bool = True, besides: int = -1) -> bool:
        """Move a shard to the best host that has room; False if there is none or the churn budget is spent.

        False as well if making room for another has moved it already: a shard moves once.
        """
        if self.moved(shard) or not self.affords([shard]):
            return False
        rows = self.rows(shard, during=during, besides=besides)
        if not len(rows):
            return False
        before = self.tasks.before(shard)
        if before is not None and before[0] == self.problem.host[shard] and before[1] in rows:
            self.push(shard, before[1], relieves)
        else:
            self.push(shard, best_place(self.places, self.state, shard, rows), relieves)
        return True

    def put_all(self, shards: Sequence[int], relieves: int, *, during: bool = True, besides: int = -1) -> bool:
        """All of them, the hardest first, or none."""
        mark = len(self.state.moves)
        order = np.array(shards, dtype=np.int64)
        for shard in order[np.argsort(-self.hardness(order), kind="stable")].tolist():
            if not self.put(shard, relieves, during=during, besides=besides):
                self.reset(mark)
                return False
        return True

    def moved(self, shard: int) -> bool:
        """Whether the shard is not where it was."""
        return bool(self.state.at[shard] != self.problem.host[shard])

    def affords(self, shards: Sequence[int]) -> bool:
        """Whether the churn budget has moves for these as well."""
        return self.count + int(self.problem.count[list(shards)].sum()) <= self.max_moves

    def push(self, shard: int, destination: int, relieves: int) -> None:
        """Make a move, wherever it leads."""
        self.state.push(Move(shard, int(self.problem.host[shard]), destination, relieves))
        self.count += int(self.problem.count[shard])

    def take(self, shard: int) -> Move:
        """Take one move back."""
        self.count -= int(self.problem.count[shard])
        return self.state.take(shard)

    def reset(self, length: int) -> None:
        """Take the last moves back until ``length`` are left."""
        while len(self.state.moves) > length:
            self.count -= int(self.problem.count[self.state.pop().shard])

    def back(self, moves: Sequence[Move]) -> None:
        """Be as when the moves were these."""
        if self.state.moves[: len(moves)] == list(moves):
            self.reset(len(moves))
            return
        wanted = set(moves)
        for move in [move for move in self.state.moves if move not in wanted]:
            self.take(move.shard)
        there = set(self.state.moves)
        for move in moves:
            if move not in there:
                self.push(move.shard, move.destination, move.relieves)
        self.state.moves[:] = moves

    def order(self, picks: I64, shards: I64, frail: I64 | None = None) -> I64:
        """(S,) sets (S, k) of positions in ``shards``, the one to try first first.

        By what the tasks prefer, but of as many moves the one that keeps actions of
        the plan shown before, then the one that is least ``frail`` (S,), then the one that is easy to place.
        """
        p, tasks = self.problem, self.tasks
        hard = self.effort(shards)
        count = p.count[shards][picks].sum(axis=1).astype(np.float64)
        size = p.bytes[shards][picks].sum(axis=1)
        kept = np.zeros(len(picks))
        if tasks.previous:
            kept = np.array([tasks.before(s) is not None for s in shards.tolist()], dtype=np.float64)[picks].sum(axis=1)
        worst = hard[picks].max(axis=1)
        weak = np.zeros(len(picks)) if frail is None else frail
        light = [count, -kept, size + PER_MOVE * count]
        few = [size, worst, weak, -kept, count]
        return np.asarray(np.lexsort(light if tasks.prefer == "bytes" else few), dtype=np.int64)


def shards_of(desk: Desk, duty: Duty) -> I64:
    """The shards that a duty other than contention still wants to leave, the cheapest first; may be none."""
    rows = np.array(duty.shards, dtype=np.int64)
    rows = rows[desk.state.at[rows] == desk.problem.host[rows]]
    if duty.kind == "rule":
        rows = rows[desk.free[rows]]
        known = np.array([desk.tasks.before(s) is None for s in rows.tolist()])
        rows = rows[np.lexsort([rows, desk.problem.bytes[rows], known, desk.problem.count[rows]])]
    return np.asarray(rows, dtype=np.int64)
