"""The oracle's own model on a sample of the series, to see whether it loses touch with them."""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting.registry import make
from sidestep.forecasting.training.contest import begin
from sidestep.forecasting.training.drift import LEVELS, Drift
from sidestep.forecasting.training.table import Table

#: series that are watched, drawn by seed
SAMPLE: Final = 256
#: rows of a past that charts are drawn of; the model learns all of it
CHARTED: Final = 240
#: rows at once after which the model begins anew: the table was filled, or a clock jumped
_MANY: Final = 1000


class Watch:
    """One step ahead, again and again."""

    def __init__(self, spec: OracleSpec, table: Table, horizon: int) -> None:
        self._table = table
        self._rows = np.sort(np.random.default_rng(0).permutation(len(table.names))[:SAMPLE])
        self._make = lambda: make(spec.model, spec.season / table.step if spec.season > 0 else 0.0, horizon)
        self._model = self._make()
        self._begun = False
        #: those of the network that is served, from the next begin on
        self.weights = b""
        self.drift = Drift(len(self._rows))
        self._ahead = np.array([1])

    def learn(self, fresh: int) -> None:
        """Take the newest ``fresh`` rows of the table."""
        if not len(self._rows) or not fresh:
            return
        if not self._begun or fresh > _MANY:
            self._model = self._make()
            begin(self._model, len(self._rows), self.weights)
            self._begun, fresh = True, len(self._table)
        rows = self._table.values[len(self._table) - fresh :, self._rows].astype(np.float64)
        early = max(0, len(rows) - CHARTED)
        if early:
            self._model.observe(rows[:early])
        for row in rows[early:]:
            said = self._model.forecast_array(self._ahead, LEVELS)[:, 0]
            self.drift.observe(row, said)
            self._model.observe(row)

    def adopt(self, weights: bytes) -> None:
        """Watch another network from now on, with all that was learned of the series."""
        self.weights = weights
        retune = getattr(self._model.core_, "adopt", None) if self._begun else None
        if retune is not None:
            retune(weights)

    def settle(self) -> None:
        """A round answers a drift: charts begin anew."""
        if self.drift.drifted:
            self.drift.settle()
