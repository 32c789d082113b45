"""What housing a giant costs at least, when what must leave for it is hard to house in turn."""

from __future__ import annotations

from itertools import product

import numpy as np

from sidestep.planning.model import Budget, Constraints, Duty, Problem, State
from sidestep.planning.relief import DEFAULT, UNLIMITED, final
from sidestep.planning.relief.desk import Desk
from sidestep.planning.relief.giants import Giants
from sidestep.planning.relief.goals import Tasks
from sidestep.planning.relief.relieve import relieve
from sidestep.planning.relief.serve import Server


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


def placed(hosts: int, shards: int) -> np.ndarray:
    """(W, N) every placement of the shards."""
    return np.array(list(product(range(hosts), repeat=shards)))


def fewest_of(made: Problem, hot: list[int], ways: np.ndarray) -> int | None:
    """The same as ``fewest``, where only columns that an arriving shard asks for count; None if nothing does."""
    moved = ways != made.host
    here = (ways[:, :, None] == np.arange(made.hosts)).astype(np.float64)
    size = made.mean.astype(np.float64)
    use = np.einsum("wnh,nd->whd", here, size)
    asked = np.einsum("wnh,nd->whd", here * moved[:, :, None], (size > 0).astype(np.float64)) > 0
    within = use <= made.limit + 1e-9
    good = (within | ~asked).all(axis=(1, 2)) & within[:, hot].all(axis=(1, 2)) & ~moved[:, ~made.movable].any(axis=1)
    return int(moved[good].sum(axis=1).min()) if good.any() else None


def test_no_bound_of_giants_is_more_than_the_fewest_moves() -> None:
    """Neither matching nor prices, asked for whether or not a plan needs them, against every placement."""
    rng, ways = np.random.default_rng(7), placed(4, 6)
    forced = judged = 0
    for _ in range(200):
        dimensions = int(rng.integers(1, 4))
        at, size = rng.integers(0, 4, 6), rng.integers(1, 10, (6, dimensions)).astype(np.float64)
        use = np.zeros((4, dimensions))
        np.add.at(use, at, size)
        room = np.maximum(use + rng.integers(0, rng.integers(4, 10), use.shape), 1.0)
        hot = rng.permutation(4)[: rng.integers(1, 3)].tolist()
        room[hot] = np.maximum(use[hot] - rng.integers(0, 4, room[hot].shape), 1.0)
        made = small(room, at.tolist(), size, np.flatnonzero(rng.random(6) < 0.1).tolist())
        hot = [host for host in hot if (use[host] > room[host]).any()]
        least = fewest_of(made, hot, ways)
        if not hot or least is None:
            continue
        judged += 1
        duties = [Duty(kind="contention", host=h, lead=0.0, columns=tuple(np.flatnonzero(use[h] > room[h]).tolist()))
                  for h in hot]  # fmt: skip
        desk = Desk(Tasks(made, tuple(duties)), DEFAULT, UNLIMITED)
        server = Server(desk)
        covers = {duty.host: server.fresh(duty).least() for duty in desk.tasks.duties}
        reliefs = [(server.fresh(duty), covers[duty.host]) for duty in desk.tasks.duties]
        more = Giants(desk, covers, reliefs).match()[0]
        forced += more > 0
        assert sum(covers.values()) + more <= least
    assert judged >= 30
    assert forced >= 5


def test_plans_get_better_until_the_last_one() -> None:
    """Whatever is done anew, no plan is worse than the one before, and some are better."""
    rng, several = np.random.default_rng(11), 0
    for _ in range(12):
        at, size = rng.integers(0, 8, 40), rng.integers(1, 10, (40, 2)).astype(np.float64)
        use = np.zeros((8, 2))
        np.add.at(use, at, size)
        room = np.maximum(use + rng.integers(0, 9, (8, 2)), 1.0)
        room[:2] = np.maximum(use[:2] - rng.integers(1, 12, (2, 2)), 1.0)
        made = small(room, at.tolist(), size, [])
        duties = [Duty(kind="contention", host=h, lead=0.0, columns=(0, 1)) for h in (0, 1)]
        plans = list(relieve(made, duties, budget=Budget(iterations=300)))
        tasks = Tasks(made, tuple(duties))
        worth = [tasks.rate(tasks.done(State(made, plan.moves)), plan.moves) for plan in plans]
        assert worth == sorted(worth, reverse=True)
        several += len(set(worth)) > 1
    assert several >= 2
