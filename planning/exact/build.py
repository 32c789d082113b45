"""The relief problem as a mixed-integer program: who may go where, and what must hold afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sidestep.planning.exact import tangent
from sidestep.planning.exact.check import away_from, peaks
from sidestep.planning.exact.program import F64, I64, Program
from sidestep.planning.model import Duty, Problem, State
from sidestep.planning.model.problem import Mask


@dataclass(frozen=True, eq=False, kw_only=True)
class Scope:
    """What a program may do. Everything by default."""

    #: (N,) shards that may move, (H,) hosts that may receive, beyond what the problem forbids
    shards: Mask | None = None
    hosts: Mask | None = None
    #: every shard counts at both ends until all moves are done; otherwise only after them
    together: bool = False
    #: host rows that cost something to open, whoever receives there
    opened: tuple[int, ...] = ()


@dataclass(eq=False, kw_only=True)
class Model:
    """A program and what its columns mean. ``x[v]``: shard[v] goes to host[v]; ``leave[m]``: row[m] goes at all."""

    problem: Problem
    duties: tuple[Duty, ...]
    scope: Scope
    program: Program
    shard: I64
    host: I64
    x: I64
    row: I64
    leave: I64
    open: dict[int, int]
    #: a duty that nothing could do, whatever room there is
    hopeless: Duty | None = None
    _place: dict[tuple[int, int], int] = field(default_factory=dict)
    _leave: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._place = dict(zip(zip(self.shard.tolist(), self.host.tolist(), strict=True), self.x.tolist(), strict=True))
        self._leave = dict(zip(self.row.tolist(), self.leave.tolist(), strict=True))

    def cost(self, per_shard: F64) -> F64:
        """The objective that counts ``per_shard`` (N,) for every shard that goes."""
        cost = np.zeros(self.program.columns)
        cost[self.leave] = per_shard[self.row]
        return cost

    def column(self, shard: int, host: int = -1) -> int:
        """The column of a shard's going there, or of its going at all; -1 if it cannot."""
        return self._leave.get(shard, -1) if host < 0 else self._place.get((shard, host), -1)

    def leavers(self, host: int) -> I64:
        """The shards of a host that may leave it."""
        return np.asarray(self.row[self.problem.host[self.row] == host], dtype=np.int64)


def build(problem: Problem, duties: tuple[Duty, ...], scope: Scope | None = None) -> Model:
    """The whole program for a problem of at most a few ten thousand ways to move a shard."""
    scope = scope or Scope()
    program = Program()
    plane = tangent.start(problem)
    shard, host = _ways(problem, duties, scope, plane)
    row = np.unique(shard)
    x = program.variables(len(shard))
    leave = program.variables(len(row), whole=False)
    at = np.searchsorted(row, shard)
    everyone = np.arange(len(row))
    program.add(
        np.concatenate([at, everyone]),
        np.concatenate([x, leave]),
        np.concatenate([np.ones(len(x)), -np.ones(len(row))]),
        high=np.zeros(len(row)),
        low=np.zeros(len(row)),
    )
    open_ = {h: int(program.variables(1)[0]) for h in scope.opened}
    model = Model(problem=problem, duties=duties, scope=scope, program=program, shard=shard, host=host, x=x, row=row,
                  leave=leave, open=open_)  # fmt: skip
    _room(model, plane)
    _first(model, plane)
    _opening(model)
    for duty in duties:
        if not _duty(model, duty, plane):
            model.hopeless = model.hopeless or duty
    from sidestep.planning.exact.rules import add_rules  # noqa: PLC0415 — a cycle of types only

    add_rules(model)
    return model


def _ways(problem: Problem, duties: tuple[Duty, ...], scope: Scope, plane: tangent.Plane) -> tuple[I64, I64]:
    """(V,) shards and hosts: every move that rules allow and that an emptied host would have room for."""
    p = problem
    free = p.movable & np.where(p.host >= 0, p.gives[p.host], True)
    free &= True if scope.shards is None else scope.shards
    rows = np.flatnonzero(free).astype(np.int64)
    gone = np.zeros_like(p.limit)
    placed = rows[p.host[rows] >= 0]
    if not scope.together:
        np.add.at(gone, p.host[placed], np.maximum(plane.leaving(p, placed), 0.0))
    accepts = p.accepts & (True if scope.hosts is None else scope.hosts)
    # nothing more comes to what is being emptied
    accepts[[duty.host for duty in duties if duty.host >= 0 and duty.kind in {"drain", "failover"}]] = False
    asks = (p.mean[rows] > 0) | (p.sd[rows] > 0)
    shards, hosts = [], []
    for host in np.flatnonzero(accepts).tolist():
        with np.errstate(invalid="ignore", divide="ignore"):
            unknown = np.isnan((p.room[host] - plane.base[host]) / p.capacity[host])
            least = np.maximum(plane.base[host] - gone[host], 0.0 if p.z >= 0 else -np.inf)
            need = least + plane.coming(p, rows, np.full(len(rows), host))
            fits = (need <= p.room[host] + 1e-9 * np.abs(p.capacity[host])) & ~unknown
        able = (fits | ~asks).all(axis=1) & p.constraints.masks[p.constraints.mask[rows], host] & (p.host[rows] != host)
        shards.append(rows[able])
        hosts.append(np.full(int(able.sum()), host, dtype=np.int64))
    if not shards:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    shard, host_ = np.concatenate(shards), np.concatenate(hosts)
    order = np.lexsort((host_, shard))
    return shard[order], host_[order]


def _room(model: Model, plane: tangent.Plane) -> None:
    """Who receives has room for it in every column that it asks for."""
    p, width = model.problem, model.problem.limit.shape[1]
    every = np.unique(model.host)
    if not len(every):
        return
    room, base = p.room[every], plane.base[every]
    come = plane.coming(p, model.shard, model.host)
    at = np.searchsorted(every, model.host)
    most = np.zeros_like(room)
    np.add.at(most, at, np.maximum(come, 0.0))
    over = base > room + 1e-9 * np.abs(p.capacity[every])
    keep = np.isfinite(room) & np.isfinite(base) & (over | (base + most > room))
    scale = np.maximum(np.maximum(np.abs(room), np.abs(base)), 1e-12)
    number = np.where(keep, np.cumsum(keep.ravel()).reshape(keep.shape) - 1, -1)
    high = (room - base) / scale
    entries = [_spread(number[at], model.x, come / scale[at])]
    if not model.scope.together:
        going = np.isin(p.host[model.row], every)
        where = np.searchsorted(every, p.host[model.row[going]])
        fall = plane.leaving(p, model.row[going])
        entries.append(_spread(number[where], model.leave[going], -fall / scale[where]))
    #: a column over its room binds only if somebody comes who asks for it
    asks = (p.mean[model.shard] > 0) | (p.sd[model.shard] > 0)
    for index in np.flatnonzero((over & keep).any(axis=1)).tolist():
        columns = np.flatnonzero(over[index] & keep[index])
        ways = np.flatnonzero(at == index)
        kinds, which = np.unique(asks[np.ix_(ways, columns)], axis=1, return_inverse=True)
        binds = model.program.variables(kinds.shape[1])
        for kind in range(kinds.shape[1]):
            who = ways[kinds[:, kind]]
            rows = np.arange(len(who))
            model.program.add(
                np.concatenate([rows, rows]),
                np.concatenate([model.x[who], np.full(len(who), binds[kind])]),
                np.concatenate([np.ones(len(who)), -np.ones(len(who))]),
                high=np.zeros(len(who)),
            )
        entries.append((number[index, columns], binds[which.ravel()], -high[index, columns]))
        high[index, columns] = 0.0
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    assert width == keep.shape[1]
    model.program.add(row, column, value, high=high[keep] + 1e-9)


def _first(model: Model, plane: tangent.Plane) -> None:
    """Some move comes first, so at least one is of those that there is room for now."""
    p = model.problem
    need = plane.base[model.host] + plane.coming(p, model.shard, model.host)
    asks = (p.mean[model.shard] > 0) | (p.sd[model.shard] > 0)
    with np.errstate(invalid="ignore"):
        fits = (need <= p.room[model.host] + 1e-9 * np.abs(p.capacity[model.host])) | ~asks
    able: Mask = np.asarray(fits.all(axis=1), dtype=np.bool_)
    state = State(p)
    for shard in np.unique(model.shard[able]).tolist():
        ways = np.flatnonzero(able & (model.shard == shard))
        able[ways] = state.open(shard)[model.host[ways]]
    model.program.row(model.x[able], np.ones(int(able.sum())), low=1.0)


def _spread(number: I64, column: I64, value: F64) -> tuple[I64, I64, F64]:
    """Entries of one variable in many rows: ``number`` and ``value`` are (V, D), rows below 0 are none."""
    at, col = np.nonzero((number >= 0) & (value != 0))
    return number[at, col], column[at], value[at, col]


def _opening(model: Model) -> None:
    for host, column in model.open.items():
        who = model.x[model.host == host]
        rows = np.arange(len(who))
        model.program.add(
            np.concatenate([rows, rows]),
            np.concatenate([who, np.full(len(who), column)]),
            np.concatenate([np.ones(len(who)), -np.ones(len(who))]),
            high=np.zeros(len(who)),
        )


def _duty(model: Model, duty: Duty, plane: tangent.Plane) -> bool:
    """The rows of a duty; False if no move could do it."""
    if duty.kind == "contention":
        return contention(model, duty, plane)
    program, p = model.program, model.problem
    if duty.kind == "rule":
        picked = [
            int(column)
            for shard in duty.shards
            for column, host in zip(model.x[model.shard == shard], model.host[model.shard == shard], strict=True)
            if away_from(p, duty, shard, int(host))
        ]
        program.row(np.array(picked, dtype=np.int64), np.ones(len(picked)), low=float(duty.least))
        return len(picked) >= duty.least
    columns = [model.column(s) for s in duty.shards if not away_from(p, duty, s, int(p.host[s]))]
    if any(column < 0 for column in columns):
        return False
    for column in columns:
        program.row(np.array([column]), np.ones(1), low=1.0)
    return True


def contention(model: Model, duty: Duty, plane: tangent.Plane) -> bool:
    """The rows of a host that is to be relieved; False if not even all departures would do."""
    p, program, host = model.problem, model.program, duty.host
    base, limit, room = plane.base[host], p.limit[host], p.room[host]
    own = model.leavers(host)
    columns = [np.array([model.column(s) for s in own.tolist()], dtype=np.int64), model.x[model.host == host]]
    values = [-plane.leaving(p, own), plane.coming(p, model.shard[model.host == host], model.host[model.host == host])]
    column, value = np.concatenate(columns), np.concatenate(values)
    scale = np.maximum(np.maximum(np.abs(limit), np.abs(base)), 1e-12)
    scale = np.where(np.isfinite(scale), scale, 1.0)

    def rows(which: I64, high: F64) -> None:
        index = np.repeat(np.arange(len(which)), len(column))
        entry = (value[:, which] / scale[which]).T.ravel()
        program.add(index, np.tile(column, len(which)), entry, high=(high - base[which]) / scale[which] + 1e-9)

    # nothing that comes takes a column above its room: only where it is above now, or room is above the limit
    with np.errstate(invalid="ignore"):
        above = (base > limit) | ((room > limit) & np.isfinite(limit))
    width = max(1, min(p.duration, p.steps))
    always = np.flatnonzero(above) if width == 1 else np.flatnonzero(above[p.timed :]) + p.timed
    rows(always, limit[always])
    which, target = peaks(p, duty)
    rows(which, target)
    for at in range(0, p.timed if width > 1 else 0, p.steps):
        _runs(model, above[at : at + p.steps], at, width, (column, value / scale, (base - limit) / scale))
    reach = base - np.maximum(-values[0], 0.0).sum(axis=0)
    return not (reach[always] > limit[always] * (1 + 1e-9) + 1e-12).any() or p.z < 0


def _runs(model: Model, above: Mask, at: int, width: int, parts: tuple[I64, F64, F64]) -> None:
    """In every ``width`` steps running at least one is not above the limit."""
    program = model.program
    column, value, excess = parts
    below: dict[int, int] = {}
    for step in np.flatnonzero(above).tolist():
        below[step] = int(program.variables(1)[0])
        # as high as it can be anyhow, less that if it is to be below
        most = max(0.0, float(excess[at + step])) + float(np.maximum(value[:, at + step], 0.0).sum())
        program.row(
            np.append(column, below[step]),
            np.append(value[:, at + step], most),
            high=most - float(excess[at + step]) + 1e-9,
        )
    for first in range(len(above) - width + 1):
        if above[first : first + width].all():
            picked = [below[step] for step in range(first, first + width)]
            program.row(np.array(picked), np.ones(width), low=1.0)
