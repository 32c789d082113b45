"""The forecast of last resort, in the daemon itself: the last value, and how far values stray from it.

Needs numpy only, so that the daemon can always forecast, whatever became of the worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.resources import CPU, PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.calibrate import along, ladder, scores

F64 = NDArray[np.float64]

#: so many recent rows tell how far values stray
RECENT: Final = 300
#: with fewer independent differences than this the spread leans on a shorter horizon, or a tenth of the value
FEW: Final = 10.0


def persistence(rows: Sequence[wire.Row], steps: int, step: float, levels: tuple[float, ...]) -> tuple[F64, F64]:
    """Quantiles (H, R, T, Q) and (N, R, T, Q) for the names of the newest of ``rows`` (oldest first, not empty)."""
    newest = rows[-1]
    history = _matrix(rows[-RECENT:], newest)
    last = _last(history)
    spread, number = _strays(history, steps, _rows_a_step(rows[-RECENT:], step))
    z = scores(levels, number + 2.0)[:, None, :]
    found = np.maximum(last[:, None, None] + z * spread[:, :, None], 0.0)
    shape = (-1, PLANNED, steps, len(levels))
    count = len(newest.hosts) * PLANNED
    return found[:count].reshape(shape), found[count:].reshape(shape)


def valid_rows(rows: Iterable[wire.Row]) -> int:
    """In how many of ``rows`` the cpu of at least half of the hosts is known."""
    cpu = (np.frombuffer(row.host_use, dtype="<f4")[CPU::PLANNED] for row in rows)
    return sum(len(known) > 0 and np.isfinite(known).mean() >= 0.5 for known in cpu)


def _values(row: wire.Row) -> F64:
    """(H + N, R) of one row."""
    hosts = wire.from_bytes(row.host_use, (len(row.hosts), PLANNED), "host use")
    shards = wire.from_bytes(row.shard_use, (len(row.shards), PLANNED), "shard use")
    return np.concatenate([hosts, shards]).astype(np.float64)


def _matrix(rows: Sequence[wire.Row], newest: wire.Row) -> F64:
    """(K, S) values under the names of the newest row, NaN where a row has no such series."""
    found = []
    names, index = None, np.zeros(0, dtype=np.int64)
    for row in rows:
        if (row.hosts, row.shards) != names:
            names = (row.hosts, row.shards)
            index = _lookup(row, newest)
        padded = np.vstack([_values(row), np.full((1, PLANNED), np.nan)])
        found.append(padded[index].reshape(-1))
    return np.where(np.isfinite(found), found, np.nan)


def _lookup(row: wire.Row, newest: wire.Row) -> NDArray[np.int64]:
    """Where the newest row's series are in ``row``; one past the end for those that are not."""
    end = len(row.hosts) + len(row.shards)
    hosts = {name: at for at, name in enumerate(row.hosts)}
    shards = {name: len(row.hosts) + at for at, name in enumerate(row.shards)}
    where = [hosts.get(name, end) for name in newest.hosts] + [shards.get(name, end) for name in newest.shards]
    return np.array(where, dtype=np.int64)


def _last(history: F64) -> F64:
    """(S,) the newest known value; NaN for a series never seen."""
    known = np.isfinite(history)
    newest = len(history) - 1 - known[::-1].argmax(axis=0)
    return np.asarray(history[newest, np.arange(history.shape[1])])


def _rows_a_step(rows: Sequence[wire.Row], step: float) -> float:
    """How many rows came per grid step."""
    if len(rows) < 2:
        return 1.0
    pace = float(np.median(np.diff([row.time for row in rows])))
    return step / pace if pace > 0 else 1.0


def _strays(history: F64, steps: int, pace: float) -> tuple[F64, F64]:
    """(S, T) spread of the errors that persistence made, and (S,) how many were seen."""
    horizons = ladder(steps)
    tenth = np.square(0.1 * np.nan_to_num(_last(history)))
    found = np.empty((history.shape[1], len(horizons)))
    number = np.zeros(history.shape[1])
    before = tenth
    for b, horizon in enumerate(horizons):
        lag = max(1, round(int(horizon) * pace))
        errors = history[lag:] - history[:-lag]
        known = np.isfinite(errors)
        count = known.sum(axis=0)
        # Neighbouring errors overlap: a history holds only so many independent ones.
        trust = np.minimum(count / lag / FEW, 1.0)
        square = np.where(known, np.square(errors), 0.0).sum(axis=0) / np.maximum(count, 1)
        mixed = square * trust + before * (1 - trust)
        before = mixed if b == 0 else np.maximum(before, mixed)
        found[:, b] = np.sqrt(before)
        number = count if b == 0 else number
    return along(found, horizons, np.arange(1, steps + 1)), np.minimum(number, 30.0).astype(np.float64)
