"""What the checks of sktime do not see: that quantiles are what they say, whatever the unit and the company."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.forecasting.aggregate import experts
from sidestep.forecasting.aggregate.core import AggregateCore
from sidestep.forecasting.aggregate.experts import NAMES, NETWORK
from sidestep.forecasting.cores import PeakCore
from sidestep.forecasting.network.core import NetworkCore, WindowCore
from sidestep.forecasting.network.features import COUNT, KNOTS, features
from sidestep.forecasting.network.memory import LEVELS, Memory
from sidestep.forecasting.network.net import BadWeights, Network, Weights, shipped

CORES = {
    "aggregate": lambda series, season=0.0, floor=None: AggregateCore(series, season, floor),
    "network": lambda series, season=0.0, floor=None: NetworkCore(series, season, floor),
    "window": lambda series, season=0.0, floor=None: WindowCore(series, season, floor),
}
STEPS = np.array([1, 4, 18, 60, 90])
SAID = (0.05, 0.1, 0.5, 0.9, 0.95)
named = pytest.mark.parametrize("name", sorted(CORES))


def series(steps: int, count: int, seed: int, missing: float = 0.0) -> np.ndarray:
    """Noise with memory, a season of 24 steps, and steps of level."""
    g = np.random.default_rng(seed)
    t = np.arange(steps)[:, None]
    found = 5 + np.sin(2 * np.pi * (t / 24 + g.random(count))) * g.uniform(0, 2, count)
    noise = np.zeros((steps, count))
    for at in range(1, steps):
        noise[at] = 0.6 * noise[at - 1] + g.normal(size=count)
    found = found + noise * g.uniform(0.05, 1, count) + (t > steps // 4) * g.choice([0, 3], count)
    return np.where(g.random(found.shape) < missing, np.nan, found)


@named
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    factor=st.sampled_from([2.0**-20, 0.125, 8.0, 2.0**30]),
    shift=st.floats(-1e4, 1e4),
    missing=st.sampled_from([0.0, 0.3]),
)
def test_a_forecast_is_in_the_unit_of_its_series(
    name: str, seed: int, factor: float, shift: float, missing: float
) -> None:
    block = series(40, 4, seed, missing)
    block[0] = 5.0
    plain, other = CORES[name](4, 24.0), CORES[name](4, 24.0)
    plain.observe(block)
    other.observe((block + shift) * factor)
    said = plain.forecast(STEPS, SAID)
    np.testing.assert_allclose(other.forecast(STEPS, SAID) / factor - shift, said, rtol=1e-3, atol=2e-2)


@named
def test_a_panel_says_of_each_series_what_it_says_of_it_alone(name: str) -> None:
    block = series(150, 6, 3, 0.1)
    together = CORES[name](6, 24.0)
    together.observe(block)
    for at in range(6):
        alone = CORES[name](1, 24.0)
        alone.observe(block[:, at : at + 1])
        np.testing.assert_allclose(
            alone.forecast(STEPS, SAID)[0], together.forecast(STEPS, SAID)[at], rtol=1e-4, atol=1e-4
        )


@named
def test_the_order_of_series_changes_nothing(name: str) -> None:
    block, order = series(120, 7, 5, 0.1), np.random.default_rng(1).permutation(7)
    one, two = CORES[name](7, 24.0), CORES[name](7, 24.0)
    one.observe(block)
    two.observe(block[:, order])
    np.testing.assert_allclose(two.forecast(STEPS, SAID), one.forecast(STEPS, SAID)[order], rtol=1e-4, atol=1e-4)


@named
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0, 1e12), st.just(0.0), st.just(float("nan")), st.just(7.0)), min_size=1, max_size=80)
)
def test_quantiles_never_cross_whatever_comes(name: str, values: list[float]) -> None:
    core = CORES[name](1, 12.0, 0.0)
    core.observe(np.array(values)[:, None])
    said = core.forecast(STEPS, SAID)
    if not np.isfinite(values).any():
        assert np.isnan(said).all()
        return
    assert np.isfinite(said).all() and (said >= 0).all()
    assert (np.diff(said, axis=-1) >= -1e-6 * np.abs(said[..., 1:]).max()).all()


@pytest.mark.parametrize("name", ["aggregate", "network"])
def test_every_quantile_is_exceeded_as_often_as_it_says(name: str) -> None:
    """The median is the median: a mistake of sign or column shows here, and nowhere in sktime's checks."""
    block = series(400, 150, 11)
    core = CORES[name](150, 24.0)
    core.observe(block[:200])
    below = np.zeros((2, len(SAID)))
    scored = 0
    steps = np.array([1, 8])
    for at in range(200, 380):
        said = core.forecast(steps, SAID)
        truth = block[at + steps - 1].T
        below += (truth[:, :, None] <= said).mean(axis=0)
        scored += 1
        core.observe(block[at])
    np.testing.assert_allclose(below / scored, [SAID, SAID], atol=0.06 if name == "aggregate" else 0.1)


def test_the_highest_of_a_window_is_never_below_its_steps_and_grows_with_the_window() -> None:
    core = AggregateCore(20, 24.0, 0.0)
    core.observe(np.abs(series(200, 20, 2, 0.05)))
    assert isinstance(core, PeakCore)
    windows = np.array([1, 3, 12, 45, 60])
    peaks = core.peaks(windows, SAID)
    for at, window in enumerate(windows):
        knots = np.array([knot for knot in KNOTS if knot <= window])
        assert (peaks[:, at] >= core.forecast(knots, SAID).max(axis=1) - 1e-4).all()
    assert (np.diff(peaks, axis=1) >= -1e-6).all() and (np.diff(peaks, axis=2) >= -1e-6).all()


def test_many_series_are_forecast_in_parts_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the steps between knots, where the season has its shape, and the peaks of the first ones only."""
    block = series(120, 11, 5, 0.1)
    whole = AggregateCore(11, 24.0, 0.0)
    whole.observe(block)
    said, peaks = whole.forecast(STEPS, SAID), whole.peaks(np.array([6, 60]), SAID)
    monkeypatch.setattr(experts, "CHUNK", 4)
    parted = AggregateCore(11, 24.0, 0.0)
    parted.observe(block)
    np.testing.assert_allclose(parted.forecast(STEPS, SAID), said, rtol=1e-5)
    np.testing.assert_allclose(parted.peaks(np.array([6, 60]), SAID, 5), peaks[:5], rtol=1e-5)
    for at in (0, 10):
        one = AggregateCore(1, 24.0, 0.0)
        one.observe(block[:, [at]])
        np.testing.assert_allclose(one.forecast(STEPS, SAID)[0], said[at], rtol=1e-4)


def test_the_chance_of_a_peak_is_as_high_as_it_says() -> None:
    """S5.6: quantiles of the highest coming value, on series that the network was not trained on."""
    block = series(500, 200, 21)
    core = AggregateCore(200, 24.0, None)
    core.observe(block[:300])
    over, scored = np.zeros(len(SAID)), 0
    for at in range(300, 480, 4):
        said = core.peaks(np.array([12]), SAID)[:, 0]
        over += (block[at : at + 12].max(axis=0)[:, None] <= said).mean(axis=0)
        scored += 1
        core.observe(block[at : at + 4])
    np.testing.assert_allclose(over / scored, SAID, atol=0.12)


def test_a_constant_series_stays_and_a_new_level_is_followed() -> None:
    core = AggregateCore(2, 24.0, 0.0)
    core.observe(np.full((60, 2), 4.0))
    np.testing.assert_allclose(core.forecast(STEPS, SAID), 4.0)
    core.observe(np.stack([np.full(30, 4.0), np.full(30, 9.0)], axis=1))
    said = core.forecast(np.array([1, 18]), (0.5,))
    np.testing.assert_allclose(said[0], 4.0)
    assert (said[1] > 7.5).all()


def test_after_missing_samples_bands_are_wider() -> None:
    block = series(200, 40, 7)
    core = AggregateCore(40, 0.0, None)
    core.observe(block)
    before = core.forecast(STEPS, SAID)
    core.observe(np.full((12, 40), np.nan))
    after = core.forecast(STEPS, SAID)
    assert np.median((after[..., 3] - after[..., 1])[:, 0] / (before[..., 3] - before[..., 1])[:, 0]) > 1.0
    assert np.isfinite(after).all()


def test_what_is_remembered_does_not_grow() -> None:
    core = AggregateCore(64, 288.0, 0.0)
    core.observe(series(10, 64, 1))
    small = core.nbytes
    core.observe(series(700, 64, 2))
    assert core.nbytes == small
    assert small / 64 <= 5000


def test_an_expert_that_is_right_gets_the_weight() -> None:
    """A season of any shape that repeats exactly is best told by what was a season ago."""
    g = np.random.default_rng(5)
    day = g.uniform(0, 1, (48, 30))
    block = np.concatenate([day] * 12)
    core = AggregateCore(30, 48.0, None)
    core.observe(block)
    share = core.shares()
    np.testing.assert_allclose(share.sum(axis=0), 1.0, rtol=1e-4)
    assert share[NAMES.index("network")].mean() < 0.95
    said = core.forecast(np.arange(1, 25), (0.5,))[..., 0]
    naive = np.abs(block[:24].T - block[-1][:, None]).mean()
    assert np.abs(said - day[:24].T).mean() < 0.8 * naive


def test_without_a_season_no_seasonal_expert_speaks() -> None:
    core = AggregateCore(3, 0.0, None)
    core.observe(series(100, 3, 1))
    share = core.shares()
    assert (share[3:] == 0).all()
    assert (share[NETWORK] > 0).all()


def test_series_join_and_leave_without_touching_the_others() -> None:
    block = series(160, 4, 9)
    core, other = AggregateCore(4, 24.0, None), AggregateCore(4, 24.0, None)
    core.observe(block[:100])
    other.observe(block[:100])
    core.select(np.array([2, -1, 0]))
    fresh = series(60, 1, 10)
    core.observe(np.concatenate([block[100:, 2:3], fresh, block[100:, :1]], axis=1))
    other.observe(block[100:])
    np.testing.assert_allclose(core.forecast(STEPS, SAID)[[0, 2]], other.forecast(STEPS, SAID)[[2, 0]], rtol=1e-4)
    assert np.isfinite(core.forecast(STEPS, SAID)).all()


def test_features_have_no_unit_no_location_and_no_infinities() -> None:
    memory = Memory(30, 24.0)
    for row in series(90, 30, 3, 0.2):
        memory.observe(row)
    found, location, scale = features(memory)
    assert found.shape == (30, COUNT) and np.isfinite(found).all()
    some, at, unit = features(memory, np.array([4, 9]))
    np.testing.assert_array_equal(some, found[[4, 9]])
    np.testing.assert_array_equal(at, location[[4, 9]])
    np.testing.assert_array_equal(unit, scale[[4, 9]])


def test_the_shipped_weights_fit_and_travel() -> None:
    weights = shipped()
    again = Weights.from_bytes(weights.to_bytes())
    seen = np.random.default_rng(0).normal(size=(COUNT, 12)).astype(np.float32)
    said = Network(weights).quantiles(seen)
    np.testing.assert_array_equal(Network(again).quantiles(seen), said)
    assert said.shape[0] == len(LEVELS) and said.shape[1] >= len(KNOTS)
    assert (np.diff(said, axis=0) >= 0).all()


def test_weights_from_elsewhere_are_checked_and_never_run() -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("was run",))

    file = io.BytesIO()
    np.savez(file, mean=np.array([Trap()], dtype=object), allow_pickle=True)
    for data in (b"", b"PK\x03\x04 broken", pickle.dumps(1), file.getvalue(), shipped().to_bytes()[:-200]):
        with pytest.raises(BadWeights):
            Weights.from_bytes(data)


def test_what_wanders_gets_room_while_it_is_young_and_what_stays_does_not() -> None:
    """S5.6: an hour of a walk has not shown how far it goes in a day; noise about a level has shown all."""
    g = np.random.default_rng(4)
    noise = g.normal(size=(60, 200))
    walk = 100 + noise.cumsum(axis=0)
    for block, low, high in ((walk, 0.84, 0.99), (100 + noise, 0.88, 0.99)):
        core = AggregateCore(200, 0.0, None)
        core.observe(block[:24])
        steps = np.array([5, 18])
        said = core.forecast(steps, (0.025, 0.975))
        truth = block[24 + steps - 1].T
        held = ((truth >= said[..., 0]) & (truth <= said[..., 1])).mean()
        assert low < held < high


def test_how_much_a_series_wanders_is_seen_from_its_changes() -> None:
    g = np.random.default_rng(4)
    noise = g.normal(size=(400, 3))
    block = np.concatenate(
        [noise, noise.cumsum(axis=0), np.arange(400.0)[:, None] * np.ones(3), np.ones((400, 2))], axis=1
    )
    memory = Memory(11)
    for row in block:
        memory.observe(row)
    wander = memory.wander()
    assert (wander[:3] < 0.3).all() and (wander[3:6] > 0.6).all() and (wander[6:9] == 1).all()
    assert (wander[9:] == 0).all()
