"""The benchmark of rebalancing: files are read whole or refused, and the rules are the challenge's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
for folder in (ROOT, ROOT / "tests" / "planning" / "rebalance"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from made import compile_once, made  # noqa: E402

from benchmarks import roadef  # noqa: E402
from benchmarks.roadef_check import judge, lower_bound  # noqa: E402
from benchmarks.roadef_files import Instance, load, names_in  # noqa: E402
from benchmarks.roadef_peers import goal_by_goal  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.planning.rebalance import Reassignment, bound_of, broken_by, cost_of  # noqa: E402

#: the example of the published problem definition's kind: 2 resources, the first transient, 4 machines, 2 services
MODEL = """2
1 100
0 10
4
0 0 30 400 16 80 0 1 4 5
0 0 10 240 8 160 1 0 3 4
1 1 15 100 12 80 4 3 0 2
1 2 10 100 8 80 5 4 2 0
2
2 0
1 1 0
3
0 12 10 1000
0 10 20 100
1 6 200 1
1
0 1 20
10
1 10 100
"""
ASSIGNMENT = "0 3 0\n"


def write(folder: Path, name: str, problem: Reassignment) -> None:
    """A problem in the challenge's format."""
    rows = [str(len(problem.weight))]
    rows += [f"{int(t)} {w}" for t, w in zip(problem.transient, problem.weight, strict=True)]
    rows.append(str(problem.hosts))
    for h in range(problem.hosts):
        row = [problem.neighbourhood[h], problem.domain[h], *problem.capacity[h], *problem.safety[h]]
        rows.append(" ".join(map(str, [*row, *problem.host_move_cost[h]])))
    rows.append(str(problem.apps))
    for a in range(problem.apps):
        others = problem.needs[problem.needs[:, 0] == a, 1].tolist()
        rows.append(" ".join(map(str, [problem.spread[a], len(others), *others])))
    rows.append(str(problem.shards))
    for p in range(problem.shards):
        rows.append(" ".join(map(str, [problem.app[p], *problem.demand[p], problem.move_cost[p]])))
    rows.append(str(len(problem.balances)))
    for balance, weight in zip(problem.balances.tolist(), problem.balance_weight.tolist(), strict=True):
        rows += [" ".join(map(str, balance)), str(weight)]
    rows.append(f"{problem.move_weight} {problem.app_weight} {problem.host_weight}")
    (folder / f"model_{name}.txt").write_text("\n".join(rows) + "\n")
    (folder / f"assignment_{name}.txt").write_text(" ".join(map(str, problem.home.tolist())) + "\n")


def small(folder: Path) -> Instance:
    (folder / "model_tiny.txt").write_text(MODEL)
    (folder / "assignment_tiny.txt").write_text(ASSIGNMENT)
    return load(folder, "tiny")


def test_costs_are_those_counted_by_hand(tmp_path: Path) -> None:
    instance = small(tmp_path)
    begin = judge(instance, [0, 3, 0])
    # machine 0 holds 18 of 16 and 210 of 80; machine 3 holds 10 of 8: 100 * (2 + 2) + 10 * 130
    assert (begin.load, begin.moved) == (1700, 0)
    # free machine 0: 12, 190; 1: 10, 240; 2: 15, 100; 3: 0, 80: never short of 20 times the first? 50, 0, 200, 0
    assert begin.balance == 10 * (50 + 0 + 200 + 0)
    away = judge(instance, [0, 2, 0])
    assert (away.process_moves, away.service_moves, away.machine_moves, away.moved) == (100, 10, 200, 1)
    assert away.broken == ()
    assert lower_bound(instance) <= begin.cost


def test_every_rule_is_checked(tmp_path: Path) -> None:
    instance = small(tmp_path)
    for assignment, said in (
        ([0, 0, 0], "conflict"),
        ([0, 1, 0], "spread"),
        ([2, 3, 0], "dependency"),
        ([1, 3, 0], "capacity: machine 1"),
        ([0, 3], "assignment"),
        ([0, 9, 0], "assignment"),
    ):
        assert any(said in broken for broken in judge(instance, assignment).broken), (assignment, said)


def test_a_transient_resource_is_held_on_both_machines(tmp_path: Path) -> None:
    instance = small(tmp_path)
    # process 0 leaves machine 0 for 2, whose 12 of 15 fit; process 1 cannot take its place: 10 stay held on 3 only
    verdict = judge(instance, [2, 0, 0])
    assert any("capacity: machine 0, resource 0: 28 of 30" in broken for broken in verdict.broken) is False
    assert not any("machine 3" in broken for broken in verdict.broken)


@pytest.mark.parametrize("seed", range(5))
def test_the_rules_and_the_product_agree_on_cost_and_constraints(tmp_path: Path, seed: int) -> None:
    problem = made(seed)
    write(tmp_path, "made", problem)
    instance = load(tmp_path, "made")
    again = roadef.problem_of(instance)
    random = np.random.default_rng(seed)
    for _ in range(40):
        host = np.where(
            random.random(problem.shards) < 0.1, random.integers(0, problem.hosts, problem.shards), problem.home
        )
        verdict = judge(instance, host.tolist())
        assert verdict.cost == cost_of(problem, host).total == cost_of(again, host).total
        kinds = {broken.split(":")[0] for broken in verdict.broken}
        assert kinds == {{"needs": "dependency"}.get(name, name) for name in broken_by(problem, host)}
    assert lower_bound(instance) == bound_of(problem)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("1 100\n", "1 x\n"), "model_tiny.txt:2: number = 'x'"),
        (("1 10 100\n", ""), "the file ends"),
        (("1 10 100\n", "1 10 100\n7\n"), "more than the counts"),
        (("1 6 200 1\n", "5 6 200 1\n"), "a service that is not there"),
        (("1 1 0\n", "1 1 6\n"), "model_tiny.txt:11: dependency = 6"),
    ],
)
def test_a_damaged_file_is_refused_with_line_and_value(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    (tmp_path / "model_tiny.txt").write_text(MODEL.replace(*change))
    (tmp_path / "assignment_tiny.txt").write_text(ASSIGNMENT)
    with pytest.raises(UsageError) as caught:
        load(tmp_path, "tiny")
    assert said in str(caught.value)


def test_a_folder_without_instances_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no instance"):
        names_in(tmp_path)
    small(tmp_path)
    arguments = argparse.Namespace(data=str(tmp_path), only="other", quick=False, split="all")
    with pytest.raises(UsageError, match="no instance other"):
        roadef.chosen(arguments)


def test_goals_in_turn_break_nothing_and_lower_the_load(tmp_path: Path) -> None:
    write(tmp_path, "made", made(2, hosts=12, shards=80))
    instance = load(tmp_path, "made")
    verdict = judge(instance, goal_by_goal(instance, 5.0)[0])
    assert verdict.broken == ()
    assert verdict.load < judge(instance, instance.initial.tolist()).load


def test_a_run_reports_goals_scores_and_the_split(tmp_path: Path) -> None:
    compile_once()
    write(tmp_path, "b_1", made(2, hosts=12, shards=80))
    arguments = argparse.Namespace(
        data=str(tmp_path), only="", quick=True, split="all", seconds=0.3, seed=1, rebalancer_python=""
    )
    report = roadef.run(arguments)
    goals = {goal.name: goal for goal in report.goals}
    assert goals["constraints broken by ours"].holds
    assert {"cost of b_1", "reference met or beaten on b_1", "mean score over 1 of the 8 B"} <= set(goals)
    assert goals["cost of b_1"].peers.keys() == {"goal by goal"}
    assert any("SKIPPED" in note for note in report.notes)
    assert any("chosen on" in note for note in report.notes)
