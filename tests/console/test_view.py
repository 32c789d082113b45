"""Frames become views: columns are read in place, checked, and unknown numbers stay unknown."""

from __future__ import annotations

import math

import msgspec
import pytest
from frames import START, Fleet, make_plan, raw, view_of
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.protocol_tables import with_tables, without_tables
from sidestep.console.hostcolumns import host_line
from sidestep.console.hosttext import forecast_sentence, samples_sentence
from sidestep.console.text import UNICODE, plain
from sidestep.console.view import LEVELS, MEDIAN, PEAK, decode, merge_plans
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.resources import CPU, MEMORY


def test_numbers_are_read_where_they_stand() -> None:
    fleet = Fleet(hosts=5, shards=9)
    view = decode(fleet.frame(START + 3))
    for host in range(5):
        assert view.load(host, CPU) == pytest.approx(fleet.load(host, START + 3), rel=1e-5)
        assert view.load(host, MEMORY) == pytest.approx(fleet.memory(host, START + 3), rel=1e-5)
        assert view.history(host, CPU)[-1] == pytest.approx(view.load(host, CPU), rel=1e-3)
        assert view.quantile(host, CPU, MEDIAN)[4] == pytest.approx(fleet.load(host, START + 8), rel=1e-3)
        assert view.peak(host, CPU) == pytest.approx(max(view.quantile(host, CPU, PEAK)))
    assert view.shards_by_host == {0: [0, 5], 1: [1, 6], 2: [2, 7], 3: [3, 8], 4: [4]}


def test_quantiles_are_in_the_order_of_their_levels() -> None:
    view = decode(Fleet().frame())
    series = [view.quantile(1, CPU, level)[20] for level in range(len(LEVELS))]
    assert series == sorted(series)


@pytest.mark.parametrize(
    "column",
    ["allocatable", "use", "age", "risk", "past", "future", "shard_host", "shard_use", "shard_bytes", "host_state"],
)
def test_a_column_of_the_wrong_length_is_refused_by_name(column: str) -> None:
    frame = Fleet().frame()
    for wrong in (getattr(frame, column)[:-4], getattr(frame, column) + b"\0"):
        with pytest.raises(ProtocolError, match=f"column {column} has"):
            decode(msgspec.structs.replace(frame, **{column: wrong}))


def test_a_frame_without_forecast_has_no_peak_and_no_chance() -> None:
    frame = msgspec.structs.replace(Fleet().frame(), future=b"", future_steps=0, risk=raw([math.nan] * 8))
    view = decode(frame)
    assert math.isnan(view.peak(0, CPU))
    assert math.isnan(view.chance(0))
    assert len(view.quantile(0, CPU, MEDIAN)) == 0
    assert view.urgency(0) == 0.0


def test_a_state_that_is_not_known_is_refused_by_its_column() -> None:
    frame = Fleet().frame()
    with pytest.raises(ProtocolError, match="column shard_state holds 99"):
        decode(msgspec.structs.replace(frame, shard_state=b"\x63" * 12))


def test_words_that_did_not_change_are_not_scrubbed_again() -> None:
    """Twenty thousand names are looked at when they come, not with every picture."""
    fleet = Fleet(names=("evil\x1b",))
    first = decode(fleet.frame())
    later = fleet.frame(START + 1, 2)
    same = with_tables(without_tables(later), first.frame)
    assert decode(same, first).hosts is first.hosts and decode(same, first).shards is first.shards
    assert decode(same, first).hosts == decode(later).hosts
    fleet.names = ("other",)
    changed = with_tables(fleet.frame(START + 2, 3), first.frame)
    assert decode(changed, first).hosts[0].name == "other"


def test_a_reason_is_scrubbed_and_absent_for_most_hosts() -> None:
    frame = msgspec.structs.replace(Fleet().frame(), reasons={1: Label("lost\x1b[2J")})
    assert [decode(frame).reason(host) for host in (0, 1)] == ["", "lost<1b>[2J"]


def test_what_is_odd_about_samples_is_said_for_that_host_only() -> None:
    view = decode(Fleet(quality={1: (12.0, 1.0, 0.0, -3.25), 2: (0.0, 0.0, 0.0, math.nan)}).frame())
    said = plain(samples_sentence(view, 1))
    assert said == "samples: 12 lost, 1 sampler restarts, its clock is 3.2 s behind ours"
    assert samples_sentence(view, 0) == samples_sentence(view, 2) == ()


def test_a_daemon_that_says_nothing_about_samples_is_understood_and_a_short_column_is_not() -> None:
    frame = Fleet().frame()
    silent = decode(msgspec.structs.replace(frame, quality=b""))
    assert samples_sentence(silent, 0) == () and math.isnan(silent.quality(0)["gaps"])
    with pytest.raises(ProtocolError, match="column quality has 4 bytes"):
        decode(msgspec.structs.replace(frame, quality=bytes(4)))


def test_a_forecast_that_is_not_to_be_believed_yet_says_no_chance() -> None:
    view = decode(Fleet(confidence="insufficient").frame(START + 50))
    assert view.learning and math.isnan(view.chance(1)) and view.contentions == {}
    row = plain(host_line(view, 1, 80, UNICODE))
    assert " ?  learning" in row and "learning" in plain(forecast_sentence(view, 1, CPU))
    assert not decode(Fleet().frame()).learning


def test_an_unknown_risk_is_a_question_mark_and_not_zero() -> None:
    frame = msgspec.structs.replace(Fleet(states={0: "DEAD"}).frame(), risk=raw([math.nan] * 2 + [0.0] * 6))
    rows = [plain(host_line(decode(frame), host, 80, UNICODE)) for host in (0, 2)]
    assert "down" in rows[0] and " ? " in rows[0] and "0%" not in rows[0].split("down")[1][:8]
    assert " 0% " in rows[1]


def test_capacity_that_is_not_declared_gives_no_load() -> None:
    assert math.isnan(decode(Fleet().frame()).load(0, 2))


@pytest.mark.parametrize(
    ("state", "condition", "word"),
    [
        ("READY", "hot", "hot"),
        ("DEAD", "down", "down"),
        ("SUSPECT", "stale", "stale"),
        ("UNKNOWN", "stale", "stale"),
        ("CORDONED", "held", "cordoned"),
        ("DRAINING", "held", "draining"),
    ],
)
def test_a_state_outranks_a_prediction(state: str, condition: str, word: str) -> None:
    view = decode(Fleet(states={1: state}).frame(START + 50))
    assert view.condition(1) == condition
    assert view.word(1) == word


def test_a_host_whose_samples_are_old_is_stale() -> None:
    frame = msgspec.structs.replace(Fleet().frame(), age=raw([0.5, 30.0, 0.5, 0.5]))
    assert [decode(frame).condition(host) for host in (0, 1)] == ["ok", "stale"]


def test_a_host_above_its_threshold_now_is_hot_without_any_prediction() -> None:
    frame = msgspec.structs.replace(Fleet().frame(), threshold_cpu=0.01, contention=())
    assert decode(frame).condition(0) == "hot"


def test_a_down_host_is_not_sorted_to_the_end() -> None:
    view = decode(Fleet(states={0: "DEAD"}).frame())
    assert view.urgency(0) > view.urgency(3)


def test_names_that_were_not_scrubbed_are_scrubbed_here() -> None:
    view = decode(Fleet(names=("evil\x1b]0;x\x07",)).frame())
    assert view.hosts[0].name == "evil<1b>]0;x<07>"


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 100)), max_size=20), st.integers(0, 20))
def test_of_each_plan_the_newest_status_is_kept(updates: list[tuple[int, float]], cut: int) -> None:
    items = [view_of(make_plan(n), PlanState.RUNNING, updated=time) for n, time in updates]
    merged = merge_plans(merge_plans((), tuple(items[:cut])), tuple(items[cut:]))
    newest = {n: max(time for m, time in updates if m == n) for n, _ in updates}
    assert {p.plan.number: p.status.updated for p in merged} == newest
    assert [p.plan.number for p in merged] == sorted(newest, reverse=True)
