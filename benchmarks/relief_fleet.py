"""Generated fleets for the benchmark of relief: some hosts are going to run hot, by a seed.

Hosts of three classes in three zones; services of 1 to 60 shards that avoid each other's host and stay in
their zone; lognormal sizes, daily curves. The fleet is balanced on the present; then shards of
five percent of the hosts grow until each would be above its limit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.model import Constraints, Duty, Problem

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
DIMENSIONS: Final = 4
STEPS: Final = 12
ZONES: Final = 3
#: limits as parts of capacity
THRESHOLDS: Final = (0.8, 0.9, 0.8, 0.85)
#: of the chosen hosts, what is grown to, in parts of the limit
TARGET: Final = (1.03, 1.35)
#: how many standard deviations a certain demand holds beyond its mean
CUSHION: Final = 0.25
RHO: Final = 0.3
Z: Final = 1.2815515655446004
CHOICES: Final = 6


def fleet(hosts: int, shards: int, fill: float, seed: int, *, uncertain: bool = False) -> Problem:
    """One fleet whose balanced part peaks at ``fill`` of the limits; ``uncertain`` adds the common-factor sums."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([1.0, 1.5, 2.0], hosts, p=[0.5, 0.3, 0.2])
    capacity = kind[:, None] * rng.choice([0.8, 1.0, 1.25], (hosts, DIMENSIONS), p=[0.2, 0.6, 0.2])
    zone = np.arange(hosts) % ZONES
    service = _services(rng, shards)
    count = int(service.max()) + 1
    profile = rng.dirichlet(np.ones(DIMENSIONS) * 2.0, count) * DIMENSIONS
    swing, phase = rng.uniform(0.05, 0.5, count), rng.uniform(0, 2 * np.pi, count)
    variation = rng.uniform(0.05, 0.4, count)
    curve = 1 + swing[:, None] * np.sin(2 * np.pi * np.arange(STEPS) / 24 + phase[:, None])
    base = rng.lognormal(0, 0.9, shards)
    mean = (base[:, None, None] * profile[service][:, :, None] * curve[service][:, None, :]).astype(np.float64)
    mean[:, 1, :] = mean[:, 1, :].mean(axis=1, keepdims=True)  # memory does not follow the day
    wanted = (rng.integers(0, ZONES, count)[service] + np.arange(shards)) % ZONES
    at = _balanced(rng, mean[:, :, 0], capacity, (service, wanted))
    limit = capacity * np.array(THRESHOLDS)
    use = _sums(mean.reshape(shards, -1), at, hosts).reshape(hosts, DIMENSIONS, STEPS)
    scale = fill / (use / limit[:, :, None]).max(axis=(1, 2)).mean()
    mean *= scale
    use *= scale
    _grow(rng, mean, use, at, limit)
    mean = mean.reshape(shards, -1)
    sd = np.zeros((shards, mean.shape[1]), dtype=np.float32)
    if uncertain:
        sd = (mean * variation[service][:, None]).astype(np.float32)
    else:
        mean *= 1 + CUSHION * variation[service][:, None]
    demand = mean.astype(np.float32)
    total, variance, deviation = (_sums(part, at, hosts) for part in (demand, sd.astype(np.float64) ** 2, sd))
    rho, z = (RHO, Z) if uncertain else (0.0, 0.0)
    edge = np.repeat(limit, STEPS, axis=1)
    order = np.argsort(service, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(service[order])) + 1)
    return Problem(
        dimensions=DIMENSIONS,
        steps=STEPS,
        rho=rho,
        z=z,
        limit=edge,
        room=edge.copy(),
        capacity=np.repeat(capacity, STEPS, axis=1),
        median=total,
        away=z * np.sqrt((1 - rho) * variance + rho * deviation**2),
        variance=variance,
        deviation=deviation,
        accepts=np.ones(hosts, dtype=np.bool_),
        gives=np.ones(hosts, dtype=np.bool_),
        cost=np.ones(hosts),
        rank=np.arange(hosts, dtype=np.int64),
        host=at.astype(np.int32),
        mean=demand,
        sd=sd,
        movable=np.ones(shards, dtype=np.bool_),
        bytes=mean[:, STEPS] * rng.uniform(0.5, 2, shards) * 2.0**30,
        count=np.ones(shards, dtype=np.int32),
        priority=np.ones(shards, dtype=np.int32),
        constraints=Constraints.make(
            hosts,
            shards,
            masks=np.stack([zone == z for z in range(ZONES)]),
            mask=zone[at].astype(np.int32),
            groups=[(0, 1, rows) for rows in parts if len(rows) > 1],
        ),
    )


def contentions(made: Problem) -> tuple[Duty, ...]:
    """One duty for every host that is going to run hot, the soonest first."""
    upper = made.median + made.away
    over = upper > made.limit * (1 + 1e-9) + 1e-12
    duties = []
    for host in np.flatnonzero(made.held(upper, made.limit)).tolist():
        columns = np.flatnonzero(over[host])
        lead = float((columns % STEPS).min())
        duties.append(Duty(kind="contention", host=host, lead=lead, columns=tuple(columns.tolist())))
    return tuple(sorted(duties, key=lambda duty: (duty.lead, duty.host)))


def _services(rng: np.random.Generator, shards: int) -> I64:
    count = shards // 8
    weight = rng.pareto(1.3, count) + 0.2
    size = np.clip((weight / weight.sum() * shards).astype(np.int64), 1, 60)
    service = np.repeat(np.arange(count), size)
    if len(service) < shards:
        service = np.concatenate([service, count + np.arange(shards - len(service))])
    service = service[:shards]
    return np.asarray(np.unique(service, return_inverse=True)[1], dtype=np.int64)


def _sums(part: NDArray[np.floating], at: I64, hosts: int) -> F64:
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(hosts))
    out = np.zeros((hosts, part.shape[1]))
    filled = np.bincount(at, minlength=hosts) > 0
    out[filled] = np.add.reduceat(part[order].astype(np.float64), starts[filled], axis=0)
    return out


def _balanced(rng: np.random.Generator, now: F64, capacity: F64, of: tuple[I64, I64]) -> I64:
    """Each shard on the emptiest of some hosts of its zone, the biggest first; no two of a service on one."""
    service, wanted = of
    hosts, shards = len(capacity), len(now)
    at = np.full(shards, -1, dtype=np.int64)
    load = np.zeros_like(capacity)
    used = np.full((int(service.max()) + 1, int(np.bincount(service).max())), -1, dtype=np.int32)
    filled = np.zeros(len(used), dtype=np.int64)
    per_zone = -(-hosts // ZONES)
    order = np.argsort(-now.sum(axis=1), kind="stable")
    width = max(1, hosts // 40)
    for begin in range(0, shards, width):
        todo = order[begin : begin + width]
        while len(todo):
            tries = rng.integers(0, per_zone, (len(todo), CHOICES)) * ZONES + wanted[todo][:, None]
            tries = np.where(tries < hosts, tries, tries - ZONES)
            share = ((load[tries] + now[todo][:, None]) / capacity[tries]).max(axis=2)
            clash = (tries[:, :, None] == used[service[todo]][:, None, :]).any(axis=2)
            pick = tries[np.arange(len(todo)), np.where(clash, np.inf, share).argmin(axis=1)]
            # of one service, or onto one host, only one at a time
            first = np.zeros(len(todo), dtype=np.bool_)
            first[np.unique(service[todo], return_index=True)[1]] = True
            alone = np.zeros(len(todo), dtype=np.bool_)
            alone[np.unique(pick, return_index=True)[1]] = True
            ready = first & alone & ~(clash.all(axis=1) & (rng.random(len(todo)) < 0.95))
            rows, target = todo[ready], pick[ready]
            at[rows] = target
            load[target] += now[rows]
            used[service[rows], filled[service[rows]]] = target
            filled[service[rows]] += 1
            todo = todo[~ready]
    return at


def _grow(rng: np.random.Generator, mean: F64, use: F64, at: I64, limit: F64) -> None:
    """Let shards of five percent of the hosts ramp up until each host is beyond its limit; in place."""
    hosts = len(limit)
    ramp = np.linspace(0, 1, STEPS)
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(hosts + 1))
    for host in rng.choice(hosts, hosts // 20, replace=False).tolist():
        target, dim = rng.uniform(*TARGET), int(rng.choice([0, 2, 3]))
        for row in rng.permutation(order[starts[host] : starts[host + 1]]).tolist():
            if (use[host, dim] / limit[host, dim]).max() >= target:
                break
            more = mean[row, dim] * (rng.uniform(1.3, 2.2) - 1) * ramp
            mean[row, dim] += more
            use[host, dim] += more


def noisy(made: Problem, share: float, seed: int) -> Problem:
    """The same fleet by another forecast: every shard's demand off by a normal ``share``, and the hosts' with it."""
    rng = np.random.default_rng(1_000 + seed)
    factor = np.maximum(1 + share * rng.standard_normal(made.shards), 0.0)
    mean = (made.mean * factor[:, None]).astype(np.float32)
    return replace(made, mean=mean, median=_sums(mean, made.host.astype(np.int64), made.hosts))
