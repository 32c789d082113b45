"""The ladder: resize, migrate, split, activate, preempt, queue; each rung only for what the ones before left.

Every rung asks the optimiser of moves again, on the changed problem, so that the whole plan
is as short as it can be: a split often saves moves. A remedy that turns out to be of no use
is not in the plan.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sidestep.planning.exact.changes import opened, split
from sidestep.planning.ladder.preempt import preempt
from sidestep.planning.ladder.remedy import Allowed, Climbed, Relieve, Remedy, moves_of
from sidestep.planning.ladder.resize import shrink
from sidestep.planning.ladder.splitting import dominant
from sidestep.planning.model import Budget, Duty, Outcome, Problem
from sidestep.planning.model.problem import Mask


class _Climb:
    """The best plan so far on the way up."""

    def __init__(self, problem: Problem, duties: tuple[Duty, ...], allowed: Allowed, relieve: Relieve, budget: Budget):
        self.problem, self.duties, self.allowed = problem, duties, allowed
        self._relieve, self._budget = relieve, budget
        self.remedies: list[Remedy] = []
        self.log: list[tuple[str, int, int]] = []
        self.outcome = Outcome(moves=())

    def ask(self, problem: Problem, splits: list[Remedy] | None = None) -> Outcome:
        """The best moves; who has to leave has to leave in all its parts."""
        duties = tuple(_with_parts(duty, splits or []) for duty in self.duties)
        return self._relieve(problem, duties, self._budget)

    def keep(self, problem: Problem, outcome: Outcome, remedies: list[Remedy]) -> None:
        self.problem, self.outcome = problem, outcome
        self.remedies += remedies

    def rung(self, name: str) -> None:
        self.log.append((name, len(self.outcome.left), moves_of(self.problem, self.outcome)))

    @property
    def finished(self) -> bool:
        return not self.outcome.left or self._budget.expired()


def climb(
    problem: Problem, duties: tuple[Duty, ...], allowed: Allowed, relieve: Relieve, *, budget: Budget | None = None
) -> Climbed:
    """A plan that does as many duties as moves and the ``allowed`` remedies can; never fewer than moves alone."""
    way = _Climb(problem, duties, allowed, relieve, budget or Budget())
    _resize(way)
    way.rung("resize")
    way.outcome = way.ask(way.problem)
    way.rung("migrate")
    for name, rung in (("split", _split), ("activate", _activate), ("preempt", _preempt)):
        if way.finished:
            break
        rung(way)
        way.rung(name)
    queued = sorted({left.shard for left in way.outcome.left if left.duty.kind == "failover" and left.shard >= 0})
    way.remedies += [Remedy(kind="queue", shard=shard, code="NO_ROOM") for shard in queued]
    return Climbed(problem=way.problem, remedies=tuple(way.remedies), outcome=way.outcome, log=tuple(way.log))


def _resize(way: _Climb) -> None:
    """Within the host first (S3.24)."""
    for duty in way.duties:
        way.problem, found = shrink(way.problem, duty, way.allowed)
        way.remedies += found


def _split(way: _Climb) -> None:
    """Halve what dominates a host that is still hot, as long as that helps; the halves go with the other moves."""
    if way.allowed.splits is None:
        return
    before = (way.problem, way.outcome)
    best, trial, outcome = before, way.problem, way.outcome
    made: list[Remedy] = []
    kept = 0
    while outcome.left and len(made) < way.allowed.max_splits:
        may = np.zeros(trial.shards, dtype=np.bool_)
        may[: len(way.allowed.splits)] = way.allowed.splits & trial.movable[: len(way.allowed.splits)]
        may[[remedy.shard for remedy in made]] = False
        todo = [_dominating(trial, left.duty, left.shard, may) for left in outcome.left]
        todo = list(dict.fromkeys(s for s in todo if s >= 0))[: way.allowed.max_splits - len(made)]
        if not todo:
            break
        for shard in todo:
            host = int(trial.host[shard])
            rows = (shard, trial.shards)
            trial = split(trial, shard, (0.5, 0.5))
            made.append(Remedy(kind="split", shard=shard, host=host, parts=rows, amounts=(0.5, 0.5), code="NO_ROOM"))
        outcome = way.ask(trial, made)
        if len(outcome.left) < len(best[1].left):
            best, kept = (trial, outcome), len(made)
    if kept:
        problem, outcome, needed = _needed(way, before, best, made[:kept])
        way.keep(problem, outcome, needed)
        way.duties = tuple(_with_parts(duty, needed) for duty in way.duties)


def _with_parts(duty: Duty, splits: list[Remedy]) -> Duty:
    if duty.kind not in {"drain", "failover"}:
        return duty
    more = [row for remedy in splits if remedy.shard in duty.shards for row in remedy.parts[1:]]
    return replace(duty, shards=(*duty.shards, *more))


def _dominating(problem: Problem, duty: Duty, shard: int, may: Mask) -> int:
    if duty.kind == "contention":
        return dominant(problem, duty.host, duty.columns, may)
    return shard if 0 <= shard < len(may) and may[shard] else -1


def _needed(
    way: _Climb, before: tuple[Problem, Outcome], best: tuple[Problem, Outcome], made: list[Remedy]
) -> tuple[Problem, Outcome, list[Remedy]]:
    """Without the splits whose parts stay together anyhow, if that leaves no duty more undone."""
    moved = {m.shard: m.destination for m in best[1].moves}
    apart = [r for r in made if len({moved.get(row, r.host) for row in r.parts}) > 1]
    if len(apart) == len(made):
        return (*best, made)
    problem, found = before[0], list[Remedy]()
    for remedy in apart:
        found.append(replace(remedy, parts=(remedy.shard, problem.shards)))
        problem = split(problem, remedy.shard, remedy.amounts)
    outcome = way.ask(problem, found)
    return (problem, outcome, found) if len(outcome.left) <= len(best[1].left) else (*best, made)


def _activate(way: _Climb) -> None:
    """Open standby hosts, the cheapest first, as many as help; those that stay empty are not opened."""
    p = way.problem
    hosts = sorted(way.allowed.standby, key=lambda h: (float(p.cost[h]), int(p.rank[h])))
    trial, best = list[int](), (way.outcome, list[int]())
    for host in hosts:
        trial.append(host)
        outcome = way.ask(opened(p, trial))
        if len(outcome.left) < len(best[0].left):
            used = {m.destination for m in outcome.moves}
            best = (outcome, [h for h in trial if h in used])
        if not best[0].left:
            break
    if best[1]:
        found = [Remedy(kind="activate", host=h, amounts=(float(p.cost[h]),), code="NO_ROOM") for h in best[1]]
        way.keep(opened(p, best[1]), best[0], found)


def _preempt(way: _Climb) -> None:
    """One duty at a time; kept only if one duty fewer is left."""
    spent = 0
    for left in way.outcome.left:
        if left not in way.outcome.left:
            continue
        trial, found = preempt(way.problem, left, way.allowed, spent)
        if not found:
            continue
        outcome = way.ask(trial)
        if len(outcome.left) < len(way.outcome.left):
            way.keep(trial, outcome, found)
            spent += len(found)
