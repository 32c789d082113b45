"""Plans of the fewest moves against proven optima, on small random fleets.

Every case is also given to a mixed-integer program: does relief find as few moves where moves do all
duties, and does it say so where no moves do? What the program does not decide within its nodes is
counted and left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.harness import Goal, Report, Spread, main
from sidestep.planning.exact import Exact, Limits, optimum, what_is_missing
from sidestep.planning.model import Budget, Constraints, Duty, Outcome, Problem
from sidestep.planning.relief import final

#: hosts, shards, fill, cases; and of a quick run
CASES: Final = (
    (8, 60, 0.6, 20),
    (8, 60, 0.75, 20),
    (12, 120, 0.7, 20),
    (12, 120, 0.85, 20),
    (20, 240, 0.75, 10),
    (8, 60, 0.97, 8),
)
QUICK: Final = ((8, 60, 0.6, 5), (8, 60, 0.75, 5), (12, 120, 0.7, 3), (8, 60, 0.97, 1))
LIMITS: Final = Limits(nodes=200, rounds=8, seconds=5.0)
#: for each question of what is missing
FEW: Final = Limits(nodes=60, rounds=3, seconds=2.0)
#: placements that relief may try
ITERATIONS: Final = 20_000
#: impossible cases for which the hosts that are missing are looked for
ASKED: Final = 4
EQUAL: Final = 0.95
GAP: Final = 0.01


@dataclass(frozen=True)
class Case:
    """What both found on one fleet."""

    exact: Exact
    ours: Outcome
    count: int
    cpu_exact: float
    cpu_ours: float


def fleet(hosts: int, shards: int, fill: float, seed: int) -> Problem:
    """Two dimensions, three steps; apps of five shards that share no host; a fifth of the hosts grow too hot."""
    rng = np.random.default_rng([hosts, shards, seed])
    size = rng.lognormal(0.0, 0.7, shards)
    wave = 1.0 + 0.2 * np.sin(np.arange(3)[None] + rng.uniform(0, 6.28, shards)[:, None])
    mean = (size[:, None] * rng.dirichlet(np.full(2, 3.0), shards) * 2)[:, :, None] * wave[:, None, :]
    app, at, load = rng.integers(0, shards // 5, shards), np.full(shards, -1, dtype=np.int32), np.zeros((hosts, 2))
    for row in np.argsort(-size).tolist():
        held = at[(app == app[row]) & (at >= 0)]
        order = [h for h in np.argsort((load + mean[row, :, 0]).max(axis=1), kind="stable").tolist() if h not in held]
        at[row] = order[0] if order else int(rng.integers(hosts))
        load[at[row]] += mean[row, :, 0]
    use = np.zeros((hosts, 2, 3))
    np.add.at(use, at, mean)
    limit = np.broadcast_to(use.max(axis=2).mean(axis=0) / fill, (hosts, 2))
    for host in rng.permutation(hosts)[: max(2, hosts // 5)].tolist():
        rows, dim = np.flatnonzero(at == host), int(rng.integers(2))
        extra = rng.uniform(1.05, 1.3) * limit[host, dim] - use[host, dim].max()
        mean[rows, dim] *= 1.0 + max(extra, 0.0) / use[host, dim].max() * np.linspace(0, 1, 3)
    flat = mean.reshape(shards, 6).astype(np.float32)
    median, edge, zero = np.zeros((hosts, 6)), np.repeat(limit, 3, axis=1), np.zeros((hosts, 6))
    np.add.at(median, at, flat)
    groups = [(0, max(1, int(np.bincount(at[app == a]).max())), np.flatnonzero(app == a).tolist())
              for a in np.unique(app).tolist() if (app == a).sum() > 1]  # fmt: skip
    yes, rules = np.ones(hosts, dtype=np.bool_), Constraints.make(hosts, shards, groups=groups)
    return Problem(
        dimensions=2, steps=3, limit=edge, room=edge.copy(), capacity=edge / 0.8, median=median, away=zero,
        variance=zero.copy(), deviation=zero.copy(), accepts=yes, gives=yes.copy(), cost=np.ones(hosts),
        rank=np.arange(hosts, dtype=np.int64), host=at, mean=flat, sd=np.zeros_like(flat),
        movable=np.ones(shards, dtype=np.bool_), bytes=size * 1e6, count=np.ones(shards, dtype=np.int32),
        priority=rng.integers(1, 6, shards).astype(np.int32), constraints=rules,
    )  # fmt: skip


def duties_of(made: Problem) -> tuple[Duty, ...]:
    """Every host that will be too hot, the soonest first."""
    found = []
    for host in np.flatnonzero(made.held(made.median + made.away, made.limit)).tolist():
        columns = tuple(np.flatnonzero(made.median[host] > made.limit[host]).tolist())
        found.append(
            Duty(kind="contention", host=host, lead=float(min(c % made.steps for c in columns)), columns=columns)
        )
    return tuple(sorted(found, key=lambda duty: (duty.lead, duty.host)))


def tried(made: Problem, duties: tuple[Duty, ...]) -> Case:
    """Both on one fleet, with the processor time of each."""
    began = time.process_time()
    ours = final(made, duties, budget=Budget(iterations=ITERATIONS))
    between = time.process_time()
    exact = optimum(made, duties, limits=LIMITS, lightest=False)
    count = int(made.count[[move.shard for move in ours.moves]].sum()) if ours.moves else 0
    return Case(exact, ours, count, time.process_time() - between, between - began)


def missing(made: Problem, duties: tuple[Duty, ...]) -> dict[str, float]:
    """How many hosts more would do where no moves do."""
    found = what_is_missing(made, duties, most=2, limits=FEW)
    return {"standby hosts needed": float(found.hosts), "proven fewest": float(found.fewest)}


def run(quick: bool) -> Report:
    """Random fleets, each decided by both."""
    cases: list[Case] = []
    lacking: list[dict[str, float]] = []
    for hosts, shards, fill, count in QUICK if quick else CASES:
        for seed in range(count):
            made = fleet(hosts, shards, fill, seed)
            duties = duties_of(made)
            if not duties:
                continue
            cases.append(tried(made, duties))
            if cases[-1].exact.status == "INFEASIBLE" and len(lacking) < (1 if quick else ASKED):
                lacking.append(missing(made, duties))
    solved = [case for case in cases if case.exact.status == "OPTIMAL"]
    proofs = [case for case in cases if case.exact.status == "INFEASIBLE"]
    done = [case for case in solved if not case.ours.left]
    gaps = [case.count / max(1, case.exact.count) - 1.0 for case in done]
    equal = sum(case.count <= case.exact.count for case in done) / max(1, len(solved))
    gap = float(np.mean(gaps)) if gaps else 0.0
    goals = (
        Goal("as few moves as the optimum", equal, "of cases", EQUAL, ">="),
        Goal("mean gap to the optimum", gap, "of its moves", GAP, "<="),
        Goal("a plan below a proven bound, or of an impossible case", float(sum(map(_wrong, cases))), "cases", 0, "=="),
        Goal("impossible cases in which no duty is left undone", float(sum(not c.ours.left for c in proofs)), "cases",
             0, "=="),
    )  # fmt: skip
    figures = {
        "cases": {name: Spread.of([float(value)]) for name, value in {
            "all": len(cases), "proven optimal": len(solved), "proven that no migration plan exists": len(proofs),
            "not decided": len(cases) - len(solved) - len(proofs),
            "solvable, and relief left duties undone": len(solved) - len(done),
        }.items()},
        "relief": {"cpu s": Spread.of([case.cpu_ours for case in cases]),
                   "moves": Spread.of([float(case.count) for case in cases])},
        "mixed-integer program": {"cpu s": Spread.of([case.cpu_exact for case in cases]),
                                  "moves": Spread.of([float(case.exact.count) for case in solved] or [0.0])},
    }  # fmt: skip
    if lacking:
        figures["no plan exists"] = {key: Spread.of([one[key] for one in lacking]) for key in lacking[0]}
    notes = (
        f"a program ends after {LIMITS.nodes} nodes, {LIMITS.rounds} rounds or {LIMITS.seconds:g} s a solve; "
        "such cases count as not decided and in no share",
        f"relief tries at most {ITERATIONS} placements",
        "a solvable case in which relief leaves a duty undone counts as not equal",
    )
    return Report("planning_exact", goals, figures, len(cases), quick, notes)


def _wrong(case: Case) -> bool:
    """Whether one of the two must be wrong."""
    if case.ours.left:
        return False
    return case.exact.status == "INFEASIBLE" or case.count < case.exact.bound


if __name__ == "__main__":
    main("planning_exact", run)
