"""A bench on which h1 is lost: a fence that takes its proof from the world, capsules in memory, and who is lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
from move_doubles import Bench, FakeBackend, an_action
from move_world import FakeTransport, Process, World

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.faults import NO_FAULTS, Faults
from sidestep.backends.base import Move, StepResult
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Action


class OrphanBackend(FakeBackend):
    """A backend that also brings up what has no source."""

    def _prepare(self, move: Move, notes: dict[str, str]) -> StepResult:
        made = super()._prepare(move, notes)
        return msgspec.structs.replace(made, notes={**made.notes, "destination_capsule": move.key})

    def _restore(self, move: Move, notes: dict[str, str]) -> StepResult:
        if "digest" in notes:
            return super()._restore(move, notes)
        self.world.reach(move.destination, "restore")
        self.world.processes[move.destination, move.shard.name] = Process(move.new_token, "loaded", [])
        return StepResult()

    def _verify(self, move: Move, notes: dict[str, str]) -> StepResult:
        return super()._verify(move, notes) if "digest" in notes else StepResult()

    def _observe(self, move: Move, notes: dict[str, str]) -> StepResult:
        result = super()._observe(move, notes)
        self.world.scratch.pop((move.destination, move.key), None)
        return result

    async def abort(
        self, name: StepName, move: Move, source: FakeTransport, destination: FakeTransport, notes: dict[str, str]
    ) -> None:
        owner = self.world.owner_of(move.shard.name)
        await super().abort(name, msgspec.structs.replace(move, source=owner), source, destination, notes)


class MemoryFencer:
    """The proof is real: it fails while a process of the old owner could serve, and kills none."""

    def __init__(self, world: World) -> None:
        self.world, self.fenced = world, list[tuple[str, str, int]]()
        self.released = list[str]()

    async def fence(self, host: str, shard: ShardSpec, token: int) -> Label:
        found = self.world.processes.get((host, shard.name))
        if found is not None and found.token <= token:
            raise HostError(host, "fence", "its lease may still run")
        self.fenced.append((host, shard.name, token))
        return Label("its lease ran out")

    def gone(self, host: str, shard: ShardSpec) -> float:
        return 3.0

    def release(self, host: str) -> None:
        self.released.append(host)

    def remaining(self, host: str) -> float:
        return 0.0


class MemoryCapsules:
    """The newest capsule of every shard, and hosts that have it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refs: dict[str, tuple[CapsuleRef, tuple[int, ...]]] = {}

    def take(self, shard: str, host: str, *, at: float, copies: tuple[str, ...] = ("h2", "h3")) -> None:
        process = self.world.processes[host, shard]
        writes = tuple(process.writes)
        self.refs[shard] = (
            CapsuleRef(
                shard=Label(shard), seq=len(self.refs) + 1, token=process.token, digest=str(hash(writes)),
                bytes=8 * len(writes), taken=at, hosts=tuple(map(Label, copies)),
            ),
            writes,
        )  # fmt: skip

    def newest(self, shard: str) -> CapsuleRef | None:
        found = self.refs.get(shard)
        return found[0] if found else None

    def lost(self, shard: str) -> CapsuleRef | None:
        return None

    async def bring(self, ref: CapsuleRef, destination: FakeTransport, path: str) -> str:
        self.world.reach(destination.host, "transfer")
        self.world.scratch[destination.host, path] = self.refs[ref.shard][1]
        return "from h2"

    def forget_host(self, host: str) -> None:
        return

    def hosts_of(self, shard: str) -> tuple[Label, ...]:
        found = self.refs.get(shard)
        return found[0].hosts if found else ()


class Asked:
    """Says what the test wants, and remembers what served."""

    def __init__(self) -> None:
        self.why = ""
        self.brought: list[tuple[str, str, float | None]] = []
        self.gone: list[float | None] = []

    def forbids(self, host: str, shard: str) -> str:
        return self.why

    def unheard(self, host: str) -> float:
        return 20.0

    def served(self, host: str, shard: ShardSpec, capsule: CapsuleRef | None, gone: float | None = None) -> Label:
        self.gone.append(gone)
        self.brought.append((host, shard.name, capsule.taken if capsule else None))
        return Label("served again after 20 s")


class LostBench(Bench):
    """h1 has lost its power, after capsules of its shards were taken; nothing was written since."""

    def __init__(self, folder: Path, mode: str = "capsule") -> None:
        super().__init__(folder)
        changed = (msgspec.structs.replace(s, failover=mode) for s in self.fleet.shards)
        self.fleet = msgspec.structs.replace(self.fleet, shards=tuple(changed))
        self.backend = OrphanBackend(self.world)
        self.fencer, self.capsules, self.rescue = MemoryFencer(self.world), MemoryCapsules(self.world), Asked()
        self.mode = mode
        #: no step that is not stalled on purpose misses it, however busy the machine is
        self.policy = msgspec.structs.replace(self.policy, step_deadline=30.0)

    async def lose(self, host: str = "h1") -> LostBench:
        """Write for a while, take capsules, and pull the plug."""
        await self.ready()
        for (at, shard), _ in list(self.world.processes.items()):
            if at == host:
                self.capsules.take(shard, host, at=self.now)
                del self.world.processes[at, shard]
                if self.mode == "restart":
                    self.world.acknowledged[shard] = []
        self.world.down.add(host)
        self.states[host] = "DEAD"
        return self

    def executor(self, faults: Faults = NO_FAULTS, held: object = None) -> Executor:
        return Executor(
            fleet=self.fleet, journal=self.journal, backend_for=lambda shard: self.backend,
            transport_for=self._transport, router=self.router, present=self.basis, clock=lambda: self.now,
            changed=self.seen.append, faults=faults, pacing=self.pace.pacing(), doubt=self.doubtful.update,
            held=lambda: self.held, fencer=self.fencer, capsules=self.capsules, rescue=self.rescue,
        )  # fmt: skip

    def saved(self, shard: str = "s1", host: str = "h3") -> None:
        """The shard serves on ``host``, which owns it, with all that its capsule had; nothing else is left."""
        self.world.changed()
        assert self.world.serving_host(shard) == host == self.world.owner_of(shard)
        assert not self.router.held
        assert set(self.world.acknowledged[shard]) <= set(self.world.processes[host, shard].writes)
        assert not self.world.scratch, "scratch files were left behind"

    def waits(self, shard: str = "s1", host: str = "h1") -> None:
        """The shard is where it was: nobody serves it, its requests are let go, nothing is left elsewhere."""
        assert self.world.owner_of(shard) == host
        assert [h for h, s in self.world.processes if s == shard] == [], "a copy was left behind"
        assert shard not in self.router.held
        assert not self.world.scratch


def rescue(id: int = 1, shard: str = "s1", source: str = "h1", destination: str = "h3", **more: object) -> Action:
    return an_action(id, shard, source, destination, kind="failover", **more)
