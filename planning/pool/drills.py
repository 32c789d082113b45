"""Cold standby and its fire drills (S4.14): what is never woken may not wake when it is needed. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def due(
    now: float, last: F64, every: NDArray[np.floating], cold: NDArray[np.int64], busy: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(P,) pools of which one cold instance is to be woken, checked and put back.

    ``last`` (P,) is when the newest drill began, -inf for never; ``every`` (P,) seconds, 0 for no drills. A
    pool that is ``busy`` with a drill, or has nothing cold, waits.
    """
    return np.asarray((every > 0) & (cold > 0) & ~busy & (now - last >= every))


def oldest(checked: F64, cold: NDArray[np.bool_]) -> int:
    """The row of the cold instance whose last check is the longest ago; -1 if none is cold."""
    rows = np.flatnonzero(cold)
    return int(rows[np.argmin(checked[rows])]) if len(rows) else -1
