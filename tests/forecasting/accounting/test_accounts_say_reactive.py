"""What cannot be foreseen is said to be so, and what can is not (S5.22)."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_doubles import around, at_all, follow, run

from sidestep.forecasting.accounting import Ledger, judge
from sidestep.forecasting.accounting.spectrum import SPAN, Spectrum, structure

STEPS, EACH, HORIZON = 900, 3, 20


def series_of(kind: str, seed: int = 5) -> np.ndarray:
    """(STEPS, EACH) of one kind."""
    rng = np.random.default_rng(seed)
    noise, at = rng.standard_normal((STEPS, EACH)), np.arange(STEPS)[:, None]
    kinds = {
        "white noise": 50 + noise,
        "skewed noise": rng.exponential(1.0, (STEPS, EACH)),
        "bursts at random": 5 + 10.0 * (rng.random((STEPS, EACH)) < 0.1) + 0.1 * noise,
        "random walk": 100 + noise.cumsum(axis=0),
        "day": 50 + 10 * np.sin(2 * np.pi * at / 24) + noise,
        "long day": 50 + 10 * np.sin(2 * np.pi * at / 288) + noise,
        "ramp": 10 + 0.1 * at + noise,
        "constant": 7.0 + 0 * noise,
        "nothing at all": 0 * noise,
        "still": 1e10 + 1e6 * noise.cumsum(axis=0),
    }
    return kinds[kind]


UNFORESEEN = ("white noise", "skewed noise", "bursts at random", "random walk")
FORESEEN = ("day", "long day", "ramp", "constant", "nothing at all", "still")


@pytest.fixture(scope="module")
def walked() -> tuple[Ledger, np.ndarray]:
    """A real model over random walks: the ledger, and what was reactive after every step. Copy before changing it."""
    return run("trend", series_of("random walk"), HORIZON)


def test_a_real_model_is_set_aside_on_noise_and_walks_and_on_nothing_else() -> None:
    """S5.22: the fallback to what is measured, from spectral entropy and measured skill."""
    kinds = (*UNFORESEEN, *FORESEEN)
    ledger, history = run("trend", np.concatenate([series_of(kind) for kind in kinds], axis=1), HORIZON, 24.0)
    chance = ledger.forecastability().reshape(len(kinds), EACH)
    said = dict(zip(kinds, history[-1].reshape(len(kinds), EACH), strict=True))
    for at, kind in enumerate(kinds):
        unforeseen = kind in UNFORESEEN
        assert (said[kind] == unforeseen).all(), (kind, chance[at])
        assert (chance[at] < 0.1).all() if unforeseen else (chance[at] > 0.3).all(), (kind, chance[at])
    assert not history[:200].any(), "nothing is said before there is evidence"
    foreseen = history[:, len(UNFORESEEN) * EACH :]
    assert not foreseen.any()


def test_a_perfect_model_of_noise_is_still_no_foresight() -> None:
    """White noise: the mean beats persistence by 29 %, but it says nothing of when."""
    ledger = Ledger(EACH, HORIZON)
    follow(ledger, series_of("white noise"), lambda _, truth: around(at_all(50 + 0 * truth, ledger)))
    assert (ledger.scores().skill > 0.1).all()
    assert ledger.reactive().all()


def test_persistence_on_a_random_walk_is_reactive_however_right_its_bands_are() -> None:
    ledger = Ledger(EACH, HORIZON)
    width = np.sqrt(ledger.horizons)[None, :] * np.ones((EACH, 1))
    follow(ledger, series_of("random walk"), lambda _, truth: around(at_all(truth, ledger), width))
    assert ledger.reactive().all()
    assert (ledger.forecastability() < 0.1).all()


def test_what_becomes_foreseeable_is_trusted_again() -> None:
    """A model that begins to know what is coming; before, it says what persistence says."""
    walk = series_of("random walk")
    ledger = Ledger(EACH, HORIZON)
    follow(ledger, walk, lambda _, truth: around(at_all(truth, ledger), np.sqrt(ledger.horizons) + 0 * truth[:, None]))
    assert ledger.reactive().all()
    coming = np.array([np.minimum(np.arange(STEPS) + ahead, STEPS - 1) for ahead in ledger.horizons])
    follow(ledger, walk, lambda step, _: around(walk[coming[:, step]].T))
    assert not ledger.reactive().any()
    assert (ledger.forecastability() > 0.4).all()


def test_whose_contention_was_foreseen_is_never_reactive(walked: tuple[Ledger, np.ndarray]) -> None:
    """S5.22: no better than persistence *and* contention cannot be foreseen."""
    ledger, _ = walked
    foreseen = np.array([True, False, True])
    assert ledger.reactive().all()
    assert (ledger.reactive(foreseen) == ~foreseen).all()


def test_new_series_are_not_reactive_and_those_that_stay_keep_it(walked: tuple[Ledger, np.ndarray]) -> None:
    ledger = copy.deepcopy(walked[0])
    ledger.select(np.array([2, -1, 0]))
    assert ledger.reactive().tolist() == [True, False, True]
    assert np.isnan(ledger.forecastability()[1])


@settings(max_examples=60, deadline=None)
@given(
    before=st.booleans(),
    chance=st.one_of(st.just(float("nan")), st.floats(0, 1)),
    worth=st.floats(-1, 1),
    number=st.floats(0, 40),
)
def test_hysteresis_changes_only_on_evidence(before: bool, chance: float, worth: float, number: float) -> None:
    after = bool(judge.reactive(np.array([before]), np.array([chance]), np.array([worth]), np.array([number]))[0])
    if number < judge.ENOUGH or np.isnan(chance) or judge.LOW <= chance <= judge.HIGH:
        assert after == before
    elif chance > judge.HIGH:
        assert not after
    if after and not before:
        assert worth < judge.NOTHING


@settings(max_examples=60, deadline=None)
@given(
    worth=st.floats(-10, 1),
    better=st.floats(0, 1),
    coverage=st.floats(0, 1),
    number=st.floats(0, 100),
    structure_=st.one_of(st.just(float("nan")), st.floats(0, 1)),
)
def test_forecastability_is_between_0_and_1_and_rises_with_worth(
    worth: float, better: float, coverage: float, number: float, structure_: float
) -> None:
    def of(value: float) -> float:
        given_ = (np.array([each]) for each in (value, coverage, number, structure_, False))
        return float(judge.forecastability(*given_)[0])

    low, high = of(worth), of(min(1.0, worth + better))
    if np.isnan(low):
        assert np.isnan(high) and np.isnan(structure_) and number < judge.ENOUGH
    else:
        assert 0 <= low <= high <= 1


def test_structure_that_a_model_does_not_see_is_no_reason_to_stop_forecasting() -> None:
    """S5.22: a ramp or a day can be foreseen, even if this model, which says what persistence says, does not yet."""
    series = np.concatenate([series_of("ramp"), series_of("day")], axis=1)
    series[:, :EACH] += 0.3 * np.arange(STEPS)[:, None]
    ledger = Ledger(2 * EACH, HORIZON)
    follow(ledger, series, lambda _, truth: around(at_all(truth, ledger), 3.0 + 0 * truth[:, None] + ledger.horizons))
    assert (ledger.scores().skill < 0.01).all()
    assert not ledger.reactive().any()


def test_bands_that_do_not_hold_take_their_worth_away() -> None:
    common = (np.array([50.0]), np.array([0.0]), np.array([False]))
    right, wrong = (
        float(judge.forecastability(np.array([0.4]), np.array([coverage]), *common)[0]) for coverage in (0.8, 0.3)
    )
    assert right == pytest.approx(judge.TRUST)
    assert wrong < 0.1


def test_noise_has_no_structure_and_neither_have_the_changes_of_a_walk() -> None:
    noise = np.random.default_rng(6).standard_normal((SPAN, 400))
    assert structure(noise).mean() < 0.03
    assert structure(noise.cumsum(axis=0)).mean() < 0.03


def test_what_repeats_or_climbs_has_structure_and_what_stands_still_all_of_it() -> None:
    at = np.arange(SPAN)[:, None]
    noise = 0.1 * np.random.default_rng(7).standard_normal((SPAN, 50))
    assert structure(np.sin(2 * np.pi * at / 16) + noise).min() > 0.3
    assert structure(0.5 * at + noise).min() > 0.5
    assert structure(np.full((SPAN, 3), 1e9)).tolist() == [1, 1, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e9), st.floats(-100, 100))
def test_structure_does_not_depend_on_unit_or_level(seed: int, scale: float, shift: float) -> None:
    values = np.random.default_rng(seed).standard_normal((SPAN, 5)).cumsum(axis=0)
    np.testing.assert_allclose(structure(values * scale + shift * scale), structure(values), atol=1e-3)


def test_a_window_with_holes_is_filled_and_one_with_too_many_says_nothing() -> None:
    rng = np.random.default_rng(8)
    values = np.sin(2 * np.pi * np.arange(SPAN)[:, None] / 16) + np.zeros((SPAN, 3))
    values[rng.random(SPAN) < 0.1, 0] = np.nan
    values[:32, 1] = np.nan
    found = structure(values)
    assert found[0] > 0.3
    assert np.isnan(found[1])
    assert found[2] > found[0]


def test_every_series_has_its_turn_however_many_there_are() -> None:
    """Bounded memory: a tenth is looked at at a time."""
    spectrum, rng = Spectrum(6000), np.random.default_rng(9)
    for _ in range(12 * (SPAN + 3)):
        spectrum.observe(rng.standard_normal(6000).astype(np.float32))
    assert np.isfinite(spectrum.structure).all()
    spectrum.select(np.append(np.arange(5999, -1, -2), -1))
    for _ in range(14 * (SPAN + 3)):
        spectrum.observe(rng.standard_normal(3001).astype(np.float32))
    assert np.isfinite(spectrum.structure).all()


def test_a_third_of_the_samples_missing_changes_nothing() -> None:
    series = np.concatenate([series_of("white noise"), series_of("random walk"), series_of("ramp")], axis=1)
    series[np.random.default_rng(10).random(series.shape) < 0.3] = np.nan
    ledger, _ = run("trend", series, HORIZON)
    assert ledger.reactive().tolist() == [True] * 2 * EACH + [False] * EACH
