"""What the oracle's benchmarks measure with: splits, simple rules, scores, rolling origins."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.harness import Goal, Spread  # noqa: E402
from benchmarks.oracle import data, rolling, score  # noqa: E402
from benchmarks.oracle.fleets import held_bytes  # noqa: E402
from benchmarks.oracle.rules import DOUBT, RULES, empirical, persistence, seasonal, window  # noqa: E402
from benchmarks.oracle_cost import Aged  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.forecasting.registry import make  # noqa: E402

LEVELS = np.asarray(score.LEVELS)
STEPS = np.array([1, 3, 12, 30])
MEDIAN = score.LEVELS.index(0.5)


def group(machines: int = 16, metrics: int = 2, days: float = 10.0, step: int = 3600) -> data.Group:
    count = round(days * 86400 / step)
    random = np.random.default_rng(machines)
    values = random.gamma(2.0, 1.0, (machines, metrics, count)).astype(np.float32)
    return data.Group("made", values, step, tuple(f"m{at}" for at in range(machines)), ("a", "b")[:metrics])


def write(path: Path, **fields: object) -> Path:
    np.savez(path, **fields)
    return path


# --- data -------------------------------------------------------------------------------


@given(st.integers(4, 300))
@settings(max_examples=30, deadline=None)
def test_every_machine_is_in_exactly_one_part(count: int) -> None:
    whole = data.Group("g", np.ones((count, 1, 9), np.float32), 300, tuple(map(str, range(count))), ("a",))
    parts = [data.machines_of(whole, part).tolist() for part in data.PARTS]
    assert sorted(each for part in parts for each in part) == list(range(count))
    assert all(parts)
    assert abs(len(parts[0]) - count / 2) <= 1


def test_a_machine_stays_in_its_part_when_the_rows_are_shuffled() -> None:
    whole = group()
    order = np.random.default_rng(1).permutation(16)
    shuffled = data.Group("g", whole.values[order], 3600, tuple(whole.machines[at] for at in order), whole.metrics)
    for part in data.PARTS:
        ours = {whole.machines[at] for at in data.machines_of(whole, part)}
        assert ours == {shuffled.machines[at] for at in data.machines_of(shuffled, part)}


def test_times_of_the_parts_follow_each_other() -> None:
    assert [data.time_of(group(), part) for part in data.PARTS] == [(0, 144), (144, 192), (192, 240)]


def test_what_is_too_small_is_split_in_one_way_only() -> None:
    few, short = group(machines=3), group(days=2)
    assert [len(data.machines_of(few, part)) for part in data.PARTS] == [3, 3, 3]
    assert data.time_of(short, "sealed") == (0, 48)


def test_a_part_has_the_history_of_its_own_series_and_none_that_stands_still() -> None:
    whole = group()
    mine = data.machines_of(whole, "sealed")
    whole.values[mine[0], 0, 192:] = 7.0
    part = data.part_of(whole, "sealed", history=2.0)
    assert (part.begin, len(part.values), part.values.shape[1]) == (48, 96, 2 * len(mine) - 1)
    assert (mine[0], 0) not in set(zip(part.machine.tolist(), part.metric.tolist(), strict=True))
    at = int(np.flatnonzero((part.machine == mine[1]) & (part.metric == 1))[0])
    np.testing.assert_array_equal(part.values[:, at], whole.values[mine[1], 1, 144:240])


def test_punching_takes_the_share_and_the_seed_decides_which() -> None:
    values = np.ones((200, 50))
    one, same, other = data.punch(values), data.punch(values), data.punch(values, seed=9)
    assert abs(np.isnan(one).mean() - 0.2) < 0.02
    np.testing.assert_array_equal(one, same)
    assert (np.isnan(one) != np.isnan(other)).any()


@pytest.mark.parametrize("fault", ["text", "no step", "flat", "integers", "zero step", "empty", "ids", "objects"])
def test_a_malformed_file_is_refused_with_its_name(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    good = np.ones((2, 1, 5), np.float32)
    if fault == "text":
        path.write_text("not a zip")
    elif fault == "no step":
        write(path, values=good)
    elif fault == "objects":
        write(path, values=np.array([[[None]]], dtype=object), step_s=300)
    elif fault == "ids":
        write(path, values=good, step_s=300, ids=np.arange(3))
    else:
        broken = {"flat": good[0], "integers": good.astype(int), "empty": good * np.nan, "zero step": good}[fault]
        write(path, values=broken, step_s=0 if fault == "zero step" else 300)
    with pytest.raises(UsageError, match=r"broken\.npz"):
        data.load(path)


def test_a_written_group_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "g.npz", values=np.full((2, 1, 5), 3.0), step_s=60, ids=["x", "y"], metrics=["cpu"])
    (read,) = data.load_all(tmp_path)
    assert (read.name, read.step, read.machines, read.metrics, read.day) == ("g", 60, ("x", "y"), ("cpu",), 1440)
    with pytest.raises(UsageError, match=r"no \*\.npz"):
        data.load_all(tmp_path / "nowhere")


# --- rules ------------------------------------------------------------------------------


def test_empirical_quantiles_are_those_of_the_known_ones() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    found, count = empirical(values, np.array([0.25, 0.5, 0.75, 0.99]))
    np.testing.assert_allclose(found[0], [1.0, 2.0, 3.0, 3.0])
    assert np.isnan(found[1]).all()
    assert count.tolist() == [3, 0]


def test_persistence_says_the_last_value_and_how_wrong_it_was() -> None:
    # a saw of period two: an even horizon was never wrong, an odd one always by one, up or down
    history = np.tile([0.0, 1.0], 200)[:, None] + 5.0
    found = persistence(history, np.array([1, 2]), LEVELS, 288)
    weight = 287 / (287 + DOUBT)
    assert found[0, 0, MEDIAN] == pytest.approx(6.0, abs=1.0 * weight + 0.1)
    assert found[0, 0, 1] == pytest.approx(5.0, abs=0.1)
    np.testing.assert_allclose(found[0, 1, MEDIAN], 6.0, atol=1e-9)
    assert np.ptp(found[0, 1]) < 0.2


def test_persistence_holds_the_last_known_value_through_a_hole() -> None:
    history = np.array([4.0, 4.0, 4.0, 4.0, 9.0, np.nan, np.nan])[:, None]
    assert persistence(history, STEPS, LEVELS, 288)[0, 0, MEDIAN] == pytest.approx(9.0, abs=2.0)


def test_seasonal_says_yesterday_exactly_when_every_day_is_the_same() -> None:
    day = 24
    history = np.tile(np.arange(day, dtype=np.float64), 4)[:, None]
    found = seasonal(history, np.array([1, 5, 24, 30]), LEVELS, day)
    np.testing.assert_allclose(found[0, :, MEDIAN], [0.0, 4.0, 23.0, 5.0], atol=1e-9)


def test_seasonal_is_persistence_until_a_day_was_seen() -> None:
    history = np.random.default_rng(1).gamma(2.0, 1.0, (24, 3))
    np.testing.assert_array_equal(seasonal(history, STEPS, LEVELS, 24), persistence(history, STEPS, LEVELS, 24))


def test_the_window_says_quantiles_of_the_last_day_only() -> None:
    random = np.random.default_rng(2)
    history = np.concatenate([np.full((500, 1), 1000.0), random.normal(50.0, 3.0, (288, 1))])
    found = window(history, STEPS, LEVELS, 288)
    np.testing.assert_allclose(found[0, 0], np.quantile(history[-288:, 0], LEVELS), atol=1.0)
    assert (found == found[:, :1]).all()


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("seen", [1, 2, 3, 30, 700])
def test_every_rule_says_something_sane_at_every_age(name: str, seen: int) -> None:
    history = data.punch(np.random.default_rng(seen).gamma(2.0, 1.0, (seen, 40)), 0.2, seen)
    history[-1, :] = 1.0
    found = RULES[name](history, STEPS, LEVELS, 288)
    assert found.shape == (40, 4, 9)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()
    assert found.min() >= 0
    assert found.max() < 100


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_says_of_each_series_what_it_says_of_it_alone(name: str) -> None:
    history = np.random.default_rng(3).gamma(2.0, 1.0, (60, 4))
    whole = RULES[name](history, STEPS, LEVELS, 24)
    alone = RULES[name](history[:, [2]], STEPS, LEVELS, 24)
    np.testing.assert_allclose(whole[[2]], alone)


# --- scores -----------------------------------------------------------------------------


def test_crps_is_twice_the_mean_pinball_loss() -> None:
    found = np.array([[0.0, 1.0, 2.0]])
    # pinball at 3: 0.1*3, 0.5*2, 0.9*1
    assert score.crps(np.array([3.0]), found, np.array([0.1, 0.5, 0.9]))[0] == pytest.approx(2 * (0.3 + 1 + 0.9) / 3)
    assert score.crps(np.array([1.0]), np.ones((1, 3)), np.array([0.1, 0.5, 0.9]))[0] == 0.0


def test_the_true_distribution_covers_what_it_should_and_no_other_scores_better() -> None:
    random = np.random.default_rng(4)
    truth = random.normal(size=(400, 5, 4))
    normal = np.array([-1.959964, -1.281552, -0.674490, 0, 0.674490, 1.281552, 1.644854, 1.959964, 2.326348])
    scale = np.ones((400, 5))
    scores = [score.score(truth, np.broadcast_to(normal * by, (*truth.shape, 9)), scale) for by in (0.5, 1.0, 2.0)]
    assert scores[1].median < min(scores[0].median, scores[2].median)
    assert np.mean(scores[1].cover80) == pytest.approx(0.8, abs=0.02)
    assert np.mean(scores[1].cover95) == pytest.approx(0.95, abs=0.01)
    np.testing.assert_allclose(scores[1].fair80, scores[1].cover80)


def test_fair_coverage_of_a_perfect_forecast_of_a_standing_series_is_the_level() -> None:
    found = score.score(np.ones((3, 1, 2)), np.ones((3, 1, 2, 9)), np.ones((3, 1)))
    assert found.cover80[0] == 1.0
    assert found.fair80[0] == pytest.approx(0.8)
    assert found.fair95[0] == pytest.approx(0.95)


def test_unknown_outcomes_are_not_scored_and_unsaid_quantiles_count_as_nought() -> None:
    truth = np.array([[[np.nan, 2.0]]])
    found = score.score(truth, np.full((1, 1, 2, 9), np.nan), np.full((1, 1), 2.0))
    assert found.crps[0] == pytest.approx(2 * 2.0 * LEVELS.mean() / 2.0)
    assert found.cover80[0] == 0.0


def test_the_ruler_is_the_deviation_of_the_two_days_before() -> None:
    values = np.random.default_rng(5).normal(size=(400, 2))
    values[:, 1] = 0.0
    values[399, 1] = 1.0
    found = score.rulers(values, np.array([10, 300]), 24)
    assert found[1, 0] == pytest.approx(values[252:300, 0].std())
    assert found[0, 0] == pytest.approx(values[:, 0].std())
    assert found[1, 1] == pytest.approx(values[:, 1].std())


def test_ratio_and_its_interval_know_equal_from_better() -> None:
    theirs = np.random.default_rng(6).gamma(5.0, 1.0, 60)
    machine = np.repeat(np.arange(20), 3)
    assert score.ratio(theirs, theirs) == 1.0
    low, high = score.interval(theirs * 0.8, theirs, machine)
    assert low == pytest.approx(0.8, abs=1e-3)
    assert high == pytest.approx(0.8, abs=1e-3)
    assert math.isnan(score.interval(theirs[:2], theirs[:2], machine[:2])[0])


# --- rolling origins --------------------------------------------------------------------


@pytest.mark.parametrize("origin", [4, 100, 170])
def test_a_forecast_does_not_change_when_the_future_does(origin: int) -> None:
    values = np.random.default_rng(7).gamma(2.0, 1.0, (240, 5))
    changed = values.copy()
    changed[origin:] += 1000.0
    origins = np.array([origin])
    said = [rolling.roll(core(5), each, origins, STEPS, score.LEVELS).found for each in (values, changed)]
    np.testing.assert_array_equal(*said)
    for rule in RULES.values():
        said = [rolling.roll_rule(rule, each, origins, STEPS, score.LEVELS, 24).found for each in (values, changed)]
        np.testing.assert_array_equal(*said)


def core(series: int) -> rolling.Online:
    forecaster = make("persistence", 24.0, 30)
    forecaster.begin(series)
    return forecaster.core_


def test_truth_is_what_came_that_many_steps_after_the_last_seen() -> None:
    values = np.arange(50.0)[:, None]
    found = score.truth_at(values, np.array([10, 30]), np.array([1, 30]))
    assert found[0, 0].tolist() == [10.0, 39.0]
    assert found[1, 0, 0] == 30.0
    assert math.isnan(found[1, 0, 1])


def test_a_rule_that_is_cut_to_its_reach_says_the_same() -> None:
    values = np.random.default_rng(8).gamma(2.0, 1.0, (400, 3))
    for rule in RULES.values():
        cut = rolling.roll_rule(rule, values, np.array([390]), STEPS, score.LEVELS, 24).found[0]
        np.testing.assert_allclose(cut, rule(values[:390], STEPS, LEVELS, 24))


def test_origins_lie_in_the_scored_time_with_room_for_the_horizon() -> None:
    part = data.part_of(group(), "sealed")
    found = rolling.origins_of(part, 6, 12)
    assert len(found) == 6
    assert found.min() >= part.begin
    assert found.max() + 12 <= len(part.values)


def test_cold_streams_are_stretches_of_the_scored_time_that_begin_with_known_samples() -> None:
    whole = group(days=30)
    whole.values[data.punch(whole.values.astype(np.float64)) != whole.values] = np.nan
    part = data.part_of(whole, "sealed")
    found = rolling.cold(part, (3, 6, 48, 9999), 12, 25)
    assert found.ages.tolist() == [3, 6, 48]
    assert found.values.shape == (60, 25)
    assert found.scale.shape == (3, 25)
    assert np.isfinite(found.values[:3]).all()
    scored = part.values[part.begin :]
    for stream in found.values.T[:5]:
        at = [(k, s) for k in range(len(scored) - 59) for s in range(scored.shape[1])
              if np.array_equal(scored[k : k + 60, s], stream, equal_nan=True)]  # fmt: skip
        assert at


# --- cost -------------------------------------------------------------------------------


def test_held_bytes_are_those_of_all_arrays_and_shared_ones_count_once() -> None:
    one = np.zeros(100)
    assert held_bytes([one, one[:50], {"again": one}]) == one.nbytes
    parts = [{"a": np.zeros(10)} for _ in range(50)]
    assert held_bytes([dict(part) for part in parts]) == 50 * 80


def test_the_state_of_the_default_model_is_below_its_bound_at_all_times() -> None:
    """Issue 4: at most 5 KB a series, what is kept between two steps and all."""
    series = 50
    forecaster = make("aggregate", 288.0, 60)
    forecaster.begin(series)
    core = forecaster.core_
    random = np.random.default_rng(2)
    for at in range(70):
        core.observe(random.gamma(2.0, 1.0, series))
        if at % 3 == 0:
            core.forecast(np.array([1, 7, 60]), (0.1, 0.5, 0.9))
            core.peaks(np.array([15, 60]), (0.5, 0.9))
        held = held_bytes(core) - held_bytes(vars(core)["network"])
        assert held <= 5000 * series


def test_the_cost_of_a_tick_can_be_written_as_json() -> None:
    """A verdict of numpy's own kind cannot: what was measured for minutes would be lost at the end."""
    tick = Aged(20, 8).tick()
    assert all(type(value) is float for value in tick.values())
    goal = Goal("tick", Spread.of([tick["tick_ms"]]).median, "CPU ms", 1e9, "<=")
    assert json.loads(json.dumps(goal.to_json()))["holds"] is True
