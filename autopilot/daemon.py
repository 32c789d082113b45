"""The daemon of one fleet: makes the parts, starts them in the order that safety asks for, ends them.

Locks first, so that no two daemons ever act. Then what a dead daemon left is finished or
taken back, before anything new. Then shards are found or started, and only then the loop
plans and the socket answers. The end leaves every shard running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from sidestep.autopilot.daemon_control import ControlDesk
from sidestep.autopilot.daemon_foresight import Foresight, foresight
from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.daemon_log_lines import Line, text_line
from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.daemon_reconcile import Reconciler
from sidestep.autopilot.daemon_reports import Reports
from sidestep.autopilot.daemon_service import DaemonService
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.executor import UNFINISHED, Executor
from sidestep.autopilot.executor_control import PlanControl
from sidestep.autopilot.faults import NO_FAULTS, VARIABLE, faults_from
from sidestep.autopilot.history_keeper import Keeper, series_names
from sidestep.autopilot.hold import Hold
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_watch import JournalWatch
from sidestep.autopilot.loop import ControlLoop, Parts
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.operation import Operation
from sidestep.autopilot.server import Server
from sidestep.autopilot.server_lock import InstanceLock, private_folder
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Backend
from sidestep.backends.routing.client import UnixRouter
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.gates import lane_of
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.resolve import fleet_known_hosts, fleet_ssh_config, resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.backends.ssh.unresolved import Unresolved
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec, Level
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Basis, Plan, PlanStatus
from sidestep.forecasting.client import Oracle
from sidestep.plugins import BACKENDS, load

#: seconds that a peer has to read the answer to its shutdown request
_LAST_WORD: Final = 0.1
#: seconds beyond the connection's timeout that a host's first sample may take
_FIRST_SAMPLE: Final = 5.0
#: seconds that the past may take to come back before the first tick
_FILLED: Final = 10.0
_POLL: Final = 0.05
#: seconds that recovery may keep the socket closed
_RECOVERY: Final = 10.0


class Daemon:
    """One daemon; ``run`` is its life."""

    def __init__(
        self, fleet: FleetSpec, *, socket: Path, state: Path, level: Level | None = None, metrics: str = "",
        line: Line = text_line,
    ) -> None:  # fmt: skip
        self.fleet, self.socket, self.state = fleet, socket, state
        self._level: Level = level or fleet.level
        self._line = line
        self._held, self._metrics = level or "", metrics or fleet.metrics.listen
        self._clock = Clock()
        self._end = asyncio.Event()
        self._keys, self._config = self._load()
        self._lanes: dict[str, str] = {}
        self._ring, self._tunnels = KeyRing.of(fleet), Tunnels()

    async def run(self, ready: Callable[[Path], None]) -> None:
        """Serve until told to end; ``ready`` is called once the socket answers.

        Raises DaemonRunning, JournalError and other SidestepErrors that keep it from starting.
        """
        private_folder(self.state)
        async with AsyncExitStack() as stack:
            lock = InstanceLock(self.state / "daemon.lock")
            lock.acquire()
            stack.callback(lock.release)
            journal = Journal(self.state / "journal.db")
            stack.callback(journal.close)
            journal.room.keep()
            log = Log(journal, line=self._line)
            log.hosts = frozenset(str(host.name) for host in self.fleet.hosts)
            await self._run(stack, journal, log, ready)

    def end(self) -> None:
        """Finish the running step, journal, and end."""
        self._end.set()

    async def _run(self, stack: AsyncExitStack, journal: Journal, log: Log, ready: Callable[[Path], None]) -> None:
        stack.push_async_callback(self._ring.aclose)
        stack.push_async_callback(self._tunnels.aclose)
        parts = self._parts(stack, journal, log)
        loop = ControlLoop(parts, level=self._level)
        loop.governor.attach(boards=parts.ahead.boards, state=self.state, held=self._held)
        desk = PlanDesk(
            fleet=self.fleet,
            journal=journal,
            log=log,
            clock=self._clock,
            busy=parts.moving,
            settling=parts.runs.settling,
        )
        stack.push_async_callback(desk.aclose)
        service = DaemonService(
            fleet=self.fleet,
            journal=journal,
            loop=loop,
            approvals=parts.approvals,
            log=log,
            clock=self._clock,
            stop=self._end_soon,
            again=lambda host: self._again(parts.world, host),
            calendar=parts.ahead.calendar,
            scores=parts.ahead.boards,
            trainer=parts.ahead.trainer,
            coming=parts.ahead.coming,
            desk=desk,
            round_trips=parts.reports.rtt.told,
            steering=stack.enter_context(parts.steering.watched(lambda: loop.picture)),
        )
        server = Server(self.socket, service, report=log.told("daemon"))
        loop.publish = server.announce
        server.claim()
        stack.push_async_callback(server.aclose)
        begins = f"daemon {os.getpid()} of fleet {self.fleet.name} begins, level {loop.level}"
        log.act("daemon-start", begins, actor=AUTOPILOT, subject=self.fleet.name, always=True)
        if fault := faults_from(os.environ):
            log.say("error", f"{VARIABLE}={fault}: this daemon will break a move on purpose; unset it to stop that")
        background = await stack.enter_async_context(Background(log))
        operation = await stack.enter_async_context(
            Operation(
                parts,
                loop,
                holders=(desk, service),
                rethink=parts.oracle.switch,
                held=self._held,
                metrics=self._metrics,
                again=lambda: self._again(parts.world),
                end=self.end,
            ).begun(background.start)
        )
        watch = JournalWatch(journal, log, self._clock, put_right=parts.executor.recover)
        background.start(watch.run(), "watch of the journal")
        background.start(parts.world.run(), "world")
        kept = series_names([h.name for h in self.fleet.hosts], [s.name for s in self.fleet.shards])
        parts.keeper.begin(kept)
        stack.push_async_callback(parts.keeper.aclose)
        background.start(parts.keeper.run(kept), "history")
        await parts.reports.start()
        stack.push_async_callback(parts.reports.aclose)
        # until every host has answered or failed once, but not for ever
        await _until(self._clock, self.fleet.connect_timeout + _FIRST_SAMPLE, parts.world.heard)
        await self._put_right(journal, parts)
        # forecasts begin with the past that there is, but do not wait for it for ever
        await _until(self._clock, _FILLED, parts.keeper.filled.is_set)
        parts.oracle.prime()
        await parts.oracle.start()
        stack.push_async_callback(parts.oracle.aclose)
        background.start(parts.ahead.care.run(), "care of the oracle")
        _train(parts, background, log)
        background.start(loop.run(), "loop")
        background.start(loop.governor.run(), "trust")
        background.start(parts.reconciler.run(), "reconciler")
        # whoever asks first is to be shown something, but does not wait for ever
        await _until(self._clock, self.fleet.oracle.deadline + _FIRST_SAMPLE, lambda: loop.picture is not None)
        await server.start()
        log.say("daemon", f"serving {self.socket}")
        ready(self.socket)
        operation.ready()
        await self._end.wait()
        operation.stopping()
        watch.end()
        await parts.executor.stop()
        await parts.runs.finish()
        log.mirror()

    def _parts(self, stack: AsyncExitStack, journal: Journal, log: Log) -> DaemonParts:
        fleet, clock = self.fleet, self._clock
        backends = load_backends(fleet)
        router = UnixRouter(fleet.router) if fleet.router else None
        if router is not None:
            stack.push_async_callback(router.aclose)
        world = World(fleet, self._transport, clock=clock, report=log.told("host"), lane=self._lane)

        def present(plan: Plan) -> Basis:
            return world.basis(plan, journal.placement())

        def busy() -> frozenset[str]:
            return executor.busy

        def strain(host: str) -> str:
            return steering.strain(host)

        hold = Hold(self.state)
        settlement = Settlement(fleet, journal, backends, world.transport, log, busy=busy)
        executor = Executor(
            fleet=fleet,
            journal=journal,
            backend_for=lambda shard: backends[shard.backend],
            transport_for=world.transport,
            router=router,
            present=present,
            clock=clock.wall,
            changed=lambda _: log.mirror(),
            doubt=settlement.doubt,
            faults=faults_from(os.environ) or NO_FAULTS,
            held=hold.why,
            strain=strain,
        )

        keeper = Keeper(
            fleet.history,
            self.state / "history",
            interval=fleet.interval,
            clock=clock.wall,
            report=log.told("daemon"),
        )

        def moving() -> frozenset[str]:
            return executor.moving

        ahead = foresight(
            fleet, world=world, journal=journal, keeper=keeper, state=self.state, clock=clock, log=log, stack=stack
        )
        reports = Reports(
            fleet, world, router, state=self.state, socket=self.socket, clock=clock, report=log.told("daemon")
        )
        runs = Runs(journal, executor, clock, log)
        control = PlanControl(journal=journal, executor=executor, hold=hold, log=log, start=runs.start)
        steering = ControlDesk(control=control)
        reconciler = Reconciler(
            fleet, world, journal, settlement, router, busy=busy, served=executor.served, clock=clock, log=log
        )
        return DaemonParts(
            fleet=fleet,
            world=world,
            oracle=ahead.oracle,
            ahead=ahead,
            journal=journal,
            proposals=Proposals(fleet, journal, clock),
            approvals=Approvals(journal, runs, clock, present),
            runs=runs,
            log=log,
            clock=clock,
            moving=moving,
            keep=ahead.keep,
            keeper=keeper,
            reports=reports,
            executor=executor,
            settlement=settlement,
            reconciler=reconciler,
            steering=steering,
        )

    async def _put_right(self, journal: Journal, parts: DaemonParts) -> None:
        """First what a dead daemon left, then every shard that can be reached, then the router."""
        await _recover(journal, parts)
        for plan, status in journal.plans_in(PlanState.APPROVED):
            note = f"the daemon ended before plan {plan.number} began"
            journal.set_state(status.digest, PlanState.CANCELLED, actor=Label(AUTOPILOT), note=note)
        # the others are settled when they come up
        await parts.reconciler.settle(parts.world.reachable())
        await parts.reconciler.push_routes()

    def _transport(self, host: HostSpec) -> Transport:
        self._lanes.pop(host.name, None)
        try:
            target = resolve(host, self.fleet, self._config)
        except ConfigError as error:
            return Unresolved(host.name, error)
        self._lanes[host.name] = lane_of(target)
        return AsyncsshTransport(target, self._keys, ring=self._ring, tunnels=self._tunnels)

    def _lane(self, host: HostSpec) -> str:
        """Whom a handshake with that host burdens."""
        return self._lanes.get(host.name, host.address)

    def _load(self) -> tuple[HostKeys, SshConfig]:
        """Read known_hosts and ssh_config. Raises ConfigError."""
        return HostKeys.load(*fleet_known_hosts(self.fleet)), fleet_ssh_config(self.fleet)

    def _again(self, world: World, host: str = "") -> int:
        """Read again what decides whom we trust and who we are, and try refused hosts. Raises SidestepError."""
        self._keys.reload()
        self._config = fleet_ssh_config(self.fleet)
        self._ring.forget()
        self._tunnels.forgive()
        return world.retry_refused(host)

    def _end_soon(self) -> None:
        asyncio.get_running_loop().call_later(_LAST_WORD, self.end)


@dataclass(frozen=True, kw_only=True)
class DaemonParts(Parts):
    """The loop's parts, and those that only the daemon itself works with."""

    oracle: Oracle
    ahead: Foresight
    keeper: Keeper
    reports: Reports
    executor: Executor
    settlement: Settlement
    reconciler: Reconciler
    steering: ControlDesk


class Background:
    """Tasks that live as long as the daemon; one that ends is said, since none should."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run ``work`` until the daemon ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def __aenter__(self) -> Background:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pending = set(self._tasks)
        while pending:  # again: what was waited for may have come at the same moment, and hidden the cancellation
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1.0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._log.say("error", f"{task.get_name()} ended: {task.exception()!r}")


async def _recover(journal: Journal, parts: DaemonParts) -> None:
    """Finish or take back what is left; a host that stays away does not keep people from looking meanwhile.

    What is recovered is busy, and so left alone by everybody else. That holds of the plan that is
    recovered just now, so that one plan at most is left to go on beside the rest.
    """
    left = len(journal.plans_in(*UNFINISHED))
    recovering = asyncio.ensure_future(parts.executor.recover())
    await asyncio.wait((recovering,), timeout=_RECOVERY if left == 1 else None)
    if recovering.done():
        recovering.result()
    else:
        parts.log.say("daemon", "a plan that a dead daemon left is still being put right; going on meanwhile")
        recovering.add_done_callback(lambda task: _recovered(task, parts.log))


def _recovered(task: asyncio.Future[tuple[PlanStatus, ...]], log: Log) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.say("error", f"recovery ended: {error}")


def _train(parts: DaemonParts, background: Background, log: Log) -> None:
    """Begin to train, or say once why nothing does."""
    if idle := parts.ahead.trainer.idle:
        log.say("forecast", f"oracle: no trainer runs: {idle}")
    else:
        background.start(parts.ahead.trainer.run(), "trainer")


async def _until(clock: Clock, limit: float, holds: Callable[[], bool]) -> None:
    """Wait until that holds, at most ``limit`` seconds."""
    deadline = clock.monotonic() + limit
    while clock.monotonic() < deadline and not holds():
        await clock.sleep(_POLL)


def load_backends(fleet: FleetSpec) -> dict[str, Backend]:
    """The backends that the fleet's shards name, made for this fleet. Raises PluginError."""
    return {name: load(BACKENDS, name)(fleet.name) for name in sorted({s.backend for s in fleet.shards})}
