"""Models that the tests of the ledger know everything about, and the series that they are tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.accounting import LEVELS, Ledger
from sidestep.forecasting.registry import make

Array = NDArray[np.float64]
#: the standard normal at LEVELS
NORMAL = np.array([-1.959964, -1.281552, 0.0, 1.281552, 1.959964])


def around(median: Array, width: float | Array = 1.0) -> Array:
    """(S, B, 5) normal quantiles around a median (S, B)."""
    return median[..., None] + np.asarray(width)[..., None] * NORMAL


def at_all(values: Array, ledger: Ledger) -> Array:
    """(S, B) of (S,): the same at every horizon."""
    return np.repeat(values[:, None], len(ledger.horizons), axis=1)


def follow(ledger: Ledger, series: Array, say: Callable[[int, Array], Array]) -> Ledger:
    """Settle every step of ``series`` (T, S); ``say(step, truth)`` gives (S, B, 5). Persistence is as it is."""
    for step, truth in enumerate(series):
        ledger.settle(truth, say(step, truth), at_all(np.nan_to_num(truth), ledger))
    return ledger


def run(model: str, series: Array, horizon: int, season: float = 0.0) -> tuple[Ledger, NDArray[np.bool_]]:
    """The ledger of a real model over a series (T, S), and what was reactive after every step (T, S)."""
    found, plain = make(model, season, horizon), make("persistence", 0.0, horizon)
    found.begin(series.shape[1])
    plain.begin(series.shape[1])
    ledger, history = Ledger(series.shape[1], horizon), []
    for truth in series:
        found.observe(truth)
        plain.observe(truth)
        said = found.forecast_array(ledger.horizons, LEVELS)
        ledger.settle(truth, said, plain.forecast_array(ledger.horizons, (0.5,))[..., 0])
        history.append(ledger.reactive())
    return ledger, np.array(history)
