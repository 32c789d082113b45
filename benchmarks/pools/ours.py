"""The product on the same slots: its own forecaster and its own decisions, tick by tick, without looking ahead."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.pools.demand import SLOTS, TICK, Pools
from sidestep.fleet.labels import Label
from sidestep.fleet.pools import PoolSpec
from sidestep.forecasting.dense import core_of
from sidestep.planning.pool import Decider, Look, Terms

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

LEVELS = (0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99)
#: what was measured of Python services (docs/pool.md): p95 of an activation and of a cold start, seconds
ACTIVATION, WARMING = 0.014, 1.256


#: what the default fleet file says, but for what was chosen on the parts to choose by (benchmarks/README.md)
CHOSEN = {"activate_quantile": 0.3, "cost_ratio": 1000.0, "stabilise": 0.0, "react_most": 0, "shrink": "forecast"}


def spec(places: int, apps: int, **changes: object) -> PoolSpec:
    """The pool as a fleet file would declare it; no bound, so that nothing but the decision is measured."""
    known: dict[str, object] = {
        "name": Label("p"), "apps": tuple(Label(f"a{at}") for at in range(apps)), "hosts": (Label("h"),),
        "max": 1_000_000, "places": places, "min": 0, "ready_min": 0, "step_down": 0, "margin": 0.0,
    }  # fmt: skip
    return PoolSpec(**{**known, **CHOSEN, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Held:
    """(T / SLOTS, A) instances that serve, (T / SLOTS, P) that stand ready, and the CPU seconds it took."""

    active: I64
    ready: I64
    forecasting: float
    deciding: float


@dataclass(frozen=True)
class Said:
    """(T / SLOTS - first, A, 2, Q) forecasts of the ticks from ``first`` on, and the CPU seconds they took."""

    first: int
    quantiles: NDArray[np.float32]
    seconds: float


def foresee(pools: Pools, model: str) -> Said:
    """What the product's forecaster says before each tick, from an hour before the scored time on."""
    peaks = pools.ticks().astype(np.float64)
    core = core_of(model, float(pools.day), 2, peaks.shape[1])
    first, ahead = max(1, pools.begin // SLOTS - 60), np.array([1, 2])
    core.observe(peaks[: first - 1])
    said = np.empty((len(peaks) - first, peaks.shape[1], len(ahead), len(LEVELS)), dtype=np.float32)
    started = time.process_time()
    for tick in range(first, len(peaks)):
        core.observe(peaks[tick - 1])
        said[tick - first] = core.forecast(ahead, LEVELS)
    return Said(first, said, time.process_time() - started)


def hold(pools: Pools, specs: tuple[PoolSpec, ...], said: Said) -> Held:
    """What the product holds for the series of ``pools``, which are the apps of ``specs`` in order."""
    peaks = pools.ticks().astype(np.float64)
    ticks, count = peaks.shape
    decider = Decider(Terms.of(specs), float(TICK))
    none = np.zeros(len(specs), dtype=np.int64)
    activation, warming = np.full(len(specs), ACTIVATION), np.full(len(specs), WARMING)
    active, ready = np.zeros((ticks, count), dtype=np.int64), np.zeros((ticks, len(specs)), dtype=np.int64)
    started = time.process_time()
    for tick in range(said.first, ticks):
        quantiles = said.quantiles[tick - said.first].astype(np.float64)
        look = Look(tick * TICK, LEVELS, TICK, quantiles, peaks[tick - 1], active[tick - 1], activation, warming)
        decision = decider.decide(look, none)
        active[tick], ready[tick] = decision.active, decision.ready
    return Held(active, ready, said.seconds, time.process_time() - started)
