"""The fewest moves that do all duties, proven; or the proof that no moves do.

The program's rows never ask for more than the truth (``tangent``), so its answers are bounds;
every solution is judged by the exact arithmetic of trials, and what that refuses is cut off
and asked again. Two stages keep it short: moves from hosts with duties first, which is mostly
all that is needed; then, with everybody allowed to move, the question whether fewer do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sidestep.planning.exact import tangent
from sidestep.planning.exact.build import Model, Scope, build, contention
from sidestep.planning.exact.check import Flaw, demand, flaws, overfull, relieved, sequence
from sidestep.planning.exact.program import F64, I64, Cap, Limits, Program, Verdict
from sidestep.planning.model import Duty, Move, Problem

#: placements that no order of moves leads to, looked at before asking for one that any order leads to
DISORDERED = 20
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A verdict: OPTIMAL, FEASIBLE with a ``bound`` below, INFEASIBLE (nothing does all duties), or UNKNOWN.

    ``capped`` says what ended the search before a proof.
    """

    status: Verdict
    #: in an order in which each finds room
    moves: tuple[Move, ...] = ()
    count: int = 0
    bytes: float = 0.0
    #: no plan that does the duties counts fewer moves
    bound: int = 0
    #: whether no plan of so few moves carries fewer bytes
    lightest: bool = False
    #: the duty that no move could do whatever room there was
    hopeless: Duty | None = None
    capped: Cap = ""
    nodes: int = 0
    rounds: int = 0


@dataclass(kw_only=True)
class Answer:
    """What one program said, in the words of ``Exact``."""

    verdict: Verdict
    moves: tuple[Move, ...] = ()
    bound: float = 0.0
    capped: Cap = ""


class Search:
    """One model and all that was learned about it."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.nodes = self.rounds = self.disordered = 0
        #: false once something was cut off that may have been a solution
        self.sure = True
        p = model.problem
        self.counts = model.cost(p.count.astype(np.float64))

    def best(self, cost: F64, *, closed: I64 | None = None, at_most: float | None = None) -> Answer:
        """The cheapest solution that is true in exact arithmetic."""
        for _ in range(self.limits.rounds):
            self.rounds += 1
            # nodes are counted over all rounds; each may look at its root at least
            rest = replace(self.limits, nodes=max(1, self.limits.nodes - self.nodes))
            bound = None if at_most is None else (self.counts, at_most)
            found = self.model.program.solve(cost, rest, closed=closed, at_most=bound)
            self.nodes += found.nodes
            if not len(found.x) and self.model.program.columns:
                return Answer(verdict=found.verdict, bound=found.bound, capped=found.capped)
            if found.verdict in {"INFEASIBLE", "UNKNOWN"}:
                return Answer(verdict=found.verdict, bound=found.bound, capped=found.capped)
            moves = _moves(self.model, found.x)
            wrong = flaws(self.model.problem, self.model.duties, moves, together=self.model.scope.together)
            if not wrong:
                ordered, sure = sequence(self.model.problem, moves)
                if ordered is not None:
                    return Answer(verdict=found.verdict, moves=ordered, bound=found.bound, capped=found.capped)
                self.sure = self.sure and sure
                self.disordered += 1
                if self.disordered > DISORDERED:
                    return Answer(verdict="UNKNOWN", bound=found.bound, capped="order")
                _no_order(self.model, moves)
            for flaw in wrong:
                self.sure = self.sure and self.model.problem.z >= 0
                _cut(self.model, flaw, moves)
        return Answer(verdict="UNKNOWN", bound=found.bound, capped="rounds")


def optimum(
    problem: Problem,
    duties: tuple[Duty, ...],
    *,
    scope: Scope | None = None,
    limits: Limits | None = None,
    known: int | None = None,
    lightest: bool = True,
) -> Exact:
    """The fewest moves (by ``Problem.count``; then the fewest bytes) that do all duties, or the proof that none do.

    For up to about 30 hosts and 600 shards. With ``known``, the count of a plan that does them, only
    fewer are looked for: INFEASIBLE then says that there are none, and ``bound`` is ``known``.
    """
    limits = limits or Limits()
    if not flaws(problem, duties, (), together=False):
        return Exact(status="OPTIMAL", lightest=True)
    model = build(problem, duties, scope)
    if model.hopeless is not None:
        return Exact(status="INFEASIBLE", hopeless=model.hopeless)
    least = _covers(model, limits)
    if least is None:
        return Exact(status="INFEASIBLE", hopeless=None)
    search = Search(model, limits)
    best, bound, verdict, capped = _stages(search, least, known)
    if not best and search.disordered and capped in {"order", "rounds"}:
        return _any_order(problem, duties, model.scope, limits, bound)
    if not best:
        floor = bound if known is None or verdict != "INFEASIBLE" else known
        return Exact(status=verdict, bound=floor, capped=capped, nodes=search.nodes, rounds=search.rounds)
    count = moves_count(problem, best)
    light = _lighter(search, best, count) if lightest else None
    best = best if light is None else light.moves or best
    return Exact(
        status=verdict,
        moves=best,
        count=count,
        bytes=float(problem.bytes[[m.shard for m in best]].sum()),
        bound=bound,
        lightest=light is not None and light.verdict == "OPTIMAL" and search.sure,
        capped=capped if verdict != "OPTIMAL" else "",
        nodes=search.nodes,
        rounds=search.rounds,
    )


def _stages(search: Search, least: int, known: int | None) -> tuple[tuple[Move, ...], int, Verdict, Cap]:
    """The best moves, a bound, a verdict and what capped it: near the duties first, then whether fewer do."""
    problem, cap = search.model.problem, None if known is None else known - 1.0
    near = _elsewhere(search.model)
    first = search.best(search.counts, closed=near, at_most=cap)
    best, count, verdict, capped = first.moves, moves_count(problem, first.moves), first.verdict, first.capped
    bound = max(least, _up(first.bound)) if len(near) == 0 else least
    if len(near) and not (best and count <= least):
        fewer = search.best(search.counts, at_most=count - 1.0 if best else cap)
        verdict, capped = fewer.verdict, fewer.capped
        if best and not fewer.moves:
            # nothing smaller, or nobody knows
            bound = count if verdict == "INFEASIBLE" else max(bound, min(count, _up(fewer.bound)))
            verdict = "OPTIMAL" if verdict == "INFEASIBLE" else "FEASIBLE"
        else:
            best, bound = fewer.moves, max(bound, _up(fewer.bound))
    count = moves_count(problem, best)
    if not best:
        return best, bound, "UNKNOWN" if verdict == "INFEASIBLE" and not search.sure else verdict, capped
    if count <= least:
        return best, count, "OPTIMAL", ""
    if not search.sure:
        return best, least, "FEASIBLE", capped
    bound = count if verdict == "OPTIMAL" else min(bound, count)
    return best, bound, "OPTIMAL" if count <= bound else "FEASIBLE", capped


def _any_order(problem: Problem, duties: tuple[Duty, ...], scope: Scope, limits: Limits, bound: int) -> Exact:
    """When placements kept having no order: the best one with room for everybody at both ends at once."""
    found = optimum(problem, duties, scope=replace(scope, together=True), limits=limits, lightest=False)
    if not found.moves:
        return Exact(status="UNKNOWN", bound=bound, capped="order", nodes=found.nodes, rounds=found.rounds)
    proven = found.count <= bound
    return replace(found, status="OPTIMAL" if proven else "FEASIBLE", bound=min(bound, found.count), capped="order")


def _lighter(search: Search, best: tuple[Move, ...], count: int) -> Answer:
    """Among plans of so few moves the one that carries the fewest bytes."""
    p = search.model.problem
    size = float(p.bytes[[m.shard for m in best]].sum())
    if size <= 0:
        return Answer(verdict="OPTIMAL", moves=best)
    found = search.best(search.model.cost(p.bytes / size), at_most=float(count))
    if found.moves and float(p.bytes[[m.shard for m in found.moves]].sum()) > size:
        found.moves = best
    return found


def _covers(model: Model, limits: Limits) -> int | None:
    """Rows that say how many must leave each hot host at least; their sum, None if none would be enough."""
    p, total = model.problem, 0
    per_host: dict[int, int] = {}
    for duty in model.duties:
        if duty.kind != "contention":
            continue
        program = Program()
        own = model.leavers(duty.host)
        leave = program.variables(len(own))
        alone = Model(problem=p, duties=(duty,), scope=model.scope, program=program, shard=_NONE, host=_NONE, x=_NONE,
                      row=own, leave=leave, open={})  # fmt: skip
        contention(alone, duty, tangent.start(p))
        found = program.solve(alone.cost(p.count.astype(np.float64)), limits)
        if found.verdict == "INFEASIBLE":
            return None
        per_host[duty.host] = max(per_host.get(duty.host, 0), _up(found.bound))
    for host, least in per_host.items():
        own = model.leavers(host)
        columns = np.array([model.column(s) for s in own.tolist()], dtype=np.int64)
        model.program.row(columns, p.count[own].astype(np.float64), low=float(least))
        total += least
    return total


def _elsewhere(model: Model) -> I64:
    """The columns of shards that no duty is about."""
    p = model.problem
    about = {d.host for d in model.duties if d.kind == "contention"}
    named = np.array(sorted({s for d in model.duties for s in d.shards}), dtype=np.int64)
    idle = ~np.isin(p.host, sorted(about))
    idle[named] = False
    return np.concatenate([model.x[idle[model.shard]], model.leave[idle[model.row]]])


def _moves(model: Model, x: F64) -> tuple[Move, ...]:
    p, chosen = model.problem, np.flatnonzero(x[model.x] > 0.5)
    hot = {d.host for d in model.duties}
    first = min(hot, default=-1)
    return tuple(
        Move(s, int(p.host[s]), h, int(p.host[s]) if int(p.host[s]) in hot else first)
        for s, h in zip(model.shard[chosen].tolist(), model.host[chosen].tolist(), strict=True)
    )


def _cut(model: Model, flaw: Flaw, moves: tuple[Move, ...]) -> None:
    """Cut off what is wrong at a host: fewer must come or more must leave, and where possible the plane there."""
    p, host = model.problem, flaw.host
    together = model.scope.together and flaw.code == "RECEIVES"
    come = [m.shard for m in moves if m.destination == host]
    gone = [m.shard for m in moves if m.source == host]
    stay = [s for s in model.leavers(host).tolist() if s not in gone]
    if not together:
        _plane(model, flaw, np.array(gone, dtype=np.int64), np.array(come, dtype=np.int64))

    def wrong(gone: list[int], come: list[int]) -> bool:
        left, new = np.array([] if together else gone, dtype=np.int64), np.array(come, dtype=np.int64)
        if flaw.duty is None:
            return overfull(p, host, left, new)
        return not relieved(p, flaw.duty, left, new)

    for shard in sorted(come, key=lambda s: float(p.mean[s].sum())):
        rest = [s for s in come if s != shard]
        if wrong(gone, rest):
            come = rest
    for shard in sorted(stay, key=lambda s: float(p.mean[s].sum())):
        if wrong([*gone, shard], come):
            gone = [*gone, shard]
    stay = [] if together else [s for s in stay if s not in gone]
    columns = [model.column(s, host) for s in come] + [model.column(s) for s in stay]
    values = [-1.0] * len(come) + [1.0] * len(stay)
    model.program.row(np.array(columns, dtype=np.int64), np.array(values), low=1.0 - len(come))


def _plane(model: Model, flaw: Flaw, gone: I64, come: I64) -> None:
    p, host = model.problem, flaw.host
    if p.linear:
        return
    own = model.leavers(host)
    new = model.shard[model.host == host]
    found = tangent.at(p, host, own[~np.isin(own, gone)], gone, come, new)
    if found is None:
        return
    constant, per_own, per_new, _ = found
    upper = demand(p, host, gone, come)
    edge = p.limit[host] if flaw.duty is not None else p.room[host]
    if p.duration > 1 and flaw.duty is not None:
        return
    # only where the row would hold whoever else comes: a column that is not above its room now
    plain = p.median[host] + p.away[host] <= edge
    if flaw.duty is not None:
        plain = np.ones_like(plain)
    own = np.concatenate([own[~np.isin(own, gone)], gone])
    columns = np.array(
        [model.column(s) for s in own.tolist()] + [model.column(s, host) for s in new.tolist()], dtype=np.int64
    )
    for at in np.flatnonzero((upper > edge) & plain).tolist():
        scale = max(abs(float(edge[at])), 1e-12)
        value = np.concatenate([-per_own[:, at], per_new[:, at]]) / scale
        model.program.row(columns, value, high=(float(edge[at]) - float(constant[at])) / scale + 1e-9)


def _no_order(model: Model, moves: tuple[Move, ...]) -> None:
    """Cut off what has no order: those that wait for each other's room, unless something else leaves there too."""
    p, todo, leaving = model.problem, list(moves), dict[int, list[int]]()
    while True:
        able = [
            m for m in todo if not overfull(p, m.destination, _rows(leaving.get(m.destination, [])), _rows([m.shard]))
        ]
        if not able:
            break
        for move in able:
            leaving.setdefault(move.source, []).append(move.shard)
        todo = [m for m in todo if m not in able]
    if not todo:
        # it is rules, or who came before: not exactly these moves
        value = np.ones(len(model.x))
        for move in moves:
            value[np.searchsorted(model.x, model.column(move.shard, move.destination))] = -1.0
        model.program.row(model.x, value, low=1.0 - len(moves))
        return
    full, chosen = {m.destination for m in todo}, {m.shard for m in moves}
    others = [s for host in sorted(full) for s in model.leavers(host).tolist() if s not in chosen]
    columns = [model.column(m.shard, m.destination) for m in todo] + [model.column(s) for s in others]
    values = [-1.0] * len(todo) + [1.0] * len(others)
    model.program.row(_rows(columns), np.array(values), low=1.0 - len(todo))


def _rows(rows: list[int]) -> I64:
    return np.array(rows, dtype=np.int64)


def moves_count(problem: Problem, moves: tuple[Move, ...]) -> int:
    """How many moves these count, bundles as many as they hold."""
    return int(problem.count[[m.shard for m in moves]].sum())


def _up(bound: float) -> int:
    return math.ceil(bound - 1e-6) if math.isfinite(bound) else 0
