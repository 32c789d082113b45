"""Predicted peaks are held against the highest value that came in their window (S4.22)."""

from __future__ import annotations

import numpy as np
import pytest
from ledger_doubles import NORMAL

from sidestep.forecasting.accounting import PeakLedger


def follow(ledger: PeakLedger, series: np.ndarray, off: float = 0.0, width: float = 1.0) -> PeakLedger:
    """Say the true peak of every coming window, and ``off`` more."""
    count = len(series)
    for step, truth in enumerate(series):
        coming = [series[step + 1 : step + 1 + int(w)] for w in ledger.windows]
        peaks = np.stack([part.max(axis=0) if len(part) else truth for part in coming], axis=1)
        ledger.settle(truth, (peaks + off)[..., None] + width * NORMAL)
    assert count
    return ledger


def test_a_peak_that_was_foreseen_beats_the_last_one() -> None:
    series = np.random.default_rng(1).exponential(1.0, (600, 8))
    scores = follow(PeakLedger(8, (5, 20)), series).scores()
    assert scores.horizons.tolist() == [5, 20]
    assert scores.n.min() > 10
    assert scores.skill == pytest.approx(np.ones((8, 2)), abs=1e-6)
    assert scores.error == pytest.approx(np.zeros((8, 2)), abs=1e-6)
    assert (scores.coverage80 == 1).all()


def test_error_and_bias_are_those_of_the_peak() -> None:
    series = np.random.default_rng(2).exponential(1.0, (600, 8))
    scores = follow(PeakLedger(8, (5, 20)), series, off=2.0, width=0.1).scores()
    assert scores.error == pytest.approx(np.full((8, 2), 2.0), rel=1e-3)
    assert scores.bias == pytest.approx(np.full((8, 2), 2.0), rel=1e-3)
    assert (scores.coverage95 == 0).all()
    assert (scores.skill < 0).all()


def test_a_window_in_which_too_much_was_missing_is_not_scored() -> None:
    series = np.random.default_rng(3).exponential(1.0, (400, 3))
    said = np.full((3, 1, 5), 3.0) + NORMAL
    ledger = PeakLedger(3, (10,))
    for step, truth in enumerate(series):
        hole = np.array([False, step % 10 == 0, step % 2 == 0])
        ledger.settle(np.where(hole, np.nan, truth), said)
    n = ledger.scores().n[:, 0]
    assert n[0] == n[1] > 10
    assert n[2] == 0
    assert np.isnan(ledger.scores().skill[2, 0])


def test_hosts_that_come_and_go_keep_their_own_peaks() -> None:
    series = np.random.default_rng(4).exponential(1.0, (200, 2))
    ledger = follow(PeakLedger(2, (5,)), series, off=1.0)
    before = ledger.scores()
    ledger.select(np.array([1, -1]))
    after = ledger.scores()
    assert ledger.series == 2
    assert after.error[0] == before.error[1]
    assert after.n[1, 0] == 0
    ledger.settle(np.ones(2), np.ones((2, 1, 5)))


def test_only_windows_that_are_wanted_need_a_forecast() -> None:
    ledger = PeakLedger(2, (5, 50))
    wanted = []
    for _ in range(120):
        wants = ledger.wants()
        wanted.append(wants)
        ledger.settle(np.ones(2), np.where(wants[:, None], np.ones((2, 2, 5)), np.nan))
    assert ledger.scores().n[0].min() > 0
    assert np.sum(wanted, axis=0)[1] <= 3
