"""What hosts will have free for functions: the oracle's own model over what their agents say each second.

The same arithmetic as the daemon's oracle, its dense path, without a daemon: a row for every host, a step for every
second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting.dense import core_of

F64 = NDArray[np.float64]
#: steps ahead, of a second each, and steps that are asked for: between them lines are drawn
HORIZON: Final = 30
KNOTS: Final = np.array([1, 2, 3, 5, 8, 12, 20, 30])
#: of what is promised to a block that would move, and of what is assumed of where it is
CAUTIOUS, EVEN = 0.4, 0.5


class Foresight:
    """Learns free cores of hosts, one step a second, and says quantiles of those to come."""

    def __init__(self, hosts: Sequence[str], model: str = "") -> None:
        self.hosts = tuple(hosts)
        self._core = core_of(model or OracleSpec().model, 0.0, HORIZON, len(self.hosts))
        self.steps = 0

    def observe(self, free: Mapping[str, float]) -> None:
        """Learn one step; a host that is not named is not known of."""
        self._core.observe(np.array([free.get(host, np.nan) for host in self.hosts]))
        self.steps += 1

    def said(self, quantile: float = EVEN) -> dict[str, F64]:
        """Free cores (HORIZON,) in each of the coming seconds, by host; hosts never seen are left out."""
        found = np.asarray(self._core.forecast(KNOTS, (quantile,)), dtype=np.float64)[:, :, 0]
        ahead = np.arange(1, HORIZON + 1)
        return {
            host: np.maximum(np.interp(ahead, KNOTS, row), 0.0)
            for host, row in zip(self.hosts, found, strict=True)
            if np.isfinite(row).all()
        }
