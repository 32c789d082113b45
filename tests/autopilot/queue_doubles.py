"""A bench with a shard that may wait: "s3" has no keys, "s4" never ran; clients write to whoever serves."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import msgspec
from move_doubles import OPERATOR, Bench, FakeBackend, an_action
from move_world import HOSTS, FakeTransport, Process, World

from sidestep.backends.base import Move, StepResult
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, Limits, PlacementFact, Plan


class QueueWorld(World):
    """Shards without keys are written to where they serve; capsules that wait are files of their host."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged["s4"] = []
        self.parked: dict[tuple[str, str], tuple[int, ...]] = {}

    def changed(self) -> None:
        for shard in ("s3", "s4"):
            for (_, name), process in self.processes.items():
                if name == shard and process.state == "serving":
                    self._next += 1
                    process.writes.append(self._next)
                    self.acknowledged[shard].append(self._next)
        for shard in ("s1", "s2"):
            self._next += 1
            if self.router is not None:
                self.router.write(shard, self._next)
        self.check()
        self.watch()

    def check(self) -> None:
        super().check()
        serving = [(h, p) for (h, s), p in self.processes.items() if s == "s4" and p.state == "serving"]
        assert len(serving) <= 1 and all(host == self.owner_of("s4") for host, _ in serving)


class QueueTransport(FakeTransport):
    """Copies and removes capsules."""

    async def run(self, command: str) -> SimpleNamespace:  # type: ignore[override]
        await super().run(command)
        self.world.reach(self.host, "run")
        words, world = shlex.split(command), self.world
        if words[0] == "cp":
            kept = words[4].removesuffix(".new")
            folder = kept.rpartition("/")[0]
            for old in [key for key in world.parked if key[0] == self.host and key[1].startswith(folder)]:
                del world.parked[old]
            world.parked[self.host, kept] = world.scratch[self.host, words[3].rpartition("/")[2]]
        if words[0] == "rm":
            world.parked.pop((self.host, words[3]), None)
        return SimpleNamespace(status=0, stderr=b"")


class QueueBackend(FakeBackend):
    """Also moves without a source."""

    def _prepare(self, move: Move, notes: dict[str, str]) -> StepResult:
        made = super()._prepare(move, notes)
        return msgspec.structs.replace(made, notes={**made.notes, "destination_capsule": move.key})

    def _capture(self, move: Move, notes: dict[str, str]) -> StepResult:
        made = super()._capture(move, notes)
        return msgspec.structs.replace(made, notes={**made.notes, "source_capsule": f"/{move.shard.name}/{move.key}"})

    def _release(self, move: Move, notes: dict[str, str]) -> StepResult:
        at = move.source, str(move.shard.name)
        stays = self.world.processes.get(at)
        made = super()._release(move, notes)
        if stays is not None and stays.token >= move.new_token:
            self.world.processes[at] = stays
        return made

    def _transfer(self, move: Move, notes: dict[str, str]) -> StepResult:
        if move.source:
            return super()._transfer(move, notes)
        self.world.reach(notes["parked_on"], "transfer")
        self.world.reach(move.destination, "transfer")
        kept = self.world.parked[notes["parked_on"], notes["source_capsule"]]
        self.world.scratch[move.destination, move.key] = kept
        return StepResult()


class QueueBench(Bench):
    """As ``Bench``; "s3" runs on h2 and can give way, "s4" waits from the beginning."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        s1, s2, s3 = self.fleet.shards
        change = msgspec.structs.replace
        shards = (
            change(s1, keys=(0, 30000)), change(s2, keys=(30000, 65536)),
            change(s3, keys=None, app=Label("batch"), priority=5),
            ShardSpec(name=Label("s4"), app=Label("new"), host=Label("h1"), start="run", port=7000, queued=True),
        )  # fmt: skip
        self.fleet = change(self.fleet, shards=shards)
        self.world = QueueWorld()
        self.backend = QueueBackend(self.world)
        self.router.world = self.world
        self.journal.submit({Label("s4"): "file:s4"}, OPERATOR)
        self.world.owner_of = self.owner_of

    def owner_of(self, shard: str) -> str:
        return str(self.journal.placement().owners.get(Label(shard), Owner(Label(""), 0)).host)

    def basis(self, plan: Plan | None = None) -> Basis:
        found = super().basis(plan)
        waiting = plan.basis.waiting if plan else frozenset()
        queued = sorted(self.journal.placement().queued.items())
        facts = (PlacementFact(s, Label(""), t) for s, t in queued if plan is None or s in waiting)
        return Basis((*found.placements, *facts), found.hosts)

    def _transport(self, host: str) -> QueueTransport:
        self.fleet.host(host)
        return QueueTransport(self.world, host)

    def token(self, shard: str) -> int:
        placement = self.journal.placement()
        owner = placement.owners.get(Label(shard))
        return owner.token if owner else placement.queued[Label(shard)]

    def preempt(self, id: int = 1, shard: str = "s3", source: str = "h2", **more: object) -> Action:
        need = Limits(cpu=0.5, memory=1 << 20)
        return an_action(id, shard, source, "", kind="preempt", token=self.token(shard), limits=need, **more)

    def place(self, id: int = 1, shard: str = "s3", destination: str = "h3", **more: object) -> Action:
        return an_action(id, shard, "", destination, kind="place", **{"token": self.token(shard), **more})

    def waits(self, shard: str) -> None:
        """Nobody serves it, no process of it is left, and all that was acknowledged is in its capsule."""
        self.world.changed()
        one, placement = self.journal.waiting(shard), self.journal.placement()
        assert one is not None and Label(shard) in placement.queued and Label(shard) not in placement.owners
        assert [h for h, s in self.world.processes if s == shard] == []
        assert not self.world.scratch, "scratch files were left behind"
        if one.token:
            kept = self.world.parked[str(one.host), one.path]
            assert list(kept) == self.world.acknowledged[shard] and one.digest == str(hash(kept))
            assert self.world.fences[str(one.host), shard] == one.token

    def serves(self, shard: str, host: str) -> None:
        """One process of it, on the host that owns it, with all that was acknowledged; and no capsule is left."""
        self.world.changed()
        assert self.world.serving_host(shard) == host == self.owner_of(shard)
        assert [h for h, s in self.world.processes if s == shard] == [host]
        assert self.world.processes[host, shard].writes == self.world.acknowledged[shard]
        assert self.journal.waiting(shard) is None

    def nothing_left(self, *, but_a_copy: bool = False) -> None:
        """No scratch and no capsule on any host; ``but_a_copy`` of which nobody was told."""
        left = [key for key in self.world.scratch if key[0] in HOSTS]
        assert not left and len(self.world.parked) <= but_a_copy, (self.world.parked, left)

    def dead(self, host: str, shard: str = "s3") -> Process:
        """A process that an older owner left."""
        return self.world.processes[host, shard]
