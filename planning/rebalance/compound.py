# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: PLR0912 - plain loops compile best
"""Compiled compound moves: several shards at once, judged only when all have moved.

Between the first and the last of them constraints may be broken; so one can be led through
a wall that no single move passes.
"""

from __future__ import annotations

from sidestep.planning.rebalance.jit import compiled
from sidestep.planning.rebalance.kernels import enter, leave, place, way
from sidestep.planning.rebalance.state import EXCESS, MOST, SHORT, TOTAL, UNMET


@compiled
def row_cost(s, at):
    """Cost of a host as it is."""
    cost = 0
    for c in range(s.over.shape[1]):
        if s.over[at, c] > 0:
            cost += s.over[at, c] * s.weight[c]
    return cost


@compiled
def together(s, who, to, n, limit, penalty, crush, old):
    """Move the first ``n`` of ``who`` to the hosts ``to``, in this order, if all in all that is worth it.

    ``old`` is scratch for the ``n`` hosts before. A shard may be named once.
    """
    for i in range(n):
        if to[i] == s.host[who[i]] or s.filled[to[i]] + n > s.rows.shape[1]:
            return False
    most, short, unmet, excess, total = s.sums[MOST], s.sums[SHORT], s.sums[UNMET], s.sums[EXCESS], s.sums[TOTAL]
    rise = 0
    for i in range(n):
        p = who[i]
        old[i] = s.host[p]
        rise += way(s, p, to[i]) - way(s, p, old[i])
        if s.zone[old[i]] != s.zone[to[i]]:
            s.sums[UNMET] += enter(s, s.app[p], s.zone[to[i]]) + leave(s, s.app[p], s.zone[old[i]])
        place(s, p, to[i])
    good = crush > 0 or s.sums[EXCESS] <= excess
    for i in range(n):
        k = s.many[s.app[who[i]]]
        if k >= 0 and s.on[k, to[i]] > 1:
            good = False
            break
    if good:
        for i in range(n):
            for h in (old[i], to[i]):
                now = row_cost(s, h)
                rise += now - s.cost[h]
                s.cost[h] = now
        rise += s.app_weight[0] * (s.sums[MOST] - most)
        if (
            rise + penalty * (s.sums[SHORT] - short + s.sums[UNMET] - unmet) + crush * (s.sums[EXCESS] - excess)
            <= limit
        ):
            s.sums[TOTAL] = total + rise
            return True
    for i in range(n - 1, -1, -1):
        p = who[i]
        if s.zone[old[i]] != s.zone[to[i]]:
            enter(s, s.app[p], s.zone[old[i]])
            leave(s, s.app[p], s.zone[to[i]])
        place(s, p, old[i])
    s.sums[UNMET] = unmet
    if good:
        for i in range(n):
            for h in (old[i], to[i]):
                s.cost[h] = row_cost(s, h)
    return False
