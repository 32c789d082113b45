"""The fleet at a later time, with a plan and without: what is moved, what stays, what is never made up."""

from __future__ import annotations

import math

import pytest
from frames import START, Fleet, make_plan, view_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.console import timeline
from sidestep.console.view import MEDIAN, FleetView, decode
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import CPU, MEMORY, PLANNED

VIEW = decode(Fleet(hosts=5, shards=12).frame(START + 30))
PLAN = view_of(make_plan(12))


def total(view: FleetView, dimension: int) -> float:
    """Demand of all hosts in cores or bytes."""
    return sum(view.use[host * 6 + dimension] for host in range(len(view.hosts)))


def test_a_later_picture_shows_the_median_of_that_time_and_what_is_left_of_the_forecast() -> None:
    later = timeline.predicted(VIEW, 20.0)
    assert later.time == VIEW.time + 20 and later.ahead == 20.0
    assert later.frame.future_steps == VIEW.frame.future_steps - 20
    for host in range(5):
        assert later.load(host, CPU) == pytest.approx(VIEW.quantile(host, CPU, MEDIAN)[19], abs=2e-3)
        assert list(later.quantile(host, CPU, MEDIAN)) == pytest.approx(list(VIEW.quantile(host, CPU, MEDIAN)[20:]))
        assert later.history(host, CPU)[-1] == pytest.approx(later.load(host, CPU), abs=2e-3)
        assert later.history(host, CPU)[-21] == pytest.approx(VIEW.history(host, CPU)[-1], abs=2e-3)


def test_the_host_that_is_predicted_to_run_hot_is_hot_at_that_time() -> None:
    assert VIEW.condition(1) != "hot"
    assert timeline.predicted(VIEW, 60.0).load(1, CPU) > VIEW.load(1, CPU) + 0.2
    assert timeline.predicted(VIEW, 50.0).condition(1) == "hot"
    assert timeline.predicted(VIEW, 50.0).condition(0) == "ok"


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 60), st.booleans())
def test_a_plan_moves_demand_and_makes_none(ahead: float, moved: bool) -> None:
    without, with_it = timeline.predicted(VIEW, ahead), timeline.predicted(VIEW, ahead, PLAN if moved else None)
    for dimension in (CPU, MEMORY):
        assert total(with_it, dimension) == pytest.approx(total(without, dimension), rel=1e-4)
    assert (with_it.load(1, CPU) < without.load(1, CPU)) is moved
    assert (with_it.load(3, CPU) > without.load(3, CPU)) is moved
    at = with_it.shard_rows["shop-01"]
    assert with_it.hosts[with_it.shard_host[at]].name == ("h4" if moved else "h2")


def test_a_plan_changes_nothing_about_hosts_that_it_does_not_touch() -> None:
    with_it = timeline.predicted(VIEW, 0.0, PLAN)
    for host in (0, 2, 4):
        assert [with_it.chance(host, d) for d in range(PLANNED)] == [VIEW.chance(host, d) for d in range(PLANNED)]
        assert with_it.load(host, CPU) == pytest.approx(VIEW.load(host, CPU))
    assert with_it.chance(1, CPU) < VIEW.chance(1, CPU)


def test_without_a_forecast_only_the_placement_changes() -> None:
    import msgspec

    frame = msgspec.structs.replace(VIEW.frame, future=b"", future_steps=0)
    bare = decode(frame)
    assert timeline.reach(bare) == 0 and timeline.stepped(bare, 0.0, 3) == 0.0
    with_it = timeline.predicted(bare, 10.0, PLAN)
    assert with_it.load(1, CPU) == bare.load(1, CPU)
    assert with_it.shard_host[with_it.shard_rows["shop-01"]] == 3


def test_what_is_unknown_stays_unknown() -> None:
    learning = decode(Fleet(confidence="insufficient").frame())
    later = timeline.predicted(learning, 30.0, PLAN)
    assert all(math.isnan(later.chance(host)) for host in range(4))
    assert not later.frame.contention


@given(st.integers(-40, 40), st.floats(0, 60))
def test_the_cursor_never_leaves_the_forecast(by: int, ahead: float) -> None:
    assert 0.0 <= timeline.stepped(VIEW, ahead, by) <= timeline.reach(VIEW) == 60.0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([s.value for s in HostState]), min_size=6, max_size=6), st.floats(0, 120), st.booleans()
)
def test_conditions_of_all_rows_at_once_are_those_of_each_row(states: list[str], time: float, sure: bool) -> None:
    fleet = Fleet(hosts=6, shards=9, states=dict(enumerate(states)), confidence="ok" if sure else "insufficient")
    view = decode(fleet.frame(START + time))
    labels, codes = view.figures.host_states.labels, view.figures.host_states.codes
    assert [labels[code] for code in codes] == [view.condition(host) for host in range(6)]
    for host in range(6):
        assert view.figures.load[host, CPU] == pytest.approx(view.load(host, CPU))
        assert view.figures.peak[host, CPU] == pytest.approx(view.peak(host, CPU))
        assert view.figures.shards_of(host) == view.shards_by_host.get(host, [])
        a, b = float(view.figures.chance[host]), view.chance(host)
        assert a == pytest.approx(b) or (math.isnan(a) and math.isnan(b))
    assert view.figures.shards_of(-1) == [] and view.figures.shards_of(6) == []
