"""Made by python -m scripts.oracle.fit_chance: the coefficients that every fleet begins with.

Learned with the raw chances of the model 'aggregate'. In the order of ``signs.NAMES``, then the
raw chance's log-odds; weights have a constant as their last.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SCALE: Final = [
    0.8045,
    0.7834,
    0.781,
    0.7674,
    0.7431,
    0.7198,
    0.8703,
    0.9578,
    1.042,
    1.135,
    0.9185,
    0.9687,
    0.8718,
    0.9212,
    0.7754,
    0.733,
    0.1397,
    0.4068,
    0.2353,
    0.2318,
    0.2137,
    0.673,
    0.735,
    0.7486,
    0.246,
    0.3395,
    0.3506,
    0.3373,
    0.2342,
    1.568,
    1.257,
    3.837,
]
_QUIET: Final = [
    0.3241,
    0.6409,
    -0.3831,
    -0.1858,
    0.8305,
    -1.562,
    -0.06067,
    -0.1406,
    0.07399,
    -0.102,
    -0.1393,
    0.3377,
    -0.1996,
    0.1481,
    -0.3055,
    0.4567,
    -0.6838,
    0.955,
    0.1666,
    -0.2914,
    0.5765,
    -0.2508,
    -0.2189,
    0.02448,
    0.07401,
    0.1206,
    1.058,
    0.2946,
    -0.2138,
    0.264,
    0.2927,
    0.4103,
    -1.462,
]
_OVER: Final = [
    -0.2247,
    0.3096,
    -0.1441,
    0.0241,
    0.2298,
    -0.122,
    -0.1804,
    -0.07578,
    -0.01762,
    -0.03009,
    -0.2097,
    0.1347,
    -0.3667,
    0.01167,
    0.2961,
    0.1809,
    -0.4108,
    1.139,
    0.8011,
    -0.7477,
    -0.8161,
    -0.681,
    -0.1258,
    0.1284,
    0.6737,
    0.07721,
    0.01306,
    -0.04452,
    -0.43,
    0.2202,
    0.4654,
    0.4311,
    1.008,
]
#: how the signs vary: their standard deviations
SCALE: Final[NDArray[np.float64]] = np.array(_SCALE)
#: weights for series that are not over, and for those that are
QUIET: Final[NDArray[np.float64]] = np.array(_QUIET)
OVER: Final[NDArray[np.float64]] = np.array(_OVER)
