"""Recorded load through the real oracle, tick by tick, as the daemon would: what was said, before it came.

The oracle is the daemon's own (``forecasting.client``) with its worker process; contention
is read from its forecasts by the arithmetic of the control loop. At step t it has been given
steps up to t and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.backtest.policy import Setting
from sidestep.autopilot.backtest.recordings import F32, F64, Recording
from sidestep.autopilot.backtest.scores import Scored, Scores
from sidestep.fleet.contention import foresee
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES, PLANNED
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot
from sidestep.forecasting.client import Oracle

Mask = NDArray[np.bool_]
Progress = Callable[[int], None]

_DIMENSION: Final = {name: row for row, name in enumerate(DIMENSIONS[:PLANNED])}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was said at each of T steps of S series (host-major: H hosts times the planned dimensions).

    ``chance`` is f2 and NaN where nothing was said; ``alarm`` that the policy's contention
    was predicted; ``proven`` that the oracle vouched for such chances by then. ``sure`` (T,)
    says whether the forecast had seen enough, ``fallback`` (T,) whether another model than
    the configured one answered.
    """

    chance: NDArray[np.float16]
    alarm: Mask
    proven: Mask
    sure: Mask
    fallback: Mask
    #: models that answered, and for how many steps
    models: dict[str, int]
    #: of the forecasts themselves, against persistence
    scored: tuple[Scored, ...]


async def replay(recording: Recording, limit: F64, setting: Setting, begin: int, tell: Progress) -> Said:
    """Give the recording to the oracle step by step; ``limit`` (H, PLANNED) is where contention begins.

    Forecasts are scored from step ``begin`` on. ``tell`` is called with the steps done.
    Raises SidestepError if the worker never gets ready.
    """
    count, hosts = recording.steps, len(recording.names)
    shape = (count, hosts * PLANNED)
    said = Said(
        chance=np.full(shape, np.nan, np.float16),
        alarm=np.zeros(shape, np.bool_),
        proven=np.zeros(shape, np.bool_),
        sure=np.zeros(count, np.bool_),
        fallback=np.zeros(count, np.bool_),
        models={},
        scored=(),
    )
    rows = {str(name): row for row, name in enumerate(recording.names)}
    scores = Scores(recording.planned, hosts, setting.policy.horizon, recording.step, begin)
    world = _World(recording, limit, setting)
    reports: list[str] = []
    oracle = Oracle(setting.oracle, setting.policy, interval=recording.step, report=reports.append)
    await oracle.start()
    try:
        await _ready(oracle, reports)
        for at in range(count):
            snapshot = world.snapshot(at)
            forecast = await oracle.forecast(snapshot)
            _note(said, at, snapshot, forecast, setting, rows)
            scores.take(at, recording.values[at, :, :PLANNED], forecast)
            tell(at + 1)
    finally:
        await oracle.aclose()
    return Said(**{**said.__dict__, "scored": scores.found()})


async def _ready(oracle: Oracle, reports: list[str]) -> None:
    import asyncio  # noqa: PLC0415

    try:
        await asyncio.wait_for(oracle.ready(), 120)
    except TimeoutError:
        why = reports[-1] if reports else "it said nothing"
        raise SidestepError(f"the oracle did not get ready in 120 s: {why}", hint="try it again") from None


def _note(said: Said, at: int, snapshot: Snapshot, forecast: Forecast, setting: Setting, rows: dict[str, int]) -> None:
    """Keep what a forecast says, as the control loop would take it: nothing while it has not seen enough."""
    model = str(forecast.model)
    said.models[model] = said.models.get(model, 0) + 1
    said.fallback[at] = bool(forecast.fallback)
    said.sure[at] = forecast.confidence == "ok"
    if not said.sure[at]:
        return
    foresight = foresee(snapshot, forecast, setting.policy)
    said.chance[at] = foresight.risk.reshape(-1)
    if forecast.proven.shape == foresight.risk.shape:
        said.proven[at] = forecast.proven.reshape(-1)
    for each in foresight.contention:
        said.alarm[at, rows[str(each.host)] * PLANNED + _DIMENSION[each.dimension]] = True


class _World:
    """The recording as snapshots of a fleet without shards."""

    def __init__(self, recording: Recording, limit: F64, setting: Setting) -> None:
        hosts = len(recording.names)
        self._recording = recording
        part = np.array([setting.policy.threshold_cpu, setting.policy.threshold_memory])
        self._capacity = np.full((hosts, len(DIMENSIONS)), np.nan)
        self._capacity[:, :PLANNED] = limit / part
        self._states = (HostState.READY,) * hosts
        self._blank = (Label(""),) * hosts
        none, whole = np.zeros(0), np.zeros(0, np.int32)
        self._shards = ShardColumns(
            names=(), apps=(), states=(), host=whole, use=np.zeros((0, len(DIMENSIONS))), state_bytes=none,
            priority=whole, token=np.zeros(0, np.int64), movable=np.zeros(0, np.bool_),
        )  # fmt: skip

    def snapshot(self, at: int) -> Snapshot:
        """What the daemon would have seen when step ``at`` was over."""
        now = self._recording.values[at]
        use = np.full(self._capacity.shape, np.nan)
        use[:, :PLANNED] = now[:, :PLANNED]
        use[:, DIMENSIONS.index("net_rx")] = now[:, HOST_SERIES.index("net")]
        use[:, DIMENSIONS.index("net_tx")] = 0.0
        hosts = HostColumns(
            names=self._recording.names,
            states=self._states,
            reasons=self._blank,
            zones=self._blank,
            capacity=self._capacity,
            allocatable=self._capacity,
            use=use,
            pressure=now[:, HOST_SERIES.index("psi_cpu") :].astype(np.float64),
            age=np.zeros(len(self._states)),
        )
        return Snapshot(
            number=at + 1,
            time=self._recording.start + (at + 0.5) * self._recording.step,
            generation=1,
            hosts=hosts,
            shards=self._shards,
        )


def limits_of(recording: Recording, setting: Setting, capacity: F64, percentile: float | None, begin: int) -> F64:
    """(H, PLANNED) demand above which each host is in contention; NaN for none.

    With a ``percentile`` that of each series' own first ``begin`` steps, so that nothing of what is
    judged is in it; without, and for series that were not seen by then, the policy's thresholds of
    ``capacity`` (H, PLANNED).
    """
    part = np.array([setting.policy.threshold_cpu, setting.policy.threshold_memory])
    known = capacity * part
    if percentile is None:
        return np.asarray(known, dtype=np.float64)
    early: F32 = recording.values[:begin, :, :PLANNED]
    own = np.full(known.shape, np.nan)
    some = np.isfinite(early).any(axis=0)
    if some.any():
        own[some] = np.nanpercentile(early[:, some], percentile, axis=0)
    return np.where(np.isfinite(own), own, known)
