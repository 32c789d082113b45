"""The numbers that planning works on: a forecast as arrays per host and per shard.

Rows are those of the snapshot; ``R`` planned dimensions, ``T`` steps within the policy's
horizon. Everything is computed once, over the whole fleet, and never changes; what a
tentative move would change is in ``trial``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.contention import at_quantile, duration_steps, limits, predict_contention
from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.uncertainty import F64, combined, normal_deviation

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantile:
    """One level at which demand is looked at, with every host's distance from the median."""

    level: float
    z: float
    #: (H, R, T)
    deviation: F64


@dataclass(frozen=True, kw_only=True)
class Load:
    """Demand over the horizon, and what it is measured against.

    ``strict`` is the quantile at which destinations must fit and relieved hosts should;
    ``relaxed`` the lowest at which a host no longer counts as predicted contention.
    """

    time: float
    step: float
    #: steps that demand must stay above the limit to count
    duration: int
    rho: float
    capacity: F64
    limit: F64
    #: (H, R, T, Q)
    quantiles: F32
    #: (H, R, T)
    median: F64
    strict: Quantile
    relaxed: Quantile
    #: (H, R, T) sums over each host's shards, and the two combined
    variance: F64
    deviation: F64
    spread: F64
    #: (N, R, T)
    shard_mean: F32
    shard_sd: F32
    #: (N,) whether the shard's demand is known
    known: NDArray[np.bool_]
    #: (N,) bytes that a move carries
    bytes: F64
    contentions: tuple[Contention, ...]


def read(snapshot: Snapshot, forecast: Forecast, policy: Policy) -> Load:
    """The arrays of one forecast. Its rows must be the snapshot's."""
    reach = max(1, min(forecast.steps, math.ceil(policy.horizon / forecast.step)))
    quantiles = forecast.hosts[:, :, :reach]
    median = quantiles[..., MEDIAN].astype(np.float64)
    levels = _levels(policy)
    strict = _quantile(quantiles, median, levels[0])
    relaxed = strict if levels[1] == levels[0] else _quantile(quantiles, median, levels[1])
    mean, sd = forecast.shard_mean[:, :, :reach], forecast.shard_sd[:, :, :reach]
    finite = np.isfinite(mean).all(axis=(1, 2)) & np.isfinite(sd).all(axis=(1, 2))
    sums = _sums(snapshot.shards.host, np.nan_to_num(sd), len(snapshot.hosts.names))
    rho = policy.common_factor
    return Load(
        time=forecast.time,
        step=forecast.step,
        duration=duration_steps(policy, forecast.step),
        rho=rho,
        capacity=snapshot.hosts.allocatable[:, :PLANNED],
        limit=limits(snapshot, policy),
        quantiles=quantiles,
        median=median,
        strict=strict,
        relaxed=relaxed,
        variance=sums[0],
        deviation=sums[1],
        spread=combined(sums[0], sums[1], rho),
        shard_mean=mean,
        shard_sd=sd,
        known=np.asarray(finite, dtype=np.bool_),
        bytes=_sizes(snapshot),
        contentions=predict_contention(snapshot, forecast, policy),
    )


def persistence(snapshot: Snapshot, policy: Policy) -> Forecast:
    """What a planner without an oracle would believe: present use, for ever, and certain."""
    use = snapshot.hosts.use[:, :PLANNED].astype(np.float32)
    shards = snapshot.shards.use[:, :PLANNED].astype(np.float32)[:, :, None]
    return Forecast(
        id="persistence",
        snapshot=snapshot.number,
        time=snapshot.time,
        step=policy.horizon,
        model=Label("persistence"),
        confidence="ok",
        fallback=Label(""),
        hosts=np.broadcast_to(use[:, :, None, None], (*use.shape, 1, len(LEVELS))),
        shard_mean=shards,
        shard_sd=np.zeros_like(shards),
    )


def _levels(policy: Policy) -> tuple[float, float]:
    """The strict and the relaxed quantile.

    At a quantile ``q`` that nowhere stays above the limit the chance of contention is at
    most ``1 - q``; so ``q`` must be above ``1 - min_probability``.
    """
    enough = min(LEVELS[-1], max(LEVELS[0], 1.0 - policy.min_probability + 0.005))
    strict = min(LEVELS[-1], max(policy.quantile, enough))
    return strict, min(strict, enough)


def _quantile(quantiles: F32, median: F64, level: float) -> Quantile:
    z = normal_deviation(level)
    return Quantile(level, z, at_quantile(quantiles, level) - median)


def _sums(host: NDArray[np.int32], sd: F32, hosts: int) -> tuple[F64, F64]:
    """Per host the sum of its shards' variances, and of their standard deviations."""
    shape = (hosts, *sd.shape[1:])
    variance, deviation = np.zeros(shape), np.zeros(shape)
    order = np.argsort(host, kind="stable")
    order = order[host[order] >= 0]
    if order.size:
        rows, first = np.unique(host[order], return_index=True)
        ordered = sd[order].astype(np.float64)
        deviation[rows] = np.add.reduceat(ordered, first, axis=0)
        variance[rows] = np.add.reduceat(ordered**2, first, axis=0)
    return variance, deviation


def _sizes(snapshot: Snapshot) -> F64:
    """State sizes; where one is unknown the shard's memory stands for it."""
    state, memory = snapshot.shards.state_bytes, np.nan_to_num(snapshot.shards.use[:, 1])
    return np.asarray(np.where(np.isfinite(state), state, memory), dtype=np.float64)
