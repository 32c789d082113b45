"""Which of the rings tells the oracle of the past."""

from __future__ import annotations

import numpy as np
import pytest

from sidestep.autopilot.history_keeper import series_names
from sidestep.autopilot.history_past import past_of
from sidestep.fleet.history import Block, History
from sidestep.fleet.inventory import FleetSpec, HostSpec, OracleSpec
from sidestep.fleet.labels import Label

NOW = 1_800_000_000.0
HOSTS = tuple(HostSpec(name=Label(name), address=name) for name in ("a", "b"))


def fleet(step: float, season: float = 86400.0) -> FleetSpec:
    return FleetSpec(name=Label("t"), source="", hosts=HOSTS, shards=(), oracle=OracleSpec(step=step, season=season))


def minutes(count: int, end: float = NOW) -> History:
    history = History()
    names = series_names([h.name for h in HOSTS], [])
    values = np.ones((count, len(names)), np.float32)
    block = Block(60.0, 1.0, end - 60.0 * np.arange(count, 0, -1), values, values, np.full(values.shape, 60, np.uint16))
    history.load(1, NOW, names, block)
    return history


@pytest.mark.parametrize(("step", "rows"), [(1.0, 50), (60.0, 600), (300.0, 600)])
def test_minutes_are_told_as_far_as_they_are_worth_it(step: float, rows: int) -> None:
    found = past_of(minutes(600), fleet(step), np.inf, NOW)
    assert found is not None
    assert (found.step, len(found.times) // 8, len(found.host_use)) == (60.0, rows, rows * 2 * 6 * 4)


def test_fresh_seconds_are_told_where_there_are_some() -> None:
    history = minutes(600)
    names = series_names([h.name for h in HOSTS], [])
    for second in range(300):
        history.append(NOW + second, names, np.ones(len(names)))
    found = past_of(history, fleet(1.0), np.inf, NOW + 300)
    assert found is not None
    assert (found.step, len(found.times) // 8) == (1.0, 300)
    before = past_of(history, fleet(1.0), NOW + 10, NOW + 300)
    assert before is not None, "what came before the rows that are known anyway"
    assert before.step == 60.0 and np.frombuffer(before.times, "<f8")[-1] == NOW - 60


def test_a_past_that_ended_long_ago_is_not_told() -> None:
    assert past_of(minutes(600, NOW - 3600), fleet(1.0), np.inf, NOW) is None
    assert past_of(minutes(600, NOW - 3600), fleet(60.0), np.inf, NOW) is not None
    assert past_of(History(), fleet(1.0), np.inf, NOW) is None
