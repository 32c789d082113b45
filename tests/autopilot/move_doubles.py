"""A backend, faults and a clock over ``move_world``, and the bench that executors are tried on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from move_world import HOSTS, SHARDS, FakeRouter, FakeTransport, Process, World

from sidestep.autopilot.executor import Executor
from sidestep.autopilot.executor_retry import Pacing
from sidestep.autopilot.faults import NO_FAULTS, Faults, InjectedFault
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.steps import routing_table
from sidestep.backends.base import Move, ShardObservation, StepResult
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState, ShardState, StepName
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, HostFact, PlacementFact, Plan, PlanStatus, Reason

NOW = 1000.0
OPERATOR = Label("operator")
#: long enough that no ordinary step misses it on a busy machine
POLICY = Policy(step_deadline=1.0, observe=0.0)


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


class FakeBackend:
    """Keeps the backend contract over a ``World``: idempotent steps, each of which can be taken back."""

    name = "process"
    capabilities = frozenset({"discover", "migrate"})

    def __init__(self, world: World) -> None:
        self.world = world
        self.done: list[str] = []
        self.fail: dict[str, HostError] = {}

    async def discover(self, transport: FakeTransport) -> tuple[ShardObservation, ...]:
        self.world.reach(transport.host, "discover")
        state = {"serving": ShardState.RUNNING}
        return tuple(
            ShardObservation(
                shard=Label(shard), host=Label(host), state=state.get(p.state, ShardState.FROZEN),
                token=p.token, pid=1, started=1,
            )
            for (host, shard), p in self.world.processes.items()
            if host == transport.host
        )  # fmt: skip

    async def start(self, transport: FakeTransport, shard: ShardSpec, token: int, address: str) -> ShardObservation:
        self.world.reach(transport.host, "start")
        self.done.append(f"start {shard.name}")
        at = (transport.host, str(shard.name))
        assert self.world.fences.get(at, 0) <= token
        process = self.world.processes.setdefault(at, Process(token, "loaded"))
        assert process.token == token
        process.state = "serving"
        self.world.changed()
        return next(seen for seen in await self.discover(transport) if seen.shard == shard.name)

    async def stop(self, transport: FakeTransport, shard: ShardSpec, token: int) -> None:
        self.world.reach(transport.host, "stop")
        self.done.append(f"stop {shard.name}")
        at = (transport.host, str(shard.name))
        assert self.world.processes[at].token <= token
        del self.world.processes[at]
        self.world.fences[at] = token
        self.world.changed()

    async def step(
        self, name: StepName, move: Move, source: FakeTransport, destination: FakeTransport, notes: dict[str, str]
    ) -> StepResult:
        await asyncio.sleep(0)
        self.done.append(str(name))
        if str(name) in self.fail:
            raise self.fail[str(name)]
        result: StepResult = getattr(self, f"_{name}")(move, notes)
        self.world.changed()
        return result

    async def abort(
        self, name: StepName, move: Move, source: FakeTransport, destination: FakeTransport, notes: dict[str, str]
    ) -> None:
        await asyncio.sleep(0)
        self.done.append(f"abort {name}")
        world, here, there = self.world, (move.source, move.shard.name), (move.destination, move.shard.name)
        assert name is StepName.PREPARE or world.owner_of(move.shard.name) == move.source, "taken back after the commit"
        if f"abort {name}" in self.fail:
            raise self.fail[f"abort {name}"]
        if name in {StepName.FREEZE, StepName.CAPTURE}:
            world.reach(move.source, f"abort {name}")
            if name is StepName.FREEZE and world.processes[here].token == move.old_token:
                world.processes[here].state = "serving"
            if name is StepName.CAPTURE:
                world.scratch.pop((move.source, move.key), None)
        elif name in {StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE}:
            world.reach(move.destination, f"abort {name}")
            if name is not StepName.TRANSFER and there in world.processes:
                assert world.processes[there].token == move.new_token
                del world.processes[there]
            if name is not StepName.RESTORE:
                world.scratch.pop((move.destination, move.key), None)
        world.changed()

    def _prepare(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.destination, "prepare")
        assert self.world.fences.get((move.destination, move.shard.name), 0) < move.new_token
        return StepResult(notes={"address": move.destination_address, "port": "7000"})

    def _precopy(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.source, "precopy")
        return StepResult()

    def _freeze(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.source, "freeze")
        process = self.world.processes[move.source, move.shard.name]
        assert process.token == move.old_token
        process.state = "frozen"
        return StepResult()

    def _capture(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.source, "capture")
        writes = tuple(self.world.processes[move.source, move.shard.name].writes)
        self.world.scratch[move.source, move.key] = writes
        return StepResult(notes={"digest": str(hash(writes))}, bytes=8 * len(writes))

    def _transfer(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.source, "transfer")
        self.world.reach(move.destination, "transfer")
        self.world.scratch[move.destination, move.key] = self.world.scratch[move.source, move.key]
        return StepResult()

    def _restore(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.destination, "restore")
        writes = list(self.world.scratch[move.destination, move.key])
        self.world.processes[move.destination, move.shard.name] = Process(move.new_token, "loaded", writes)
        return StepResult()

    def _verify(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.destination, "verify")
        found = self.world.processes[move.destination, move.shard.name].writes
        assert notes["digest"] == str(hash(tuple(found)))
        return StepResult()

    def _resume(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.destination, "resume")
        capsule = self.world.scratch.get((move.destination, move.key), ())
        again = Process(move.new_token, "loaded", list(capsule))
        process = self.world.processes.setdefault((move.destination, move.shard.name), again)
        assert process.token == move.new_token
        process.state = "serving"
        return StepResult()

    def _observe(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.destination, "observe")
        assert self.world.processes[move.destination, move.shard.name].state == "serving"
        return StepResult()

    def _release(self, move: Move, notes: dict[str, str]) -> StepResult:
        self.world.reach(move.source, "release")
        self.world.processes.pop((move.source, move.shard.name), None)
        self.world.fences[move.source, move.shard.name] = move.new_token
        for host in (move.source, move.destination):
            self.world.scratch.pop((host, move.key), None)
        return StepResult()


class FaultsAt:
    """``error``, ``stall`` or ``crash`` at the named points, once each."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.left = dict(pairs)

    async def at(self, point: str) -> None:
        kind = self.left.pop(point, "")
        if kind == "crash":
            raise Crash(point)
        if kind == "stall":
            await asyncio.Event().wait()
        if kind == "error":
            raise InjectedFault(point)


class FakePacing:
    """A clock that only pauses move; ``during`` happens in the first pause."""

    def __init__(self, during: Callable[[], None] | None = None) -> None:
        self.now, self.pauses, self.during = 0.0, 0, during

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1
        if self.during is not None:
            self.during()
            self.during = None

    def pacing(self) -> Pacing:
        return Pacing(sleep=self.sleep, monotonic=lambda: self.now)


def a_fleet() -> FleetSpec:
    thirds = ((0, 20000), (20000, 40000), (40000, 65536))
    return FleetSpec(
        name=Label("f"),
        source="fleet.toml",
        hosts=tuple(HostSpec(name=Label(h), address=h, cpu=2.0, memory=1 << 30) for h in HOSTS),
        shards=tuple(
            ShardSpec(name=Label(s), app=Label("kv"), host=Label(h), start="run", port=7000, keys=keys)
            for s, h, keys in zip(SHARDS, ("h1", "h1", "h2"), thirds, strict=True)
        ),
        policy=POLICY,
    )


def an_action(id: int = 1, shard: str = "s1", source: str = "h1", destination: str = "h3", **more: object) -> Action:
    return Action(
        id=id, shard=Label(shard), source=Label(source), destination=Label(destination),
        priority=2, reason=Reason("contention", Label("h1 runs hot")), **{"token": 1, **more},
    )  # fmt: skip


class Bench:
    """One world, one journal file, and as many executors after one another as a test needs."""

    capsules: Any = None

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.now = NOW
        self.fleet = a_fleet()
        self.states = dict.fromkeys(HOSTS, "READY")
        self.cpus = dict.fromkeys(HOSTS, 2.0)
        self.world = World()
        self.backend = FakeBackend(self.world)
        self.router = FakeRouter(self.world)
        self.seen: list[PlanStatus] = []
        self.pace = FakePacing()
        self.policy = POLICY
        #: why nothing new may begin, and what strains a host
        self.held = ""
        self.strains: dict[str, str] = {}
        #: hosts that the executor wants to be looked at again
        self.doubtful: set[str] = set()
        self.journal = Journal(self.path, clock=lambda: self.now)
        self.journal.adopt(
            {Label(s): Owner(Label(h), 1) for s, h in zip(SHARDS, ("h1", "h1", "h2"), strict=True)}, OPERATOR
        )
        for shard in self.fleet.shards:
            self.journal.set_endpoint(shard.name, shard.host, 7000)
        self.world.owner_of = lambda shard: self.journal.placement().owners[Label(shard)].host

    async def ready(self) -> Bench:
        """The router as a daemon would have left it."""
        table = routing_table(self.fleet, self.journal.placement(), self.journal.endpoints())
        await self.router.apply(msgspec.msgpack.encode(table), table.checksum())
        self.world.router = self.router
        self.world.changed()
        return self

    def basis(self, plan: Plan | None = None) -> Basis:
        placement = self.journal.placement()
        hosts = {h.host for h in plan.basis.hosts} if plan else set(HOSTS)
        return Basis(
            tuple(PlacementFact(s, o.host, o.token) for s, o in sorted(placement.owners.items()) if o.host in hosts),
            tuple(HostFact(Label(h), self.states[h], self.cpus[h], 1 << 30) for h in HOSTS if h in hosts),
        )

    def plan(self, *actions: Action, author: str = "planner", expires: float = NOW + 300.0) -> Plan:
        return Plan(
            number=self.journal.next_number(), fleet=Label("f"), created=NOW, expires=expires, author=Label(author),
            snapshot=7, forecast="fc-7", policy=self.policy, basis=self.basis(), actions=actions or (an_action(),),
            summary=Label("move s1 away from h1"),
        )  # fmt: skip

    def approved(self, *actions: Action, **more: object) -> str:
        status = self.journal.add(self.plan(*actions, **more))  # type: ignore[arg-type]
        self.journal.set_state(status.digest, PlanState.APPROVED, actor=OPERATOR, reason="peak at noon")
        return status.digest

    def executor(self, faults: Faults = NO_FAULTS, held: Callable[[], str] | None = None) -> Executor:
        return Executor(
            fleet=self.fleet, journal=self.journal, backend_for=lambda shard: self.backend,
            transport_for=self._transport, router=self.router, present=self.basis, clock=lambda: self.now,
            changed=self.seen.append, faults=faults, pacing=self.pace.pacing(),
            doubt=self.doubtful.update, held=held or (lambda: self.held),
            strain=lambda host: self.strains.get(host, ""), capsules=self.capsules,
        )  # fmt: skip

    def _transport(self, host: str) -> FakeTransport:
        self.fleet.host(host)
        return FakeTransport(self.world, host)

    def reborn(self) -> None:
        """The daemon died and was started again: only the file and the world are left."""
        self.journal.close()
        self.journal = Journal(self.path, clock=lambda: self.now)

    def at_rest(self, shard: str, host: str) -> None:
        """The shard is served by that host, which owns it, by one process, and nobody waits."""
        self.world.changed()
        assert self.world.serving_host(shard) == host == self.world.owner_of(shard)
        assert not self.router.held
        assert not self.router.dropped, "requests were sent to a process that did not serve"
        process = self.world.processes[host, shard]
        assert process.writes == self.world.acknowledged[shard], "the client's newest write did not arrive"
        assert [h for h, s in self.world.processes if s == shard] == [host], "a copy was left behind"
        assert not self.world.scratch, "scratch files were left behind"
