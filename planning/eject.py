"""Making room: when no host can take a shard as it is, one is emptied a little first.

For each of the hosts that lack least, the cheapest set of its own shards whose departure
lets the big one in, provided that these find room elsewhere. Only tried for hosts that the
direct search left hot, and one level deep.
"""

from __future__ import annotations

import numpy as np

from sidestep.planning.covers import Cover, Goal, Relief, candidates, cheapest
from sidestep.planning.search import Destinations, hardest_first
from sidestep.planning.trial import Move, Trial

#: covers, hosts and evictions that are looked at for one hot host
COVERS = 6
HOSTS = 6
SETS = 6


def make_room(trial: Trial, where: Destinations, relief: Relief, max_moves: int) -> bool:
    """Relieve one host with evictions; pushes the moves and says True, or leaves the trial as it was."""
    for cover in relief.covers[:COVERS]:
        before = len(trial.moves)
        if _place(trial, where, cover, relief.host, max_moves):
            return True
        while len(trial.moves) > before:
            trial.pop()
    return False


def _place(trial: Trial, where: Destinations, cover: Cover, host: int, max_moves: int) -> bool:
    for shard in hardest_first(trial.load, trial.rules, cover):
        if len(trial.moves) + 1 > max_moves:
            return False
        direct = where.of(trial, shard)
        if direct:
            trial.push(Move(shard, host, direct[0], host))
        elif not _evict(trial, where, shard, host, max_moves):
            return False
    return True


def _evict(trial: Trial, where: Destinations, guest: int, host: int, max_moves: int) -> bool:
    """Empty the best host for ``guest``, then put it there."""
    options: list[tuple[float, int, int, Cover]] = []
    for target in _nearly(trial, where, guest, host):
        rows = [row for row in trial.rules.on(target) if row not in trial.at]
        shards = candidates(trial.load, trial.rules, rows)
        if shards:
            goal = Goal(trial.load, target, trial.load.strict, guest=guest)
            rank = int(trial.rules.rank[target])
            options += [(cover.bytes, rank, target, cover) for cover in cheapest(goal, shards)[:SETS]]
    for _, _, target, cover in sorted(options, key=lambda o: (o[0], len(o[3].shards), o[1], o[3].shards)):
        before = len(trial.moves)
        if before + len(cover.shards) + 1 <= max_moves and _move_away(trial, where, cover, target, host):
            trial.push(Move(guest, host, target, host))
            return True
        while len(trial.moves) > before:
            trial.pop()
    return False


def _nearly(trial: Trial, where: Destinations, guest: int, host: int) -> list[int]:
    """Untouched hosts that may receive the guest but for room, the one that lacks least first."""
    room = where.room(guest)
    order = np.lexsort((trial.rules.rank, -room)).tolist()
    fit = [
        row
        for row in order
        if where.open[row] and row != host and not trial.touched(row) and not trial.rules.gives(row)
        if np.isfinite(room[row]) and not trial.avoided(guest, row)
    ]
    return fit[:HOSTS]


def _move_away(trial: Trial, where: Destinations, cover: Cover, target: int, host: int) -> bool:
    for shard in cover.shards:
        to = [row for row in where.of(trial, shard) if row != target]
        if not to:
            return False
        trial.push(Move(shard, target, to[0], host))
    return True
