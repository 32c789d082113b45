"""Small made problems of the general kind, feasible from the start."""

from __future__ import annotations

import fcntl
from functools import cache
from pathlib import Path

import numpy as np

from sidestep.planning.rebalance import Reassignment, Settings, broken_by, rebalance


@cache
def compile_once() -> None:
    """Have the search's loops compiled by one of the processes that run tests; the others read what it kept."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rebalance(made(0), Settings(1_000, 0, True))


def made(
    seed: int,
    *,
    hosts: int = 8,
    shards: int = 40,
    dims: int = 3,
    apps: int = 12,
    domains: int = 4,
    neighbourhoods: int = 2,
    needs: int = 4,
    balances: int = 1,
    fill: float = 0.7,
) -> Reassignment:
    """Shards of random sizes where they fit, apps apart from each other, some needs that hold."""
    random = np.random.default_rng(seed)
    app = random.integers(0, apps, shards)
    home = np.zeros(shards, np.int64)
    for each in range(apps):
        rows = np.flatnonzero(app == each)
        rows_on = random.permutation(hosts)
        home[rows] = rows_on[np.arange(len(rows)) % hosts]
        app[rows[hosts:]] = -1
    extra = np.flatnonzero(app < 0)
    app[extra] = apps + np.arange(len(extra))
    apps += len(extra)
    demand = random.integers(1, 60, (shards, dims))
    demand[random.random((shards, dims)) < 0.1] = 0
    use = np.zeros((hosts, dims), np.int64)
    np.add.at(use, home, demand)
    capacity = np.maximum(use + random.integers(0, 30, use.shape), int(use.mean() / fill))
    domain, neighbourhood = np.arange(hosts) % domains, random.integers(0, neighbourhoods, hosts)
    near = np.zeros((apps, neighbourhoods), np.bool_)
    near[app, neighbourhood[home]] = True
    spread = np.array([len(set(domain[home[app == each]].tolist())) for each in range(apps)])
    pairs = random.integers(0, apps, (needs * 4, 2))
    holds = [(a, b) for a, b in pairs.tolist() if not (near[a] & ~near[b]).any()][:needs]
    problem = Reassignment(
        capacity=capacity,
        safety=(capacity * random.uniform(0.5, 0.9, capacity.shape)).astype(np.int64),
        domain=domain,
        neighbourhood=neighbourhood,
        transient=random.random(dims) < 0.4,
        weight=random.integers(1, 12, dims),
        demand=demand,
        app=app,
        home=home,
        move_cost=random.integers(0, 5, shards),
        spread=np.maximum(spread - random.integers(0, 2, apps), 0),
        needs=np.array(holds, dtype=np.int64).reshape(-1, 2),
        host_move_cost=random.integers(0, 3, (hosts, hosts)) * (1 - np.eye(hosts, dtype=np.int64)),
        balances=np.array([[0, 1, 2]] * balances, dtype=np.int64).reshape(-1, 3),
        balance_weight=np.full(balances, 7),
        move_weight=1,
        app_weight=10,
        host_weight=5,
    )
    assert not broken_by(problem, home)
    return problem
