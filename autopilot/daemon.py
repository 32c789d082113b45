"""The daemon of one fleet: makes the parts, starts them in the order that safety asks for, ends them.

Locks first, so that no two daemons ever act. Then it is decided, from the journal alone, what becomes of
everything that a dead daemon left, and the socket answers: people see the fleet and can hold it while its
hosts are still being connected, and everything that would begin something new is told to wait. Then what
was left is finished or taken back, shards are found or started, and only then the loop plans. The end
leaves every shard running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sidestep.autopilot.abilities import Abilities
from sidestep.autopilot.daemon_background import Background
from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.daemon_log_lines import Line, text_line
from sidestep.autopilot.daemon_parts import DaemonParts, make_parts
from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.daemon_service import STARTING, DaemonService
from sidestep.autopilot.executor import UNFINISHED
from sidestep.autopilot.faults import VARIABLE, clock_from, faults_from
from sidestep.autopilot.history_keeper import series_names
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_watch import JournalWatch
from sidestep.autopilot.locks.carrying import LockCarrier
from sidestep.autopilot.locks.desk import LockDesk, serve_locks
from sidestep.autopilot.loop import ControlLoop
from sidestep.autopilot.operation import Operation
from sidestep.autopilot.recorder.keeper import Recorder
from sidestep.autopilot.server import Server
from sidestep.autopilot.server_lock import InstanceLock, private_folder
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.gates import lane_of
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.resolve import fleet_known_hosts, fleet_ssh_config, resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.backends.ssh.unresolved import Unresolved
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.extensions import PluginError
from sidestep.fleet.inventory import FleetSpec, HostSpec, Level
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import PlanStatus
from sidestep.plugins.transports import Connectors

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
        self._clock = clock_from(os.environ)
        self._end = asyncio.Event()
        self._keys, self._config = self._load()
        self._lanes: dict[str, str] = {}
        self._ring, self._tunnels, self._connectors = KeyRing.of(fleet), Tunnels(), Connectors()

    async def run(self, ready: Callable[[Path], None]) -> None:
        """Serve until told to end; ``ready`` is called once the socket answers.

        Raises DaemonRunning, JournalError and other SidestepErrors that keep it from starting.
        """
        private_folder(self.state)
        async with AsyncExitStack() as stack:
            lock = InstanceLock(self.state / "daemon.lock")
            lock.acquire()
            stack.callback(lock.release)
            journal = Journal(self.state / "journal.db", clock=self._clock.wall)
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
        parts = make_parts(
            self.fleet,
            stack,
            journal,
            log,
            state=self.state,
            socket=self.socket,
            clock=self._clock,
            transport=self._transport,
            lane=self._lane,
        )
        loop = ControlLoop(parts, level=self._level)
        loop.governor.attach(boards=parts.ahead.boards, state=self.state, held=self._held)
        desk = PlanDesk(
            fleet=self.fleet,
            journal=journal,
            log=log,
            clock=self._clock,
            busy=parts.moving,
            settling=lambda: parts.runs.settling() | parts.settlement.foreign.shards,
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
            starting=STARTING,
        )
        server = Server(self.socket, service, report=log.told("daemon"))
        loop.publish = server.announce
        server.claim()
        stack.push_async_callback(server.aclose)
        self._say_begins(log, loop.level)
        background = await stack.enter_async_context(Background(log))
        operation = await stack.enter_async_context(
            Operation(
                parts,
                loop,
                holders=(desk, service, parts.leases, *((parts.capsules,) if parts.capsules else ())),
                rethink=parts.oracle.switch,
                held=self._held,
                metrics=self._metrics,
                again=lambda: self._again(parts.world),
                end=self.end,
            ).begun(background.start)
        )
        self._take_up(journal, parts)
        loop.begin()
        service.locks = await self._locks(stack, journal, log, parts.world, background)
        await server.start()
        log.say("daemon", f"serving {self.socket}; nothing new begins before hosts were looked at")
        watch = JournalWatch(journal, log, self._clock, put_right=parts.executor.recover)
        background.start(watch.run(), "watch of the journal")
        background.start(parts.world.run(), "world")
        background.start(Abilities(parts.world, parts.world.transport, log, self._clock).run(), "abilities of hosts")
        stack.push_async_callback(parts.leases.aclose)
        background.start(parts.leases.run(), "leases")
        kept = series_names([h.name for h in self.fleet.hosts], [s.name for s in self.fleet.shards])
        parts.keeper.begin(kept)
        stack.push_async_callback(parts.keeper.aclose)
        background.start(parts.keeper.run(kept), "history", idle=not parts.keeper.spec.enabled)
        self._record(stack, journal, log, operation, background)
        await parts.reports.start()
        stack.push_async_callback(parts.reports.aclose)
        await self._look(stack, journal, parts, loop, background)
        if parts.capsules is not None:
            background.start(parts.capsules.run(), "capsules")
        if parts.pools is not None:
            background.start(parts.pools.run(), "pools", idle=not self.fleet.pools)
        service.starting = ""
        ready(self.socket)
        operation.ready()
        await self._end.wait()
        operation.stopping()
        watch.end()
        await parts.executor.stop()
        await parts.runs.finish()
        await parts.leases.end()
        log.mirror()

    async def _locks(
        self, stack: AsyncExitStack, journal: Journal, log: Log, world: World, background: Background
    ) -> LockDesk | None:
        """Serve locks here and on the hosts that want them; None if that cannot be."""
        desk = await serve_locks(self.socket, journal, log)
        if desk is not None:
            stack.push_async_callback(desk.server.aclose)
            carrier = LockCarrier(self.fleet, desk.server, world.transport, log, self._clock)
            background.start(carrier.run(), "locks on hosts", idle=True)
        return desk

    def _say_begins(self, log: Log, level: str) -> None:
        begins = f"daemon {os.getpid()} of fleet {self.fleet.name} begins, level {level}"
        log.act("daemon-start", begins, actor=AUTOPILOT, subject=self.fleet.name, always=True)
        if fault := faults_from(os.environ):
            log.say("error", f"{VARIABLE}={fault}: this daemon will break a move on purpose; unset it to stop that")

    def _record(
        self, stack: AsyncExitStack, journal: Journal, log: Log, operation: Operation, background: Background
    ) -> None:
        """Keep what consoles are shown, for replay."""
        recorder = Recorder(self.fleet.history, self.state, journal.events, report=log.told("daemon"))
        stack.push_async_callback(recorder.aclose)
        operation.watch(recorder.take)
        background.start(recorder.run(), "recorder", idle=recorder.idle)

    async def _look(
        self, stack: AsyncExitStack, journal: Journal, parts: DaemonParts, loop: ControlLoop, background: Background
    ) -> None:
        """Hear every host, put right what was left, and go round once, with forecasts."""
        # until every host has answered or failed once, but not for ever
        await _until(self._clock, self.fleet.connect_timeout + _FIRST_SAMPLE, parts.world.heard)
        await self._put_right(journal, parts)
        # forecasts begin with the past that there is, but do not wait for it for ever
        await _until(self._clock, _FILLED, parts.keeper.filled.is_set)
        parts.oracle.prime()
        await parts.oracle.start()
        stack.push_async_callback(parts.oracle.aclose)
        background.start(parts.ahead.care.run(), "care of the oracle")
        _train(parts, background, parts.log)
        background.start(loop.run(), "loop")
        background.start(loop.governor.run(), "trust")
        background.start(parts.reconciler.run(), "reconciler")
        # whoever asks first is to be shown something, but does not wait for ever
        await _until(self._clock, self.fleet.oracle.deadline + _FIRST_SAMPLE, lambda: loop.rounds > 0)

    @staticmethod
    def _take_up(journal: Journal, parts: DaemonParts) -> None:
        """Decide what becomes of everything that a dead daemon left; nothing is done about it yet."""
        parts.executor.take_up()
        for plan, status in journal.plans_in(PlanState.APPROVED):
            note = f"the daemon ended before plan {plan.number} began"
            journal.set_state(status.digest, PlanState.CANCELLED, actor=Label(AUTOPILOT), note=note)

    async def _put_right(self, journal: Journal, parts: DaemonParts) -> None:
        """First what a dead daemon left, then every shard that can be reached, then the router."""
        await _recover(journal, parts)
        # the others are settled when they come up
        await parts.reconciler.settle(parts.world.reachable())
        await parts.reconciler.push_routes()

    def _transport(self, host: HostSpec) -> Transport:
        self._lanes.pop(host.name, None)
        try:
            target = resolve(host, self.fleet, self._config)
            made = self._connectors.connect(host, target, self._keys, ring=self._ring, tunnels=self._tunnels)
        except (ConfigError, PluginError) as error:
            return Unresolved(host.name, error)
        self._lanes[host.name] = lane_of(target)
        return made

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
