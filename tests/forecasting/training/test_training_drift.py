"""Drift of what is served: found soon, hardly ever in vain, and the model recovers."""

from __future__ import annotations

import numpy as np
import pytest

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting.baselines_core import PersistenceCore
from sidestep.forecasting.dense import core_of
from sidestep.forecasting.training.drift import LEVELS, RECENT, SETTLE, Drift
from sidestep.forecasting.training.table import Table
from sidestep.forecasting.training.watch import Watch
from sidestep.forecasting.trend_core import TrendCore

#: quantiles of a normal distribution at LEVELS
NORMAL = np.array([-1.2816, 0.0, 1.2816])


def run(values: np.ndarray, said: np.ndarray = NORMAL) -> tuple[Drift, int, int]:
    """The charts after (K, S) values; the number of alarms and the step at which the fleet drifted (-1 never)."""
    drift = Drift(values.shape[1])
    alarms, at = 0, -1
    for step, row in enumerate(values):
        alarms += int(drift.observe(row, np.tile(said, (len(row), 1))).sum())
        if drift.drifted and at < 0:
            at = step
    return drift, alarms, at


def test_stationary_noise_raises_no_more_false_alarms_than_stated() -> None:
    """S1.6: one in 20,000 steps a chart at most, of four charts; and the fleet never drifts."""
    values = np.random.default_rng(0).standard_normal((2000, 100))
    _, alarms, at = run(values)
    assert alarms <= 4 * 2000 * 100 / 20_000
    assert at < 0


def test_heavy_tails_do_not_matter() -> None:
    values = np.random.default_rng(1).standard_cauchy((2000, 60))
    _, alarms, at = run(values, np.quantile(np.random.default_rng(2).standard_cauchy(100_000), LEVELS))
    assert alarms <= 4 * 2000 * 60 / 20_000
    assert at < 0


@pytest.mark.parametrize(
    ("what", "change", "within"),
    [("level", lambda noise: noise + 2.0, 25), ("fall", lambda noise: noise - 2.0, 25),
     ("spread", lambda noise: 3 * noise, 40)],
)  # fmt: skip
def test_a_regime_change_is_found_within_a_few_windows(what: str, change: object, within: int) -> None:
    """S1.6."""
    values = np.random.default_rng(4).standard_normal((400, 40))
    values[300:] = change(values[300:])  # type: ignore[operator]
    _, _, at = run(values)
    assert 300 <= at < 300 + within, what


def test_a_few_series_of_many_are_no_drift_of_the_fleet_but_most_of_a_few_are() -> None:
    values = np.random.default_rng(5).standard_normal((400, 40))
    values[300:, :4] += 3
    drift, alarms, at = run(values)
    assert alarms >= 4
    assert at < 0
    assert run(values[:, :5])[2] >= 300
    assert drift.watched == 40


def test_unknown_values_and_unsaid_quantiles_count_for_nothing() -> None:
    drift = Drift(3)
    for _ in range(300):
        drift.observe(np.array([np.nan, 9.0, 0.0]), np.array([NORMAL, [np.nan] * 3, [0.0] * 3]))
    assert (drift.alarmed, drift.drifted) == (0, False)


def test_settled_charts_begin_anew() -> None:
    values = np.random.default_rng(6).standard_normal((SETTLE + RECENT, 10)) + np.where(
        np.arange(SETTLE + RECENT)[:, None] > SETTLE, 4, 0
    )
    drift, _, _ = run(values)
    assert drift.drifted
    drift.settle()
    assert (drift.drifted, drift.watched) == (False, 0)


def regimes(steps: int, change: int, series: int, seed: int = 7) -> np.ndarray:
    """Slow waves with noise; from ``change`` on at another level, four times as fast and as noisy."""
    rng = np.random.default_rng(seed)
    at = np.arange(steps)[:, None]
    phase = rng.uniform(0, 6, series)
    calm = 10 + np.sin(at / 20 + phase) + 0.1 * rng.standard_normal((steps, series))
    wild = 25 + 3 * np.sin(at / 20 + phase) + 0.8 * rng.standard_normal((steps, series))
    return np.where(at < change, calm, wild)


def test_the_watch_finds_a_regime_change_of_the_models_own_forecasts() -> None:
    """S1.6: on the model that is served, not on made-up quantiles."""
    names = tuple(f"host h{i} cpu" for i in range(20))
    values = regimes(700, 600, 20).astype(np.float32)
    table = Table(names, 60.0)
    watch = Watch(OracleSpec(model="trend", season=0.0), table, 8)
    found = -1
    for step in range(700):
        fresh = table.add(names, np.array([6e6 + 60.0 * step]), values[step : step + 1])
        watch.learn(fresh)
        if watch.drift.drifted and found < 0:
            found = step
    assert 600 <= found < 640


def usual(kind: str, steps: int, series: int, seed: int = 11) -> np.ndarray:
    """Series without any drift, as hosts have them in their first minutes."""
    rng = np.random.default_rng(seed)
    at, phase = np.arange(steps)[:, None], rng.uniform(0, 6.28, series)
    noise = rng.standard_normal((steps, series))
    if kind == "smooth":
        return 10 + 1.5 * np.sin(2 * np.pi * at / 120 + phase) + 0.03 * noise
    if kind == "wandering":
        return 100 + np.cumsum(noise, axis=0)
    values = np.zeros((steps, series))
    if kind == "averaged":
        for step in range(1, steps):
            values[step] = 0.9 * values[step - 1] + 0.1 * np.maximum(0, noise[step] - 1)
    elif kind == "bursts":
        on = np.zeros(series, bool)
        for step in range(steps):
            on = np.where(on, rng.random(series) > 0.1, rng.random(series) < 0.02)
            values[step] = 1 + 9 * on + 0.3 * noise[step]
    elif kind == "steps":
        values = 100 + np.cumsum(rng.random((steps, series)) < 0.01, axis=0)
    return values


KINDS = ("smooth", "wandering", "averaged", "bursts", "steps", "constant")


@pytest.mark.parametrize("model", ["trend", "aggregate"])
def test_a_young_fleet_of_all_kinds_of_series_has_not_drifted(model: str) -> None:
    """S1.6: misses come in runs on smooth, bursty and constant series, and that is no drift."""
    values = np.concatenate([usual(kind, 400, 20) for kind in KINDS], axis=1).astype(np.float32)
    core = core_of(model, 120.0, 60, values.shape[1])
    drifts = {kind: Drift(20) for kind in KINDS}
    for step, row in enumerate(values):
        if step:
            said = np.asarray(core.forecast(np.array([1]), LEVELS), np.float64)[:, 0]
            for at, drift in enumerate(drifts.values()):
                part = slice(20 * at, 20 * at + 20)
                drift.observe(row[part].astype(np.float64), said[part])
        core.observe(row)
        assert not [kind for kind, drift in drifts.items() if drift.drifted], step


def test_the_model_recovers_from_a_regime_change() -> None:
    """S1.6: within 60 windows its skill against persistence is back to where it was."""
    values = regimes(900, 500, 20)
    models = TrendCore(20, 8, 0.0, 0.0, 3), PersistenceCore(20, 8, 0.0)
    errors = np.zeros((2, 900))
    for step in range(900):
        for number, model in enumerate(models):
            if step:
                said = model.forecast(np.array([1]), (0.5,))[:, 0, 0]
                errors[number, step] = np.abs(said - values[step]).mean()
            model.observe(values[step])

    def skill(begin: int, end: int) -> float:
        return float(1 - errors[0, begin:end].mean() / errors[1, begin:end].mean())

    before = skill(300, 500)
    assert before > 0.05
    assert skill(500, 530) < before, "the change must have cost something, or nothing is shown"
    assert skill(560, 700) > before - 0.05
