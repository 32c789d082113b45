"""Booking single moves on the sums in numpy, and what a host's shards could do elsewhere, as one matrix.

The path without compiled code; the compiled kernels book the same sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.rebalance.model import I64
from sidestep.planning.rebalance.state import EXCESS, MOST, SHORT, TOTAL, UNMET, State

#: what stands in a matrix of rises where a shard may not go
NEVER = 2**62


def rises(state: State, at: int, shards: NDArray[np.int32]) -> I64:
    """(K, H) by how much the cost rises elsewhere when each of the shards of host ``at`` goes to each host alone.

    What the host itself then saves is not in it (``saved``). ``NEVER`` where capacity or another
    shard of the app stands against it; spread, needs and what the app with most moves costs are
    not looked at.
    """
    hosts, dims = state.room.shape
    everywhere = np.arange(hosts)
    demand = state.demand[shards]
    back = state.home[shards][:, None] == everywhere
    free = np.ones((len(shards), hosts), dtype=np.bool_)
    rise = np.zeros((len(shards), hosts), dtype=np.int64)
    for r in range(dims):
        enough = state.room[None, :, r] >= demand[:, None, r]
        free &= (enough | back) if state.transient[r] else enough
    for c in range(state.over.shape[1]):
        rise += np.maximum(state.over[None, :, c] + demand[:, None, c], 0) * state.weight[c]
    rise -= state.cost
    away = state.move_cost[shards][:, None] + state.way_cost[state.home[shards]]
    rise += np.where(back, 0, away) - np.where(back[:, at], 0, away[:, at])[:, None]
    row = state.many[state.app[shards]]
    taken = (state.on[row] > 0) & (row >= 0)[:, None]
    full = state.filled >= state.rows.shape[1]
    free &= ~taken & ~full
    free[:, at] = False
    return np.where(free, rise, NEVER)


def saved(state: State, at: int, shards: NDArray[np.int32]) -> I64:
    """(K,) what a host saves when each of its shards leaves it alone."""
    return np.asarray(state.cost[at] - np.maximum(state.over[at] - state.demand[shards], 0) @ state.weight)


def allowed(state: State, shard: int, to: int) -> bool:
    """Whether a move leaves as many domains and needs met as there are."""
    app, at = int(state.app[shard]), int(state.host[shard])
    row = int(state.many[app])
    d1, d2 = int(state.domain[at]), int(state.domain[to])
    if row >= 0 and d1 != d2:
        domains = state.per_domain[row]
        after = int(state.domains[row]) - int(domains[d1] == 1) + int(domains[d2] == 0)
        if after < min(int(state.spread[app]), int(state.domains[row])):
            return False
    z1, z2 = int(state.zone[at]), int(state.zone[to])
    if z1 == z2:
        return True
    needs = state.need[state.need_at[app] : state.need_at[app + 1]]
    if state.near[app, z2] == 0 and (state.near[needs, z2] == 0).any():
        return False
    users = state.needed[state.needed_at[app] : state.needed_at[app + 1]]
    return not (state.near[app, z1] == 1 and (state.near[users, z1] > 0).any())


def move(state: State, shard: int, to: int) -> None:
    """Book a move that was found to be allowed, costs and all."""
    at, app, home = int(state.host[shard]), int(state.app[shard]), int(state.home[shard])
    if at == to:
        return
    demand = state.demand[shard]
    dims = state.room.shape[1]
    state.over[at] -= demand
    state.over[to] += demand
    still = state.transient.astype(np.bool_)
    state.room[at] += np.where(still & (home == at), 0, demand[:dims])
    state.room[to] -= np.where(still & (home == to), 0, demand[:dims])
    for host in (at, to):
        state.excess[host] = -np.minimum(state.room[host], 0).sum()
        state.room_in[:, host] = state.room[host]
        state.over_in[:, host] = state.over[host]
    ways = [0 if host == home else int(state.move_cost[shard] + state.way_cost[home, host]) for host in (at, to)]
    state.sums[TOTAL] += ways[1] - ways[0]
    for host in (at, to):
        cost = int(np.maximum(state.over[host], 0) @ state.weight)
        state.sums[TOTAL] += cost - state.cost[host]
        state.cost[host] = cost
    state.sums[EXCESS] = state.excess.sum()
    _book_app(state, app, at, to)
    if home in (at, to):
        _book_moved(state, app, 1 if home == at else -1)
    row, last = int(state.slot[shard]), int(state.rows[at, state.filled[at] - 1])
    state.rows[at, row] = last
    state.slot[last] = row
    state.filled[at] -= 1
    state.rows[to, state.filled[to]] = shard
    state.slot[shard] = state.filled[to]
    state.filled[to] += 1
    state.host[shard] = to


def _book_app(state: State, app: int, at: int, to: int) -> None:
    row = int(state.many[app])
    if row >= 0:
        state.sums[SHORT] -= max(0, int(state.spread[app] - state.domains[row]))
        state.on[row, at] -= 1
        state.on[row, to] += 1
        state.per_domain[row, state.domain[at]] -= 1
        state.per_domain[row, state.domain[to]] += 1
        state.domains[row] = np.count_nonzero(state.per_domain[row])
        state.sums[SHORT] += max(0, int(state.spread[app] - state.domains[row]))
    for zone, step in ((int(state.zone[at]), -1), (int(state.zone[to]), 1)):
        state.sums[UNMET] -= _unmet(state, app, zone)
        state.near[app, zone] += step
        state.sums[UNMET] += _unmet(state, app, zone)


def _unmet(state: State, app: int, zone: int) -> int:
    """Unmet needs in a neighbourhood in which the app has a part."""
    needs = state.need[state.need_at[app] : state.need_at[app + 1]]
    users = state.needed[state.needed_at[app] : state.needed_at[app + 1]]
    own = int((state.near[needs, zone] == 0).sum()) if state.near[app, zone] else 0
    return own + (0 if state.near[app, zone] else int((state.near[users, zone] > 0).sum()))


def _book_moved(state: State, app: int, step: int) -> None:
    state.moved_apps[state.moved[app]] -= 1
    state.moved[app] += step
    state.moved_apps[state.moved[app]] += 1
    most = int(np.flatnonzero(state.moved_apps)[-1])
    state.sums[TOTAL] += int(state.app_weight[0]) * (most - int(state.sums[MOST]))
    state.sums[MOST] = most
