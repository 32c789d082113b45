"""The numbers that planning works on: a forecast as arrays per host and per shard.

Rows are those of the snapshot; ``R`` planned dimensions, ``T`` steps within the policy's
horizon. Everything is computed once, over the whole fleet, and never changes; what a
tentative move would change is in ``trial``.

Where the oracle says that contention is likelier than the quantiles of single steps do, the
host's demand is raised until both say the same: a maximum over a window is higher than each of
its steps, and the planner must make room for what is really expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sidestep.fleet.contention import Foresight, at_quantile, duration_steps, foresee, limits
from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.transfer import DEFAULT_TRANSFER
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
    ``gentler`` are lower ones, the last the lowest at which a host no longer counts as
    predicted contention; ``stricter`` are higher ones, the highest first, at which all should fit
    where that takes no more moves.
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
    gentler: tuple[Quantile, ...]
    stricter: tuple[Quantile, ...]
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
    #: of demand; moving shards is no remedy that can be computed for pressure
    contentions: tuple[Contention, ...]


def read(snapshot: Snapshot, forecast: Forecast, policy: Policy) -> Load:
    """The arrays of one forecast. Its rows must be the snapshot's."""
    reach = max(1, min(forecast.steps, math.ceil(policy.horizon / forecast.step)))
    foresight, limit = foreseen(snapshot, forecast, policy), limits(snapshot, policy)
    duration = duration_steps(policy, forecast.step)
    levels = _levels(policy)
    quantiles = _raised(forecast, foresight, limit, reach, duration, 1.0 - levels[0])
    median = quantiles[..., MEDIAN].astype(np.float64)
    strict = _quantile(quantiles, median, levels[0])
    between = [level for level in reversed(LEVELS) if levels[1] + 0.02 < level < levels[0] - 0.02]
    lower = () if levels[1] == levels[0] else (*between, levels[1])
    higher = (level for level in reversed(LEVELS) if level > levels[0] + 0.02)
    mean, sd = forecast.shard_mean[:, :, :reach], forecast.shard_sd[:, :, :reach]
    finite = np.isfinite(mean).all(axis=(1, 2)) & np.isfinite(sd).all(axis=(1, 2))
    sums = _sums(snapshot.shards.host, np.nan_to_num(sd), len(snapshot.hosts.names))
    rho = forecast.rho if math.isfinite(forecast.rho) else policy.common_factor
    return Load(
        time=forecast.time,
        step=forecast.step,
        duration=duration,
        rho=rho,
        capacity=snapshot.hosts.allocatable[:, :PLANNED],
        limit=limit,
        quantiles=quantiles,
        median=median,
        strict=strict,
        gentler=tuple(_quantile(quantiles, median, level) for level in lower),
        stricter=tuple(_quantile(quantiles, median, level) for level in higher),
        variance=sums[0],
        deviation=sums[1],
        spread=combined(sums[0], sums[1], rho),
        shard_mean=mean,
        shard_sd=sd,
        known=np.asarray(finite, dtype=np.bool_),
        bytes=_sizes(snapshot),
        contentions=(*(item for item in foresight.contention if item.cause == "demand"), *foresight.imminent),
    )


def foreseen(snapshot: Snapshot, forecast: Forecast, policy: Policy) -> Foresight:
    """What is planned for: likely contention, and what only moves that begin now could still prevent."""
    return foresee(snapshot, forecast, policy, policy.margin + _moving(snapshot))


def _moving(snapshot: Snapshot) -> F64:
    """(H,) seconds that moving a shard takes, on the whole: that of mean size of each host."""
    host, size = snapshot.shards.host, np.nan_to_num(_sizes(snapshot))
    placed, hosts = host >= 0, len(snapshot.hosts.names)
    count = np.bincount(host[placed], minlength=hosts)
    total = np.bincount(host[placed], weights=size[placed], minlength=hosts)
    return DEFAULT_TRANSFER.seconds(total / np.maximum(count, 1))


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


def _raised(forecast: Forecast, foresight: Foresight, limit: F64, reach: int, duration: int, least: float) -> F32:
    """(H, R, T, Q) quantiles, raised where the chance of contention is at least ``least`` and not in them.

    At the level that leaves just that chance above it, what is held for the duration is the limit.
    Never lowered: room that the quantiles ask for is kept.
    """
    quantiles = forecast.hosts[:, :, :reach]
    if limit.shape not in (forecast.chance.shape, forecast.reactive.shape, forecast.held.shape):
        return quantiles
    with np.errstate(invalid="ignore"):
        rows = np.argwhere((foresight.risk >= least) & np.isfinite(limit))
    if not len(rows):
        return quantiles
    at = rows[:, 0], rows[:, 1]
    width = max(1, min(duration, reach))
    runs = sliding_window_view(np.nan_to_num(quantiles[at]), width, axis=1).min(axis=-1)
    held = runs.max(axis=1).astype(np.float64)
    levels = np.asarray(LEVELS)
    wanted = np.clip(1.0 - foresight.risk[at], levels[0], levels[-1])
    right = np.clip(np.searchsorted(levels, wanted), 1, len(levels) - 1)
    part = (wanted - levels[right - 1]) / (levels[right] - levels[right - 1])
    each = np.arange(len(rows))
    now = held[each, right - 1] * (1 - part) + held[each, right] * part
    lift = np.maximum(limit[at] * (1 + 1e-6) - now, 0.0)
    raised = np.array(quantiles)
    raised[at] += lift[:, None, None].astype(np.float32)
    return raised


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
