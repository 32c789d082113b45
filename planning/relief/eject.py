"""Making room: a shard that fits nowhere displaces the fewest that let it in, and these find room elsewhere.

What came to a host in this very plan goes elsewhere for nothing; what was there before counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sidestep.planning.model import Move
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.relief.covers import ENUMERATED, Need, Shedding
from sidestep.planning.relief.desk import TOP, Desk

#: hosts, and sets of one host, that are tried for one guest
HOSTS = 24
#: hosts for which the fewest evictions are computed where they are more than ``ENUMERATED``
LARGER = 16
SETS = 8
#: chains of at most so many guests, each of which another one makes room for
DEPTH = 1

#: hosts, those that lack least, that are looked at for one guest
LOOKED_AT = 96


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
    key = (guest, extra, len(desk.state.moves)) if len(desk.state.moves) == desk.settled else None
    if key is not None and key in desk.hopeless:
        return False
    if reroute(desk, guest, relieves) or exchange(desk, guest, relieves, extra, depth):
        return True
    if extra > 0 and _evict_any(desk, guest, relieves, extra, depth):
        return True
    if key is not None:
        desk.hopeless.add(key)
    return False


def _evict_any(desk: Desk, guest: int, relieves: int, extra: int, depth: int) -> bool:
    saved = tuple(desk.state.moves)
    for host, chosen in ways(desk, guest, extra):
        count = int(desk.problem.count[chosen].sum())
        if count > extra or not desk.affords([*chosen, guest]):
            continue
        if _displace(desk, chosen, guest, host, (relieves, extra - count, depth)):
            return True
        desk.back(saved)
    return False


def ways(desk: Desk, guest: int, most: int) -> Iterator[tuple[int, list[int]]]:
    """Hosts and the shards that would have to leave them for the guest, the fewest first."""
    near = receivers(desk, guest, most)
    made: dict[int, Shedding] = {}
    for size in range(1, min(most, ENUMERATED) + 1):
        for host in [host for host, least in near if least <= size][:HOSTS]:
            if host not in made:
                made[host] = Shedding(desk.state, Need(host, guest=guest), desk.movable_on(host))
            for chosen in sets(desk, made[host], size):
                yield host, chosen
    if most <= ENUMERATED:
        return
    larger: list[tuple[int, int, list[int]]] = []
    for host, fewest in sorted(near, key=lambda n: n[1])[:LARGER]:
        if larger and fewest > min(larger)[0]:
            break
        shedding = Shedding(desk.state, Need(host, guest=guest), desk.movable_on(host))
        hard = desk.hardness(shedding.shards)
        keep = hard < 1.0
        for at in np.flatnonzero(~keep).tolist():
            keep[at] = len(desk.rows(int(shedding.shards[at]), besides=host)) > 0
        picks, _ = shedding.smallest(desk.problem.count[shedding.shards].astype(np.float64), keep)
        if len(picks) > ENUMERATED:
            larger.append((len(picks), host, shedding.shards[picks].tolist()))
    for _, host, chosen in sorted(larger):
        yield host, chosen


def exchange(desk: Desk, guest: int, relieves: int, extra: int, depth: int) -> bool:
    """Put the guest on a host that sheds anyway, by another choice of what that sheds."""
    state = desk.state
    by_host: dict[int, list[Move]] = {}
    for move in state.moves:
        if move.source == move.relieves:
            by_host.setdefault(move.source, []).append(move)
    saved = tuple(state.moves)
    open_ = state.open(guest) & ~desk.closed & ~desk.gains
    rows = np.array([h for h, moves in by_host.items() if open_[h] and len(moves) <= ENUMERATED], dtype=np.int64)
    lack = lacking(desk, guest, rows)
    if not len(rows):
        return False
    most = np.stack([desk.most(host, len(by_host[host]) + extra) for host in rows.tolist()])
    able: Mask = np.logical_and.reduce(most >= (lack + state.moved(rows)[1]) * (1 - 1e-9), axis=1)
    order = np.lexsort([rows, lack.max(axis=1, initial=0.0)])
    for at in order[able[order]][:HOSTS].tolist():
        host = int(rows[at])
        own = by_host[host]
        before = desk.count
        for move in own:
            desk.take(move.shard)
        shedding = Shedding(state, Need(host, guest=guest), desk.movable_on(host))
        for chosen in sets(desk, shedding, len(own) + extra) if len(shedding.columns) else []:
            mark = len(state.moves)
            spent = desk.count + int(desk.problem.count[[*chosen, guest]].sum()) - before
            if (
                spent <= extra + int(desk.problem.count[guest])
                and _displace(desk, chosen, guest, host, (host, 0, depth))
                and not state.hot(rows[at : at + 1])[0]
            ):
                _owe(desk, guest, relieves)
                return True
            desk.reset(mark)
        desk.back(saved)
    return False


def _owe(desk: Desk, guest: int, relieves: int) -> None:
    """Say for whose sake the guest moved."""
    state = desk.state
    at = next(i for i, move in enumerate(state.moves) if move.shard == guest)
    state.moves[at] = state.moves[at]._replace(relieves=relieves)


def sets(desk: Desk, shedding: Shedding, size: int) -> list[list[int]]:
    """Some sets of ``size`` shards whose departure is enough, the one to try first first."""
    if size <= ENUMERATED:
        picks, _ = shedding.of_size(size)
        order = desk.order(picks, shedding.shards, shedding.frail(picks))
        return [shedding.shards[picks[at]].tolist() for at in order[:SETS].tolist()]
    return []


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
                or make_room(desk, shard, relieves, min(extra, ENUMERATED), depth=depth + 1)
            ):
                return False
            extra -= desk.count - before - int(desk.problem.count[shard])
    return settle(desk, guest, host, relieves)


def settle(desk: Desk, guest: int, host: int, relieves: int) -> bool:
    """Put the guest on this very host if it has not moved, may and fits after what has left."""
    row = np.array([host], dtype=np.int64)
    if (
        desk.moved(guest)
        or not desk.affords([guest])
        or not desk.state.open(guest)[host]
        or desk.closed[host]
        or desk.gains[host]
    ):
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
    able = (state.moved(came)[0] + abs(desk.problem.z) * _deviations(desk, movers, came) >= lack - 1e-9).all(axis=1)
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


def receivers(desk: Desk, guest: int, most: int) -> list[tuple[int, int]]:
    """Hosts that may have room for the guest once up to ``most`` of theirs left, and how many at least."""
    p, state = desk.problem, desk.state
    rows = np.flatnonzero(state.open(guest) & ~desk.closed & ~desk.gains)
    lack = lacking(desk, guest, rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        worst = np.nan_to_num(lack / p.capacity[rows], nan=np.inf).max(axis=1, initial=0.0)
    # one shard alone gives no more than itself, and not more than there is
    able = np.flatnonzero(np.isfinite(worst) & (lack <= p.median[rows] + np.abs(p.away[rows])).all(axis=1))
    able = able[np.argsort(worst[able], kind="stable")]
    found = []
    for at, least in zip(able.tolist(), desk.fewest(rows[able], lack[able] * (1 - 1e-9)).tolist(), strict=True):
        host = int(rows[at])
        if least <= min(most, TOP):
            found.append((host, max(1, least)))
        elif most > TOP and (desk.most(host, most) >= lack[at] * (1 - 1e-9)).all():
            found.append((host, TOP + 1))
    return found
