"""Best moves of the costliest host, all its shards against all hosts at once, in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sidestep.planning.rebalance.ledger import NEVER, allowed, move, rises, saved
from sidestep.planning.rebalance.state import State

#: shards of a host that are looked at, the largest first
WIDTH = 128
#: moves off a host from one look, each to another host
BATCH = 8
#: destinations of a shard that are tried when the best are refused
TRIES = 4


def descend(state: State, most: int, stop: Callable[[], bool]) -> int:
    """Take hosts by cost, highest first, and move shards off them while that lowers the cost; how many moves.

    Ends when no host has such a move, after ``most`` moves, or when ``stop`` says so. Keeps every
    constraint that holds.
    """
    resting = np.zeros(len(state.cost), dtype=np.bool_)
    share = state.demand[:, : state.room.shape[1]] / np.maximum(state.room.max(axis=0, initial=1), 1)
    size = share.sum(axis=1)
    moves = 0
    while moves < most and not stop():
        costs = np.where(resting, -1, state.cost)
        at = int(costs.argmax())
        if costs[at] <= 0:
            break
        made = _relieve(state, at, size, most - moves, resting)
        resting[at] = not made
        moves += made
    return moves


def _relieve(state: State, at: int, size: np.ndarray, most: int, resting: np.ndarray) -> int:
    shards = state.rows[at, : state.filled[at]].copy()
    if len(shards) > WIDTH:
        shards = shards[np.argsort(-size[shards], kind="stable")[:WIDTH]]
    if not len(shards):
        return 0
    elsewhere = rises(state, at, shards)
    hosts = elsewhere.shape[1]
    total = np.where(elsewhere < NEVER, elsewhere - saved(state, at, shards)[:, None], NEVER).ravel()
    count = min(BATCH * TRIES, total.size)
    best = np.argpartition(total, count - 1)[:count]
    best = best[np.lexsort((best, total[best]))]
    gone: set[int] = set()
    filled: set[int] = set()
    for place in best.tolist():
        row, to = divmod(place, hosts)
        if total[place] >= 0 or len(gone) >= min(BATCH, most):
            break
        if row in gone or to in filled:
            continue
        shard = shards[row]
        worth = elsewhere[row, to] - saved(state, at, shards[row : row + 1])[0]
        if worth < 0 and worth * 2 <= total[place] and allowed(state, int(shard), to):
            move(state, int(shard), to)
            gone.add(row)
            filled.add(to)
            resting[to] = False
    return len(gone)
