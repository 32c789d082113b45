"""Whether it is worth it that shards give way: what is gained against what they lose, with a margin (S5.10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.fleet.queue import benefit, weight
from sidestep.planning.model import Problem
from sidestep.planning.model.state import TOLERANCE


def size(problem: Problem, row: int, host: int) -> float:
    """The peak of what a row demands, as a fraction of that host's capacity."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = problem.mean[row, : problem.timed] / problem.capacity[host, : problem.timed]
    return float(np.nan_to_num(share).max(initial=0.0))


def for_place(problem: Problem, row: int, waited: float, host: int, victims: Sequence[int], least: float) -> bool:
    """Whether ``row``, which has waited so long, is worth the ``victims`` that would give way to it there."""
    gain = benefit(int(problem.priority[row]), waited) * size(problem, row, host)
    cost = sum(weight(int(problem.priority[v])) * size(problem, v, host) for v in victims)
    return gain >= cost + least - TOLERANCE


def for_relief(problem: Problem, host: int, victims: Sequence[int], least: float) -> bool:
    """Whether those who stay on a host in predicted contention gain more than the ``victims`` lose.

    What stays unserved there slows everybody down by the same share: that is what is gained for those who
    stay, and what those who leave would have lost anyhow.
    """
    upper = problem.median[host] + problem.away[host]
    with np.errstate(invalid="ignore", divide="ignore"):
        over = np.where(upper > 0, (upper - problem.limit[host]) / upper, 0.0)
    slowed = float(np.clip(np.nan_to_num(over), 0.0, 1.0).max(initial=0.0))
    stay = [row for row in problem.on(host).tolist() if row not in set(victims)]
    gain = sum(weight(int(problem.priority[row])) * size(problem, row, host) for row in stay) * slowed
    cost = sum(weight(int(problem.priority[v])) * size(problem, v, host) for v in victims) * (1.0 - slowed)
    return gain >= cost + least - TOLERANCE
