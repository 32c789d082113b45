"""The daemon's side of the oracle: always an answer, in time, and honest about where it is from.

The worker process forecasts. Until it is ready, and whenever it is lost or late, the
forecast is persistence from the history kept here, ``fallback`` says why, and the worker is
started again with back-off and told the recent history. Imports numpy and msgspec only.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting import wire
from sidestep.forecasting.fallback import RECENT, persistence, valid_rows
from sidestep.forecasting.horizon import steps_ahead
from sidestep.forecasting.process import Worker, WorkerLost

F32 = NDArray[np.float32]

#: rows of the panel that are kept for the fallback and for a new worker
HISTORY: Final = 900
#: seconds before a lost worker is started again: first, and at most
BACKOFF: Final = (0.5, 30.0)
#: part of the deadline that is left for the fallback's own arithmetic
SPARE: Final = 0.9
_UPPER: Final = LEVELS.index(0.9)
_LOWER: Final = LEVELS.index(0.1)
#: distance between the median and the 0.9 quantile of a normal distribution, in deviations
_NORMAL_90: Final = 1.2816


def _no_past(_: float) -> wire.Past | None:
    """Know nothing from before."""
    return None


def _quiet(_: str) -> None:
    """Drop a report."""


class Oracle:
    """Forecasts of snapshots, one at a time, never late and never failing.

    ``report`` is told, one line each, what becomes of the worker and what it logs. ``past``
    gives what is known from before a unix time, None for nothing; every new worker is told it.
    """

    def __init__(
        self,
        spec: OracleSpec,
        policy: Policy,
        *,
        report: Callable[[str], None] = _quiet,
        past: Callable[[float], wire.Past | None] = _no_past,
    ) -> None:
        self._spec = spec
        self._horizon = policy.horizon
        self._steps = steps_ahead(policy.horizon, spec.step)
        self._report = report
        self._past = past
        self._rows: deque[wire.Row] = deque(maxlen=HISTORY)
        self._accounts: tuple[Account, ...] = ()
        self._worker: Worker | None = None
        self._why = "oracle disabled" if not spec.enabled else "worker starting"
        self._lock = asyncio.Lock()
        self._supervisor: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()

    async def start(self) -> None:
        """Start the worker and return at once; forecasts are persistence until it is ready."""
        if self._spec.enabled and self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="oracle supervisor")

    def prime(self) -> int:
        """Have the fallback know the newest of the past as well; returns how many steps it has. Call before ``start``.

        Does nothing once there are rows. The worker is told the past each time one is made.
        """
        past = None if self._rows else self._past(math.inf)
        if past is None:
            return 0
        times = np.frombuffer(past.times, "<f8")
        count = min(len(times), RECENT)
        width = [len(each) // len(times) if len(times) else 0 for each in (past.host_use, past.shard_use)]
        for at in range(len(times) - count, len(times)):
            use = (
                each[at * wide : (at + 1) * wide]
                for each, wide in zip((past.host_use, past.shard_use), width, strict=True)
            )
            # numbers below 0 are not replayed: the worker has the whole past
            number = at - len(times)
            self._rows.append(wire.Row(number, float(times[at] + past.step / 2), past.hosts, past.shards, *use))
        return count

    async def ready(self) -> None:
        """Wait until the worker forecasts; for ever if it never does or the oracle is disabled."""
        await self._ready.wait()

    @property
    def pid(self) -> int:
        """The process id of the worker that forecasts, 0 while there is none."""
        return self._worker.pid if self._worker is not None else 0

    async def aclose(self) -> None:
        """End the worker and everything that watches it."""
        task, self._supervisor = self._supervisor, None
        self._why = "oracle closed"
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def forecast(self, snapshot: Snapshot) -> Forecast:
        """The newest forecast, within the deadline. Calls must not overlap in time; later ones wait."""
        async with self._lock:
            row = row_of(snapshot)
            self._rows.append(row)
            worker = self._worker
            if worker is not None:
                found = await self._ask(worker, snapshot, row)
                if found is not None:
                    return found
            return self._last_resort(snapshot)

    async def _ask(self, worker: Worker, snapshot: Snapshot, row: wire.Row) -> Forecast | None:
        """The worker's forecast; None when it is lost or late, and then it is given up."""
        answered = False
        try:
            async with asyncio.timeout(self._spec.deadline * SPARE):
                answer = await worker.call(wire.Ask(row, LEVELS))
            answered = True
            return self._taken(snapshot, answer)
        except TimeoutError:
            self._give_up(worker, f"worker did not answer in {self._spec.deadline:g} s, restarting")
        except (WorkerLost, ProtocolError) as error:
            self._give_up(worker, f"{error}, restarting")
        finally:
            if not answered and self._worker is worker:
                self._give_up(worker, "forecast was interrupted, worker restarting")
        return None

    def _taken(self, snapshot: Snapshot, answer: wire.Response) -> Forecast | None:
        """The forecast in an answer, None if the worker refused. Raises ProtocolError for one that does not fit."""
        if isinstance(answer, wire.Failed):
            self._why = f"worker refused snapshot {snapshot.number}: {answer.message}"
            self._report(f"oracle: {self._why}")
            return None
        if not isinstance(answer, wire.Answer) or answer.number != snapshot.number:
            raise ProtocolError(f"the oracle's worker answered something else than snapshot {snapshot.number}")
        inner = (PLANNED, answer.steps, len(LEVELS))
        hosts = wire.from_bytes(answer.hosts, (len(snapshot.hosts.names), *inner), "host quantiles")
        shards = wire.from_bytes(answer.shards, (len(snapshot.shards.names), *inner), "shard quantiles")
        self._accounts = answer.accounts
        return self._forecast(snapshot, hosts, shards, scrub(answer.model), answer.confidence, scrub(answer.fallback))

    def _last_resort(self, snapshot: Snapshot) -> Forecast:
        hosts, shards = persistence(tuple(self._rows), self._steps, self._spec.step, LEVELS)
        enough = valid_rows(self._rows) >= self._spec.min_steps
        return self._forecast(
            snapshot,
            hosts.astype(np.float32),
            shards.astype(np.float32),
            Label("persistence"),
            "ok" if enough else "insufficient",
            scrub(self._why),
        )

    def _forecast(
        self, snapshot: Snapshot, hosts: F32, shards: F32, model: Label, confidence: str, fallback: Label
    ) -> Forecast:
        spread = (shards[..., _UPPER] - shards[..., _LOWER]) / np.float32(2 * _NORMAL_90)
        for array in (hosts, shards, spread):
            array.setflags(write=False)
        digest = hashlib.sha256(str(snapshot.number).encode())
        digest.update(hosts.tobytes())
        digest.update(shards.tobytes())
        return Forecast(
            id=digest.hexdigest()[:16],
            snapshot=snapshot.number,
            time=snapshot.time,
            step=self._spec.step,
            model=model,
            confidence=confidence,
            fallback=fallback,
            hosts=hosts,
            shards=shards,
            shard_mean=shards[..., MEDIAN],
            shard_sd=spread,
            accounts=self._accounts,
        )

    def _give_up(self, worker: Worker, why: str) -> None:
        """Use this worker no more; the supervisor ends it and starts another."""
        if self._worker is worker:
            self._worker = None
            self._ready.clear()
            self._why = why
            self._report(f"oracle: {why}")
            self._lost.set()

    async def _supervise(self) -> None:
        """Keep one worker running for as long as we live."""
        delay = BACKOFF[0]
        while True:
            started = asyncio.get_running_loop().time()
            worker: Worker | None = None
            try:
                worker = await Worker.spawn(self._report)
                await self._prepare(worker)
                await self._watch(worker)
            except (WorkerLost, OSError, TimeoutError) as error:
                self._why = f"{error}, restarting"
                self._report(f"oracle: {self._why}")
            finally:
                self._worker = None
                self._ready.clear()
                if worker is not None:
                    await worker.aclose()
            if asyncio.get_running_loop().time() - started > BACKOFF[1]:
                delay = BACKOFF[0]
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
            delay = min(delay * 2, BACKOFF[1])

    async def _prepare(self, worker: Worker) -> None:
        """Configure the worker and tell it the history, until it knows as much as we do."""
        await worker.prepare(wire.Configure(self._spec, self._horizon))
        since = next((row.time for row in self._rows if row.number >= 0), math.inf)
        past = self._past(since)
        if past is not None:
            try:
                await worker.prepare(past)
            except WorkerLost:
                self._past = _no_past
                self._report("oracle: the past could not be learned; the next worker does without")
                raise
        known = -1
        while True:
            async with self._lock:
                rows = tuple(row for row in self._rows if row.number > known)
                if not rows:
                    self._lost = asyncio.Event()
                    self._worker, self._why = worker, ""
                    self._ready.set()
                    break
            known = rows[-1].number
            await worker.prepare(wire.Replay(rows))
        self._report(f"oracle: worker {worker.pid} is ready, model {self._spec.model}")

    async def _watch(self, worker: Worker) -> None:
        """Return when the worker was given up or has ended."""
        waits = {asyncio.create_task(self._lost.wait()), asyncio.create_task(worker.ended())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._give_up(worker, "worker ended, restarting")


def row_of(snapshot: Snapshot) -> wire.Row:
    """What the worker needs of a snapshot."""
    return wire.Row(
        number=snapshot.number,
        time=snapshot.time,
        hosts=snapshot.hosts.names,
        shards=snapshot.shards.names,
        host_use=wire.to_bytes(snapshot.hosts.use[:, :PLANNED]),
        shard_use=wire.to_bytes(snapshot.shards.use[:, :PLANNED]),
    )
