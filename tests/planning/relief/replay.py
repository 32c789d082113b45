"""An independent judge of relief plans: everything recomputed from the shards alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.model import Duty, Move, Problem

F64 = NDArray[np.float64]
SLACK = 1e-6


def demand(made: Problem, at: NDArray[np.int32]) -> F64:
    """(H, D) what is asked of every host when the shards are there; only for fleets without other demand."""
    mean, var, dev = (np.zeros(made.median.shape) for _ in range(3))
    sd = made.sd.astype(np.float64)
    there = at >= 0
    for into, part in ((mean, made.mean), (var, sd**2), (dev, sd)):
        np.add.at(into, at[there], part[there])
    return np.asarray(mean + made.z * np.sqrt(np.maximum((1 - made.rho) * var + made.rho * dev**2, 0.0)))


def over(made: Problem, upper: F64) -> F64:
    """(H, D) how far demand is above the limit, in parts of it."""
    return np.asarray(np.maximum(upper / made.limit - 1.0, 0.0))


def flaws(made: Problem, moves: Sequence[Move]) -> list[str]:
    """What is wrong with any prefix of the moves; nothing is fine."""
    at = made.host.copy()
    rules = made.constraints
    before = over(made, demand(made, at))
    broken = excess(made, at)
    found = []
    for number, (shard, source, to, _) in enumerate(moves):
        name = f"move {number} of {shard} to {to}"
        if at[shard] != source or made.host[shard] != source or source == to:
            found.append(f"{name}: it is not on {source}")
        if not made.movable[shard] or not made.accepts[to] or (source >= 0 and not made.gives[source]):
            found.append(f"{name}: not allowed")
        at[shard] = to
        upper = demand(made, at)
        asks = (made.mean[shard] > 0) | (made.sd[shard] > 0)
        if (upper[to] > made.room[to] + SLACK * made.capacity[to])[asks].any():
            found.append(f"{name}: no room")
        if (over(made, upper) > before + SLACK).any():
            found.append(f"{name}: a host is worse than at the start")
        now = excess(made, at)
        if any(now[key] > broken.get(key, 0) for key in now):
            found.append(f"{name}: a rule is worse than at the start")
        if not rules.masks[rules.mask[shard], to]:
            found.append(f"{name}: it may not be there")
    return found


def excess(made: Problem, at: NDArray[np.int32]) -> dict[tuple[str, int, int], int]:
    """How many are too many, for every group and domain and every pair."""
    out: dict[tuple[str, int, int], int] = {}
    for kind, group, rows in made.constraints.broken(at):
        if kind == "group":
            domain = int(made.constraints.domains[made.constraints.kind[group], at[rows[0]]])
            out["group", group, domain] = len(rows)
        elif kind == "avoid":
            out["avoid", rows[0], rows[1]] = 1
    return out


def undone(made: Problem, duties: Sequence[Duty], moves: Sequence[Move]) -> list[Duty]:
    """The duties that are not done once all moves are."""
    at = made.host.copy()
    for move in moves:
        at[move.shard] = move.destination
    upper = demand(made, at)
    hot = made.held(upper, made.limit * (1 + SLACK))
    left = []
    for duty in duties:
        rows = list(duty.shards)
        if duty.kind == "contention":
            done = not hot[duty.host]
        elif duty.kind == "rule" and duty.group >= 0:
            domain = made.constraints.domains[made.constraints.kind[duty.group]]
            done = int((domain[at[rows]] != domain[made.host[rows]]).sum()) >= duty.least
        elif duty.kind == "rule":
            done = int((at[rows] != made.host[rows]).sum()) >= duty.least
        else:
            done = bool((at[rows] != made.host[rows]).all())
        if not done:
            left.append(duty)
    return left
