"""From a snapshot and a forecast to a planning problem and what must be done about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.actions import Applied
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Reason
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.constraints import NO_CONSTRAINTS, ConstraintMaker, Judged, judge
from sidestep.planning.goals.about import About
from sidestep.planning.ladder.leaving import failover
from sidestep.planning.ladder.remedy import Remedy
from sidestep.planning.load import Load, Quantile, read
from sidestep.planning.model import Duty, Move, Problem
from sidestep.planning.rows import DOMAINS, Rows, bundle, domains
from sidestep.planning.rows import constraints as declared
from sidestep.planning.rules import Rules

F64 = NDArray[np.float64]
Number = TypeVar("Number", np.float32, np.float64, np.int32)
#: levels of duties: what is done first
RULE, FAILOVER, DRAIN, CONTENTION = range(4)


@dataclass(frozen=True, eq=False, kw_only=True)
class Taken:
    """What a plugin offers for a shard, by rows, and the plan takes."""

    shard: int
    host: int
    applied: Applied


@dataclass(frozen=True, eq=False)
class Built:
    """One planning problem with the names that its rows stand for."""

    load: Load
    rules: Rules
    rows: Rows
    policy: Policy
    problem: Problem
    duties: tuple[Duty, ...]
    #: by host row, soonest first
    contentions: dict[int, list[Contention]]
    #: so many hosts are dead that it is likelier that we are blind: nothing is started elsewhere
    brake: bool = False
    #: shards whose limits are lowered before anything moves; ``problem`` is the one afterwards
    resized: tuple[Remedy, ...] = ()
    #: what constraints of plugins say; ``problem`` keeps them
    judged: Judged = NO_CONSTRAINTS
    #: actions of plugins that are done before anything moves; ``problem`` is the one afterwards. And those that failed
    applied: tuple[Taken, ...] = ()
    muted: tuple[Reason, ...] = ()

    def shards(self, move: Move) -> tuple[Move, ...]:
        """A move of a row as moves of its shards."""
        return tuple(move._replace(shard=shard) for shard in self.rows.shards[move.shard])

    def stricter(self, quantile: Quantile) -> Problem:
        """The same problem with every host judged at a higher quantile."""
        return replace(self.problem, z=quantile.z, away=_columns(quantile.deviation, self.problem))

    def gentler(self, problem: Problem, hosts: frozenset[int], quantile: Quantile) -> Problem:
        """The same problem with some hosts judged at a lower quantile than destinations are.

        They receive nothing: who is only just relieved has no room.
        """
        at = sorted(hosts)
        away, accepts = problem.away.copy(), problem.accepts.copy()
        away[at] = _columns(quantile.deviation[at], problem)
        accepts[at] = False
        return replace(problem, away=away, accepts=accepts)


def build(
    snapshot: Snapshot,
    forecast: Forecast,
    policy: Policy,
    placement: Placement,
    fleet: FleetSpec,
    *,
    busy: frozenset[str] = frozenset(),
    settling: frozenset[str] = frozenset(),
    load: Load | None = None,
    constraints: Mapping[str, ConstraintMaker] | Judged | None = None,
) -> Built:
    """The problem of one instant. The forecast's rows must be the snapshot's.

    ``constraints`` are those of plugins by name, or what they said of this snapshot before.
    Raises ConstraintFault if one that the policy names cannot be judged.
    """
    load = load or read(snapshot, forecast, policy)
    rules = Rules(snapshot, placement, fleet, busy, settling)
    movable = np.array([not code for code in rules.kept], dtype=np.bool_) & load.known
    rows = bundle(snapshot, fleet, movable)
    judged = constraints if isinstance(constraints, Judged) else _judged(policy, rules, rows, constraints)
    problem = _problem(snapshot, load, rules, rows, policy, fleet, movable)
    problem = replace(problem, constraints=judged.narrow(problem.constraints, rows.shards))
    found: dict[int, list[Contention]] = {}
    for contention in load.contentions:
        found.setdefault(rules.host_row[contention.host], []).append(contention)
    dead = _dead(snapshot, problem, policy)
    staying = _staying(rules, rows, dead, problem)
    rescued = _rescued(problem, dead, staying)
    brake = False
    if rescued:
        problem = _assumed(problem, load, rules, rows, fleet, rescued)
        limits = fleet.failover
        lost = failover(
            problem, dead, poisoned=staying, gone=_gone(snapshot), most=limits.brake_hosts, share=limits.brake_share
        )
        problem, brake = lost.problem, bool(lost.code)
    if rescued and not brake:  # whatever else there is to do waits for the next plan, and costs no churn of its own
        policy = msgspec.structs.replace(policy, max_moves=max(policy.max_moves, len(rescued)))
        duties = _failovers(problem, dead, staying)
    else:
        duties = (
            *_rules(problem),
            *_failovers(problem, dead, staying),
            *_drains(snapshot, problem),
            *_contentions(problem, found, policy),
        )
    return Built(load, rules, rows, policy, problem, duties, found, brake=brake, judged=judged)


def _judged(policy: Policy, rules: Rules, rows: Rows, constraints: Mapping[str, ConstraintMaker] | None) -> Judged:
    """What the policy's constraints say of a snapshot. Raises ConstraintFault."""
    if not policy.constraints:
        return NO_CONSTRAINTS
    about = About(
        fleet=rules.fleet, hosts=rules.host_names, names=rules.shard_names, apps=rules.snapshot.shards.apps,
        shards=rows.shards, domains=domains(rules.snapshot),
    )  # fmt: skip
    return judge(policy.constraints, about, constraints)


def _problem(
    snapshot: Snapshot,
    load: Load,
    rules: Rules,
    rows: Rows,
    policy: Policy,
    fleet: FleetSpec,
    movable: NDArray[np.bool_],
) -> Problem:
    hosts, steps = len(rules.host_names), load.median.shape[2]
    mean = load.shard_mean.reshape(len(load.shard_mean), PLANNED * steps)
    sd = load.shard_sd.reshape(mean.shape)
    mean, sd = np.nan_to_num(mean), np.nan_to_num(sd)
    disk, asked = _disk(snapshot)
    if disk is not None:
        mean = np.concatenate([mean, asked[:, None].astype(np.float32)], axis=1)
        sd = np.concatenate([sd, np.zeros((len(sd), 1), np.float32)], axis=1)
    where, size, priority = rules.host, load.bytes, snapshot.shards.priority
    count = np.ones(len(where), dtype=np.int32)
    if not rows.plain:
        first = np.array([part[0] for part in rows.shards], dtype=np.int64)
        mean, sd = _added(mean, rows), _added(sd, rows)
        size, count = _added(size, rows), _added(count, rows)
        where = where[first]
        priority = np.minimum.reduceat(priority[_order(rows)], _starts(rows)).astype(np.int32)
        movable = np.logical_and.reduceat(movable[_order(rows)], _starts(rows))
        variance, deviation = _sums(where, sd, hosts)
    else:
        variance, deviation = (_wide(part, disk) for part in (load.variance, load.deviation))
    limit = _columns_of(load.limit, steps, np.inf if disk is None else disk, disk is not None)
    capacity = _columns_of(load.capacity, steps, 1.0, disk is not None)
    if disk is not None:
        capacity[:, -1] = np.where(np.isfinite(disk), disk, 1.0)
    median = _wide(load.median, disk)
    if disk is not None:
        placed = where >= 0
        median[:, -1] = np.bincount(where[placed], weights=mean[placed, -1], minlength=hosts)
    spec = {host.name: host for host in fleet.hosts}
    cost = np.array([spec[n].cost if n in spec else 0.0 for n in rules.host_names], dtype=np.float64)
    standby = np.array([n in spec and spec[n].standby for n in rules.host_names], dtype=np.bool_)
    made = declared(snapshot, fleet, rows)
    return Problem(
        dimensions=PLANNED,
        steps=steps,
        duration=load.duration,
        rho=load.rho,
        z=load.strict.z,
        limit=limit,
        room=limit * (1.0 - _kept_free(load, policy, made.domains))[:, None],
        capacity=capacity,
        median=median,
        away=_wide(load.strict.deviation, disk),
        variance=variance,
        deviation=deviation,
        accepts=rules.accepts & ~standby,
        gives=np.array([not rules.gives(row) for row in range(hosts)], dtype=np.bool_),
        cost=cost,
        rank=rules.rank.astype(np.int64),
        host=where.astype(np.int32),
        mean=mean.astype(np.float32, copy=False),
        sd=sd.astype(np.float32, copy=False),
        movable=movable,
        bytes=size,
        count=count,
        priority=priority.astype(np.int32),
        constraints=made,
    )


def _kept_free(load: Load, policy: Policy, domains: NDArray[np.int32]) -> F64:
    """(H,) the share of every limit that stays free so that the loss of one failure domain can be borne.

    The largest domain's share of the fleet's cores: what it holds then fits beside the rest.
    """
    if not policy.tolerate or not len(load.capacity):
        return np.zeros(len(load.capacity))
    domain = domains[DOMAINS.index(policy.tolerate)]
    cores = np.nan_to_num(load.capacity[:, 0])
    share = np.bincount(domain, weights=cores).max() / max(float(cores.sum()), 1e-9)
    return np.full(len(cores), min(float(share), 1.0))


def _disk(snapshot: Snapshot) -> tuple[F64 | None, F64]:
    """(H,) storage of the hosts, infinite where it is not known, and (N,) what shards take; None if nobody says."""
    asked = np.nan_to_num(snapshot.shards.disk) if snapshot.shards.disk.size else np.zeros(len(snapshot.shards.names))
    if not snapshot.hosts.disk.size or not np.isfinite(snapshot.hosts.disk).any():
        return None, asked
    return np.where(np.isfinite(snapshot.hosts.disk), snapshot.hosts.disk, np.inf), asked


def _wide(values: F64, disk: F64 | None) -> F64:
    """(H, D) of (H, R, T); what does not change over time is certain."""
    flat = values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)
    return flat if disk is None else np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)


def _columns_of(values: F64, steps: int, last: float | F64, more: bool) -> F64:
    """(H, D) of (H, R), the same at every step."""
    flat = np.repeat(values.astype(np.float64), steps, axis=1)
    if not more:
        return flat
    return np.concatenate([flat, np.broadcast_to(np.asarray(last, dtype=np.float64), len(flat))[:, None]], axis=1)


def _columns(deviation: F64, problem: Problem) -> F64:
    """(k, D) of (k, R, T)."""
    flat = deviation.reshape(len(deviation), math.prod(deviation.shape[1:]))
    more = problem.limit.shape[1] - flat.shape[1]
    return np.concatenate([flat, np.zeros((len(flat), more))], axis=1) if more else flat


def _order(rows: Rows) -> NDArray[np.int64]:
    return np.concatenate([np.array(part, dtype=np.int64) for part in rows.shards])


def _starts(rows: Rows) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(part) for part in rows.shards])[:-1]]).astype(np.int64)


def _added(values: NDArray[Number], rows: Rows) -> NDArray[Number]:
    """Sums over the shards of every row."""
    return np.asarray(np.add.reduceat(values[_order(rows)], _starts(rows), axis=0), dtype=values.dtype)


def _sums(host: NDArray[np.int32], sd: NDArray[np.float32], hosts: int) -> tuple[F64, F64]:
    variance, deviation = np.zeros((hosts, sd.shape[1])), np.zeros((hosts, sd.shape[1]))
    placed = host >= 0
    np.add.at(deviation, host[placed], sd[placed].astype(np.float64))
    np.add.at(variance, host[placed], sd[placed].astype(np.float64) ** 2)
    return variance, deviation


def _rules(problem: Problem) -> tuple[Duty, ...]:
    """Broken rules, which are repaired before anything else; a step of a repair is better than none."""
    duties: list[Duty] = []
    at, rules = problem.host, problem.constraints
    for kind, group, members in rules.broken(at):
        most = len(members) - int(rules.most[group]) if kind == "group" else 1
        for least in range(1, most + 1):
            host = int(at[members[0]])
            duties.append(Duty(kind="rule", host=host, level=RULE, shards=members, least=least, group=group))
    return tuple(duties)


def _dead(snapshot: Snapshot, problem: Problem, policy: Policy) -> tuple[int, ...]:
    """Dead hosts that are given up and hold shards, if the policy plans for them."""
    if "failover" not in policy.kinds:
        return ()
    rows = np.flatnonzero(snapshot.hosts.lost).tolist()
    return tuple(row for row in rows if snapshot.hosts.states[row] is HostState.DEAD and len(problem.on(row)))


def _gone(snapshot: Snapshot) -> int:
    """How many hosts are DEAD: also those that are not given up yet may mean that we are blind."""
    return sum(state is HostState.DEAD for state in snapshot.hosts.states)


def _staying(rules: Rules, rows: Rows, dead: tuple[int, ...], problem: Problem) -> frozenset[int]:
    """Rows that are started nowhere else: a shard of them waits, or crashes its hosts (lesson 11), or moves."""
    shards = rules.snapshot.shards

    def stays(shard: int) -> bool:
        poisoned = shards.states[shard] is ShardState.POISONED
        return poisoned or shard in shards.stays or rules.kept[shard] in ("BUSY", "SETTLING", "DISPUTED")

    there = [row for host in dead for row in problem.on(host).tolist()]
    return frozenset(row for row in there if any(map(stays, rows.shards[row])))


def _rescued(problem: Problem, dead: tuple[int, ...], staying: frozenset[int]) -> tuple[int, ...]:
    """Rows that are to be started elsewhere, the most important first."""
    there = [row for host in dead for row in problem.on(host).tolist() if row not in staying]
    return tuple(sorted(there, key=lambda row: (int(problem.priority[row]), row)))


def _assumed(
    problem: Problem, load: Load, rules: Rules, rows: Rows, fleet: FleetSpec, rescued: tuple[int, ...]
) -> Problem:
    """The problem with a demand for shards that were not seen for too long to have one: what they are guaranteed,
    but no less than shards take here in the middle."""
    blind = [row for row in rescued if not all(load.known[shard] for shard in rows.shards[row])]
    if not blind:
        return problem
    mean, columns = problem.mean.copy(), PLANNED * problem.steps
    seen = problem.mean[[row for row in range(len(mean)) if all(load.known[s] for s in rows.shards[row])]]
    middle = np.median(seen[:, :columns], axis=0) if len(seen) else np.zeros(columns)
    known = {spec.name: spec for spec in fleet.shards}
    for row in blind:
        specs = [known[name] for shard in rows.shards[row] if (name := rules.shard_names[shard]) in known]
        asked = [sum(spec.guarantee_cpu for spec in specs), sum(spec.guarantee_memory for spec in specs)]
        mean[row, :columns] = np.maximum(np.repeat(np.array(asked, dtype=np.float64), problem.steps), middle)
    return replace(problem, mean=mean)


def _failovers(problem: Problem, dead: tuple[int, ...], staying: frozenset[int]) -> tuple[Duty, ...]:
    """Dead hosts, shard by shard, so that some are better than none."""
    lost = _rescued(problem, dead, staying)
    return tuple(Duty(kind="failover", host=int(problem.host[row]), level=FAILOVER, shards=(row,)) for row in lost)


def _drains(snapshot: Snapshot, problem: Problem) -> tuple[Duty, ...]:
    """Hosts that are being emptied."""
    duties: list[Duty] = []
    for row, state in enumerate(snapshot.hosts.states):
        if state is HostState.DRAINING and problem.gives[row]:
            duties += [Duty(kind="drain", host=row, level=DRAIN, shards=(s,)) for s in problem.on(row).tolist()]
    return tuple(duties)


def _contentions(problem: Problem, found: dict[int, list[Contention]], policy: Policy) -> tuple[Duty, ...]:
    duties = []
    for row, contentions in found.items():
        columns = [
            DIMENSIONS.index(c.dimension) * problem.steps + step for c in contentions for step in range(problem.steps)
        ]
        duties.append(
            Duty(
                kind="contention",
                host=row,
                level=CONTENTION,
                lead=contentions[0].lead,
                columns=tuple(columns),
                gain=policy.min_gain,
            )
        )
    return tuple(duties)
