"""The parts of the trainer that are plain arithmetic: table, arenas, origins, scores and verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_doubles import SEASONAL, candidate, fleet_of

from sidestep.fleet import extensions
from sidestep.fleet.errors import UsageError
from sidestep.fleet.extensions import FORECASTERS
from sidestep.fleet.inventory import FleetSpec, OracleSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.forecasting.training import candidates
from sidestep.forecasting.training.arenas import MOST_SERIES, WATCHED, arenas, told
from sidestep.forecasting.training.decide import compare
from sidestep.forecasting.training.origins import LEVELS, Course, course, crps, scale, strays, truth
from sidestep.forecasting.training.refits import affordable
from sidestep.forecasting.training.table import DEPTH, Table


def shard(number: int, app: str = "kv") -> ShardSpec:
    return ShardSpec(name=Label(f"s{number}"), app=Label(app), host=Label("h0"), start="x")


# --- the table -------------------------------------------------------------------------


def test_rows_come_to_their_places_in_any_order_and_holes_are_unknown() -> None:
    table = Table(("a", "b"), 60.0)
    assert table.add(("b", "x", "a"), np.array([600.0, 780.0]), np.array([[1, 9, 2], [3, 9, 4]], np.float32)) == 4
    np.testing.assert_array_equal(table.values, [[2, 1], [np.nan, np.nan], [np.nan, np.nan], [4, 3]])
    assert (table.start, table.end) == (600.0, 840.0)
    assert table.add(("a",), np.array([660.0]), np.array([[7]], np.float32)) == 0
    assert table.add(("b",), np.array([540.0]), np.array([[8]], np.float32)) == 0
    np.testing.assert_array_equal(table.values[:3, 0], [np.nan, 2, 7])
    assert table.values[0, 1] == 8


def test_an_unknown_value_does_not_take_the_place_of_a_known_one() -> None:
    table = Table(("a",), 1.0)
    table.add(("a",), np.array([5.0]), np.array([[3]], np.float32))
    table.add(("a",), np.array([5.0]), np.array([[np.inf]], np.float32))
    assert table.values[-1, 0] == 3


def test_a_clock_that_jumps_far_begins_a_new_table_and_shapes_are_checked() -> None:
    table = Table(("a",), 1.0)
    table.add(("a",), np.array([5.0]), np.array([[3]], np.float32))
    assert table.add(("a",), np.array([1e9]), np.array([[4]], np.float32)) == 1
    assert (len(table), table.start) == (1, 1e9)
    assert table.add(("a",), np.array([np.nan]), np.array([[4]], np.float32)) == 0
    with pytest.raises(ValueError, match="values of shape"):
        table.add(("a",), np.array([5.0]), np.zeros((2, 1), np.float32))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3 * DEPTH), min_size=1, max_size=30))
def test_the_table_stays_bounded_and_keeps_the_newest_of_each_time(slots: list[int]) -> None:
    table = Table(("a",), 1.0)
    for number, slot in enumerate(slots):
        table.add(("a",), np.array([float(slot)]), np.array([[number]], np.float32))
        assert len(table) <= DEPTH
        at = int(slot - table.start)
        if 0 <= at < len(table):
            assert table.values[at, 0] == number


# --- arenas ----------------------------------------------------------------------------


def test_every_series_has_one_arena_at_most_and_a_group_comes_before_the_fleet() -> None:
    """S5.5, S4.5: hosts and shards alike."""
    fleet = fleet_of(SEASONAL, candidate("all", SEASONAL.model, group="", metrics=("cpu", "psi_io")), hosts=3)
    fleet = FleetSpec(**{**{f: getattr(fleet, f) for f in fleet.__struct_fields__}, "shards": (shard(0), shard(1))})
    found = {(arena.group, arena.metric): arena for arena in arenas(fleet)}
    assert found["web", "cpu"].series == ("host h0 cpu", "host h1 cpu", "host h2 cpu")
    assert [c.name for c in found["web", "cpu"].candidates] == ["daily", "all", "seasonal"]
    assert found["", "cpu"].series == ("shard s0 cpu", "shard s1 cpu")
    assert found["", "psi_io"].series == tuple(f"host h{i} psi_io" for i in range(3))
    assert [c.name for c in found["", "memory"].candidates] == ["seasonal"]
    names = told(found.values())
    assert len(names) == len(set(names)) == sum(len(arena.series) for arena in found.values())


def test_a_group_may_be_an_app_and_too_many_series_are_only_watched() -> None:
    fleet = fleet_of(candidate("kv", SEASONAL.model, group="kv"), hosts=MOST_SERIES + 1)
    fleet = FleetSpec(**{**{f: getattr(fleet, f) for f in fleet.__struct_fields__}, "shards": (shard(0),)})
    found = {(arena.group, arena.metric): arena for arena in arenas(fleet)}
    assert found["kv", "cpu"].series == ("shard s0 cpu",)
    assert not found["", "cpu"].contested
    names = told(found.values())
    assert len(names) == 1 + 2 * WATCHED + 1 - (not found["", "memory"].contested)


def test_a_fleet_without_a_season_has_no_seasonal_baseline_and_none_competes_with_itself() -> None:
    fleet = fleet_of(hosts=2)
    bare = FleetSpec(
        **{**{f: getattr(fleet, f) for f in fleet.__struct_fields__}, "oracle": OracleSpec(model="trend", season=0.0)}
    )
    assert [c.name for c in arenas(bare)[0].candidates] == ["persistence"]
    assert [c.name for c in arenas(fleet)[0].candidates] == ["seasonal"]


# --- origins and scores ----------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(1, 200), st.integers(1, 30))
def test_no_origin_is_without_a_future_or_without_a_past(steps: int, horizon: int, series: int) -> None:
    found = course(steps, horizon, series)
    if found is None:
        return
    assert list(found.all) == sorted(set(found.all))
    assert found.origins[-1] == steps - horizon
    assert found.all[0] - found.age >= 24
    assert found.origins[0] >= steps // 2 - horizon
    assert found.knots[0] == 1
    assert found.knots[-1] == horizon
    assert len(found.origins) >= 4


def test_the_crps_is_that_of_the_definition_and_knows_no_unit() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, (50, 2)).astype(np.float32)
    where = Course((40, 44), (), (1, 3), 0)
    came = truth(values, where.origins, where.knots)
    assert came[1, 0, 1] == values[42, 1]
    said = np.sort(rng.normal(5, 1, (2, 2, 2, len(LEVELS))), axis=-1)
    size = scale(values, where)
    found = crps(came, said, size)
    levels = np.array([0.025, 0.1, 0.5, 0.9, 0.975])
    at = [LEVELS.index(level) for level in levels]
    error = came[0, 0, :, None] - said[0, 0][:, at]
    by_hand = 2 * np.maximum(levels * error, (levels - 1) * error).mean() / size[0]
    assert found[0, 0] == pytest.approx(by_hand)
    np.testing.assert_allclose(crps(came * 1000, said * 1000, size * 1000), found)


def test_what_is_constant_or_hardly_known_has_no_scale_and_what_has_not_come_no_score() -> None:
    values = np.ones((60, 3), np.float32)
    values[:, 1] += np.arange(60) % 2
    values[10:55, 2] = np.nan
    where = Course((50,), (), (1, 20), 0)
    assert list(np.isfinite(scale(values, where))) == [False, True, False]
    came = truth(values, where.origins, where.knots)
    assert np.isnan(came[1, 0, 1])
    said = np.full((3, 1, 2, len(LEVELS)), 1.0)
    assert np.isfinite(crps(came, said, scale(values, where))[1, 0])


def test_conformal_offsets_look_at_nothing_that_was_not_known() -> None:
    rng = np.random.default_rng(1)
    came, median = rng.normal(size=(5, 6, 2)), np.zeros((5, 6, 2))
    due = np.arange(6)[:, None] + np.array([0, 2]) <= 3
    found = strays(came, median, np.ones(5), due)
    changed = came.copy()
    changed[:, ~due] = 1e9
    np.testing.assert_array_equal(strays(changed, median, np.ones(5), due), found)
    assert (np.diff(found, axis=1) >= 0).all()
    assert np.isnan(strays(came, median, np.ones(5), np.zeros((6, 2), np.bool_))).all()


def test_answers_are_put_in_order_and_kept_in_bounds() -> None:
    said = np.array([[3.0, 1.0, 99.0], [np.nan, 1.0, 2.0], [-5.0, 0.0, 1.0]])
    found = candidates.sane(said, np.array([1.0, 4.0]))
    np.testing.assert_array_equal(found, [[1, 3, 12], [np.nan] * 3, [0, 0, 1]])
    np.testing.assert_allclose(candidates.filled(np.array([np.nan, 1, np.nan, 3, np.nan])), [1, 2, 3, 3])
    assert len(candidates.filled(np.full(3, np.nan))) == 0


# --- verdicts --------------------------------------------------------------------------


def test_a_clear_gain_wins_a_small_one_does_not_and_luck_does_not() -> None:
    rng = np.random.default_rng(0)
    served = rng.uniform(0.3, 0.5, (40, 12))
    assert compare(served * 0.9, served, challengers=3, seed=1).better(0.03)
    assert not compare(served * 0.98, served, challengers=3, seed=1).better(0.03)
    lucky = served + rng.normal(0, 0.4, (40, 1))
    lucky[0] -= 6.0
    verdict = compare(lucky, served, challengers=3, seed=1)
    assert verdict.gain > 0.03
    assert not verdict.better(0.03), "one series alone proves nothing"


def test_false_promotions_are_as_rare_as_stated() -> None:
    """No better on average: at most one round in twenty may promote, whatever the number of challengers."""
    rng = np.random.default_rng(3)
    promoted = 0
    for number in range(200):
        served = rng.gamma(4, 0.1, (20, 1)) * np.ones((1, 8))
        rivals = [served * rng.lognormal(-0.02, 0.2, (20, 1)) for _ in range(3)]
        promoted += any(compare(r, served, challengers=3, seed=number).better(0.0) for r in rivals)
    assert promoted <= 20, promoted


def test_few_series_are_judged_by_origins_and_too_few_pairs_decide_nothing() -> None:
    served = np.full((2, 10), 0.4)
    assert compare(served * 0.8, served, challengers=1, seed=0).pairs == 10
    assert compare(served * 0.8, served, challengers=1, seed=0).better(0.03)
    assert not compare(served[:, :4] * 0.5, served[:, :4], challengers=1, seed=0).better(0.03)
    assert not compare(np.full((2, 10), np.nan), served, challengers=1, seed=0).better(0.03)


def test_only_what_both_were_scored_on_counts_and_silence_counts_as_equal() -> None:
    served = np.full((20, 5), 0.4)
    partial = np.full((20, 5), np.nan)
    partial[:12] = 0.2
    partial[0, 0] = np.nan
    verdict = compare(partial, served, challengers=1, seed=0)
    assert verdict.series == 12
    assert verdict.score == pytest.approx((59 * 0.2 + 0.4) / 60)


def test_a_champion_must_be_refitted_within_the_duty() -> None:
    arena = arenas(fleet_of(SEASONAL, hosts=100))[0]
    assert affordable(arena, 0.01, 0.0, pace=4.0) == ""
    assert "half the horizon" in affordable(arena, 0.011, 0.0, pace=4.0)
    assert "other champions" in affordable(arena, 0.01, 0.5, pace=4.0)


def test_a_season_among_the_parameters_is_in_steps() -> None:
    made = candidates.made(SEASONAL, 24.4)
    assert made.get_params()["sp"] == 24
    with pytest.raises(UsageError, match="is no sktime forecaster"):
        candidates.made(candidate("x", "collections.OrderedDict"), 1.0)


def test_a_plugins_forecaster_is_found_by_its_name_and_a_broken_one_says_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """X4."""
    theirs = {
        "theirs": EntryPoint("theirs", "sktime.forecasting.naive:NaiveForecaster", FORECASTERS),
        "broken": EntryPoint("broken", "no_such_module_anywhere:X", FORECASTERS),
    }
    monkeypatch.setattr(extensions, "entries", lambda group: theirs)
    spec = candidate("mine", "theirs", params=json.dumps({"sp": "season"}))
    assert not candidates.is_ours(spec)
    assert candidates.made(spec, 24.0).sp == 24
    with pytest.raises(UsageError, match=r"candidate mine: plugin broken .* cannot be loaded"):
        candidates.made(candidate("mine", "broken"), 24.0)


def test_what_the_daemon_imports_loads_nothing_heavy() -> None:
    """S1.26."""
    program = (
        "import sys, json, sidestep.forecasting.training.process, sidestep.forecasting.training.arenas;"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in json.loads(done.stdout)} & {"sktime", "pandas", "scipy", "sklearn"}
