"""Making room: a shard that fits nowhere displaces the fewest that let it in, and these find room elsewhere.

What came to a host in this very plan goes elsewhere for nothing; what was there before counts.
"""

from __future__ import annotations

import numpy as np

from sidestep.planning.model.problem import F64, I64
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief.covers import Need, Shedding
from sidestep.planning.relief.desk import Desk

#: hosts, and sets of one host, that are tried for one guest
HOSTS = 24
SETS = 8
#: what stands in the way goes away one after the other, in chains of at most so many guests
DEPTH = 2


def evict(desk: Desk, cover: list[int], relieves: int, extra: int, *, depth: int = 0) -> bool:
    """Place a whole cover with evictions that count ``extra`` moves at most; all or nothing."""
    saved = tuple(desk.state.moves)
    shards = np.array(cover, dtype=np.int64)
    for shard in shards[np.argsort(-desk.hardness(shards), kind="stable")].tolist():
        before = desk.count
        placed = desk.put(shard, relieves) or desk.put(shard, relieves, during=False)
        if not placed and not make_room(desk, shard, relieves, extra, depth=depth):
            desk.back(saved)
            return False
        extra -= desk.count - before - int(desk.problem.count[shard])
    return True


def make_room(desk: Desk, guest: int, relieves: int, extra: int, *, depth: int = 0) -> bool:
    """Place one shard that fits nowhere: reroute what came, or evict what counts ``extra`` moves at most."""
    if reroute(desk, guest, relieves):
        return True
    saved = tuple(desk.state.moves)
    for size in range(1, extra + 1):
        for host in receivers(desk, guest, size)[:HOSTS].tolist():
            shedding = Shedding(desk.state, Need(host, guest=guest), desk.movable_on(host))
            picks, _ = shedding.of_size(size) if size <= 3 else (shedding.greedy()[None], False)
            if picks.shape[1] == 0:
                continue
            for at in desk.order(picks, shedding.shards)[:SETS].tolist():
                chosen = shedding.shards[picks[at]].tolist()
                count = int(desk.problem.count[chosen].sum())
                if count > extra or not desk.affords([*chosen, guest]):
                    continue
                if _displace(desk, chosen, guest, host, (relieves, extra - count, depth)):
                    return True
                desk.back(saved)
    return False


def _displace(desk: Desk, chosen: list[int], guest: int, host: int, how: tuple[int, int, int]) -> bool:
    """Move the chosen away from ``host`` and the guest in."""
    relieves, extra, depth = how
    if not desk.put_all(chosen, relieves, besides=host):
        if depth >= DEPTH:
            return False
        for shard in chosen:
            before = desk.count
            if not desk.put(shard, relieves, besides=host) and not (
                desk.put(shard, relieves, during=False, besides=host)
                or make_room(desk, shard, relieves, extra, depth=depth + 1)
            ):
                return False
            extra -= desk.count - before - int(desk.problem.count[shard])
    return settle(desk, guest, host, relieves)


def settle(desk: Desk, guest: int, host: int, relieves: int) -> bool:
    """Put the guest on this very host if it may and fits after what has left."""
    row = np.array([host], dtype=np.int64)
    if not desk.affords([guest]) or not desk.state.open(guest)[host] or desk.closed[host] or desk.gains[host]:
        return False
    if desk.state.spare(guest, row, during=False)[0] < -TOLERANCE:
        return False
    desk.push(guest, host, relieves)
    return True


def reroute(desk: Desk, guest: int, relieves: int) -> bool:
    """Let what came to a host in this plan go elsewhere, if the guest then has room."""
    state = desk.state
    came = np.flatnonzero(state.came > 0)
    if not len(came) or not desk.affords([guest]):
        return False
    saved = tuple(state.moves)
    lack = lacking(desk, guest, came)
    movers: dict[int, list[int]] = {}
    for move in saved:
        movers.setdefault(move.destination, []).append(move.shard)
    p = desk.problem
    sums = np.stack([p.mean[movers[host]].sum(axis=0, dtype=np.float64) for host in came.tolist()])
    able = (sums + abs(p.z) * _deviations(desk, movers, came) >= lack - 1e-9).all(axis=1)
    for host in came[able].tolist():
        if desk.closed[host]:
            continue
        gone = [desk.take(shard) for shard in movers[host]]
        if settle(desk, guest, host, relieves) and all(desk.put(move.shard, move.relieves) for move in gone):
            return True
        desk.back(saved)
    return False


def _deviations(desk: Desk, movers: dict[int, list[int]], came: I64) -> F64 | float:
    p = desk.problem
    if p.certain:
        return 0.0
    return np.stack([p.sd[movers[host]].sum(axis=0, dtype=np.float64) for host in came.tolist()])


def lacking(desk: Desk, guest: int, rows: I64) -> F64:
    """(k, D) how much room every host lacks for the guest after the moves so far."""
    p = desk.problem
    asks = (p.mean[guest] > 0) | (p.sd[guest] > 0)
    lack = desk.state.arrivals(guest, rows, during=False) - p.room[rows]
    lack = np.where(np.isnan(lack), np.inf, np.maximum(lack, 0.0))
    return np.where(asks, lack, 0.0)


def receivers(desk: Desk, guest: int, size: int) -> I64:
    """Hosts that would have room for the guest once some ``size`` of their shards left, the likeliest first."""
    p, state = desk.problem, desk.state
    rows = np.flatnonzero(state.open(guest) & ~desk.closed & ~desk.gains)
    lack = lacking(desk, guest, rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        worst = np.nan_to_num(lack / p.capacity[rows], nan=np.inf).max(axis=1)
    near = np.argsort(worst, kind="stable")
    able = []
    for at in near[np.isfinite(worst[near])].tolist():
        shards = desk.movable_on(int(rows[at]))
        columns = np.flatnonzero(lack[at] > 0)
        if len(shards) < size or not len(columns):
            continue
        asked = p.mean[np.ix_(shards, columns)].astype(np.float64) + abs(p.z) * p.sd[np.ix_(shards, columns)]
        best = -np.sort(-asked, axis=0)[:size].sum(axis=0)
        if (best >= lack[at, columns] * (1 - 1e-9)).all():
            able.append(int(rows[at]))
        if len(able) >= HOSTS:
            break
    return np.array(able, dtype=np.int64)
