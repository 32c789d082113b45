"""How many steps ahead a forecast looks."""

from __future__ import annotations

import math
from typing import Final

#: no forecast has more steps than this
MOST_STEPS: Final = 600


def steps_ahead(horizon: float, step: float) -> int:
    """T: whole steps that cover ``horizon`` seconds, between 1 and 600."""
    return max(1, min(MOST_STEPS, math.ceil(horizon / step - 1e-9)))
