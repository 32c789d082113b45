"""What an assignment costs and which constraints it breaks, computed whole: the incremental sums must agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.rebalance.model import I64, Reassignment


@dataclass(frozen=True)
class Cost:
    """The parts of an assignment's cost, and how many shards it moves."""

    load: int
    balance: int
    moves: int
    app_moves: int
    host_moves: int
    moved: int

    @property
    def total(self) -> int:
        """What the optimiser lowers."""
        return self.load + self.balance + self.moves + self.app_moves + self.host_moves


def use_of(problem: Reassignment, host: I64) -> I64:
    """(H, R) demand on every host."""
    use = np.zeros_like(problem.capacity)
    np.add.at(use, host, problem.demand)
    return use


def held_of(problem: Reassignment, host: I64) -> I64:
    """(H, R) what every host holds while all moves run: its shards, and what leaves it in transient dimensions."""
    moved = host != problem.home
    left = np.zeros_like(problem.capacity)
    np.add.at(left, problem.home[moved], problem.demand[moved] * problem.transient)
    return use_of(problem, host) + left


def cost_of(problem: Reassignment, host: I64) -> Cost:
    """The cost of an assignment ``host`` (N,), feasible or not."""
    use = use_of(problem, host)
    free = problem.capacity - use
    load = int((np.maximum(use - problem.safety, 0) * problem.weight).sum())
    balance = sum(
        int(weight) * int(np.maximum(target * free[:, first] - free[:, second], 0).sum())
        for (first, second, target), weight in zip(problem.balances, problem.balance_weight, strict=True)
    )
    moved = host != problem.home
    most = int(np.bincount(problem.app[moved], minlength=1).max())
    return Cost(
        load,
        balance,
        int(problem.move_weight * problem.move_cost[moved].sum()),
        problem.app_weight * most,
        int(problem.host_weight * problem.host_move_cost[problem.home, host].sum()),
        int(moved.sum()),
    )


def bound_of(problem: Reassignment) -> int:
    """A cost that no assignment goes below: all demand against all safety levels together."""
    total = problem.demand.sum(axis=0)
    bound = int((np.maximum(total - problem.safety.sum(axis=0), 0) * problem.weight).sum())
    free = problem.capacity.sum(axis=0) - total
    for (first, second, target), weight in zip(problem.balances, problem.balance_weight, strict=True):
        bound += int(weight) * max(0, int(target * free[first] - free[second]))
    return bound


def broken_by(problem: Reassignment, host: I64) -> dict[str, int]:
    """How often an assignment breaks each constraint; empty if it is feasible."""
    found = {
        "capacity": int((held_of(problem, host) > problem.capacity).sum()),
        "conflict": problem.shards - len(np.unique(problem.app * problem.hosts + host)),
        "spread": int((_domains(problem, host) < problem.spread).sum()),
        "needs": int(_unmet(problem, host).sum()),
    }
    return {name: count for name, count in found.items() if count}


def _domains(problem: Reassignment, host: I64) -> I64:
    """(A,) in how many failure domains each app has shards."""
    domains = int(problem.domain.max()) + 1
    pairs = np.unique(problem.app * domains + problem.domain[host])
    return np.bincount(pairs // domains, minlength=problem.apps).astype(np.int64)


def _unmet(problem: Reassignment, host: I64) -> I64:
    """(E,) in how many neighbourhoods each need is not met."""
    near = np.zeros((problem.apps, int(problem.neighbourhood.max()) + 1), dtype=np.bool_)
    near[problem.app, problem.neighbourhood[host]] = True
    return np.asarray((near[problem.needs[:, 0]] & ~near[problem.needs[:, 1]]).sum(axis=1), dtype=np.int64)
