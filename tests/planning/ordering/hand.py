"""Tiny problems written down by hand: hosts with one or two columns, shards with numbers."""

from __future__ import annotations

import numpy as np

from sidestep.planning.model import Constraints, Move, Problem


def by_hand(
    room: list[float] | list[list[float]],
    shards: list[tuple[int, float | list[float]]],
    *,
    steps: int = 1,
    extra: dict[int, list[float]] | None = None,
    fixed: tuple[int, ...] = (),
    closed: tuple[int, ...] = (),
    bytes_: list[float] | None = None,
    constraints: Constraints | None = None,
) -> Problem:
    """Hosts with ``room`` (one number for every step, or one each), shards (host, demand); certain demand."""
    edge = np.array([r if isinstance(r, list) else [r] * steps for r in room], dtype=np.float64)
    at = np.array([host for host, _ in shards], dtype=np.int32)
    mean = np.array([d if isinstance(d, list) else [d] * steps for _, d in shards], dtype=np.float32)
    median = np.zeros(edge.shape)
    np.add.at(median, at, mean.astype(np.float64))
    for host, more in (extra or {}).items():
        median[host] += more
    zero = np.zeros(edge.shape)
    movable = np.ones(len(shards), dtype=np.bool_)
    movable[list(fixed)] = False
    accepts = np.ones(len(edge), dtype=np.bool_)
    accepts[list(closed)] = False
    return Problem(
        dimensions=1,
        steps=steps,
        limit=edge,
        room=edge.copy(),
        capacity=edge.copy(),
        median=median,
        away=zero,
        variance=zero.copy(),
        deviation=zero.copy(),
        accepts=accepts,
        gives=np.ones(len(edge), dtype=np.bool_),
        cost=np.ones(len(edge)),
        rank=np.arange(len(edge), dtype=np.int64),
        host=at,
        mean=mean,
        sd=np.zeros_like(mean),
        movable=movable,
        bytes=np.array(bytes_ or [1e6] * len(shards)),
        count=np.ones(len(shards), dtype=np.int32),
        priority=np.full(len(shards), 3, dtype=np.int32),
        constraints=constraints or Constraints.make(len(edge), len(shards)),
    )


def go(made: Problem, *ways: tuple[int, int]) -> list[Move]:
    """Moves (shard, destination)."""
    return [Move(shard, int(made.host[shard]), to, int(made.host[shard])) for shard, to in ways]
