"""Who of the queue is placed where, and who gives way (S5.9, S5.10, S5.16-S5.19).

First what moves could not do: a host in predicted contention is relieved by less important shards of
it that give way. Then the queue, by benefit: each shard goes to the best host by the policy's goals; if there is
none, the fewest less important shards that make room for it give way, if that is worth it; else it waits, with reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.queue import AGEING, Look, Waiting, benefit
from sidestep.fleet.resources import show_seconds
from sidestep.planning.build import Built
from sidestep.planning.exact.changes import placed
from sidestep.planning.explain import moves_once
from sidestep.planning.goals import Goal
from sidestep.planning.ladder.preempt import preempt
from sidestep.planning.ladder.remedy import Allowed
from sidestep.planning.model import Duty, Left, Move, Problem
from sidestep.planning.model.problem import Mask
from sidestep.planning.queue import worth
from sidestep.planning.queue.demand import NOT_NAMED, Needs, away
from sidestep.planning.queue.refusals import refusals
from sidestep.planning.queue.worst import Trial
from sidestep.planning.relief.goals import best_place

#: shards of the queue that a "no plan" names
NAMED: Final = 5
_NO_HOST: Final = Reason("NO_ROOM", Label("no host has room for it"))
_NO_VICTIM: Final = Reason("NO_VICTIM", Label("no host has room, and no less important shards may make it"))


@dataclass(frozen=True, kw_only=True)
class Gone:
    """A row that gives way: for whose sake (a row, -1 is nobody's), or the duty that it does."""

    row: int
    host: int
    sake: int = -1
    duty: Duty | None = None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A row that is placed, and the rows that must have left its host, or come to it, by then."""

    row: int
    host: int
    after: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What becomes of the queue: who gives way, who is placed, and why others wait; duties that are done by it."""

    gone: tuple[Gone, ...] = ()
    places: tuple[Placed, ...] = ()
    looks: tuple[Look, ...] = ()
    relieved: tuple[Left, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.gone or self.places)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why those who stay in the queue do, the first ones by name."""
        said = [Reason("QUEUE", scrub(f"{look.shard} waits: {look.reasons[0].reason.text}")) for look in self.looks]
        return tuple(said[:NAMED])


class _Filling:
    """One run over the queue."""

    def __init__(self, built: Built, moves: Sequence[Move], needs: Needs, goals: Sequence[Goal], now: float) -> None:
        self.built, self.needs, self.goals, self.now = built, needs, goals, now
        self.policy, self.fleet = built.policy, built.rules.fleet
        ends = moves_once(tuple(moves))
        last = {m.shard: m.destination for m in ends}
        parking = frozenset(m.destination for m in moves if last.get(m.shard) != m.destination)
        self.trial = Trial(built.problem, ends, parking, frozenset(built.contentions))
        self.specs: dict[str, ShardSpec] = {str(spec.name): spec for spec in self.fleet.shards}
        self.gone: list[Gone] = []
        self.places: list[Placed] = []
        self.looks: list[Look] = []
        self._now: tuple[tuple[int, int], Problem] | None = None
        #: rows that whoever is placed just now must be near
        self.beside: list[int] = []

    @cached_property
    def lost(self) -> Reason | None:
        """Why hosts that are lost come first, and the queue later."""
        if self.built.brake:
            return Reason("BRAKE", Label("so many hosts are dead that nothing is started anywhere"))
        if any(duty.kind == "failover" for duty in self.built.duties):
            return Reason("FAILS_OVER", Label("shards of lost hosts come first"))
        return None

    @property
    def spare(self) -> int:
        """How many more shards may give way in this plan."""
        return self.policy.preempt_most - len(self.gone) if "preempt" in self.policy.kinds else 0

    @cached_property
    def protected(self) -> Mask:
        """(N,) rows that never give way: guaranteed, with keys, in a bundle, or touched by this plan."""
        out = np.zeros(self.built.problem.shards, dtype=np.bool_)
        out[[m.shard for m in self.trial.moves]] = True
        for row, part in enumerate(self.built.rows.shards):
            spec = self.specs.get(self.built.rules.shard_names[part[0]])
            if spec is None or len(part) > 1 or spec.keys is not None or spec.guarantee_cpu or spec.guarantee_memory:
                out[row] = True
        gives = np.array([not self.built.rules.gives(h) for h in range(self.built.problem.hosts)], dtype=np.bool_)
        home = self.built.problem.host
        out |= (home < 0) | ~gives[np.maximum(home, 0)]
        return out

    def now_problem(self) -> Problem:
        """The problem once all that is planned so far is done."""
        trial = self.trial
        if self._now is not None and self._now[0] == (len(trial.gone), len(trial.places)):
            return replace(self._now[1], accepts=np.asarray(~trial.closed))
        ends = [(m.shard, m.destination) for m in (*trial.moves, *trial.places)]
        changed = placed(self.built.problem, ends, off=[m.shard for m in trial.gone])
        self._now = (len(trial.gone), len(trial.places)), changed
        return replace(changed, accepts=np.asarray(~trial.closed))

    def allowed(self) -> Allowed:
        """Who may give way, and how many."""
        protected = self.protected.copy()
        protected[[p.row for p in self.places]] = True
        return Allowed(guaranteed=protected, max_preempted=self.spare)

    # -- contention that moves leave

    def relieve(self, left: Sequence[Left]) -> tuple[Left, ...]:
        """Those of the duties left that are done by shards that give way."""
        done = []
        for one in left:
            if one.duty.kind != "contention" or self.spare <= 0 or self.built.rules.gives(one.duty.host):
                continue
            problem = self.now_problem()
            _, found = preempt(problem, one, self.allowed(), 0)
            victims = [remedy.shard for remedy in found]
            if not victims or not worth.for_relief(problem, one.duty.host, victims, self.policy.min_gain):
                continue
            for remedy in found:
                self.trial.leave(remedy.shard)
                self.gone.append(Gone(row=remedy.shard, host=remedy.host, sake=remedy.sake, duty=one.duty))
            done.append(one)
        return tuple(done)

    # -- the queue

    def order(self) -> list[int]:
        """Rows of the snapshot, whoever gains most by being placed now first (S5.9)."""
        priority, names = self.built.rules.snapshot.shards.priority, self.built.rules.shard_names

        def key(shard: int) -> tuple[float, float, str]:
            one = self.needs.waiting[shard]
            return -benefit(int(priority[shard]), self.now - one.since), one.since, str(names[shard])

        return sorted(self.needs.waiting, key=key)

    def serve(self, most: int) -> None:
        """Place as many as may be, in their order; who cannot be placed and waits long keeps a host for itself."""
        kept = False
        for shard in self.order():
            one, row = self.needs.waiting[shard], int(self.built.rows.row_of[shard])
            why = self._never(shard, one)
            self.beside = self._beside(one)
            hosts = None if why else self._only(one)
            if why is None and len(self.places) >= most:
                why = Reason("CHURN", scrub(f"max_moves = {self.policy.max_moves} serves what comes before it"))
            if why is None:
                why = self._place(row, one, hosts)
            if why is None:
                continue
            self.looks.append(Look(shard=one.shard, reasons=refusals(self.built, self.trial, row, why, hosts)))
            if not kept and shard in self.needs.sizes and self.now - one.since > AGEING:
                kept = self._keep(row, hosts)

    def _never(self, shard: int, one: Waiting) -> Reason | None:
        """Why no host is looked for now."""
        named = {"place", "preempt"} & set(self.policy.kinds)
        found = self.lost or (None if named else NOT_NAMED) or self.needs.unknown.get(shard)
        if found := found or away(one, self.built.rules.snapshot):
            return found
        if self.built.rules.kept[shard] in ("BUSY", "SETTLING"):
            return Reason("SETTLING", Label("it is being moved, was moved a short while ago, or has level off"))
        rest = self.policy.settle - (self.now - one.since)
        # one that gave way in the future was noted by a clock that was wrong: it does not wait for that
        if one.cause == "preempted" and 0 < rest <= self.policy.settle:
            return Reason("SETTLING", scrub(f"gave way a short while ago; rests for {show_seconds(rest)}"))
        return None

    def _beside(self, one: Waiting) -> list[int]:
        """Rows that it must be near."""
        near, shards = set(self.specs[one.shard].near), self.built.rules.snapshot.shards
        names = enumerate(zip(shards.names, shards.apps, strict=True)) if near else ()
        found = [int(self.built.rows.row_of[at]) for at, pair in names if set(pair) & near and pair[0] != one.shard]
        return list(dict.fromkeys(found))

    def _only(self, one: Waiting) -> frozenset[int] | None:
        """The only hosts that may take it: that of a pinned shard, or that of what it must be near; None: any."""
        spec, rules = self.specs[one.shard], self.built.rules
        if spec.pinned:
            return frozenset({rules.host_row[spec.host]} if spec.host in rules.host_row else ())
        hosts = {int(self.trial.state.at[row]) for row in self.beside} - {-1}
        return frozenset(hosts) or None

    def _place(self, row: int, one: Waiting, hosts: frozenset[int] | None) -> Reason | None:
        """Place it, if need be where others give way; else why not."""
        least = self.policy.min_gain if one.cause == "preempted" else 0.0
        only = np.ones(self.built.problem.hosts, dtype=np.bool_)
        if hosts is not None:
            only[:] = False
            only[list(hosts)] = True
        rows = np.flatnonzero(self.trial.at_once(row, least) & only)
        if len(rows):
            self._come(row, best_place(self.goals, self.trial.state, row, rows), ())
            return None
        freed = {m.source for m in (*self.trial.moves, *self.trial.gone)}
        able = [host for host in sorted(freed) if only[host] and self.trial.afterwards(row, host, least)]
        if able:
            host = best_place(self.goals, self.trial.state, row, np.array(able, dtype=np.int64))
            self._come(row, host, self.trial.leavers(host))
            return None
        return self._make_room(row, one, only) if self.spare > 0 else _NO_HOST

    def _make_room(self, row: int, one: Waiting, only: Mask) -> Reason | None:
        problem = self.now_problem()
        problem = replace(problem, accepts=problem.accepts & only)
        asked = Left(duty=Duty(kind="failover", host=-1, shards=(row,)), code="NO_ROOM", shard=row)
        _, found = preempt(problem, asked, self.allowed(), 0)
        if not found:
            return _NO_VICTIM
        host, victims = found[0].host, [remedy.shard for remedy in found]
        names = ", ".join(str(self.built.rules.shard_names[self.built.rows.shards[v][0]]) for v in victims)
        if not worth.for_place(problem, row, self.now - one.since, host, victims, self.policy.min_gain):
            said = f"not worth it that {names} give way on {self.built.rules.host_names[host]}"
            return Reason("MIN_GAIN", scrub(said))
        for victim in victims:
            self.trial.leave(victim)
        if not self.trial.afterwards(row, host):
            for victim in victims:
                self.trial.state.take(victim)
            del self.trial.gone[-len(victims) :]
            return _NO_VICTIM
        self.gone += [Gone(row=victim, host=host, sake=row) for victim in victims]
        self._come(row, host, self.trial.leavers(host))
        return None

    def _come(self, row: int, host: int, after: tuple[int, ...]) -> None:
        coming = [m.shard for m in (*self.trial.moves, *self.trial.places) if m.shard in self.beside]
        self.trial.come(row, host)
        self.places.append(Placed(row=row, host=host, after=tuple(dict.fromkeys((*after, *coming)))))

    def _keep(self, row: int, hosts: frozenset[int] | None) -> bool:
        """Keep the host that comes nearest to having room from whoever comes later in the queue."""
        problem, trial = self.built.problem, self.trial
        with np.errstate(invalid="ignore"):
            could = (problem.mean[row] <= problem.room).all(axis=1) & ~trial.closed & trial.state.open(row)
        if hosts is not None:
            could &= np.isin(np.arange(problem.hosts), list(hosts))
        if not could.any():
            return False
        room = np.where(could, trial.state.spare(row), -np.inf)
        trial.closed[int(np.lexsort((problem.rank, -room))[0])] = True
        return True


def fill(
    built: Built,
    moves: Sequence[Move],
    left: Sequence[Left],
    needs: Needs,
    *,
    goals: Sequence[Goal],
    now: float,
) -> Filled:
    """What to do beside the ``moves`` of a plan, which leave the duties ``left`` undone; ``now`` is unix time."""
    hot = "preempt" in built.policy.kinds and any(one.duty.kind == "contention" for one in left)
    if not needs.waiting and not hot:
        return Filled()
    run = _Filling(built, moves, needs, goals, now)
    relieved = () if run.lost else run.relieve(left)
    run.serve(max(0, built.policy.max_moves - len(run.trial.moves)))
    return Filled(gone=tuple(run.gone), places=tuple(run.places), looks=tuple(run.looks), relieved=relieved)
