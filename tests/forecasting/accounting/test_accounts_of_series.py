"""The ledger says what forecasts were worth, at every series and horizon (S4.22)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_doubles import around, at_all, follow

from sidestep.forecasting.accounting import LEVELS, Ledger
from sidestep.forecasting.accounting.ledger import scored_horizons

COLUMNS = ("n", "skill", "coverage80", "coverage95", "pinball", "error", "bias")


def test_nothing_is_claimed_before_anything_was_scored() -> None:
    ledger = Ledger(2, 10)
    own, plain = ledger.fleet("trend")
    assert (own.model, plain.model) == ("trend", "persistence")
    assert own.scored == 0
    assert math.isnan(own.skill) and math.isnan(own.coverage)
    assert ledger.by_horizon() == ()
    assert np.isnan(ledger.scores().skill).all()
    assert np.isnan(ledger.forecastability()).all()
    assert not ledger.reactive().any()


def test_persistence_alone_has_one_account() -> None:
    assert [account.model for account in Ledger(2, 10).fleet("persistence")] == ["persistence"]


@pytest.mark.parametrize("horizon", [1, 2, 5, 30, 60, 600, 5000])
def test_there_are_at_most_five_horizons_the_nearest_and_the_farthest_among_them(horizon: int) -> None:
    found = scored_horizons(horizon)
    assert found[0] == 1 and found[-1] == horizon
    assert len(found) <= 5
    assert (np.diff(found) > 0).all()


def test_skill_error_bias_and_coverage_are_what_they_say() -> None:
    """S4.22. Truth climbs by 1 a step; persistence is wrong by the horizon, the model by half of it."""
    ledger = Ledger(3, 5)
    ahead = ledger.horizons.astype(float)
    series = 100.0 + np.arange(120.0)[:, None] + np.zeros(3)
    follow(ledger, series, lambda _, truth: around(truth[:, None] + ahead / 2, ahead))
    scores = ledger.scores()
    assert scores.skill == pytest.approx(np.full((3, len(ahead)), 0.5), abs=0.01)
    assert scores.error == pytest.approx(np.tile(ahead / 2, (3, 1)), rel=0.01)
    assert scores.bias == pytest.approx(np.tile(-ahead / 2, (3, 1)), rel=0.01)
    assert (scores.coverage80 == 1).all() and (scores.coverage95 == 1).all()
    own, plain = ledger.fleet("trend")
    assert own.skill == pytest.approx(0.5, abs=0.01)
    assert own.coverage == pytest.approx(1.0)
    assert plain.skill == 0.0
    assert own.scored == ledger.scored > 3 * 119
    for _, skill, inside in ledger.by_horizon():
        assert skill == pytest.approx(0.5, abs=0.01)
        assert inside == pytest.approx(1.0)


def test_bands_that_are_right_hold_as_often_as_they_say() -> None:
    series = np.random.default_rng(1).standard_normal((400, 300))
    ledger = Ledger(300, 5)
    follow(ledger, series, lambda _, truth: around(at_all(0 * truth, ledger)))
    scores = ledger.scores()
    assert scores.coverage80.mean(axis=0) == pytest.approx(np.full(len(ledger.horizons), 0.8), abs=0.02)
    assert scores.coverage95.mean(axis=0) == pytest.approx(np.full(len(ledger.horizons), 0.95), abs=0.02)
    # twice the mean pinball loss at the levels of a normal forecast that is right, over its mean deviation
    assert scores.pinball.mean() == pytest.approx(0.434, abs=0.01)
    assert abs(scores.bias.mean()) < 0.02


def test_the_account_is_about_the_recent_past() -> None:
    """A model that was good and is bad now has no skill any more."""
    ledger = Ledger(2, 3)
    walk = np.random.default_rng(2).standard_normal((2500, 2)).cumsum(axis=0)
    coming = np.concatenate([walk[1:], walk[-1:]])
    good = lambda step, truth: around(at_all(coming[step] if step < 500 else truth + 3, ledger))  # noqa: E731
    follow(ledger, walk[:500], good)
    before = ledger.scores().skill[:, 0]
    follow(ledger, walk[500:], lambda _, truth: around(at_all(truth + 3, ledger)))
    assert (before > 0.9).all()
    assert (ledger.scores().skill[:, 0] < -1).all()
    assert (ledger.scores().n <= 300.5).all()


def test_missing_truth_is_not_scored_and_new_series_start_empty() -> None:
    ledger = Ledger(2, 1)
    say = around(np.ones((2, 1)), 0.1)
    ledger.settle(np.array([1.0, 1.0]), say, np.ones((2, 1)))
    ledger.settle(np.array([np.nan, 1.0]), say, np.ones((2, 1)))
    assert ledger.scored == 1
    ledger.select(np.array([1, -1]))
    ledger.settle(np.array([1.0, 1.0]), say, np.ones((2, 1)))
    assert ledger.scored == 2
    assert ledger.scores().n[:, 0] == pytest.approx([2.0, 0.0], abs=0.01)


def test_a_forecast_with_a_hole_is_not_scored() -> None:
    ledger = Ledger(3, 1)
    said = around(np.ones((3, 1)))
    said[0, 0, 4], said[1, 0, 2] = np.nan, np.inf
    for _ in range(3):
        ledger.settle(np.ones(3), said, np.ones((3, 1)))
    assert ledger.scores().n[:, 0] == pytest.approx([0, 0, 2], abs=0.01)


def test_a_series_that_never_changes_is_neither_skill_nor_harm() -> None:
    """A band of no width holds a value on its edge, and persistence that makes no error is not infinitely good."""
    ledger = Ledger(2, 5)
    still = np.full((50, 2), 7.1e9)
    right = np.array([0.0, 1e9])
    follow(ledger, still, lambda _, truth: around(at_all(truth + right, ledger), 0.0))
    scores = ledger.scores()
    assert (scores.skill[0] == 0).all()
    assert (scores.skill[1] == -10).all()
    assert (scores.coverage80[0] == 1).all() and (scores.coverage95[0] == 1).all()
    assert (scores.coverage80[1] == 0).all()
    assert (scores.pinball[0] == 0).all()
    assert np.isnan(scores.pinball[1]).all()
    assert ledger.skill() == -5.0


def test_only_what_comes_due_needs_to_be_forecast() -> None:
    """``wants`` names the horizons that are held next; what is said of the others does not count."""
    series = np.random.default_rng(3).standard_normal((200, 4)).cumsum(axis=0)
    whole, sparse = Ledger(4, 12), Ledger(4, 12)
    asked = 0
    for truth in series:
        said, plain = around(at_all(truth, whole)), at_all(truth, whole)
        wants = sparse.wants()
        asked += int(wants.sum())
        whole.settle(truth, said, plain)
        sparse.settle(truth, np.where(wants[:, None], said, np.nan), plain)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(whole.scores(), name), getattr(sparse.scores(), name))
    assert asked < 0.6 * 200 * len(whole.horizons)


def test_where_nothing_was_said_the_next_forecast_is_held() -> None:
    """A gap in the samples: nothing is forecast from within it."""
    ledger = Ledger(2, 30)
    series = np.ones((90, 2))
    follow(ledger, series, lambda step, truth: around(at_all(truth if step >= 40 else truth * np.nan, ledger)))
    assert (ledger.scores().n[:, -1] == 1).all()


def test_forecasts_are_not_looked_at_in_the_rhythm_of_the_horizon() -> None:
    """A load that comes every 30 steps is seen at all its phases by an account of 30 steps ahead."""
    ledger, seen = Ledger(1, 30), set()
    for step in range(1500):
        if ledger.wants()[-1]:
            seen.add(step % 30)
        ledger.settle(np.zeros(1), np.zeros((1, len(ledger.horizons), 5)), np.zeros((1, len(ledger.horizons))))
    assert len(seen) > 15


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([2.0**-20, 1.0, 2.0**30]), missing=st.floats(0, 0.4))
def test_scores_do_not_depend_on_order_or_unit(seed: int, scale: float, missing: float) -> None:
    """Scale-free pooling; a permuted panel has the permuted account, and each series has its own."""
    rng = np.random.default_rng(seed)
    series = rng.standard_normal((90, 6)).cumsum(axis=0)
    series[rng.random(series.shape) < missing] = np.nan
    noise = rng.standard_normal((90, 6, 5))
    order = rng.permutation(6)

    def ledger_of(columns: np.ndarray, unit: float) -> Ledger:
        ledger = Ledger(len(columns), 8)
        for truth, wide in zip(series[:, columns], noise[:, columns], strict=True):
            center = np.nan_to_num(truth)[:, None] + wide[:, : len(ledger.horizons)]
            ledger.settle(truth * unit, around(center) * unit, at_all(np.nan_to_num(truth), ledger) * unit)
        return ledger

    plain = ledger_of(np.arange(6), 1.0).scores()
    moved, alone = ledger_of(order, scale).scores(), ledger_of(np.array([2]), 1.0).scores()
    for name in ("n", "skill", "coverage80", "coverage95", "pinball"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name)[order], rtol=1e-3, atol=1e-4)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(alone, name), getattr(plain, name)[2:3], rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_series_that_come_and_go_keep_their_own_account(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    series = rng.standard_normal((60, 5)).cumsum(axis=0)
    rows = np.array(data.draw(st.lists(st.integers(-1, 4), max_size=7, unique_by=lambda row: row if row >= 0 else id)))
    rows = rows.astype(np.int64)
    kept, ledger = Ledger(5, 8), Ledger(5, 8)
    for step, truth in enumerate(series):
        kept.settle(truth, around(at_all(truth + 1, kept)), at_all(truth, kept))
        if step == 30:
            ledger.select(rows)
        came = truth if step < 30 else np.where(rows >= 0, truth[np.maximum(rows, 0)], 5.0)
        ledger.settle(came, around(at_all(came + 1, ledger)), at_all(came, ledger))
    found, wanted, old = ledger.scores(), kept.scores(), rows >= 0
    assert ledger.series == len(rows)
    for name in COLUMNS:
        np.testing.assert_allclose(getattr(found, name)[old], getattr(wanted, name)[rows[old]], rtol=1e-5)
    assert (found.n[~old] <= 30).all()


def test_an_empty_ledger_can_grow() -> None:
    ledger = Ledger(0, 5)
    ledger.settle(np.zeros(0), np.zeros((0, len(ledger.horizons), 5)), np.zeros((0, len(ledger.horizons))))
    ledger.select(np.array([-1, -1]))
    follow(ledger, np.ones((30, 2)), lambda _, truth: around(at_all(truth, ledger)))
    assert ledger.depth() > 0
    assert ledger.scores().n.shape == (2, len(ledger.horizons))


def test_depth_says_how_many_steps_the_farthest_horizon_was_judged_over() -> None:
    ledger = Ledger(2, 30)
    follow(ledger, np.ones((400, 2)), lambda _, truth: around(at_all(truth, ledger)))
    assert 200 < ledger.depth() < 400
    assert ledger.depth(slice(0, 0)) == 0.0


@pytest.mark.parametrize("horizon", [60, 600])
def test_a_series_costs_at_most_300_bytes_in_flight_and_all(horizon: int) -> None:
    """S4.22: 46,000 series are bounded, however long they run."""
    series = 20_000
    ledger = Ledger(series, horizon)
    said = np.zeros((series, len(ledger.horizons), len(LEVELS)), np.float32)
    for _ in range(70):
        ledger.settle(np.zeros(series, np.float32), said, said[..., 0])
    assert ledger.nbytes <= 300 * series
