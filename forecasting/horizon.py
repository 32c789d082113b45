"""The grid of a forecast: how long a step is, how many there are, and at which of them something is said."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import OracleSpec

#: no forecast has more steps than this
MOST_STEPS: Final = 600
#: steps into which a horizon is cut when nobody says how long one is
AUTOMATIC: Final = 60
#: steps ahead that quantiles travel at; between them lines do
MOST_KNOTS: Final = 12


def grid_step(spec: OracleSpec, horizon: float, interval: float) -> float:
    """Seconds of one step: as configured, or so long that the horizon has 60, but no shorter than a sample takes.

    The one place that decides it, for the daemon, the oracle's client and its past.
    """
    return spec.step if spec.step > 0 else max(interval, horizon / AUTOMATIC)


def steps_ahead(horizon: float, step: float) -> int:
    """T: whole steps that cover ``horizon`` seconds, between 1 and 600."""
    return max(1, min(MOST_STEPS, math.ceil(horizon / step - 1e-9)))


def knots_of(known: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """(B <= 12,) of a core's own horizons, ascending, the first step and the last one among them."""
    inside = np.unique(np.concatenate([[1], known[(known >= 1) & (known < steps)], [steps]])).astype(np.int64)
    if len(inside) > MOST_KNOTS:
        inside = inside[np.unique(np.linspace(0, len(inside) - 1, MOST_KNOTS).round().astype(np.int64))]
    return inside
