"""A shard whose process is gone comes back where it was with the state of its newest capsule: real processes."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from moving import Pair, kill, shard_spec

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.journal import Journal
from sidestep.backends.base import SnapshotLimits
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner

pytestmark = pytest.mark.openssh
LIMITS = SnapshotLimits(bytes=64 << 20, spare=1 << 20, still=2.0, seconds=60.0)


class Copies:
    """One capsule in a file of ours; ``gone``: its hosts are lost."""

    def __init__(self) -> None:
        self.ref: CapsuleRef | None = None
        self.file = Path()
        self.gone = False

    def newest(self, shard: str) -> CapsuleRef | None:
        return None if self.gone else self.ref

    def lost(self, shard: str) -> CapsuleRef | None:
        return self.ref if self.gone else None

    async def bring(self, ref: CapsuleRef, destination: Transport, path: str) -> str:
        await destination.run(f"cat > {path}", stdin=self.file.read_bytes())
        return "from a file"

    def forget_host(self, host: str) -> None:
        return

    def hosts_of(self, shard: str) -> tuple[Label, ...]:
        return ()


class Scene:
    """A shard on the first host, its capsules, and whoever settles that host."""

    def __init__(self, pair: Pair, folder: Path, driver: str) -> None:
        self.pair, self.folder, self.copies, self.said = pair, folder, Copies(), io.StringIO()
        self.spec: ShardSpec = shard_spec(driver, pair.port, replicas=1)
        host = HostSpec(name=Label(pair.source.host), address=pair.source_address)
        fleet = FleetSpec(name=Label("test"), source="", hosts=(host,), shards=(self.spec,))
        self.journal = Journal(folder / "journal.db")
        self.journal.adopt({self.spec.name: Owner(host.name, 7)}, Label("test"))
        self.settlement = Settlement(
            fleet, self.journal, {"process": pair.backend}, lambda name: pair.source,
            Log(self.journal, stream=self.said), capsules=self.copies,
        )  # fmt: skip

    async def settle(self) -> bool:
        async with asyncio.timeout(60):
            return bool(await self.settlement.settle((self.pair.source.host,)))

    async def take(self, seq: int = 1) -> None:
        """A capsule of now."""
        now = time.time()
        taken = await self.pair.backend.snapshot(self.pair.source, self.spec, 7, seq, LIMITS)
        self.copies.file = self.folder / "capsule"
        self.copies.file.write_bytes((await self.pair.source.run(f"cat {taken.path}")).stdout)
        self.copies.ref = CapsuleRef(
            shard=self.spec.name, seq=seq, token=7, digest=taken.digest, bytes=taken.bytes, taken=now, hosts=()
        )

    async def kill(self) -> None:
        (seen,) = await self.pair.backend.discover(self.pair.source)
        kill(seen.pid, group=True)
        async with asyncio.timeout(20):
            while (await self.pair.backend.discover(self.pair.source))[0].state is not ShardState.FAILED:
                await asyncio.sleep(0.02)


@pytest.fixture
def scene(pair: Pair, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(pair, tmp_path, "hook")
    yield made
    made.journal.close()


async def test_a_shard_with_its_state_in_memory_comes_back_with_its_newest_capsule_as_often_as_it_dies(
    scene: Scene,
) -> None:
    """S2.21, S5.15: the same owner and token; what was acknowledged before the capsule is not lost; its age is told."""
    pair = scene.pair
    assert await scene.settle()
    await pair.at_source("add 5")
    await scene.take()
    await pair.at_source("add 2")
    for _ in range(2):
        await scene.kill()
        assert await scene.settle()
        assert await pair.at_source("read") == "5"
        assert (await pair.at_source("who")).split()[1] == "7"
        await pair.at_source("add 1")
    assert "made tally.0 again with token 7 from capsule 1" in scene.said.getvalue()
    assert "(its RPO)" in scene.said.getvalue() and "abandoned" not in scene.said.getvalue()
    assert not list(pair.source_dir.glob("capsule.*")) and not (pair.source_dir / "loading").exists()


async def test_a_process_that_was_started_and_never_filled_is_no_owner_and_is_made_anew(scene: Scene) -> None:
    """S2.21: whoever filled it was killed half way; it is neither kept nor replicated."""
    pair = scene.pair
    assert await scene.settle()
    await pair.at_source("add 5")
    await scene.take()
    await scene.kill()
    await pair.start(scene.spec)
    (pair.source_dir / "loading").write_text("7\n")
    assert (await pair.backend.discover(pair.source))[0].state is ShardState.FAILED
    assert await scene.settle()
    assert await pair.at_source("read") == "5"


async def test_files_that_are_newer_than_the_capsule_are_started_from_and_older_ones_are_put_aside(
    scene: Scene,
) -> None:
    pair = scene.pair
    assert await scene.settle()
    await pair.at_source("add 5")
    await scene.take()
    await scene.kill()
    kept = pair.source_dir / "state" / "diary"
    kept.write_text("ours")
    os.utime(kept, (time.time() + 5, time.time() + 5))
    assert await scene.settle()
    assert await pair.at_source("read") == "0" and kept.read_text() == "ours"
    assert "starts from its own files" in scene.said.getvalue()
    await scene.kill()
    os.utime(kept, (1e9, 1e9))
    assert await scene.settle()
    assert await pair.at_source("read") == "5"
    assert (next(iter(pair.source_dir.glob("before.*"))) / "diary").read_text() == "ours"


async def test_a_capsule_on_lost_hosts_is_waited_for_and_nothing_begins_empty(scene: Scene) -> None:
    """S2.21: the newest durable state exists, so that no empty one takes its place."""
    pair = scene.pair
    assert await scene.settle()
    await pair.at_source("add 5")
    await scene.take()
    await scene.kill()
    scene.copies.gone = True
    assert not await scene.settle()
    assert not await scene.settle()
    assert scene.said.getvalue().count("is not started with nothing") == 1
    scene.copies.gone = False
    assert await scene.settle()
    assert await pair.at_source("read") == "5"


async def test_a_capsule_that_is_not_what_was_kept_starts_nothing(scene: Scene) -> None:
    pair = scene.pair
    assert await scene.settle()
    await scene.take()
    await scene.kill()
    whole = scene.copies.file.read_bytes()
    scene.copies.file.write_bytes(whole + b"!")
    assert not await scene.settle()
    assert (await pair.backend.discover(pair.source))[0].state is ShardState.FAILED
    scene.copies.file.write_bytes(whole)
    assert await scene.settle()


async def test_a_newer_fence_keeps_the_old_token_from_being_made_again(scene: Scene) -> None:
    """S2.21: never both owners."""
    pair = scene.pair
    assert await scene.settle()
    await scene.take()
    await scene.kill()
    ref = scene.copies.ref
    assert ref is not None
    found = await pair.backend.look(pair.source, scene.spec, ref.seq)
    await scene.copies.bring(ref, pair.source, found.path)
    await pair.backend.stop(pair.source, scene.spec, 8)
    with pytest.raises(HostError, match="fenced: token 7 is older than 8"):
        await pair.backend.revive(pair.source, scene.spec, 7, "127.0.0.1", ref.seq, ref.digest, found)
    assert await pair.backend.discover(pair.source) == ()


async def test_a_folder_comes_first_unless_it_is_empty_where_the_state_is_the_folder(
    pair: Pair, tmp_path: Path
) -> None:
    """S2.21: driver restart; also when the whole folder of the shard is gone."""
    scene = Scene(pair, tmp_path, "restart")
    assert await scene.settle()
    await pair.at_source("add 5")
    await scene.take()
    await pair.at_source("add 2")
    await scene.kill()
    assert await scene.settle()
    assert await pair.at_source("read") == "7" and "started tally.0" in scene.said.getvalue()
    await scene.kill()
    await pair.source.run(f"rm -rf {pair.source_dir}")
    scene.settlement.lost((pair.source.host,))  # as after a reboot that forgets what is in memory
    assert await scene.settle()
    assert await pair.at_source("read") == "5"
    assert "made tally.0 again with token 7 from capsule 1" in scene.said.getvalue()
    scene.journal.close()
