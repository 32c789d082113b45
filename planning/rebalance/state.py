"""The incremental sums of an assignment, as flat arrays that a compiled loop can walk through.

Balances are written as further dimensions: a balance is a load, with a demand that may be
negative, on a host without capacity in it. So one loop prices both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.rebalance.cost import cost_of, held_of, use_of
from sidestep.planning.rebalance.model import I64, Reassignment

I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

#: places in ``State.sums``
MOST, SHORT, UNMET, EXCESS, TOTAL = range(5)


class State(NamedTuple):
    """What never changes, then what every move changes. H, N, R, A, B as in the model; C = R + B, K apps of several."""

    transient: U8  # (R,)
    weight: I64  # (C,)
    domain: I32  # (H,)
    zone: I32  # (H,) neighbourhood
    demand: I64  # (N, C)
    app: I32  # (N,)
    many: I32  # (A,) row among the apps with several shards, or -1
    home: I32  # (N,)
    move_cost: I64  # (N,) weighted
    way_cost: I64  # (H, H) weighted
    app_weight: I64  # (1,)
    spread: I32  # (A,)
    need_at: I32  # (A + 1,) where an app's needs begin
    need: I32
    needed_at: I32  # (A + 1,) where those that need an app begin
    needed: I32
    shards_at: I32  # (A + 1,) where an app's shards begin
    shards: I32  # (N,)
    hosts_at: I32  # (domains + 1,) where a domain's hosts begin
    hosts: I32  # (H,)

    host: I32  # (N,)
    room: I64  # (H, R) capacity left while all moves run
    excess: I64  # (H,) by how much demand exceeds the capacity, over all dimensions
    over: I64  # (H, C) above the safety level; negative below it
    room_in: I64  # (R, H) room, hosts side by side
    over_in: I64  # (C, H)
    cost: I64  # (H,) load and balance
    on: U8  # (K, H) shards of the app there
    per_domain: I32  # (K, domains)
    domains: I32  # (K,) how many failure domains
    near: I32  # (A, neighbourhoods) shards of the app there
    moved: I32  # (A,) shards away from home
    moved_apps: I64  # (most shards + 2,) how many apps have so many moved shards
    slot: I32  # (N,) place in its host's row
    filled: I32  # (H,) how many shards
    rows: I32  # (H, width) shards of each host; width bounds how many a host may take
    sums: I64  # (5,) most moved shards of an app, domains short of the spread, unmet needs, excess, total cost


def begin(problem: Reassignment, host: I64) -> State:
    """The sums of an assignment ``host`` (N,), in arrays of their own."""
    shards, hosts, apps = problem.shards, problem.hosts, problem.apps
    size = np.bincount(problem.app, minlength=apps)
    several = np.flatnonzero(size > 1)
    many = np.full(apps, -1, np.int32)
    many[several] = np.arange(len(several))
    demand = np.hstack([problem.demand, balance_demand(problem)])
    over = above(problem, use_of(problem, host))
    room = problem.capacity - held_of(problem, host)
    excess = np.maximum(-room, 0).sum(axis=1)
    weight = np.concatenate([problem.weight, problem.balance_weight])
    needs = np.unique(problem.needs[problem.needs[:, 0] != problem.needs[:, 1]], axis=0)
    need_at, need = _grouped(needs[:, 0], needs[:, 1], apps)
    needed_at, needed = _grouped(needs[:, 1], needs[:, 0], apps)
    shards_at, by_app = _grouped(problem.app, np.arange(shards), apps)

    hosts_at, by_domain = _grouped(problem.domain, np.arange(hosts), int(problem.domain.max()) + 1)
    row = many[problem.app]
    part = row >= 0
    on = np.zeros((len(several) + 1, hosts), np.uint8)
    np.add.at(on, (row[part], host[part]), 1)
    per_domain = np.zeros((len(several) + 1, int(problem.domain.max()) + 1), np.int32)
    np.add.at(per_domain, (row[part], problem.domain[host[part]]), 1)
    near = np.zeros((apps, int(problem.neighbourhood.max()) + 1), np.int32)
    np.add.at(near, (problem.app, problem.neighbourhood[host]), 1)
    domains = (per_domain > 0).sum(axis=1).astype(np.int32)
    moved = np.bincount(problem.app[host != problem.home], minlength=apps).astype(np.int32)
    short = int(np.maximum(problem.spread[several] - domains[:-1], 0).sum())
    unmet = int(((near[needs[:, 0]] > 0) & (near[needs[:, 1]] == 0)).sum())

    count = np.bincount(host, minlength=hosts).astype(np.int32)
    width = min(shards, int(count.max(initial=0)) * 2 + 64)
    order = np.argsort(host, kind="stable")
    slot = np.zeros(shards, np.int32)
    slot[order] = np.arange(shards) - np.repeat(np.cumsum(count) - count, count)
    rows = np.full((hosts, max(width, 1)), -1, np.int32)
    rows[host, slot] = np.arange(shards)
    return State(
        problem.transient.astype(np.uint8), weight, problem.domain.astype(np.int32),
        problem.neighbourhood.astype(np.int32), demand, problem.app.astype(np.int32), many,
        problem.home.astype(np.int32), problem.move_cost * problem.move_weight,
        problem.host_move_cost * problem.host_weight, np.array([problem.app_weight]),
        problem.spread.astype(np.int32), need_at, need, needed_at, needed, shards_at, by_app,
        hosts_at, by_domain,
        host.astype(np.int32), room, excess, over,
        room.T.copy(), over.T.copy(),
        (np.maximum(over, 0) * weight).sum(axis=1), on, per_domain, domains, near, moved,
        np.bincount(moved, minlength=int(size.max(initial=0)) + 2).astype(np.int64), slot, count, rows,
        np.array([int(moved.max(initial=0)), short, unmet, int(excess.sum()),
                  cost_of(problem, host).total]),
    )  # fmt: skip


def balance_demand(problem: Reassignment) -> I64:
    """(N, B) by how much each shard raises the shortfall of each balance."""
    first, second, target = problem.balances.T
    return np.asarray(problem.demand[:, second] - target * problem.demand[:, first])


def above(problem: Reassignment, use: I64) -> I64:
    """(H, C) use above the safety level, and shortfall of each balance."""
    free = problem.capacity - use
    first, second, target = problem.balances.T
    return np.hstack([use - problem.safety, target * free[:, first] - free[:, second]])


def _grouped(by: I64, what: I64, groups: int) -> tuple[I32, I32]:
    order = np.argsort(by, kind="stable")
    at = np.zeros(groups + 1, np.int32)
    at[1:] = np.cumsum(np.bincount(by, minlength=groups))
    return at, what[order].astype(np.int32)
