"""Forecasts on the first day: an oracle that is told the past is confident at once, and right."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from conftest import SnapshotMaker

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import MEDIAN
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.forecasting import wire
from sidestep.forecasting.client import Oracle
from sidestep.forecasting.panel import Panel
from sidestep.forecasting.service import Service

DAY = 86400.0
STEP = 900.0
NOW = 1_700_000_000 // STEP * STEP
HOSTS = ("host-0", "host-1", "host-2")
NAMES = wire.Names(HOSTS)


def load(time: float | np.ndarray) -> np.ndarray:
    """Cores of three hosts: a day's wave of each."""
    wave = np.sin(2 * np.pi * np.asarray(time)[..., None] / DAY + np.arange(3))
    return np.asarray(2 + wave)


def past(seconds: float, step: float = STEP, end: float = NOW, noise: float = 0.05) -> wire.Past:
    times = np.arange(end - seconds, end, step)
    values = np.full((len(times), 3, 6), np.nan)
    values[..., 0] = load(times + step / 2) + np.random.default_rng(1).normal(0, noise, (len(times), 3))
    values[..., 1] = 64e6
    return wire.Past(step, NAMES, times.astype("<f8").tobytes(), wire.to_bytes(values), b"")


def laid(panel: Panel, step: float, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    found = panel.prime(step, times, values)
    return np.array(list(found.rows(found.bins)))


def test_a_past_is_laid_on_the_grid_and_ticks_go_on_from_it() -> None:
    panel = Panel(60.0)
    panel.align(("a",))
    steps = laid(panel, 20.0, 1000.0 + np.array([0, 20, 40, 60, 80, 100, 180]), np.array([[1, 2, 3, 4, 5, 6, 9.0]]).T)
    assert steps[:, 0].tolist()[:1] == [1.0], "bins end where the past ends"
    np.testing.assert_array_equal(steps[:, 0], [1, 3, 5.5, 9])
    closed = [row for time in (1230, 1290, 1410) for row in panel.add(time, np.array([time]))[:, 0].tolist()]
    np.testing.assert_array_equal(closed, [1230, 1290, np.nan, 1410])


def test_a_mean_that_is_longer_than_a_step_stands_alone() -> None:
    panel = Panel(1.0)
    panel.align(("a",))
    steps = laid(panel, 60.0, np.array([0.0, 60.0]), np.array([[1.0], [2.0]]))
    known = np.flatnonzero(np.isfinite(steps[:, 0]))
    assert np.diff(known).tolist() == [60]
    assert len(steps) - known[-1] == 30, "the last mean is that of a minute that ended just now"


@pytest.mark.parametrize("times", [[0.0, 0.0], [60.0, 0.0], [0.0, np.nan]])
def test_a_past_out_of_order_is_refused(times: list[float]) -> None:
    panel = Panel(1.0)
    panel.align(("a",))
    with pytest.raises(ValueError, match="do not rise"):
        panel.prime(60.0, np.array(times), np.zeros((2, 1)))


def test_the_past_touches_no_account_and_comes_before_any_row() -> None:
    service = Service(OracleSpec(season=DAY, step=STEP), 3600.0)
    assert service.prime(past(DAY)) == DAY / STEP
    assert [account.scored for account in service._beside.ledger.fleet()] == [0, 0]
    with pytest.raises(ValueError, match="before the first tick"):
        service.prime(past(DAY))
    with pytest.raises(ProtocolError, match="past host use"):
        Service(OracleSpec(), 60.0).prime(wire.Past(1.0, NAMES, bytes(8), b"", b""))


async def test_an_oracle_with_days_of_past_is_confident_at_once_and_beats_persistence(
    make_snapshot: SnapshotMaker,
) -> None:
    """Forecasts work on the first day: two days of past, no live row before the first forecast."""
    spec = OracleSpec(season=DAY, step=STEP, deadline=20.0)
    oracle = Oracle(
        spec, Policy(horizon=3 * 3600.0), interval=STEP, past=lambda before: past(2 * DAY, end=min(before, NOW))
    )
    try:
        assert oracle.prime() > 0
        first = await oracle.forecast(make_snapshot(1, load(NOW + STEP / 2), time=NOW + STEP / 2))
        assert (first.model, first.confidence) == ("persistence", "ok"), "also before there is a worker"
        await oracle.start()
        async with asyncio.timeout(120):
            await oracle.ready()
        found = await oracle.forecast(make_snapshot(2, load(NOW + 1.5 * STEP), time=NOW + 1.5 * STEP))
        assert (found.model, found.confidence, found.fallback) == ("aggregate", "ok", "")
        ahead = NOW + 1.5 * STEP + STEP * np.arange(1, found.steps + 1)
        truth = load(ahead).T
        error = np.abs(found.hosts[:, 0, :, MEDIAN] - truth).mean()
        plain = np.abs(load(NOW + 1.5 * STEP)[:, None] - truth).mean()
        assert error < 0.5 * plain, (error, plain)
    finally:
        await oracle.aclose()


async def test_a_past_that_cannot_be_learned_costs_one_worker(make_snapshot: SnapshotMaker) -> None:
    said: list[str] = []
    broken = wire.Past(STEP, NAMES, np.zeros(2).astype("<f8").tobytes(), bytes(2 * 3 * 6 * 4), b"")
    oracle = Oracle(OracleSpec(step=STEP), Policy(), report=said.append, past=lambda _: broken)
    try:
        await oracle.start()
        async with asyncio.timeout(120):
            await oracle.ready()
        assert any("the next worker does without" in line for line in said)
    finally:
        await oracle.aclose()
