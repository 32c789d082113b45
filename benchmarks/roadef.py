"""How well fleets are rebalanced by cost: the machine reassignment instances of the ROADEF/EURO challenge 2012.

Ours against a greedy in the manner of Cruise Control and, with an interpreter that has it,
ReBalancer; every answer is judged by rules written for this benchmark alone. Protocol and
keys stand in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # seconds are those of one thread

import numpy as np  # noqa: E402

from benchmarks import roadef_peers  # noqa: E402
from benchmarks.harness import Goal, Report, Spread, main_with  # noqa: E402
from benchmarks.roadef_check import Verdict, judge, lower_bound  # noqa: E402
from benchmarks.roadef_files import Instance, load, names_in  # noqa: E402
from benchmarks.roadef_references import CHOSEN_ON, COSTS, MEAN_OF, QUICK, REFERENCES, WITHIN, split_of  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.planning.rebalance import Reassignment, Settings, rebalance  # noqa: E402

#: proposals that no machine makes in the seconds given: the clock ends the search
ENDLESS = 10**12
QUICK_SECONDS = 5.0


@dataclass(frozen=True)
class Result:
    """One contender's answer to one instance, judged."""

    verdict: Verdict
    seconds: float
    proposals: int = 0


@dataclass(frozen=True)
class Row:
    """One instance with every answer; what is scored against is a published cost, or the lower bound."""

    name: str
    initial: int
    bound: int
    results: dict[str, Result]

    @property
    def reference(self) -> int:
        """The published cost, or the lower bound where there is none."""
        return REFERENCES.get(self.name, self.bound)

    def score(self, who: str) -> float:
        """Percent of the initial cost that an answer is behind the reference; below 0 it is ahead."""
        return 100 * (self.results[who].verdict.cost - self.reference) / self.initial


def problem_of(instance: Instance) -> Reassignment:
    """An instance in the words of the product."""
    needs = [(service, other) for service, others in enumerate(instance.depends) for other in others]
    balances = np.array(instance.balances, dtype=np.int64).reshape(-1, 4)
    return Reassignment(
        capacity=instance.capacity, safety=instance.safety, domain=instance.location,
        neighbourhood=instance.neighbourhood, transient=instance.transient > 0, weight=instance.load_weight,
        demand=instance.requirement, app=instance.service, home=instance.initial, move_cost=instance.process_move,
        spread=instance.spread, needs=np.array(needs, dtype=np.int64).reshape(-1, 2),
        host_move_cost=instance.machine_move, balances=balances[:, :3], balance_weight=balances[:, 3],
        move_weight=instance.weights[0], app_weight=instance.weights[1], host_weight=instance.weights[2],
    )  # fmt: skip


def ours(instance: Instance, seconds: float, seed: int) -> Result:
    """The product's rebalancing for so many CPU seconds, reading its own arrays included."""
    begun = time.process_time()
    settings = Settings(proposals=ENDLESS, seed=seed)
    found = rebalance(problem_of(instance), settings, clock=lambda: (time.process_time() - begun) / seconds)
    spent = time.process_time() - begun
    return Result(judge(instance, found.host.tolist()), spent, found.proposals)


def warm_up() -> float:
    """Let numba compile on an instance of two machines; CPU seconds that this took."""
    begun = time.process_time()
    two = np.ones((2, 1), dtype=np.int64)
    zero = np.zeros(2, dtype=np.int64)
    rebalance(
        Reassignment(
            capacity=9 * two, safety=two, domain=zero, neighbourhood=zero, transient=np.array([False]),
            weight=np.array([1]), demand=two, app=np.array([0, 1]), home=zero, move_cost=zero, spread=zero,
            needs=np.zeros((0, 2), np.int64), host_move_cost=np.zeros((2, 2), np.int64),
            balances=np.zeros((0, 3), np.int64), balance_weight=np.zeros(0, np.int64),
        ),
        Settings(proposals=50_000),
    )  # fmt: skip
    return time.process_time() - begun


def contest(folder: Path, name: str, arguments: argparse.Namespace, say: Callable[[str], None]) -> Row:
    """All contenders on one instance."""
    instance = load(folder, name)
    begin = judge(instance, instance.initial.tolist())
    results = {"ours": ours(instance, arguments.seconds, arguments.seed)}
    assignment, spent = roadef_peers.goal_by_goal(instance, arguments.seconds)
    results["goal by goal"] = Result(judge(instance, assignment), spent)
    if arguments.rebalancer_python:
        try:
            assignment, spent = roadef_peers.rebalancer(
                Path(arguments.rebalancer_python), folder, name, arguments.seconds
            )
            results["rebalancer"] = Result(judge(instance, assignment), spent)
        except UsageError as error:
            say(f"{name}: rebalancer skipped: {error.args[0]}")
    row = Row(name, begin.cost, lower_bound(instance), results)
    each = ", ".join(f"{who} {result.verdict.cost:,} ({row.score(who):+.4f} %)" for who, result in results.items())
    say(f"{name}: {each}; reference {row.reference:,}")
    return row


def goals_of(rows: Sequence[Row]) -> list[Goal]:
    """The goals that the instances at hand can answer."""
    goals = []
    by_name = {row.name: row for row in rows}
    peers = sorted({who for row in rows for who in row.results} - {"ours"})
    several = [by_name[name] for name in MEAN_OF if name in by_name]
    if several:
        scores = {
            who: float(np.mean([row.score(who) for row in several]))
            for who in ["ours", *peers]
            if all(who in row.results for row in several)
        }
        name = f"mean score over {len(several)} of the {len(MEAN_OF)} B"
        goals.append(Goal(name, scores.pop("ours"), "% of the initial cost", 0.0, "<=", scores))
    for name, row in by_name.items():
        costs = {who: float(row.results[who].verdict.cost) for who in peers if who in row.results}
        scores = {who: row.score(who) for who in peers if who in row.results}
        cost = float(row.results["ours"].verdict.cost)
        if name in COSTS:
            goals.append(Goal(f"cost of {name}", cost, "", float(COSTS[name]), "<=", costs))
        if name in WITHIN:
            goals.append(Goal(f"behind the reference on {name}", row.score("ours"), "% of the initial cost",
                              WITHIN[name], "<=", scores))  # fmt: skip
        if name in REFERENCES:
            goals.append(Goal(f"reference met or beaten on {name}", cost, "", float(row.reference), "<=", costs))
    broken = sum(len(row.results["ours"].verdict.broken) for row in rows)
    goals.append(Goal("constraints broken by ours", float(broken), "constraints", 0.0, "=="))
    return goals


def figures_of(rows: Sequence[Row]) -> dict[str, dict[str, Spread]]:
    """Every answer's cost, score, moves and seconds."""
    figures: dict[str, dict[str, Spread]] = {}
    for row in rows:
        figures[row.name] = {
            "initial cost": Spread.of([row.initial]),
            "lower bound": Spread.of([row.bound]),
            "published": Spread.of([float(row.name in REFERENCES)]),
            "check": Spread.of([float(split_of(row.name) == "check")]),
        }
        for who, result in row.results.items():
            values = {
                "cost": result.verdict.cost,
                "score %": row.score(who),
                "moved": result.verdict.moved,
                "broken": len(result.verdict.broken),
                "CPU s": result.seconds,
            }
            if who == "ours" and result.seconds > 0:
                values["M proposals/s"] = result.proposals / result.seconds / 1e6
            figures[row.name] |= {f"{who} {key}": Spread.of([float(value)]) for key, value in values.items()}
    return figures


def chosen(arguments: argparse.Namespace) -> list[str]:
    """Names of the instances to run; raises ``UsageError`` for one that is not there."""
    there = names_in(Path(arguments.data))
    if arguments.only:
        asked = [name for name in arguments.only.split(",") if name]
        missing = sorted(set(asked) - set(there))
        if missing:
            raise UsageError(f"no instance {', '.join(missing)}", hint=f"there are {', '.join(there)}")
        return asked
    if arguments.quick:
        return [name for name in QUICK if name in there] or there[:1]
    return [name for name in there if arguments.split in ("all", split_of(name))]


def run(arguments: argparse.Namespace) -> Report:
    """Rebalancing by cost on the instances of the ROADEF/EURO challenge 2012."""
    if arguments.quick:
        arguments.seconds = min(arguments.seconds, QUICK_SECONDS)
    if not arguments.seconds > 0:
        raise UsageError(f"--seconds {arguments.seconds}", hint="give CPU seconds above 0")
    names = chosen(arguments)
    notes = [
        f"{arguments.seconds:g} CPU seconds of one thread for each instance, the greedy included; numba compiled "
        f"before that in {warm_up():.1f} s",
        f"parameters were chosen on {', '.join(CHOSEN_ON)}; all others are a check; without a published cost the "
        "score is against the lower bound",
    ]
    if not arguments.rebalancer_python:
        notes.append("ReBalancer SKIPPED: no --rebalancer-python")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        if "skipped" in text:
            notes.append(text)

    rows = [contest(Path(arguments.data), name, arguments, say) for name in names]
    for part in ("chosen", "check"):
        scores = [row.score("ours") for row in rows if split_of(row.name) == part and row.name in REFERENCES]
        if scores:
            notes.append(f"mean score of ours over {len(scores)} published {part} instances: {np.mean(scores):+.4f} %")
    return Report("roadef", tuple(goals_of(rows)), figures_of(rows), 1, arguments.quick, tuple(notes))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--data", required=True, help="folder with model_NAME.txt and assignment_NAME.txt")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds for each instance (60)")
    parser.add_argument("--only", default="", help="names of instances, with commas between")
    parser.add_argument("--split", choices=("all", "chosen", "check"), default="all", help="which instances (all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rebalancer-python", default="", help="interpreter that has ReBalancer; without it skipped")
    main_with("roadef", run, parser)


if __name__ == "__main__":
    main()
