"""The benchmark of alarms: who is scored, what counts as caught, and that nothing looks ahead."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.alarms import run_all  # noqa: E402
from benchmarks.alarms_panels import Panel, panels  # noqa: E402
from benchmarks.alarms_run import REACTIVE, YESTERDAY, simple  # noqa: E402
from benchmarks.alarms_score import Truth, brier, caught, climatology, precision  # noqa: E402
from benchmarks.oracle import synthetic  # noqa: E402
from benchmarks.oracle.data import machines_of  # noqa: E402

DAY = 60


def panel(series: int = 2, days: int = 8) -> Panel:
    """Every day at the same time 4 steps above the limit of 1; scored from the fourth day on; steps of 5 minutes."""
    values = np.full((days * DAY, series), 0.5)
    for step in range(4):
        values[30 + step :: DAY] = 2.0
    return Panel("made", values, 4 * DAY, DAY, 300, 6, np.ones(series))


def test_an_onset_is_the_first_step_above_after_a_calm_window() -> None:
    made = panel()
    truth = Truth.of(made)
    assert sorted(set(truth.onsets[:, 0].tolist())) == [4 * DAY + 30 + DAY * day for day in range(4)]
    assert not truth.counts[: made.begin].any() and not (truth.counts & truth.over).any()
    assert truth.came[4 * DAY + 24 : 4 * DAY + 30].all() and not truth.came[4 * DAY + 23].any()


def test_who_sees_all_catches_all_and_who_sees_nothing_none() -> None:
    made = panel()
    truth = Truth.of(made)
    sees = truth.came.astype(float)
    assert caught(sees, truth, made, 0.01) == 1 and precision(sees, truth) == 1 and brier(sees, truth) == 0
    assert caught(np.full_like(made.values, 0.3), truth, made, 0.05) == 0


def test_an_alarm_less_than_ten_minutes_ahead_is_too_late() -> None:
    made = panel()
    truth = Truth.of(made)
    for ahead, expected in ((1, 0.0), (2, 1.0), (6, 1.0), (7, 0.0)):
        score = np.zeros_like(made.values)
        score[truth.onsets[:, 0] - ahead, truth.onsets[:, 1]] = 1.0
        assert caught(score, truth, made, 0.05) == expected


def test_the_climatology_knows_only_what_came_before() -> None:
    made = panel()
    other = Panel(**{**vars(made), "values": made.values.copy()})
    other.values[6 * DAY :] = 0.5
    for hours in (1, 12):
        one, two = (climatology(each, Truth.of(each), hours) for each in (made, other))
        np.testing.assert_array_equal(one[: 6 * DAY], two[: 6 * DAY])
        assert ((one >= 0) & (one <= 1)).all()


def test_yesterdays_window_is_the_next_one_a_day_ago() -> None:
    made = panel()
    found = simple(made)
    at = 5 * DAY + 25
    assert found[YESTERDAY][at, 0] > 0 > found[REACTIVE][at, 0]
    changed = Panel(**{**vars(made), "values": made.values.copy()})
    changed.values[at + 1 :] = 9.0
    for name in (YESTERDAY, REACTIVE):
        np.testing.assert_array_equal(simple(changed)[name][at], found[name][at])


@pytest.mark.parametrize("part", ["fit", "choose", "sealed"])
def test_hosts_are_sums_of_ten_machines_of_the_part_and_limits_are_of_the_past(part: str) -> None:
    group = synthetic.groups(machines=40)[0]
    found = panels(group, part, draws=1, series=5)  # type: ignore[arg-type]
    assert [each.name.split()[1] for each in found] == ["hosts", "series"]
    hosts = found[0]
    rows = machines_of(group, part)  # type: ignore[arg-type]
    assert hosts.values.shape[1] == len(rows) // 10
    past = hosts.values[: hosts.begin]
    np.testing.assert_allclose(hosts.limit, np.nanpercentile(past, 97.5, axis=0))
    assert hosts.values.mean() < 10 * np.nanmax(group.values[rows, 0])


def test_a_quick_run_reports_every_contender() -> None:
    given = argparse.Namespace(data=None, quick=True, part="choose", model="persistence")
    report = run_all(given)
    assert any("SYNTHETIC" in note for note in report.notes)
    assert {goal.unit for goal in report.goals} <= {"of onsets", "times", ""}
    told: NDArray[np.str_] = np.array(sorted(report.figures))
    assert any("level now" in name for name in told) and any("chance" in name for name in told)
