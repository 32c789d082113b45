# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, PLR1730, SIM109, SIM110 - plain loops compile best
"""Compiled moves: what a change of hosts does to the sums, and the walk that tries changes.

Importing this module imports numba: do so only where the extra ``fast`` is wanted. Integers
throughout but for the temperature, no fast maths: the same seed walks the same way anywhere.
Shards and hosts are passed on as 64 bits, or all that takes them would be compiled once for each width.
"""

from __future__ import annotations

import numpy as np

from sidestep.planning.rebalance.jit import inlined
from sidestep.planning.rebalance.state import EXCESS, MOST, SHORT, TOTAL, UNMET

#: kinds of proposals, the order of ``mix`` and ``tally``
SHIFT, UNDO, SWAP, SCAN, PUSH, KIN_SWAP, CHAIN, PAIR, REPLACE = range(9)
KINDS = 9
#: a place in which nothing fits
FAR = 1 << 62


@inlined
def draw(rng):
    """64 random bits (xorshift64*)."""
    z = rng[0]
    z ^= z >> np.uint64(12)
    z ^= z << np.uint64(25)
    z ^= z >> np.uint64(27)
    rng[0] = z
    return z * np.uint64(2685821657736338717)


@inlined
def below(rng, n):
    """A random number of 0 to n - 1, for n < 2**32."""
    return np.int64(((draw(rng) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@inlined
def fits(s, p, to):
    """Whether a host has room for one more shard."""
    back = s.home[p] == to
    for r in range(s.room.shape[1]):
        if s.room[to, r] < s.demand[p, r] and not (back and s.transient[r]):
            return False
    return True


@inlined
def fits_for(s, p, q, to):
    """Whether a host has room for ``p`` once ``q`` has left it."""
    back, from_home = s.home[p] == to, s.home[q] == to
    for r in range(s.room.shape[1]):
        left = s.room[to, r]
        if not (back and s.transient[r]):
            left -= s.demand[p, r]
        if not (from_home and s.transient[r]):
            left += s.demand[q, r]
        if left < 0:
            return False
    return True


@inlined
def excess_with(s, p, to):
    """Excess of a host with one more shard."""
    back = s.home[p] == to
    excess = 0
    for r in range(s.room.shape[1]):
        left = s.room[to, r]
        if not (back and s.transient[r]):
            left -= s.demand[p, r]
        if left < 0:
            excess -= left
    return excess


@inlined
def excess_without(s, p, at):
    """Excess of a host with one shard less."""
    from_home = s.home[p] == at
    excess = 0
    for r in range(s.room.shape[1]):
        left = s.room[at, r]
        if not (from_home and s.transient[r]):
            left += s.demand[p, r]
        if left < 0:
            excess -= left
    return excess


@inlined
def excess_swapped(s, p, q, at):
    """Excess of a host with ``p`` in place of ``q``."""
    back, from_home = s.home[p] == at, s.home[q] == at
    excess = 0
    for r in range(s.room.shape[1]):
        left = s.room[at, r]
        if not (back and s.transient[r]):
            left -= s.demand[p, r]
        if not (from_home and s.transient[r]):
            left += s.demand[q, r]
        if left < 0:
            excess -= left
    return excess


@inlined
def cost_with(s, p, to):
    """Cost of a host with one more shard."""
    cost = 0
    for c in range(s.over.shape[1]):
        over = s.over[to, c] + s.demand[p, c]
        if over > 0:
            cost += over * s.weight[c]
    return cost


@inlined
def cost_without(s, p, at):
    """Cost of a host with one shard less."""
    cost = 0
    for c in range(s.over.shape[1]):
        over = s.over[at, c] - s.demand[p, c]
        if over > 0:
            cost += over * s.weight[c]
    return cost


@inlined
def cost_swapped(s, p, q, at):
    """Cost of a host with ``p`` in place of ``q``."""
    cost = 0
    for c in range(s.over.shape[1]):
        over = s.over[at, c] + s.demand[p, c] - s.demand[q, c]
        if over > 0:
            cost += over * s.weight[c]
    return cost


@inlined
def way(s, p, to):
    """What it costs that a shard stands on a host."""
    home = s.home[p]
    return 0 if home == to else s.move_cost[p] + s.way_cost[home, to]


@inlined
def shorter(s, k, a, d1, d2):
    """By how many domains an app falls shorter of its spread if a shard goes from one domain to another."""
    if k < 0 or d1 == d2:
        return 0
    n = s.domains[k]
    after = n
    if s.per_domain[k, d1] == 1:
        after -= 1
    if s.per_domain[k, d2] == 0:
        after += 1
    return max(0, s.spread[a] - after) - max(0, s.spread[a] - n)


@inlined
def leave(s, a, zone):
    """Take one shard of an app out of a neighbourhood; how many more needs are unmet."""
    s.near[a, zone] -= 1
    if s.near[a, zone] > 0:
        return 0
    more = 0
    for i in range(s.need_at[a], s.need_at[a + 1]):
        if s.near[s.need[i], zone] == 0:
            more -= 1
    for i in range(s.needed_at[a], s.needed_at[a + 1]):
        if s.near[s.needed[i], zone] > 0:
            more += 1
    return more


@inlined
def enter(s, a, zone):
    """Bring one shard of an app into a neighbourhood; how many more needs are unmet."""
    s.near[a, zone] += 1
    if s.near[a, zone] > 1:
        return 0
    more = 0
    for i in range(s.need_at[a], s.need_at[a + 1]):
        if s.near[s.need[i], zone] == 0:
            more += 1
    for i in range(s.needed_at[a], s.needed_at[a + 1]):
        if s.near[s.needed[i], zone] > 0:
            more -= 1
    return more


@inlined
def place(s, p, to):
    """Book a shard on another host: everything but neighbourhoods, needs and costs."""
    at, a = s.host[p], s.app[p]
    k = s.many[a]
    home = s.home[p]
    for c in range(s.over.shape[1]):
        d = s.demand[p, c]
        s.over[at, c] -= d
        s.over[to, c] += d
        s.over_in[c, at] = s.over[at, c]
        s.over_in[c, to] = s.over[to, c]
    more_at, more_to = 0, 0
    for r in range(s.room.shape[1]):
        d = s.demand[p, r]
        if not (home == at and s.transient[r]):
            s.room[at, r] += d
        if not (home == to and s.transient[r]):
            s.room[to, r] -= d
        s.room_in[r, at] = s.room[at, r]
        s.room_in[r, to] = s.room[to, r]
        more_at -= min(s.room[at, r], 0)
        more_to -= min(s.room[to, r], 0)
    s.sums[EXCESS] += more_at + more_to - s.excess[at] - s.excess[to]
    s.excess[at] = more_at
    s.excess[to] = more_to
    if k >= 0:
        s.on[k, at] -= 1
        s.on[k, to] += 1
        d1, d2 = s.domain[at], s.domain[to]
        if d1 != d2:
            s.sums[SHORT] += shorter(s, k, a, d1, d2)
            s.per_domain[k, d1] -= 1
            if s.per_domain[k, d1] == 0:
                s.domains[k] -= 1
            if s.per_domain[k, d2] == 0:
                s.domains[k] += 1
            s.per_domain[k, d2] += 1
    if home == at or home == to:
        n = s.moved[a]
        s.moved_apps[n] -= 1
        n += 1 if home == at else -1
        s.moved_apps[n] += 1
        s.moved[a] = n
        if n > s.sums[MOST]:
            s.sums[MOST] = n
        while s.sums[MOST] > 0 and s.moved_apps[s.sums[MOST]] == 0:
            s.sums[MOST] -= 1
    i, n = s.slot[p], s.filled[at] - 1
    last = s.rows[at, n]
    s.rows[at, i] = last
    s.slot[last] = i
    s.filled[at] = n
    s.rows[to, s.filled[to]] = p
    s.slot[p] = s.filled[to]
    s.filled[to] += 1
    s.host[p] = to


@inlined
def shift(s, p, to, limit, penalty, crush):
    """Move one shard if the cost and the penalties then rise by at most ``limit``.

    ``penalty`` is for each domain short and each unmet need, ``crush`` for each unit of excess;
    0: capacity is not exceeded.
    """
    at, a = np.int64(s.host[p]), s.app[p]
    k = s.many[a]
    if to == at or (k >= 0 and s.on[k, to] > 0) or s.filled[to] >= s.rows.shape[1]:
        return False
    rise = 0
    if not fits(s, p, to):
        if crush == 0:
            return False
        rise = crush * (excess_with(s, p, to) - s.excess[to])
    if s.excess[at] > 0:
        rise -= max(crush, 1) * (s.excess[at] - excess_without(s, p, at))
    before = s.cost[at] + s.cost[to]
    price = way(s, p, to) - way(s, p, at)
    new_at = cost_without(s, p, at)
    loose = penalty * (s.sums[SHORT] + s.sums[UNMET])
    if rise + price + new_at - before - loose > limit:
        return False
    new_to = cost_with(s, p, to)
    price += new_at + new_to - before
    rise += price
    if rise - loose > limit:
        return False
    rise += penalty * shorter(s, k, a, s.domain[at], s.domain[to])
    if rise - penalty * s.sums[UNMET] > limit:
        return False
    z1, z2 = s.zone[at], s.zone[to]
    unmet = 0
    if z1 != z2:
        unmet = leave(s, a, z1) + enter(s, a, z2)
    if rise + penalty * unmet > limit:
        if z1 != z2:
            leave(s, a, z2)
            enter(s, a, z1)
        return False
    most = s.sums[MOST]
    place(s, p, to)
    s.sums[UNMET] += unmet
    s.sums[TOTAL] += price + s.app_weight[0] * (s.sums[MOST] - most)
    s.cost[at] = new_at
    s.cost[to] = new_to
    return True


@inlined
def swap(s, p, q, limit, penalty, crush):
    """Let two shards change hosts if the cost and the penalties then rise by at most ``limit``."""
    h1, h2, a, b = np.int64(s.host[p]), np.int64(s.host[q]), s.app[p], s.app[q]
    if h1 == h2:
        return False
    k, j = s.many[a], s.many[b]
    if a != b and ((k >= 0 and s.on[k, h2] > 0) or (j >= 0 and s.on[j, h1] > 0)):
        return False
    rise = 0
    if crush == 0:
        if not fits_for(s, p, q, h2) or not fits_for(s, q, p, h1):
            return False
    else:
        if s.excess[h2] > 0 or not fits_for(s, p, q, h2):
            rise += crush * (excess_swapped(s, p, q, h2) - s.excess[h2])
        if s.excess[h1] > 0 or not fits_for(s, q, p, h1):
            rise += crush * (excess_swapped(s, q, p, h1) - s.excess[h1])
    before = s.cost[h1] + s.cost[h2]
    price = way(s, p, h2) - way(s, p, h1) + way(s, q, h1) - way(s, q, h2)
    loose = penalty * (s.sums[SHORT] + s.sums[UNMET])
    new1 = cost_swapped(s, q, p, h1)
    if rise + price + new1 - before - loose > limit:
        return False
    new2 = cost_swapped(s, p, q, h2)
    price += new1 + new2 - before
    rise += price
    if rise - loose > limit:
        return False
    unmet = 0
    z1, z2 = s.zone[h1], s.zone[h2]
    crossing = a != b and z1 != z2
    if a != b:
        d1, d2 = s.domain[h1], s.domain[h2]
        rise += penalty * (shorter(s, k, a, d1, d2) + shorter(s, j, b, d2, d1))
        if rise - penalty * s.sums[UNMET] > limit:
            return False
    if crossing:
        unmet = enter(s, a, z2) + enter(s, b, z1) + leave(s, a, z1) + leave(s, b, z2)
    if rise + penalty * unmet > limit:
        if crossing:
            enter(s, a, z1)
            enter(s, b, z2)
            leave(s, a, z2)
            leave(s, b, z1)
        return False
    most = s.sums[MOST]
    place(s, p, h2)
    place(s, q, h1)
    s.sums[UNMET] += unmet
    s.sums[TOTAL] += price + s.app_weight[0] * (s.sums[MOST] - most)
    s.cost[h1] = new1
    s.cost[h2] = new2
    return True
