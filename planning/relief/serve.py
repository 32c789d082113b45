"""Doing the duties: the cheapest covers, placed hardest first; then, duty by duty, what that left undone.

A shard goes where it fits while everything moves. Only where that leaves a duty undone it may
count on what leaves first, then on shards that are evicted for it: the order makes it wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sidestep.planning.model import Duty, State
from sidestep.planning.model.problem import I64
from sidestep.planning.relief.covers import Need, Shedding
from sidestep.planning.relief.desk import EASY, Desk, shards_of
from sidestep.planning.relief.eject import evict
from sidestep.planning.relief.goals import PER_MOVE, has_left
from sidestep.planning.relief.singles import singles, usable

#: covers of one size that are tried for one duty
TRIED = 48
#: shards of a host of which every set is looked at for the fewest bytes
SMALL = 10
#: covers of one size that are tried with evictions
EJECTED = 12
#: moves beyond the fewest that a duty may take; up to how many of them every way is tried
EXTRA = 60
NEAR = 3
#: covers for which more than that are evicted at once
FAR = 3


class Server:
    """Serves duties on a desk; remembers the covers of hosts that nothing has left or entered yet."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._fresh: dict[int, Shedding] = {}
        self._stuck: dict[int, bool] = {}
        self._singles: dict[int, int] | None = None
        self._start = State(desk.problem)
        self._number = {id(duty): at for at, duty in enumerate(desk.tasks.duties)}

    def shedding(self, duty: Duty) -> Shedding:
        """What the host of a duty of contention must shed now."""
        state = self.desk.state
        if state.left[duty.host] or state.came[duty.host]:
            return Shedding(state, Need(duty.host, duty), self.desk.movable_on(duty.host))
        return self.fresh(duty)

    def fresh(self, duty: Duty) -> Shedding:
        """What the host of a duty of contention must shed before any move."""
        key = self.number(duty)
        if key not in self._fresh:
            shards = self.desk.movable_at_start(duty.host)
            self._fresh[key] = Shedding(self._start, Need(duty.host, duty), shards)
        return self._fresh[key]

    def number(self, duty: Duty) -> int:
        """The position of a duty among all."""
        return self._number[id(duty)]

    def choice(self, duty: Duty, *, soon: bool = False) -> Sequence[int]:
        """The shards whose departure does the duty, by what is best at first sight; none if nothing does."""
        if duty.kind == "contention":
            single = self._single(duty)
            found = [single] if single >= 0 else next(self.covers(duty, soon=soon), None)
            return () if found is None else found
        rows = shards_of(self.desk, duty)
        if duty.kind == "rule":
            return self._rule(duty, rows)
        return rows.tolist() if self.desk.free[rows].all() else ()

    def _single(self, duty: Duty) -> int:
        """The first of the covers if that is one shard and nothing has moved at the host; else -1."""
        if self._singles is None:
            self._singles = singles(self.desk, self.desk.tasks.duties) if usable(self.desk) else {}
        state = self.desk.state
        if state.left[duty.host] or state.came[duty.host] or duty.gain > 0:
            return -1
        return self._singles.get(duty.host, -1)

    def _rule(self, duty: Duty, rows: I64) -> Sequence[int]:
        missing = duty.least - sum(not _stays(self.desk, duty, shard) for shard in duty.shards)
        return rows[:missing].tolist() if len(rows) >= missing else ()

    def covers(self, duty: Duty, *, soon: bool = False) -> Iterator[list[int]]:
        """Covers of a duty of contention, by size, the best of a size first."""
        shedding = self.shedding(duty)
        if self.desk.tasks.prefer == "bytes":
            yield from self._lightest(shedding)
            return
        for _, picks in shedding.sizes(soon=soon):
            order = self.desk.order(picks, shedding.shards, shedding.frail(picks))
            for at in order[:TRIED].tolist():
                yield shedding.shards[picks[at]].tolist()

    def _lightest(self, shedding: Shedding) -> Iterator[list[int]]:
        """Covers of all sizes, the one that carries the fewest bytes first."""
        p, shards = self.desk.problem, shedding.shards
        size = p.bytes[shards] + PER_MOVE * p.count[shards]
        found = [picks[at] for _, picks in shedding.sizes(every=len(shards) <= SMALL)
                 for at in self.desk.order(picks, shards)[:TRIED].tolist()]  # fmt: skip
        found.append(shedding.smallest(size / max(float(size.max(initial=1.0)), 1.0))[0])
        for picks in sorted((f for f in found if len(f)), key=lambda f: (float(size[f].sum()), f.tolist())):
            yield shards[picks].tolist()

    def first(self, duties: Sequence[Duty], *, soon: bool = False) -> list[Duty]:
        """Do as many as can be at first sight, ``soon`` with rough covers; those that are left, in order."""
        desk = self.desk
        wanted: list[tuple[int, Duty, Sequence[int]]] = []
        left: list[Duty] = []
        for duty in duties:
            shards = self.choice(duty, soon=soon)
            if len(shards):
                wanted.append((int(desk.problem.count[list(shards)].sum()), duty, shards))
            elif not self.is_done(duty):
                left.append(duty)
        total, chosen = desk.count, []
        for count, duty, shards in sorted(wanted, key=lambda w: (w[1].level, w[0])):
            total += count
            if total <= desk.max_moves:
                chosen.append((duty, shards))
            else:
                left.append(duty)
        pairs = [(shard, index) for index, (_, shards) in enumerate(chosen) for shard in shards]
        hard = desk.hardness(np.array([shard for shard, _ in pairs], dtype=np.int64))
        failed: set[int] = set()
        for at in np.argsort(-hard, kind="stable").tolist():
            shard, index = pairs[at]
            duty = chosen[index][0]
            if index in failed or desk.state.at[shard] != desk.problem.host[shard]:
                continue
            if not desk.put(shard, duty.host) and duty.kind != "failover":
                failed.add(index)
                for other in chosen[index][1]:
                    if desk.state.at[other] != desk.problem.host[other]:
                        desk.take(other)
        order = {id(duty): at for at, duty in enumerate(duties)}
        done = desk.tasks.done(desk.state)
        left += [duty for duty, _ in chosen if not done[self.number(duty)]]
        return sorted(left, key=lambda duty: order[id(duty)])

    def is_done(self, duty: Duty) -> bool:
        """Whether a duty is done by the moves so far."""
        if duty.kind != "contention":
            return has_left(self.desk.state, duty)
        shedding = self.shedding(duty)
        return bool(shedding.met(np.zeros((1, 0), dtype=np.int64))[0])

    def again(self, duty: Duty, *, most: int | None = None) -> bool:
        """Do one duty that is undone with the fewest further moves, at most ``most``; else leave all as it was."""
        self.desk.settled = len(self.desk.state.moves)
        self.desk.hopeless.clear()
        if self.is_done(duty) or self.desk.count >= self.desk.max_moves:
            return self.is_done(duty)
        if duty.kind != "contention":
            return self._others(duty)
        tried = [] if self.stuck(duty) else list(self.covers(duty))
        if not tried:
            return False
        count = self.desk.problem.count
        least = min(int(count[cover].sum()) for cover in tried)
        afford = self.desk.max_moves - self.desk.count
        if least > afford:
            return False
        most = afford if most is None else min(most, afford)
        easy = self.easy(duty)
        alone = int(count[easy].sum()) if easy else least + EXTRA
        alone = min(alone, most + 1)
        if any(self._counting(duty, tried, total, least) for total in range(least, min(alone, least + NEAR + 1))):
            return True
        far = sorted(tried, key=lambda cover: int(count[cover].sum()))[:FAR]
        extras = [alone - 1 - int(count[cover].sum()) for cover in far]
        return any(
            extra > NEAR and self._any(duty, [cover], lambda c, extra=extra: evict(self.desk, c, duty.host, extra))  # type: ignore[misc]
            for cover, extra in zip(far, extras, strict=True)
        ) or (bool(easy) and int(count[easy].sum()) <= most and self._direct(duty, easy))

    def _direct(self, duty: Duty, cover: list[int]) -> bool:
        return self._any(duty, [cover], lambda cover: self.desk.put_all(cover, duty.host)) or self._any(
            duty, [cover], lambda cover: self.desk.put_all(cover, duty.host, during=False)
        )

    def stuck(self, duty: Duty) -> bool:
        """Whether the host stays hot even if all leave it that would have room on some host that all may leave."""
        key = self.number(duty)
        if key not in self._stuck:
            shedding = self.fresh(duty)
            hard = self.desk.hardness(shedding.shards).tolist()
            fits = [h <= 1.0 or self._fits(s) for s, h in zip(shedding.shards.tolist(), hard, strict=True)]
            rest = np.flatnonzero(fits)
            self._stuck[key] = not len(rest) or not bool(shedding.met(rest[None])[0])
        return self._stuck[key]

    def _fits(self, shard: int) -> bool:
        """Whether some host would have room for the shard if all that may leave it left."""
        problem = self.desk.problem
        allowed = problem.constraints.masks[int(problem.constraints.mask[shard])]
        rows = np.flatnonzero(allowed & problem.accepts & ~self.desk.closed)
        rows = rows[rows != problem.host[shard]]
        asks = (problem.mean[shard] > 0) | (problem.sd[shard] > 0)
        over = self._start.arrivals(shard, rows) > problem.room[rows] + 1e-9 * problem.capacity[rows]
        for at in np.argsort((over & asks).sum(axis=1), kind="stable").tolist():
            host = int(rows[at])
            shedding = Shedding(self._start, Need(host, guest=shard), self.desk.movable_at_start(host))
            if not len(shedding.columns) or (len(shedding.shards) and shedding.possible()):
                return True
        return False

    def easy(self, duty: Duty) -> list[int]:
        """The smallest cover of which every shard has room somewhere now; none if there is none."""
        desk, shedding = self.desk, self.shedding(duty)
        hard = desk.hardness(shedding.shards)
        big = [at for at in np.flatnonzero(hard > EASY).tolist() if not self._has_room(int(shedding.shards[at]))]
        if not big:
            return []
        keep = np.ones(len(hard), dtype=np.bool_)
        keep[big] = False
        picks, _ = shedding.smallest(desk.problem.count[shedding.shards] + 1e-3 * np.minimum(hard, 1.0), keep)
        return [int(shard) for shard in shedding.shards[picks]]

    def _has_room(self, shard: int) -> bool:
        return len(self.desk.rows(shard)) > 0 or len(self.desk.rows(shard, during=False)) > 0

    def _counting(self, duty: Duty, covers: list[list[int]], total: int, least: int) -> bool:
        """Do a duty with exactly ``total`` further moves, evictions included."""
        desk, count = self.desk, self.desk.problem.count
        of = {k: [c for c in covers if int(count[c].sum()) == k] for k in range(least, total + 1)}
        ways: list[tuple[list[list[int]], Callable[[list[int]], bool]]] = [
            (of[total], lambda cover: desk.put_all(cover, duty.host)),
            (of[total], lambda cover: desk.put_all(cover, duty.host, during=False)),
        ]
        for k in range(total, least - 1, -1):
            ways.append((of[k][:EJECTED], lambda cover, extra=total - k: evict(desk, cover, duty.host, extra)))  # type: ignore[misc]
        return any(self._any(duty, some, place) for some, place in ways)

    def _in_order(self, duty: Duty, covers: list[list[int]]) -> bool:
        """Do a duty with the first cover that has room, while everything moves, else after it, else with evictions."""
        desk = self.desk
        ways: tuple[Callable[[list[int]], bool], ...] = (
            lambda cover: desk.put_all(cover, duty.host),
            lambda cover: desk.put_all(cover, duty.host, during=False),
            lambda cover: any(evict(desk, cover, duty.host, extra) for extra in range(EXTRA)),
        )
        return any(self._any(duty, covers, place) for place in ways)

    def _spare(self, shard: int) -> int:
        """How many moves more than its own the churn budget leaves for making room for a shard, and one."""
        desk = self.desk
        return max(0, min(EXTRA, desk.max_moves - desk.count - int(desk.problem.count[shard]) + 1))

    def _any(self, duty: Duty, covers: Sequence[list[int]], place: Callable[[list[int]], bool]) -> bool:
        for cover in covers:
            saved = tuple(self.desk.state.moves)
            if place(cover) and self.is_done(duty):
                return True
            self.desk.back(saved)
        return False

    def _others(self, duty: Duty) -> bool:
        """A rule, a drain or a failover: shard by shard, each with as few evictions as do."""
        desk = self.desk
        saved = tuple(desk.state.moves)
        for shard in shards_of(desk, duty).tolist():
            if not desk.free[shard]:
                continue
            if not desk.affords([shard]):
                break
            host = duty.host if duty.host >= 0 else int(desk.problem.host[shard])
            placed = desk.put(shard, host) or desk.put(shard, host, during=False)
            if not placed and not any(evict(desk, [shard], host, extra) for extra in range(self._spare(shard))):
                if duty.kind == "drain":
                    break
                continue
            if has_left(desk.state, duty):
                return True
        if duty.kind != "failover" and not has_left(desk.state, duty):
            desk.back(saved)
        return has_left(desk.state, duty)


def _stays(desk: Desk, duty: Duty, shard: int) -> bool:
    one = Duty(kind="rule", host=duty.host, shards=(shard,), least=1, group=duty.group)
    return not has_left(desk.state, one)
