"""The daemon's side of the oracle: always an answer, in time, and honest about where it is from.

The worker process forecasts. Until it is ready, and whenever it is lost, the forecast is
persistence from what is kept here, ``fallback`` says why, and the worker is started again
with back-off and told the recent history. A worker that is late makes no tick wait for
long: its newest answer serves until the next one comes or the deadline has passed. Imports
numpy and msgspec only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.contention import duration_steps, limits
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import DIMENSIONS, PLANNED, SHARD_SERIES
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting import wire
from sidestep.forecasting.calibrate import ladder
from sidestep.forecasting.expand import Curves, Odds, curves_of, last_resort, make, odds_of
from sidestep.forecasting.held import Held
from sidestep.forecasting.horizon import grid_step, knots_of, steps_ahead
from sidestep.forecasting.moved import Moved
from sidestep.forecasting.process import Worker, WorkerLost
from sidestep.forecasting.recent import Recent, vector
from sidestep.forecasting.supervisor import Supervisor
from sidestep.forecasting.telling import Telling
from sidestep.forecasting.training.messages import Adoption

F32 = NDArray[np.float32]

#: part of the deadline that is left for the fallback's own arithmetic
SPARE: Final = 0.9
#: part of the time between ticks for which a tick waits for the worker
PATIENCE: Final = 0.5


_RX, _TX = DIMENSIONS.index("net_rx"), DIMENSIONS.index("net_tx")
_SHARD: Final = [DIMENSIONS.index(metric) for metric in SHARD_SERIES]


def _no_past(_: float) -> wire.Past | None:
    """Know nothing from before."""
    return None


def _quiet(_: str) -> None:
    """Drop a report."""


@dataclass(frozen=True)
class _Taken:
    """The newest answer, when it came, and what it was made of."""

    at: float
    number: int
    names: wire.Names
    #: why the model is not served; there is no forecast then
    fallback: Label
    forecast: Forecast | None
    curves: Curves | None
    odds: Odds


class Oracle:
    """Forecasts of snapshots, one at a time, never late and never failing.

    ``interval`` is the seconds between ticks, of which each waits at most half for the
    worker. ``report`` is told, one line each, what becomes of the worker and what it logs.
    ``past`` gives what is known from before a unix time, None for nothing; every new worker
    is told it.
    """

    def __init__(
        self,
        spec: OracleSpec,
        policy: Policy,
        *,
        interval: float = 1.0,
        report: Callable[[str], None] = _quiet,
        past: Callable[[float], wire.Past | None] = _no_past,
    ) -> None:
        self.step = grid_step(spec, policy.horizon, interval)
        self.steps = steps_ahead(policy.horizon, self.step)
        self._spec, self._policy, self._report = msgspec.structs.replace(spec, step=self.step), policy, report
        self._deadline = spec.deadline * SPARE
        patience = max(PATIENCE * interval, 0.05)
        #: None: until the worker has answered or is given up
        self._patience = patience if patience < self._deadline else None
        self._knots = tuple(int(at) for at in knots_of(ladder(self.steps), self.steps))
        self._recent = Recent(self.step, np.array(self._knots, dtype=np.int64))
        self._telling = Telling(self._recent, past, report)
        self._moved, self._held = Moved(spec.season, policy.horizon), Held(interval)
        self._supervisor = Supervisor(self._spec, policy.horizon, self._tell, report=report)
        if not spec.enabled:
            self._supervisor.why = "oracle disabled"
        self._lock = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None
        self._taken: _Taken | None = None
        self._accounts: tuple[Account, ...] = ()

    def switch(self, policy: Policy) -> None:
        """Judge chances by other thresholds and durations from now on; the horizon is the same."""
        self._policy = policy

    async def start(self) -> None:
        """Start the worker and return at once; forecasts are persistence until it is ready."""
        if self._spec.enabled:
            self._supervisor.start()

    def prime(self) -> int:
        """Have the fallback know the newest of the past as well; returns how many steps it has. Call before ``start``.

        Does nothing once there are rows. The worker is told the past each time one is made.
        """
        return self._telling.prime()

    async def ready(self) -> None:
        """Wait until the worker forecasts; for ever if it never does or the oracle is disabled."""
        await self._supervisor.ready.wait()

    @property
    def pid(self) -> int:
        """The process id of the worker that forecasts, 0 while there is none."""
        worker = self._supervisor.worker
        return worker.pid if worker is not None else 0

    @property
    def memory(self) -> int:
        """Bytes of the past that are kept here; ``recent.MOST_BYTES`` and what stands beside them at most."""
        return self._recent.size

    async def aclose(self) -> None:
        """End the worker and everything that watches it."""
        await self._supervisor.aclose()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    # -- what the worker is told, and what it tells beside forecasts

    async def know(self, occasions: tuple[Occasion, ...], homes: dict[str, str] | None = None) -> None:
        """Tell what is known to come, and which host each shard is on, in place of what was told before.

        Nothing is told again that is the same; None keeps where shards are.
        """
        telling = self._telling
        homes = telling.homes if homes is None else homes
        if occasions != telling.occasions or homes != telling.homes:
            telling.occasions, telling.homes = occasions, homes
            await self._say(wire.Know(occasions, homes))

    def recall(self, learned: bytes) -> None:
        """Have workers from now on begin with what an earlier one ``learned``. Call before ``start``."""
        self._telling.learned = learned

    async def learned(self) -> bytes:
        """What occasions do to demand, as far as it is known; the next worker begins with it."""
        found = await self._say(wire.AskLearned())
        if isinstance(found, wire.Learned) and found.data:
            self._telling.learned = found.data
        return self._telling.learned

    async def adopt(self, adoption: Adoption) -> None:
        """Serve what the trainer found, in place of what it found before."""
        self._telling.adoption = adoption
        await self._say(wire.Adopt(adoption))

    async def scores(self) -> AccuracyBoard | None:
        """The account of every series; None while there is no worker that could say."""
        found = await self._say(wire.AskScores())
        return found.board if isinstance(found, wire.Scored) else None

    async def _say(self, request: wire.Request) -> wire.Response | None:
        """One request beside the ticks'; None where it was not answered. A new worker is told such things anyway."""
        worker = self._supervisor.worker
        if worker is None:
            return None
        answer = await self._call(worker, request)
        if isinstance(answer, wire.Failed):
            self._report(f"oracle: {scrub(answer.message)}")
        if isinstance(answer, wire.Done):
            self._note(answer.notes)
        return answer

    async def _tell(self, worker: Worker) -> None:
        """Have a new worker know what we do; it serves from then on."""
        self._taken = None
        await self._telling.tell(worker)

    async def _call(self, worker: Worker, request: wire.Request) -> wire.Response | None:
        """The answer to a request; None when the worker is lost or late, and then it is given up."""
        try:
            async with asyncio.timeout(self._deadline):
                return await worker.call(request)
        except TimeoutError:
            self._give_up(worker, f"worker did not answer in {self._spec.deadline:g} s, restarting")
        except (WorkerLost, ProtocolError) as error:
            self._give_up(worker, f"{error}, restarting")
        return None

    def _give_up(self, worker: Worker, why: str) -> None:
        if self._supervisor.worker is worker:
            self._taken = None
            self._supervisor.give_up(worker, why)

    # -- forecasts

    async def forecast(self, snapshot: Snapshot) -> Forecast:
        """The newest forecast, within half an interval. Calls must not overlap in time; later ones wait."""
        async with self._lock:
            row = row_of(snapshot, self._recent.names)
            assert row.names is not None
            self._recent.align(row.names)
            self._recent.add(row.number, row.time, vector(row, row.names))
            self._telling.add(row)
            await self._ask(snapshot)
            self._moved.see(snapshot)
            found = self._moved.restated(snapshot, self._newest(snapshot, row), self._policy.common_factor)
            held = self._held.see(snapshot, self._policy)
            return replace(found, held=held) if held.any() else found

    def _newest(self, snapshot: Snapshot, row: wire.Row) -> Forecast:
        """What the worker said last, unless that is too old or of other hosts and shards."""
        taken, now = self._taken, asyncio.get_running_loop().time()
        if taken is not None and taken.names is row.names and now - taken.at <= self._spec.deadline:
            return taken.forecast or self._last_resort(snapshot, taken.fallback, taken.odds)
        return self._last_resort(snapshot, scrub(self._supervisor.why or "the worker is late"))

    async def _ask(self, snapshot: Snapshot) -> None:
        """Have the worker answer the newest row, as long as patience lasts; a later answer is taken as well."""
        clock = asyncio.get_running_loop().time
        end = None if self._patience is None else clock() + self._patience
        while (worker := self._supervisor.worker) is not None:
            if self._asking is None or self._asking.done():
                if not self._telling.untold:
                    return
                self._asking = asyncio.create_task(self._exchange(worker, snapshot), name="oracle's answer")
            await asyncio.wait({self._asking}, timeout=None if end is None else max(0.0, end - clock()))
            if not self._asking.done():
                return

    async def _exchange(self, worker: Worker, snapshot: Snapshot) -> None:
        """One question and what becomes of its answer."""
        before = self._taken
        names = self._recent.names
        ask = wire.Ask(
            rows=self._telling.rows(),
            levels=LEVELS,
            limits=wire.to_bytes(limits(snapshot, self._policy)),
            window=self.steps,
            duration=duration_steps(self._policy, self.step),
            have=before.number if before is not None and before.curves is not None else -1,
        )
        answer = await self._call(worker, ask)
        if answer is None or self._supervisor.worker is not worker:
            return
        try:
            self._take(snapshot, names, answer, before)
        except ProtocolError as error:
            self._give_up(worker, f"{error}, restarting")

    def _take(self, snapshot: Snapshot, names: wire.Names, answer: wire.Response, before: _Taken | None) -> None:
        """Keep an answer. Raises ProtocolError for one that does not fit."""
        if isinstance(answer, wire.Failed):
            self._telling.told = None
            self._taken = None
            self._supervisor.why = f"worker refused snapshot {snapshot.number}: {answer.message}"
            self._report(f"oracle: {scrub(self._supervisor.why)}")
            return
        if not isinstance(answer, wire.Answer) or answer.number != snapshot.number:
            raise ProtocolError(f"the oracle's worker answered something else than snapshot {snapshot.number}")
        hosts, shards = len(names.hosts), len(names.shards)
        old = before.curves if before is not None and answer.same and before.names is names else None
        if answer.same and old is None:
            raise ProtocolError("the oracle's worker says the same as in an answer that nobody has")
        curves = None if answer.fallback else old or curves_of(answer, hosts, shards)
        odds = odds_of(answer, hosts, before.odds if before is not None else None)
        self._accounts = answer.accounts
        self._supervisor.why = ""
        self._note(answer.notes)
        made = None
        if curves is not None:
            made = make(
                snapshot,
                self.step,
                curves,
                odds,
                model=scrub(answer.model),
                confidence=answer.confidence,
                accounts=answer.accounts,
                served=answer.served,
            )
        now = asyncio.get_running_loop().time()
        self._taken = _Taken(now, answer.number, names, scrub(answer.fallback), made, curves, odds)

    def _note(self, notes: tuple[str, ...]) -> None:
        for note in notes:
            self._report(f"oracle: {scrub(note)}")

    def _last_resort(self, snapshot: Snapshot, why: Label, odds: Odds | None = None) -> Forecast:
        curves = last_resort(self._recent, self._knots, self.steps)
        enough = self._recent.valid >= self._spec.min_steps
        return make(
            snapshot,
            self.step,
            curves,
            odds,
            fallback=why,
            confidence="ok" if enough else "insufficient",
            accounts=self._accounts,
        )


def row_of(snapshot: Snapshot, known: wire.Names = wire.Names()) -> wire.Row:  # noqa: B008 - frozen
    """What the worker needs of a snapshot; the names are ``known`` itself if they are the same."""
    hosts, shards = snapshot.hosts, snapshot.shards
    names = wire.Names(hosts.names, shards.names, shards.apps)
    net = hosts.use[:, _RX] + hosts.use[:, _TX]
    measured = np.column_stack([hosts.use[:, :PLANNED], net, hosts.pressure])
    return wire.Row(
        number=snapshot.number,
        time=snapshot.time,
        host_use=wire.to_bytes(measured),
        shard_use=wire.to_bytes(shards.use[:, _SHARD]),
        names=known if names == known else names,
    )
