"""Capsules of shards that serve on: what is in them, how long they stand still, and what ends a pause."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from moving import BEFORE_COMMIT, Elsewhere, Pair, shard_spec

from sidestep.backends.base import Replicator, SnapshotLimits, TakenCapsule
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.machines import StepName

pytestmark = pytest.mark.openssh
LIMITS = SnapshotLimits(bytes=64 << 20, spare=1 << 20, still=2.0, seconds=30.0)
DRIVERS = ("hook", "quiet", "restart")


def spec_of(driver: str, pair: Pair) -> ShardSpec:
    if driver == "quiet":
        return shard_spec("hook", pair.port, replicate_quiet=True)
    return shard_spec(driver, pair.port)


@pytest.fixture
async def shard(pair: Pair) -> AsyncIterator[Callable[[str], Any]]:
    async def started(driver: str) -> ShardSpec:
        spec = spec_of(driver, pair)
        await pair.start(spec)
        return spec

    yield started


async def taken(pair: Pair, spec: ShardSpec, seq: int = 1, **changes: float) -> TakenCapsule:
    limits = SnapshotLimits(**{f: changes.get(f, getattr(LIMITS, f)) for f in LIMITS.__struct_fields__})
    return await pair.backend.snapshot(pair.source, spec, 7, seq, limits)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_capsule_has_all_that_was_acknowledged_and_the_shard_serves_on(
    pair: Pair, shard: Callable[[str], Any], driver: str
) -> None:
    """S2.19: what was answered before the capsule was begun is in it; a move could restore it."""
    assert isinstance(pair.backend, Replicator) and "replicate" in pair.backend.capabilities
    spec = await shard(driver)
    assert await pair.at_source("add 41") == "41"
    found = await taken(pair, spec)
    assert await pair.at_source("add") == "42"
    content = Path(found.path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == found.digest and len(content) == found.bytes
    assert oct(Path(found.path).stat().st_mode)[-3:] == "600"
    assert (found.paused == 0) is (driver == "hook") and found.paused < LIMITS.still
    # the same bytes as a move's capsule: the destination of one restores it
    move = pair.move(spec)
    await pair.step(StepName.PREPARE, move)
    await pair.backend.stop(pair.source, spec, 7)
    await pair.destination.send(pair.notes["destination_capsule"], chunks(content))
    pair.notes |= {"digest": found.digest}
    for name in (StepName.RESTORE, StepName.RESUME):
        await pair.step(name, move)
    assert await pair.at_destination("get") == "41"


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_state_that_has_not_changed_has_the_same_digest(
    pair: Pair, shard: Callable[[str], Any], driver: str
) -> None:
    spec = await shard(driver)
    await pair.at_source("add 5")
    first, second = await taken(pair, spec, 1), await taken(pair, spec, 2)
    assert first.digest == second.digest and first.life == second.life and first.path != second.path


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_state_that_is_too_big_is_given_up_and_the_shard_serves_on(
    pair: Pair, shard: Callable[[str], Any], driver: str
) -> None:
    spec = await shard(driver)
    if driver != "restart":
        spec = shard_spec("hook", pair.port, save="head -c 3000000 /dev/zero", replicate_quiet=driver == "quiet")
    else:
        (pair.source_dir / "state/ballast").write_bytes(os.urandom(3_000_000))
    with pytest.raises(HostError, match=r"a: snapshot: the state is larger than the 100000 bytes"):
        await taken(pair, spec, bytes=100_000)
    assert await pair.at_source("add") == "1"
    assert list((pair.source_dir.parent / ".capsules/tally.0").iterdir()) == []


@pytest.mark.parametrize("driver", ["quiet", "restart"])
async def test_a_pause_is_bounded_however_long_packing_takes(
    pair: Pair, shard: Callable[[str], Any], driver: str
) -> None:
    """The shard serves while its packer still hangs: the capsule is what is given up."""
    spec = await shard(driver)
    if driver == "quiet":
        spec = shard_spec("hook", pair.port, save="sleep 600", replicate_quiet=True)
    else:  # a pipe that nobody reads makes any tar hang that is told to read it
        os.mkfifo(pair.source_dir / "state/pipe")
        tool = pair.source_dir.parents[4] / "bin"
        tool.mkdir()
        (tool / "tar").write_text("#!/bin/sh\nexec sleep 600\n")
        (tool / "tar").chmod(0o755)
        spec = shard_spec("restart", pair.port)
        pair.source = Elsewhere(pair.source, f"PATH={tool}:$PATH")  # type: ignore[assignment]
    with pytest.raises(
        HostError, match=r"given up: its state was not packed while it stood still for (3\d\d|[4-9]\d\d) ms"
    ):
        await taken(pair, spec, still=0.3)
    assert await pair.at_source("add 2") == "2"
    assert not (pair.source_dir / "lock").is_symlink() and not (pair.source_dir / "paused").exists()


async def test_whoever_comes_next_ends_the_pause_of_a_snapshot_that_was_killed(
    pair: Pair, shard: Callable[[str], Any]
) -> None:
    """A stopped shard whose snapshot is dead goes on with the next operation that takes its lock."""
    spec = await shard("restart")
    await pair.at_source("add 3")
    (seen,) = await pair.backend.discover(pair.source)
    os.killpg(seen.pid, signal.SIGSTOP)
    (pair.source_dir / "paused").write_text(f"stop {seen.pid} {seen.started}\n")
    found = await taken(pair, spec)
    assert await pair.at_source("get") == "3" and found.bytes > 0
    assert not (pair.source_dir / "paused").exists()


async def test_a_killed_snapshot_is_outlived_by_its_guard(pair: Pair, shard: Callable[[str], Any]) -> None:
    """Nobody else need come: the guard lets the shard go on when its maker is gone."""
    spec = await shard("restart")
    tool = pair.source_dir.parents[4] / "bin"
    tool.mkdir()
    (tool / "tar").write_text("#!/bin/sh\nkill -s KILL $(readlink $2/lock | cut -d: -f1)\nexec sleep 600\n")
    (tool / "tar").chmod(0o755)
    pair.source = Elsewhere(pair.source, f"PATH={tool}:$PATH")  # type: ignore[assignment]
    with pytest.raises(HostError, match="a: snapshot: "):
        await taken(pair, spec, still=0.3)
    async with asyncio.timeout(30):
        while (pair.source_dir / "paused").exists():
            await asyncio.sleep(0.05)
    assert await pair.at_source("add 2") == "2"


@pytest.mark.parametrize("driver", ["quiet", "restart"])
async def test_a_shard_that_a_move_has_frozen_is_not_let_go_on(
    pair: Pair, shard: Callable[[str], Any], driver: str
) -> None:
    """S2.27: no capsule makes two owners serve."""
    spec = await shard(driver)
    move = pair.move(spec)
    for name in BEFORE_COMMIT[: BEFORE_COMMIT.index(StepName.CAPTURE)]:
        await pair.step(name, move)
    with pytest.raises(HostError, match=r"a move has frozen the shard|the shard is stopped"):
        await taken(pair, spec)
    if driver == "quiet":
        assert await pair.at_source("add") == "refused"
    await pair.abort(StepName.FREEZE, move)
    assert (await taken(pair, spec)).bytes > 0


async def test_only_the_owner_of_that_token_gives_a_capsule(pair: Pair, shard: Callable[[str], Any]) -> None:
    spec = await shard("hook")
    with pytest.raises(HostError, match="has token 7, not 9"):
        await pair.backend.snapshot(pair.source, spec, 9, 1, LIMITS)
    with pytest.raises(HostError, match="is not on this host"):
        await pair.backend.snapshot(pair.destination, spec, 7, 1, LIMITS)


async def test_copies_are_placed_checked_lent_and_dropped(pair: Pair, shard: Callable[[str], Any]) -> None:
    spec = await shard("hook")
    await pair.at_source("add 6")
    found = await taken(pair, spec, 4)
    there, backend = pair.destination, pair.backend
    place = await backend.keep(there, spec, 4, found.bytes, 0)
    assert place.digest == ""
    await there.send(place.path, chunks(Path(found.path).read_bytes()))
    assert (await backend.keep(there, spec, 4, found.bytes, 0)).digest == found.digest
    wanted = [("tally.0", 4), ("tally.0", 5), ("other", 1)]
    (copy,) = await backend.check(there, wanted, seconds=30)
    assert (copy.shard, copy.seq, copy.digest, copy.bytes) == ("tally.0", 4, found.digest, found.bytes)
    lent = pair.destination_dir.parent / "lent"
    await backend.lend(there, spec, 4, found.digest, str(lent))
    assert lent.read_bytes() == Path(found.path).read_bytes()
    with pytest.raises(HostError, match="no room for a copy"):
        await backend.keep(there, spec, 5, 1 << 60, 0)
    Path(place.path).write_bytes(b"rotten")
    (copy,) = await backend.check(there, wanted, seconds=30)
    assert copy.digest == hashlib.sha256(b"rotten").hexdigest()
    with pytest.raises(HostError, match="another digest"):
        await backend.lend(there, spec, 4, found.digest, str(lent))
    await backend.drop(there, spec, [5])
    assert await backend.check(there, wanted, seconds=30) == ()
    assert not Path(place.path).parent.exists()
