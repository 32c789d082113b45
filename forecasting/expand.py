"""From quantiles at a few knots to a forecast at every step, for the daemon. Pure; numpy only.

Between knots lines are drawn, by one matrix product over the whole fleet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting import wire
from sidestep.forecasting.calibrate import along
from sidestep.forecasting.fallback import persistence
from sidestep.forecasting.recent import Recent

F32 = NDArray[np.float32]
Flags = NDArray[np.bool_]

PERSISTENCE: Final = Label("persistence")
NOTHING: Final = Label("")
_UPPER: Final = LEVELS.index(0.9)
_LOWER: Final = LEVELS.index(0.1)
#: distance between the median and the 0.9 quantile of a normal distribution, in deviations
_NORMAL_90: Final = 1.2816


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The arrays of ``fleet.forecast.Forecast`` that are made of quantiles, under its names."""

    #: of what they were made from
    digest: str
    knots: tuple[int, ...]
    hosts: F32
    shard_mean: F32
    shard_sd: F32
    host_knots: F32
    shard_knots: F32

    @property
    def rows(self) -> tuple[int, int]:
        """H and N."""
        return len(self.host_knots), len(self.shard_knots)


def expand(host_knots: F32, shard_knots: F32, knots: tuple[int, ...], steps: int) -> Curves:
    """Curves of (H, HOST_SERIES, B, Q) and (N, SHARD_SERIES, B, Q)."""
    weights = weights_of(knots, steps)
    planned = shard_knots[:, :PLANNED]
    # contiguous, so that each of the two products is one of large matrices
    median = np.ascontiguousarray(planned[..., MEDIAN])
    spread = (planned[..., _UPPER] - planned[..., _LOWER]) / np.float32(2 * _NORMAL_90)
    digest = hashlib.sha256(repr((knots, steps)).encode())
    for part in (host_knots, median, spread):
        digest.update(np.ascontiguousarray(part).data)
    made = Curves(
        digest=digest.hexdigest(),
        knots=knots,
        hosts=_product(weights.T, host_knots[:, :PLANNED]),
        shard_mean=_product(median, weights),
        shard_sd=_product(spread, weights),
        host_knots=host_knots,
        shard_knots=shard_knots,
    )
    for array in (made.hosts, made.shard_mean, made.shard_sd, made.host_knots, made.shard_knots):
        array.setflags(write=False)
    return made


def curves_of(answer: wire.Answer, hosts: int, shards: int) -> Curves:
    """The curves that an answer brings. Raises ProtocolError for one that does not fit."""
    knots = answer.knots
    if not knots or not 0 < answer.steps <= 10_000 or list(knots) != sorted(set(knots)) or knots[0] < 1:
        raise ProtocolError(f"the oracle's worker answered {answer.steps} steps at knots {knots}")
    inner = (len(knots), len(LEVELS))
    return expand(
        wire.from_bytes(answer.hosts, (hosts, wire.HOST_WIDTH, *inner), "host quantiles"),
        wire.from_bytes(answer.shards, (shards, wire.SHARD_WIDTH, *inner), "shard quantiles"),
        knots,
        answer.steps,
    )


@dataclass(frozen=True, kw_only=True)
class Odds:
    """What an answer says beside curves, under the names of ``fleet.forecast.Forecast``; empty where nothing is."""

    windows: tuple[int, ...]
    host_peaks: F32
    chance: F32
    proven: Flags
    reactive: Flags


def odds_of(answer: wire.Answer, hosts: int, before: Odds | None) -> Odds:
    """The odds of an answer; its peaks are those of ``before`` where they are the same. Raises ProtocolError."""
    windows, shape = answer.windows, (hosts, PLANNED)
    if answer.same and before is not None:
        windows, peaks = before.windows, before.host_peaks
    elif answer.peaks:
        peaks = wire.from_bytes(answer.peaks, (hosts, wire.HOST_WIDTH, len(windows), len(LEVELS)), "host peaks")
    else:
        windows, peaks = (), np.zeros((0, 0, 0, 0), np.float32)
    chance = wire.from_bytes(answer.chance, shape, "chances") if answer.chance else np.zeros((0, 0), np.float32)
    return Odds(
        windows=windows,
        host_peaks=peaks,
        chance=chance,
        proven=_flags(answer.proven, shape, "proven"),
        reactive=_flags(answer.reactive, shape, "reactive"),
    )


def _flags(data: bytes, shape: tuple[int, int], what: str) -> Flags:
    if not data:
        return np.zeros((0, 0), np.bool_)
    if len(data) != shape[0] * shape[1]:
        raise ProtocolError(f"{what}: {len(data)} bytes for shape {shape}")
    return np.asarray(np.frombuffer(data, np.uint8).reshape(shape) != 0)


def last_resort(recent: Recent, knots: tuple[int, ...], steps: int) -> Curves:
    """The curves of persistence, from what the daemon keeps."""
    found = persistence(recent, LEVELS)
    hosts, inner = len(recent.names.hosts) * wire.HOST_WIDTH, (len(knots), len(LEVELS))
    own, shards = found[:hosts], found[hosts:]
    return expand(own.reshape(-1, wire.HOST_WIDTH, *inner), shards.reshape(-1, wire.SHARD_WIDTH, *inner), knots, steps)


def make(
    snapshot: Snapshot,
    step: float,
    curves: Curves,
    odds: Odds | None,
    *,
    confidence: str,
    accounts: tuple[Account, ...],
    model: Label = PERSISTENCE,
    fallback: Label = NOTHING,
    served: tuple[tuple[str, str], ...] = (),
) -> Forecast:
    """The forecast of a snapshot, under a name that says what it is made of."""
    digest = hashlib.sha256(f"{snapshot.number} {snapshot.time} {model} {curves.digest}".encode())
    made = Forecast(
        id=digest.hexdigest()[:16],
        snapshot=snapshot.number,
        time=snapshot.time,
        step=step,
        model=model,
        confidence=confidence,
        fallback=fallback,
        hosts=curves.hosts,
        shard_mean=curves.shard_mean,
        shard_sd=curves.shard_sd,
        knots=curves.knots,
        host_knots=curves.host_knots,
        shard_knots=curves.shard_knots,
        accounts=accounts,
        served=served,
    )
    if odds is None:
        return made
    return replace(
        made,
        windows=odds.windows,
        host_peaks=odds.host_peaks,
        chance=odds.chance,
        proven=odds.proven,
        reactive=odds.reactive,
    )


@lru_cache(maxsize=8)
def weights_of(knots: tuple[int, ...], steps: int) -> F32:
    """(B, T) how much of every knot is in every step."""
    known = np.array(knots, dtype=np.int64)
    return along(np.eye(len(knots)), known, np.arange(1, steps + 1)).astype(np.float32)


def _product(left: F32, right: F32) -> F32:
    """The matrix product, in which what is not known makes only that unknown which it is part of."""
    values, weights = (left, right) if left.ndim > 2 else (right, left)
    if np.isfinite(values).all():
        return np.asarray(np.matmul(left, right))
    bad = ~np.isfinite(values)
    clean, mask = np.where(bad, np.float32(0), values), bad.astype(np.float32)
    some = (weights > 0).astype(np.float32)
    pairs = ((clean, weights), (mask, some)) if values is left else ((weights, clean), (some, mask))
    found, touched = (np.matmul(*pair) for pair in pairs)
    found[touched > 0] = np.nan
    return np.asarray(found)
