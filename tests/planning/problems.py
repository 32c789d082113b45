"""Planning problems made by a seed: what tests of the planner's cores share."""

from __future__ import annotations

import numpy as np

from sidestep.planning.model import Constraints, Duty, Problem


def problem(
    seed: int = 0,
    hosts: int = 6,
    shards: int = 30,
    *,
    dimensions: int = 2,
    steps: int = 3,
    duration: int = 1,
    fill: float = 0.7,
    hot: int = 2,
    noise: float = 0.0,
    zones: int = 0,
    apps: int = 6,
    pairs: int = 0,
    pinned: float = 0.0,
) -> Problem:
    """A fleet at ``fill`` of its limits of which ``hot`` hosts grow beyond them towards the last step.

    ``noise`` is the shards' standard deviation as a fraction of their mean; 0 is a linear problem.
    ``apps`` are groups with at most one shard a host; ``zones`` at most a fair share a zone.
    """
    rng = np.random.default_rng(seed)
    width = dimensions * steps
    size = rng.lognormal(0.0, 0.7, shards)
    profile = rng.dirichlet(np.ones(dimensions) * 3.0, shards) * dimensions
    wave = 1.0 + 0.2 * np.sin(np.arange(steps)[None] + rng.uniform(0, 6.28, shards)[:, None])
    mean = (size[:, None] * profile)[:, :, None] * wave[:, None, :]
    at = np.zeros(shards, dtype=np.int32)
    load = np.zeros((hosts, dimensions))
    app = rng.integers(0, max(apps, 1), shards)
    for row in np.argsort(-size).tolist():
        order = np.argsort((load + mean[row, :, 0]).max(axis=1), kind="stable")
        taken = at[:row][app[:row] == app[row]] if apps else at[:0]
        free = [h for h in order.tolist() if h not in taken] or order.tolist()
        at[row] = free[0]
        load[free[0]] += mean[row, :, 0]
    use = np.zeros((hosts, dimensions, steps))
    np.add.at(use, at, mean)
    limit = np.broadcast_to(use.max(axis=2).mean(axis=0) / fill, (hosts, dimensions)).copy()
    growth = np.linspace(0.0, 1.0, steps)
    for host in rng.permutation(hosts)[:hot].tolist():
        rows, dim = np.flatnonzero(at == host), int(rng.integers(dimensions))
        now = float(use[host, dim].max())
        if now > 0 and len(rows):
            extra = rng.uniform(1.05, 1.3) * limit[host, dim] - now
            mean[rows, dim] *= 1.0 + max(extra, 0.0) / now * growth
    sd = (mean * noise).astype(np.float32).reshape(shards, width)
    mean = mean.astype(np.float32).reshape(shards, width)
    sums = [np.zeros((hosts, width)) for _ in range(3)]
    for into, part in zip(sums, (mean, sd.astype(np.float64) ** 2, sd), strict=True):
        np.add.at(into, at, part)
    rho, z = 0.3, 1.2816 if noise else 0.0
    edge = np.repeat(limit, steps, axis=1)
    domains = np.stack([np.arange(hosts), np.arange(hosts) % max(zones, 1)]).astype(np.int32)
    groups: list[tuple[int, int, list[int]]] = []
    for number in range(apps):
        rows_of = np.flatnonzero(app == number).tolist()
        if len(rows_of) > 1:
            groups.append((0, max(1, int(np.bincount(at[rows_of]).max())), rows_of))
            if zones:
                groups.append((1, -(-len(rows_of) // zones) + 1, rows_of))
    chosen = rng.integers(0, shards, (pairs, 2))
    return Problem(
        dimensions=dimensions,
        steps=steps,
        duration=duration,
        rho=rho,
        z=z,
        limit=edge,
        room=edge.copy(),
        capacity=edge / 0.8,
        median=sums[0],
        away=z * np.sqrt((1 - rho) * sums[1] + rho * sums[2] ** 2),
        variance=sums[1],
        deviation=sums[2],
        accepts=np.ones(hosts, dtype=np.bool_),
        gives=np.ones(hosts, dtype=np.bool_),
        cost=np.ones(hosts),
        rank=np.arange(hosts, dtype=np.int64),
        host=at,
        mean=mean,
        sd=sd,
        movable=rng.random(shards) >= pinned,
        bytes=size * 1e6,
        count=np.ones(shards, dtype=np.int32),
        priority=rng.integers(1, 6, shards).astype(np.int32),
        constraints=Constraints.make(
            hosts, shards, domains=domains, groups=groups, pairs=[(int(a), int(b)) for a, b in chosen if at[a] != at[b]]
        ),
    )


def contentions(made: Problem) -> tuple[Duty, ...]:
    """One duty for every host in contention, soonest first."""
    upper = made.median + made.away
    duties = []
    for host in np.flatnonzero(made.held(upper, made.limit)).tolist():
        over = upper[host] > made.limit[host]
        columns = tuple(np.flatnonzero(over).tolist())
        lead = float(min((c % made.steps for c in columns if c < made.timed), default=0))
        duties.append(Duty(kind="contention", host=host, lead=lead, columns=columns))
    return tuple(sorted(duties, key=lambda d: (d.lead, d.host)))
