"""Forecasts are held against what came, and a model that is worse than nothing is not served."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidestep.forecasting.accounts import Accounts


def band(center: np.ndarray, width: float, horizons: int) -> np.ndarray:
    return np.stack([np.repeat(center[:, None] + d, horizons, axis=1) for d in (-width, 0.0, width)], axis=-1)


def test_nothing_is_claimed_before_anything_was_scored() -> None:
    own, plain = Accounts("trend", 2, 10).rows()
    assert (own.model, plain.model) == ("trend", "persistence")
    assert own.scored == 0
    assert math.isnan(own.skill)
    assert math.isnan(own.coverage)


def test_skill_and_coverage_are_what_they_say() -> None:
    """Truth climbs by 1 a step; persistence is wrong by the horizon, the model by half of it."""
    accounts = Accounts("trend", 3, 5)
    for at in range(60):
        truth = np.full(3, 100.0 + at)
        model = np.stack([band(truth + h / 2, h, 1)[:, 0] for h in accounts.horizons], axis=1)
        accounts.settle(truth, model, band(truth, 0.5, len(accounts.horizons)))
    own, plain = accounts.rows()
    assert own.skill == pytest.approx(0.5, abs=0.01)
    assert own.coverage == pytest.approx(1.0)
    assert plain.coverage == 0.0
    assert plain.skill == 0.0
    assert own.scored == sum((60 - int(h)) * 3 for h in accounts.horizons)
    for _, skill, inside in accounts.by_horizon():
        assert skill == pytest.approx(0.5, abs=0.01)
        assert inside == pytest.approx(1.0)


def test_missing_truth_is_not_scored_and_new_hosts_start_empty() -> None:
    accounts = Accounts("trend", 2, 1)
    said = band(np.array([1.0, 1.0]), 0.1, 1)
    accounts.settle(np.array([1.0, 1.0]), said, said)
    accounts.settle(np.array([np.nan, 1.0]), said, said)
    assert accounts.scored == 1
    accounts.select(np.array([1, -1]))
    accounts.settle(np.array([1.0, 1.0]), said, said)
    assert accounts.scored == 2
