"""What housing a giant costs at least, when what must leave for it is hard to house in turn."""

from __future__ import annotations

from itertools import product

import numpy as np

from sidestep.planning.model import Constraints, Duty, Problem
from sidestep.planning.relief import final


def small(room: np.ndarray, at: list[int], size: np.ndarray, fixed: list[int]) -> Problem:
    """Hosts with ``room`` (H, D) and certain shards ``size`` (N, D), those ``fixed`` not movable."""
    edge, host = room.astype(np.float64), np.array(at, dtype=np.int32)
    median, zero, yes = np.zeros_like(edge), np.zeros_like(edge), np.ones(len(edge), dtype=np.bool_)
    np.add.at(median, host, size)
    movable = np.ones(len(at), dtype=np.bool_)
    movable[fixed] = False
    return Problem(
        dimensions=room.shape[1], steps=1, limit=edge, room=edge.copy(), capacity=edge.copy(), median=median, away=zero,
        variance=zero.copy(), deviation=zero.copy(), accepts=yes, gives=yes.copy(), cost=np.ones(len(edge)),
        rank=np.arange(len(edge)), host=host, mean=size.astype(np.float32), sd=np.zeros(size.shape, dtype=np.float32),
        movable=movable, bytes=np.ones(len(at)), count=np.ones(len(at), dtype=np.int32),
        priority=np.ones(len(at), dtype=np.int32), constraints=Constraints.make(len(edge), len(at)),
    )  # fmt: skip


def fewest(made: Problem, hot: list[int]) -> int:
    """The fewest moves after which no hot and no receiving host is beyond its room, by looking at all placements."""
    ways = [range(made.hosts) if free else [at] for at, free in zip(made.host.tolist(), made.movable, strict=True)]
    best = made.shards + 1
    for placed in product(*ways):
        moved = np.array(placed) != made.host
        if moved.sum() >= best:
            continue
        use = np.zeros_like(made.limit)
        np.add.at(use, np.array(placed), made.mean.astype(np.float64))
        judged = sorted({*hot, *np.array(placed)[moved].tolist()})
        if (use[judged] <= made.limit[judged] + 1e-9).all():
            best = int(moved.sum())
    return best


def test_a_giant_that_displaces_a_giant_counts_both() -> None:
    """The only host for it must lose a shard for which another one must make way: three moves, and proven."""
    room = np.array([[10, 10], [12, 12], [12, 6], [6, 6]])
    size = np.array([[6, 6], [5, 1], [7, 1], [4, 4], [3, 0.5], [4.5, 4], [3, 3]])
    made = small(room, [0, 0, 1, 1, 2, 2, 3], size, [1, 3, 5, 6])
    found = final(made, [Duty(kind="contention", host=0, lead=0.0, columns=(0,))])
    assert len(found.moves) == 3 == fewest(made, [0])
    assert found.bound == 3 and found.proven


def test_the_bound_is_never_more_than_the_fewest_moves() -> None:
    """On small full fleets, where giants are common, against all placements."""
    rng, judged = np.random.default_rng(5), 0
    for _ in range(40):
        at, size = rng.integers(0, 4, 6).tolist(), rng.integers(1, 9, (6, 2)).astype(np.float64)
        use = np.zeros((4, 2))
        np.add.at(use, at, size)
        room = np.maximum(use + rng.integers(0, 6, (4, 2)), 1.0)
        room[0] = np.maximum(use[0] - rng.integers(1, 5, 2), 1.0)
        made = small(room, at, size, [])
        columns = tuple(np.flatnonzero(use[0] > room[0]).tolist())
        if not columns:
            continue
        found = final(made, [Duty(kind="contention", host=0, lead=0.0, columns=columns)])
        if not found.left:
            judged += 1
            assert found.bound <= fewest(made, [0]) <= len(found.moves)
    assert judged >= 10
