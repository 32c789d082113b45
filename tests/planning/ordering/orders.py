"""Plans to be ordered, by a seed: what the tests of the order share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from problems import problem

from sidestep.planning.model import Move, Problem
from sidestep.planning.ordering import Caps, Schedule, schedule


def shuffled(
    seed: int, *, hosts: int = 6, shards: int = 30, share: float = 0.5, fill: float = 0.9, noise: float = 0.0,
    zones: int = 0, apps: int = 6, pairs: int = 0, steps: int = 3,
) -> tuple[Problem, list[Move]]:  # fmt: skip
    """A problem, and moves to a target that keeps all rules and has room, but only just: ``fill`` is of the fuller
    of both placements."""  # fmt: skip
    made = problem(seed, hosts, shards, hot=0, noise=noise, zones=zones, apps=apps, pairs=pairs, steps=steps)
    rng = np.random.default_rng(seed + 1)
    at = made.host.copy()
    for shard in rng.permutation(shards)[: int(shards * share)].tolist():
        open_ = made.accepts & ~made.constraints.blocked(at, shard)
        open_[made.host[shard]] = False
        if open_.any():
            at[shard] = int(rng.choice(np.flatnonzero(open_)))
    after = settled(made, at)
    edge = np.maximum(made.median + made.away, after)
    limit = np.broadcast_to(edge.max(axis=1, keepdims=True) / fill, edge.shape).copy()
    made = replace(made, limit=limit, room=limit.copy(), capacity=limit.copy())
    moves = [Move(int(s), int(made.host[s]), int(at[s]), int(made.host[s])) for s in np.flatnonzero(at != made.host)]
    return made, moves


def settled(made: Problem, at: np.ndarray) -> np.ndarray:
    """(H, D) demand if every shard were where ``at`` says, with nothing else on the hosts."""
    mean, var, dev = (np.zeros(made.median.shape) for _ in range(3))
    sd = made.sd.astype(np.float64)
    for into, part in ((mean, made.mean), (var, sd**2), (dev, sd)):
        np.add.at(into, at, part)
    return np.asarray(mean + made.z * np.sqrt((1 - made.rho) * var + made.rho * dev**2))


def ordered(made: Problem, moves: list[Move], **more: object) -> Schedule:
    """The moves in order; without deadlines, ten seconds a move, unless said."""
    given: dict[str, object] = {
        "caps": Caps(host=2),
        "transfer_s": np.full(made.shards, 10.0),
        "deadlines": np.full(len(moves), np.inf),
        "step": 60.0,
    }
    return schedule(made, moves, **{**given, **more})  # type: ignore[arg-type]
