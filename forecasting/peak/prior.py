"""Made by python -m scripts.oracle.fit_chance: the coefficients that every fleet begins with."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.forecasting.peak.signs import NAMES

_COUNT: Final = len(NAMES) + 1
#: how the signs vary (their standard deviations), the raw chance's log-odds last
SCALE: Final[NDArray[np.float64]] = np.ones(_COUNT)
#: weights of the signs, then the constant: of series that are not over, and of those that are
QUIET: Final[NDArray[np.float64]] = np.eye(_COUNT + 1)[_COUNT - 1]
OVER: Final[NDArray[np.float64]] = np.eye(_COUNT + 1)[_COUNT - 1]
