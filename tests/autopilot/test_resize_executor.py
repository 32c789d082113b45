"""Limits are changed in place, step by step: crashes and errors at every point leave the old ones or the new ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from move_doubles import OPERATOR, Crash, FakeBackend, FaultsAt, an_action
from move_world import World
from msgspec.structs import replace
from queue_doubles import QueueBench

from sidestep.backends.base import Sizes, Sizing
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.machines import RESIZE_STEPS, ActionState, PlanState, StepName
from sidestep.fleet.plans import Action, Limits, PlanStatus

GIB = 1 << 30
OLD, NEW = Sizes(cpu=2.0, memory=4 * GIB), Sizes(cpu=1.0, memory=2 * GIB)
LIMITS = Limits(cpu=NEW.cpu, memory=NEW.memory, cpu_before=OLD.cpu, memory_before=OLD.memory)


class SizedBackend(FakeBackend):
    """Also has limits for whatever serves; ``short`` is a host whose kernel keeps the old ones."""

    sizing: Sizing | None = None

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.limits: dict[tuple[str, str], Sizes] = {}
        self.short = False
        #: and one that limits nothing at its disk
        self.deaf = False
        #: how often its host is not reached once it has other limits
        self.lost = 0

    async def sizes(self, transport: Transport, shard: ShardSpec, token: int) -> Sizes:
        return self._of(transport, shard, token)

    async def resize(self, transport: Transport, shard: ShardSpec, token: int, sizes: Sizes) -> Sizes:
        if self._of(transport, shard, token) != OLD and self.lost:
            self.lost -= 1
            raise HostUnreachable(transport.host, "resize", "no route")
        if not self.short:
            now = self.limits.get((transport.host, shard.name), OLD)
            disk = {key: new for key in ("read", "write") if (new := getattr(sizes, key)) is not None and not self.deaf}
            kept = replace(now, **disk)
            self.limits[transport.host, shard.name] = replace(sizes, read=kept.read, write=kept.write)
        return self._of(transport, shard, token)

    def _of(self, transport: Transport, shard: ShardSpec, token: int) -> Sizes:
        process = self.world.processes.get((transport.host, str(shard.name)))
        if process is None or process.token != token:
            raise HostError(transport.host, "resize", "the shard is not here")
        return self.limits.get((transport.host, shard.name), OLD)


class SizedBench(QueueBench):
    """ "s3" has limits on h2."""

    backend: SizedBackend

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.backend = SizedBackend(self.world)

    @property
    def has(self) -> Sizes:
        return self.backend.limits.get(("h2", "s3"), OLD)

    def resize(self, id: int = 1, **more: object) -> Action:
        given = {"kind": "resize", "token": self.token("s3"), "limits": LIMITS, **more}
        return an_action(id, "s3", "h2", "h2", **given)


@pytest.fixture
async def bench(tmp_path: Path) -> SizedBench:
    made = SizedBench(tmp_path)
    await made.ready()
    return made


async def ran(bench: SizedBench, *actions: Action) -> PlanStatus:
    return await bench.executor().run(bench.approved(*actions))


def kept(bench: SizedBench) -> Sizes | None:
    return bench.journal.sizes(bench.fleet.shard("s3"))


def points() -> list[tuple[str, bool]]:
    rows = [(step, when) for step in RESIZE_STEPS for when in ("before", "after", "recorded")]
    return [(f"{s}:{w}", s is StepName.COMMIT and w != "before") for s, w in rows]


async def test_a_shard_has_its_new_limits_and_keeps_its_token_and_process(bench: SizedBench) -> None:
    """S3.24: it serves all the time, and starts with these limits from then on."""
    token = bench.token("s3")
    status = await ran(bench, bench.resize())
    assert status.state is PlanState.SUCCEEDED and bench.has == NEW == kept(bench)
    assert bench.token("s3") == token and status.actions[0].freeze_ms == 0
    (shard,) = (s for s in bench.journal.sized(bench.fleet).shards if s.name == "s3")
    assert (shard.limit_cpu, shard.limit_memory) == (NEW.cpu, NEW.memory)
    bench.serves("s3", "h2")


@pytest.mark.parametrize(("point", "past"), points())
async def test_a_crash_leaves_the_old_limits_or_the_new_ones(bench: SizedBench, point: str, past: bool) -> None:
    """S2.27: the host and the journal never disagree after the next start."""
    with pytest.raises(Crash):
        await bench.executor(FaultsAt((point, "crash"))).run(bench.approved(bench.resize()))
    bench.reborn()
    await bench.executor().recover()
    assert (bench.has, kept(bench)) == ((NEW, NEW) if past else (OLD, None))
    bench.serves("s3", "h2")
    bench.journal.verify_chain()


@pytest.mark.parametrize(("point", "past"), points())
async def test_trouble_is_taken_back_before_the_commit(bench: SizedBench, point: str, past: bool) -> None:
    status = await bench.executor(FaultsAt((point, "error"))).run(bench.approved(bench.resize()))
    assert status.actions[0].state is (ActionState.DONE if past else ActionState.ABORTED)
    assert (bench.has, kept(bench)) == ((NEW, NEW) if past else (OLD, None))


@pytest.mark.parametrize("lost", [1, 1000])
async def test_a_host_that_is_not_reached_is_asked_again_for_its_old_limits(bench: SizedBench, lost: int) -> None:
    """S2.27: it is source and destination in one; ABORTED is said only once it has them."""
    bench.backend.lost = lost
    status = await bench.executor(FaultsAt(("resize:after", "error"))).run(bench.approved(bench.resize()))
    known = (ActionState.ABORTED, OLD) if lost == 1 else (ActionState.FAILED_NEEDS_HUMAN, NEW)
    assert (status.actions[0].state, bench.has) == known
    assert kept(bench) is None


async def test_limits_that_the_kernel_has_not_are_never_committed(bench: SizedBench) -> None:
    bench.backend.short = True
    status = await ran(bench, bench.resize())
    assert status.actions[0].state is ActionState.ABORTED and kept(bench) is None
    assert "instead of" in status.actions[0].note


async def test_an_undo_gives_the_old_limits_back(bench: SizedBench) -> None:
    await ran(bench, bench.resize())
    ((done, _),) = bench.journal.plans()
    undo = bench.executor().undo(done.digest(), author=OPERATOR)
    bench.journal.set_state(undo.digest, PlanState.APPROVED, actor=OPERATOR)
    assert (await bench.executor().run(undo.digest)).state is PlanState.SUCCEEDED
    assert bench.has == OLD == kept(bench)


async def test_a_shard_moves_on_with_the_token_that_it_kept(bench: SizedBench) -> None:
    """The token that the resize was promised is nobody's: the move after it finds the owner's own."""
    move = an_action(2, "s3", "h2", "h3", token=bench.token("s3"), after=(1,))
    status = await ran(bench, bench.resize(), move)
    assert status.state is PlanState.SUCCEEDED, status.note
    bench.serves("s3", "h3")


async def test_a_backend_that_cannot_is_left_to_people(bench: SizedBench) -> None:
    bench.backend = FakeBackend(bench.world)  # type: ignore[assignment]
    status = await ran(bench, bench.resize())
    assert status.actions[0].state is ActionState.CANCELLED and "by hand" in status.actions[0].note


async def test_what_the_fleet_file_says_anew_counts_more_than_an_old_resize(bench: SizedBench) -> None:
    await ran(bench, bench.resize())
    changed = replace(bench.fleet.shard("s3"), limit_cpu=3.0)
    assert bench.journal.sizes(changed) is None and kept(bench) == NEW


async def test_limits_at_the_disk_are_touched_where_they_are_to_be_others(bench: SizedBench) -> None:
    """S3.24: what stays is left alone, also where nothing can be limited; an undo gives back what there was."""
    bench.backend.limits["h2", "s3"] = replace(OLD, read=7 << 20, write=0)
    limits = replace(LIMITS, read=5 << 20, read_before=9 << 20, write=1 << 20, write_before=1 << 20)
    status = await ran(bench, bench.resize(limits=limits))
    assert status.state is PlanState.SUCCEEDED, status.note
    assert bench.has == replace(NEW, read=5 << 20, write=0) and kept(bench) == replace(NEW, read=5 << 20)
    (shard,) = (s for s in bench.journal.sized(bench.fleet).shards if s.name == "s3")
    assert (shard.limit_read, shard.limit_write) == (5 << 20, bench.fleet.shard("s3").limit_write)
    ((done, _),) = bench.journal.plans()
    undo = bench.executor().undo(done.digest(), author=OPERATOR)
    bench.journal.set_state(undo.digest, PlanState.APPROVED, actor=OPERATOR)
    assert (await bench.executor().run(undo.digest)).state is PlanState.SUCCEEDED
    assert bench.has == replace(OLD, read=9 << 20, write=0)


@pytest.mark.parametrize("point", ["resize:after", "verify:before"])
async def test_trouble_gives_back_what_the_disk_had(bench: SizedBench, point: str) -> None:
    bench.backend.limits["h2", "s3"] = replace(OLD, read=7 << 20, write=3 << 20)
    limits = replace(LIMITS, read=5 << 20, read_before=9 << 20)
    await bench.executor(FaultsAt((point, "error"))).run(bench.approved(bench.resize(limits=limits)))
    assert bench.has == replace(OLD, read=7 << 20, write=3 << 20) and kept(bench) is None


async def test_a_limit_at_the_disk_that_the_kernel_has_not_is_never_committed(bench: SizedBench) -> None:
    limits = replace(LIMITS, read=5 << 20)
    bench.backend.deaf = True
    status = await ran(bench, bench.resize(limits=limits))
    assert status.actions[0].state is ActionState.ABORTED and kept(bench) is None
    assert "reads at 5.0M/s" in status.actions[0].note


async def test_a_resize_of_the_disk_counts_until_the_fleet_file_says_otherwise(bench: SizedBench) -> None:
    limits = replace(LIMITS, write=5 << 20)
    await ran(bench, bench.resize(limits=limits))
    assert kept(bench) == replace(NEW, write=5 << 20)
    assert bench.journal.sizes(replace(bench.fleet.shard("s3"), limit_write=1 << 20)) is None
    again = replace(LIMITS, cpu=1.5, cpu_before=1.0)
    await ran(bench, bench.resize(limits=again))
    assert kept(bench) == Sizes(cpu=1.5, memory=NEW.memory, write=5 << 20)  # the one of before still counts
