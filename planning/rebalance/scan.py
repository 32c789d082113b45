# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: PLR0911 - plain loops compile best
"""Compiled looks at all hosts at once: what a shard would cost on each, several hosts in one instruction.

One look prices as many moves as there are hosts in the time of a few single proposals, and
draws among them by their weight at the temperature, so that little is refused.
"""

from __future__ import annotations

import numpy as np

from sidestep.planning.rebalance.jit import compiled, inlined
from sidestep.planning.rebalance.kernels import (
    FAR,
    cost_swapped,
    cost_with,
    cost_without,
    draw,
    fits,
    fits_for,
    way,
)


@compiled
def price(s, p, field, lack):
    """Into ``field`` (H,) the cost of every host with the shard; ``lack`` (H,) is negative where it does not fit.

    Its home is priced as any other host: what is held there already is up to the caller.
    """
    hosts = len(s.cost)
    for h in range(hosts):
        field[h] = 0
        lack[h] = 0
    for c in range(s.over_in.shape[0]):
        d, w = s.demand[p, c], s.weight[c]
        for h in range(hosts):
            field[h] += max(s.over_in[c, h] + d, 0) * w
    for r in range(s.room_in.shape[0]):
        d = s.demand[p, r]
        for h in range(hosts):
            lack[h] |= s.room_in[r, h] - d


@inlined
def chosen(s, rng, p, but, temperature, noise, field, lack):
    """After ``price``: a host drawn by its weight at the temperature, not ``but``, and its rise; -1 if none has room.

    ``noise`` (4096,) are Gumbel variates.
    """
    home = np.int64(s.home[p])
    lack[but] = -1
    if home != but:
        lack[home] = 0 if fits(s, p, home) else -1
    k = s.many[s.app[p]]
    bits = draw(rng)
    at = np.int64(bits >> np.uint64(52))
    step = np.int64((bits >> np.uint64(40)) & np.uint64(4095)) | 1
    best, best_host = float(FAR), -1
    for h in range(len(s.cost)):
        at = (at + step) & 4095
        if lack[h] < 0 or (k >= 0 and s.on[k, h] > 0):
            continue
        rise = field[h] - s.cost[h]
        if h != home:
            rise += s.move_cost[p] + s.way_cost[home, h]
        value = rise - temperature * noise[at]
        if value < best:
            best, best_host = value, h
    return best_host, best


@compiled
def scan(s, rng, p, temperature, noise, field, lack):
    """The host that a shard chooses among all; -1 if that is its own."""
    at = np.int64(s.host[p])
    saving = s.cost[at] - cost_without(s, p, at) + way(s, p, at)
    price(s, p, field, lack)
    to, value = chosen(s, rng, p, at, temperature, noise, field, lack)
    stay = saving - temperature * noise[np.int64(draw(rng) >> np.uint64(52))]
    return -1 if to < 0 or value > stay else to


@compiled
def push(s, rng, p, q, limit, temperature, noise, field, lack, who, to):
    """Into ``who`` and ``to`` a shard in the place of another, which chooses among all other hosts.

    Whether that may be worth it.
    """
    h1, h2, a, b = np.int64(s.host[p]), np.int64(s.host[q]), s.app[p], s.app[q]
    if h1 == h2:
        return False
    k = s.many[a]
    if a != b and k >= 0 and s.on[k, h2] > 0:
        return False
    if not fits_for(s, p, q, h2):
        return False
    rise = cost_without(s, p, h1) - s.cost[h1] + way(s, p, h2) - way(s, p, h1) - way(s, q, h2)
    if rise - s.cost[h2] > limit:
        return False
    rise += cost_swapped(s, p, q, h2) - s.cost[h2]
    if rise > limit:
        return False
    price(s, q, field, lack)
    if fits_for(s, q, p, h1):
        field[h1] = cost_swapped(s, q, p, h1) - cost_without(s, p, h1) + s.cost[h1]
        lack[h1] = 0
    else:
        lack[h1] = -1
    last, _ = chosen(s, rng, q, h2, temperature, noise, field, lack)
    if last < 0:
        return False
    more = field[last] - s.cost[last] + way(s, q, last)
    if rise + more > limit:
        return False
    who[0], who[1], to[0], to[1] = p, q, h2, last
    return True


@compiled
def replace(s, p, q, limit, who, to):
    """Into ``who`` and ``to`` a shard in the place of another that is away from home and goes back there.

    Whether that may be worth it. Where much is held at both ends by moves, this is how one move makes room for another.
    """
    h1, h2, home = np.int64(s.host[p]), np.int64(s.host[q]), np.int64(s.home[q])
    if h1 == h2 or home in (h1, h2):
        return False
    k, j = s.many[s.app[p]], s.many[s.app[q]]
    if s.app[p] != s.app[q] and k >= 0 and s.on[k, h2] > 0:
        return False
    if j >= 0 and s.on[j, home] > 0:
        return False
    if not fits_for(s, p, q, h2) or not fits(s, q, home):
        return False
    rise = way(s, p, h2) - way(s, p, h1) - way(s, q, h2)
    rise += cost_without(s, p, h1) - s.cost[h1] + cost_swapped(s, p, q, h2) - s.cost[h2]
    if rise - s.cost[home] > limit:
        return False
    if rise + cost_with(s, q, home) - s.cost[home] > limit:
        return False
    who[0], who[1], to[0], to[1] = p, q, h2, home
    return True
