"""One lane: two hosts, a daemon, the router and clients; it runs one cell after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import DRIVERS, Cell
from scripts.faultmatrix.clients import Clients, saved
from scripts.faultmatrix.daemon import Daemon, HarnessError
from scripts.faultmatrix.disks import SIZE
from scripts.faultmatrix.history import Entry, check
from scripts.faultmatrix.hosts import Hosts
from scripts.faultmatrix.hurt import Hurt
from scripts.faultmatrix.leftovers import left_behind
from scripts.faultmatrix.processes import Found, serving
from sidestep.autopilot.protocol import Approve, Body, GetPlan, PlanView, ProposeMove
from sidestep.backends.embedded.traffic import APP, key_range, keys_of
from sidestep.backends.routing.control import ControlServer
from sidestep.backends.routing.router import RouterCore
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.config import dump_fleet
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FailoverSpec, FleetSpec, HistorySpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName
from sidestep.fleet.placement import KEYS

PORT: Final = 7301
#: seconds that a step may take, that recovery may take, and that a person would wait before helping
STEP: Final = 8.0
RECOVERY: Final = 150.0
#: requests without which a history says little
LEAST: Final = 20
_LOOK: Final = 0.05


@dataclass
class Outcome:
    """What became of one cell."""

    cell: Cell
    state: str = ""
    note: str = ""
    problems: list[str] = field(default_factory=list)
    #: it could not be run: nothing is said about sidestep
    broken: str = ""
    seconds: float = 0.0
    #: acknowledged requests that a failover lost, as it may
    lost: int = 0
    #: seconds from the beginning of its capsule to the last of them
    span: float = 0.0
    #: a person was asked, and the daemon did not bring the shard up by itself
    helped: bool = False


#: what the fleets of all lanes have: a busy host is not lost, and not kept in quarantine
_PLAIN: Final[dict[str, Any]] = {
    "ssh_config": "none", "oracle": OracleSpec(enabled=False), "history": HistorySpec(enabled=False),
    "failover": FailoverSpec(grace=600.0), "interval": 0.5, "connect_timeout": 2.0, "keepalive": 1.0,
}  # fmt: skip


async def soon(wanted: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it comes within that time."""
    end = time.monotonic() + seconds
    while not await wanted():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(_LOOK)
    return True


class Lane:
    """Start it, run cells, stop it."""

    #: bytes of each host's disk
    size = SIZE
    #: seconds that a step may take, and that a plan may take until it can be approved
    step = STEP
    approving = 20.0

    def __init__(self, name: str, folder: Path, hosts: Hosts, tag: str) -> None:
        self.name, self._folder, self.hosts = name, folder, hosts
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.core = RouterCore(file=folder / "router.table")
        self._control = ControlServer(self.core, folder / "r.sock")
        self.fleet = f"{tag}-{name}"
        self.shards = {driver: f"{self.fleet}-{driver}" for driver in DRIVERS}
        self.daemon = Daemon(folder, folder / "fleet.toml")
        self._transports: dict[str, AsyncsshTransport] = {}
        self._clients: dict[str, Clients] = {}
        #: of the newest action, as its files on hosts have it
        self._key = ""

    @property
    def total(self) -> int:
        """How many requests were made and checked."""
        return sum(len(clients.calls) for clients in self._clients.values())

    async def start(self) -> None:
        """Everything runs, and every shard serves, when it returns. Raises SidestepError."""
        await self.hosts.start()
        await self.equip()
        (self._folder / "fleet.toml").write_text(dump_fleet(self._spec()), "utf-8")
        await self._control.start()
        await self.daemon.start()
        self._clients = self.clients()

    async def equip(self) -> None:
        """Put on the hosts what shards need there; here nothing."""

    def clients(self) -> dict[str, Clients]:
        """Those of every shard, by its name."""
        found = enumerate(self.shards.values())
        return {one: Clients(self.core, APP, one, keys_of(at, len(self.shards))[:4]) for at, one in found}

    async def stop(self) -> None:
        """Leave nothing behind."""
        await self.daemon.stop()
        await asyncio.gather(*(t.aclose() for t in self._transports.values()), return_exceptions=True)
        await self._control.aclose()
        await self.core.aclose()
        for shard in self.shards.values():
            for found in self.processes(shard):
                Hurt.kill(found)
        await self.hosts.stop()

    def declared(self) -> tuple[ShardSpec, ...]:
        """The shards."""
        return _shards(self.hosts, self.shards)

    def _spec(self) -> FleetSpec:
        return FleetSpec(
            name=scrub(self.fleet),
            source=str(self._folder / "fleet.toml"),
            hosts=self.hosts.specs,
            shards=self.declared(),
            policy=Policy(observe=0.0, step_deadline=self.step),
            known_hosts=str(self.hosts.known_hosts),
            identity=str(self.hosts.identity),
            router=str(self._folder / "r.sock"),
            **_PLAIN,
        )

    async def transport(self, host: str) -> AsyncsshTransport:
        """Our own connection to a host, as an operator has one."""
        if host not in self._transports:
            spec = next(s for s in self.hosts.specs if s.name == host)
            target = plain_target(spec, identity=str(self.hosts.identity), connect_timeout=5.0)
            self._transports[host] = AsyncsshTransport(target, HostKeys.load(self.hosts.known_hosts))
        await self._transports[host].connect()
        return self._transports[host]

    def address(self, host: str) -> str:
        """Where a host is."""
        return next(str(s.address) for s in self.hosts.specs if s.name == host)

    async def come_back(self, host: str) -> None:
        """Have a host back that the cell itself has taken away; here none is."""

    # -- cells

    async def run(self, cell: Cell) -> Outcome:
        """One cell, from a sound fleet to a sound fleet."""
        began, outcome = time.monotonic(), Outcome(cell)
        shard = self.shard_of(cell)
        try:
            await self._sound(cell)
            clients = self._clients[shard]
            clients.start()
            try:
                await self._move(cell, shard, outcome)
                await self._person(shard, outcome)
            finally:
                stuck = await clients.stop()
            await self._judge(shard, stuck, outcome)
            if not outcome.problems and cell.kind == "migrate" and outcome.state != ActionState.FAILED_NEEDS_HUMAN:
                outcome.problems += await left_behind(self, shard, self._key)
        except (SidestepError, OSError, TimeoutError, ValueError) as error:
            outcome.broken = f"{type(error).__name__}: {error}"
        outcome.seconds = time.monotonic() - began
        return outcome

    def shard_of(self, cell: Cell) -> str:
        """Which of the shards the cell is about."""
        return self.shards[cell.driver]

    async def _sound(self, cell: Cell) -> None:
        """Wait until the world is as it should be before anything is hurt. Raises HarnessError."""
        shard = self.shard_of(cell)
        self.daemon.disarm()
        await self.daemon.start()
        await self.until(self.daemon.all_ready, "not all hosts are READY", RECOVERY)
        await self.until(lambda: self._alone(shard), f"{shard} does not serve alone before the cell", RECOVERY)

    async def _move(self, cell: Cell, shard: str, outcome: Outcome) -> None:
        hurt = self.hurt(cell, shard)
        try:
            reached = self.daemon.arm(shard, cell.point)
            view = await self._approved(shard, hurt.destination)
            await self.until(lambda: self._there(reached, view), f"the move does not reach {cell.point}", 60.0)
            if not reached.exists():
                view = await self.daemon.call(GetPlan(view.digest))
                raise HarnessError(f"the move ended before {cell.point}: {view.status.actions[0].note}")
            await hurt.do()
            reached.unlink(missing_ok=True)
            await hurt.wait(lambda: self.daemon.ended(view.digest))
            await hurt.heal()
            await self.daemon.start()
            await self.until(lambda: self.daemon.ended(view.digest), "the plan does not end", RECOVERY)
        finally:
            await hurt.heal()
        action = await self.daemon.outcome(view.digest)
        outcome.state, outcome.note = str(action.state), str(action.note)
        if action.state is ActionState.FAILED_NEEDS_HUMAN:
            if not any(f"{step}" in action.note for step in StepName):
                outcome.problems.append(f"FAILED_NEEDS_HUMAN names no step: {action.note}")
        elif action.state not in {ActionState.DONE, ActionState.ABORTED}:
            outcome.problems.append(f"the action ended {action.state}: {action.note}")

    def hurt(self, cell: Cell, shard: str) -> Hurt:
        """The fault, and where it strikes."""
        source, token = self.daemon.owner(shard)
        destination = next(str(s.name) for s in self.hosts.specs if s.name != source)
        return Hurt(self, cell, shard, source, destination, token=token, port=self.daemon.endpoint(shard)[1])

    def proposal(self, shard: str, destination: str) -> Body:
        """The plan that a person asks for."""
        return ProposeMove(Label(shard), Label(destination), "a fault is tried")

    async def _approved(self, shard: str, destination: str) -> PlanView:
        trouble, end = "", time.monotonic() + self.approving
        while time.monotonic() < end:
            try:
                view: PlanView = await self.daemon.call(self.proposal(shard, destination))
                await self.daemon.call(Approve(view.digest, "a fault is tried"))
                self._key = f"{view.digest}-1"
                return view
            except SidestepError as error:
                trouble = str(error)
                await asyncio.sleep(0.1)
        raise HarnessError(f"no plan about {shard} is approved: {trouble}")

    async def _there(self, reached: Path, view: PlanView) -> bool:
        return reached.exists() or await self.daemon.ended(view.digest)  # noqa: ASYNC240 - of a memory file system

    async def _person(self, shard: str, outcome: Outcome) -> None:
        """Where a person was asked there is one, for whom requests wait; the daemon may be faster."""
        if outcome.state == ActionState.FAILED_NEEDS_HUMAN and not await soon(lambda: self._alone(shard), 20.0):
            outcome.helped = await Hurt.help(self, shard)

    async def _judge(self, shard: str, stuck: str, outcome: Outcome) -> None:
        """The shard runs once, with the journal's token, and has lost and repeated nothing."""
        problems = outcome.problems
        if stuck:
            problems.append(stuck)
        if not await soon(lambda: self._alone(shard), RECOVERY):
            though = " though helped" if outcome.helped else ""
            problems.append(f"{shard} is not served once by its owner{though}: {self.seen(shard)}")
            return
        try:
            async with asyncio.timeout(20.0):
                call = await self._clients[shard].once("GET")
        except TimeoutError:
            problems.append(f"{shard} is not reached: {self.core.stats()['shards'].get(shard)}")
            return
        _, token = self.daemon.owner(shard)
        if call.token != token:
            problems.append(f"{shard} answers under token {call.token}, the journal has {token}")
        log = await saved(*self.daemon.endpoint(shard))
        calls = self._clients[shard].calls
        if wrong := self.wrong(shard, log):
            problems += wrong[:5]
            self._clients[shard].forget(log)
        if len(calls) < LEAST:
            problems.append(f"only {len(calls)} requests were made")

    def wrong(self, shard: str, log: Sequence[Entry]) -> list[str]:
        """What is wrong with the history of the shard, whose state is this log."""
        return check(self._clients[shard].calls, log)

    def reachable(self, shard: str) -> bool:
        """Whether requests are let through to it."""
        stats = self.core.stats()["shards"].get(shard)
        return stats is not None and not stats["held"]

    def seen(self, shard: str) -> str:
        """What there is of it, in words."""
        try:
            host, token = self.daemon.owner(shard)
        except HarnessError:
            host, token = "nobody", 0
        found = self.processes(shard)
        there = [f"{f.address} pid {f.pid} token {f.token}{' stopped' if f.stopped else ''}" for f in found]
        return f"the journal has {host} with token {token}; processes: {', '.join(there) or 'none'}"

    def processes(self, shard: str) -> list[Found]:
        """Its processes, wherever they are."""
        return serving(shard)

    def running(self, shard: str) -> list[Found]:
        """Its processes that are not stopped."""
        return [found for found in self.processes(shard) if not found.stopped]

    async def _alone(self, shard: str) -> bool:
        """Whether exactly the journal's owner runs it."""
        running = await asyncio.to_thread(self.running, shard)
        try:
            host, token = self.daemon.owner(shard)
            self.daemon.endpoint(shard)
        except HarnessError:  # a daemon that has just begun
            return False
        if [(f.address, f.token) for f in running] != [(self.address(host), token)]:
            return False
        return self.reachable(shard)

    async def until(self, wanted: Callable[[], Awaitable[bool]], what: str, seconds: float) -> None:
        """Wait for it. Raises HarnessError."""
        if not await soon(wanted, seconds):
            raise HarnessError(f"{what} within {seconds:g} s")


def hook_shard(hosts: Hosts, name: str, port: int, keys: tuple[int, int] | None) -> ShardSpec:
    """The counter with a driver that carries its state, on the first host."""
    program = f"exec python3 -S -I {quote(hosts.program)}"
    return ShardSpec(
        name=scrub(name),
        app=Label(APP),
        host=hosts.specs[0].name,
        driver="hook",
        start=f"{program} serve --durable --cost 0.0001 --padding 256 --standby",
        save=f"{program} save",
        load=f"{program} load",
        drop=f"{program} drop" if keys in (None, (0, KEYS)) else "",
        quiesce=f"{program} quiesce",
        resume=f"{program} resume",
        ready=f"{program} ready",
        port=port,
        keys=keys,
    )


def _shards(hosts: Hosts, names: Mapping[str, str]) -> tuple[ShardSpec, ShardSpec]:
    """The counter twice, once with each driver."""
    hook = hook_shard(hosts, names["hook"], PORT, key_range(0, 2))
    restart = replace(
        hook,
        name=scrub(names["restart"]),
        driver="restart",
        start=hook.start.removesuffix(" --standby"),
        save="", load="", quiesce="", resume="",
        port=PORT + 1,
        keys=key_range(1, 2),
    )  # fmt: skip
    return hook, restart
