"""The ledgers of a whole fleet as one board that can be sent and stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.accuracy import PEAK, VALUE, AccuracyBoard, section
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting.accounting.ledger import Ledger
from sidestep.forecasting.accounting.peaks import PeakLedger


def board(
    time: float,
    step: float,
    hosts: Sequence[str],
    shards: Sequence[str],
    ledger: Ledger,
    peaks: PeakLedger | None = None,
    *,
    models: Sequence[str] = (),
    served: NDArray[Any] | None = None,
    foreseen: NDArray[np.bool_] | None = None,
) -> AccuracyBoard:
    """The board at ``time`` of a ledger whose rows are hosts x HOST_SERIES, then shards x SHARD_SERIES.

    ``step`` is seconds a step; ``served`` (S,) says by index which of ``models`` forecasts a
    series; ``peaks`` has the hosts' rows alone. ``foreseen`` is as for ``Ledger.reactive``.
    """
    split = len(hosts) * len(HOST_SERIES)
    values, chance, reactive = ledger.scores().columns(), ledger.forecastability(), ledger.reactive(foreseen)
    ahead = [float(h) * step for h in ledger.horizons]
    parts = []
    for kind, names, metrics, rows in (
        ("host", hosts, HOST_SERIES, slice(0, split)),
        ("shard", shards, SHARD_SERIES, slice(split, None)),
    ):
        common: dict[str, Any] = {"models": models, "served": None if served is None else served[rows]}
        common |= {"forecastability": chance[rows], "reactive": reactive[rows]}
        parts.append(section(kind, VALUE, names, metrics, ahead, values[rows], **common))
        if kind == "host" and peaks is not None:
            windows = [float(w) * step for w in peaks.windows]
            parts.append(section(kind, PEAK, names, metrics, windows, peaks.scores().columns(), **common))
    return AccuracyBoard(time=time, sections=tuple(parts))
