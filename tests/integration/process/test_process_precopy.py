"""S2.29, S3.21: what is carried before a shard stands still, and what changed since then."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from moving import BEFORE_COMMIT, STEPS, shard_spec

from sidestep.fleet.errors import HostError
from sidestep.fleet.machines import StepName

pytestmark = pytest.mark.openssh
SEED = 2 << 20


def tree(folder: Path) -> dict[str, object]:
    """What a folder has: bytes of files, targets of links, None for folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.readlink() if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return found


def fill(state: Path) -> None:
    """Files that nobody would carry twice without need."""
    (state / "ballast").write_bytes(os.urandom(SEED))
    for name in ("changed", "same-size", "gone", "becomes-a-folder", "becomes-a-link", "renamed", "two words"):
        (state / name).write_bytes(name.encode() * 100)
    (state / "folder" / "deep").mkdir(parents=True)
    (state / "folder" / "deep" / "leaf").write_bytes(b"leaf")
    (state / "folder-gone").mkdir()
    (state / "folder-gone" / "leaf").write_bytes(b"leaf")
    (state / "link").symlink_to("changed")


async def settled(state: Path) -> None:
    """Files that were changed within the second in which they are looked at are carried again, to be sure."""
    while time.time() < max(path.lstat().st_ctime for path in state.rglob("*")) + 2.0:
        await asyncio.sleep(0.1)


def change(state: Path) -> None:
    """Everything that can become of a file, also what keeps its size and its time."""
    (state / "changed").write_bytes(b"other")
    before = (state / "same-size").stat()
    (state / "same-size").write_bytes(b"S" * before.st_size)
    os.utime(state / "same-size", ns=(before.st_atime_ns, before.st_mtime_ns))
    (state / "gone").unlink()
    (state / "becomes-a-folder").unlink()
    (state / "becomes-a-folder").mkdir()
    (state / "becomes-a-folder" / "new").write_bytes(b"new")
    (state / "becomes-a-link").unlink()
    (state / "becomes-a-link").symlink_to("folder")
    (state / "renamed").rename(state / "renamed now")
    (state / "folder-gone" / "leaf").unlink()
    (state / "folder-gone").rmdir()
    (state / "link").unlink()
    (state / "link").write_bytes(b"a file now")
    (state / "folder" / "deep" / "new leaf").write_bytes(b"")


async def test_what_changed_after_the_copy_arrives_and_what_did_not_is_not_carried_again(pair: Any) -> None:
    """S2.29: the freeze carries changes only, and the state is the same to the byte."""
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    state = pair.source_dir / "state"
    fill(state)
    await settled(state)
    move = pair.move(spec)
    await pair.step(StepName.PREPARE, move)
    await pair.step(StepName.PRECOPY, move)
    assert await pair.at_source("add 3") == "3"  # it serves on
    change(state)
    await pair.step(StepName.FREEZE, move)
    captured = await pair.step(StepName.CAPTURE, move)
    assert captured.bytes < SEED // 4
    wanted = tree(state)
    for name in STEPS[STEPS.index(StepName.TRANSFER) : STEPS.index(StepName.RESUME)]:
        await pair.step(name, move)
    assert tree(pair.destination_dir / "state") == wanted
    for name in STEPS[STEPS.index(StepName.RESUME) :]:
        await pair.step(name, move)
    assert await pair.at_destination("add") == "4"
    kept = {"fence", "loaded", "log", "pid", "state", "undone"}
    assert {f.name for f in pair.destination_dir.iterdir()} <= kept
    assert {f.name for f in pair.source_dir.iterdir()} <= kept


async def test_a_copy_is_taken_back_and_the_next_move_makes_its_own(pair: Any) -> None:
    """S2.27: nothing of it stays on either host, and what was carried then is not taken for what is now."""
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    state = pair.source_dir / "state"
    fill(state)
    first = pair.move(spec, key="first")
    for name in BEFORE_COMMIT:
        await pair.step(name, first)
    for name in (StepName.FREEZE, *reversed(BEFORE_COMMIT)):
        await pair.abort(name, first)
    assert await pair.at_source("add 2") == "2"
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "log", "pid", "state", "undone"}
    assert {f.name for f in pair.destination_dir.iterdir()} <= {"fence", "log", "undone"}
    change(state)
    pair.notes.clear()
    second = pair.move(spec, key="second")
    for name in STEPS:
        await pair.step(name, second)
    assert await pair.at_destination("add") == "3"
    assert (pair.destination_dir / "state" / "same-size").read_bytes().startswith(b"SSS")


async def test_a_copy_of_which_something_is_gone_is_not_taken_for_the_state(pair: Any) -> None:
    """S2.27: the digest is of what the source has, not of what was sent."""
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    fill(pair.source_dir / "state")
    await settled(pair.source_dir / "state")
    move = pair.move(spec)
    for name in BEFORE_COMMIT[: BEFORE_COMMIT.index(StepName.TRANSFER)]:
        await pair.step(name, move)
    for planted in pair.destination_dir.glob("unpack.*/state/ballast"):
        planted.unlink()
    await pair.step(StepName.TRANSFER, move)
    with pytest.raises(HostError, match="verify: the files here have digest"):
        await pair.step(StepName.RESTORE, move)
        await pair.step(StepName.VERIFY, move)
    for name in (StepName.FREEZE, *reversed(BEFORE_COMMIT)):
        await pair.abort(name, move)
    assert await pair.at_source("add") == "1"
