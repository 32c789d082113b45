"""Whole moves of a real process between two real hosts, with both drivers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moving import BEFORE_COMMIT, STEPS, kill, shard_spec

from sidestep.fleet.errors import HostError, HostUnreachable, ShardEnded
from sidestep.fleet.machines import ShardState, StepName

pytestmark = pytest.mark.openssh
both_drivers = pytest.mark.parametrize("driver", ["hook", "restart"])


@both_drivers
async def test_a_move_carries_the_state_and_leaves_one_owner(pair: Any, driver: str) -> None:
    """S3.6, S3.9: the shard serves at the destination with its state, and nowhere else."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    assert await pair.at_source("add 41") == "41"
    move = pair.move(spec, observe=1.0)
    for name in STEPS:
        await pair.step(name, move)
    assert await pair.at_destination("add") == "42"
    shard, token, pid = (await pair.at_destination("who")).split()
    assert (shard, token) == ("tally.0", "8")
    (seen,) = await pair.backend.discover(pair.destination)
    assert (seen.state, seen.token, str(seen.pid), seen.port) == (ShardState.RUNNING, 8, pid, int(pair.notes["port"]))
    assert await pair.backend.discover(pair.source) == ()
    with pytest.raises(OSError):
        await pair.at_source("get")
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "log"}
    assert {f.name for f in pair.destination_dir.iterdir()} <= {"fence", "loaded", "log", "pid", "state"}


@both_drivers
async def test_every_step_done_twice_leaves_what_doing_it_once_leaves(pair: Any, driver: str) -> None:
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    await pair.start(spec)
    assert await pair.at_source("add 5") == "5"
    move = pair.move(spec)
    for name in STEPS:
        first = await pair.step(name, move)
        second = await pair.step(name, move)
        assert first.notes == second.notes, name
    assert await pair.at_destination("add") == "6"


@both_drivers
@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["every-step-back", "last-step-back"])
async def test_an_abort_after_any_step_leaves_the_source_serving(pair: Any, driver: str, whole: bool) -> None:
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    pid = (await pair.at_source("who")).split()[2]
    for last in range(1, len(BEFORE_COMMIT) + 1):
        done, move = BEFORE_COMMIT[:last], pair.move(spec, key=f"move-{last}")
        for name in done:
            await pair.step(name, move)
        for name in reversed(done) if whole else done[-1:]:
            await pair.abort(name, move)
            await pair.abort(name, move)
        assert await pair.at_source("add") == str(last), done
        assert (await pair.at_source("who")).split() == ["tally.0", "7", pid]
        assert await pair.backend.discover(pair.destination) == ()
        kept = {"fence", "log", "undone"}
        alone = {f"move.{move.key}"} if not whole and done[-1] in BEFORE_COMMIT[1:4] else set()
        assert {f.name for f in pair.destination_dir.iterdir()} - kept <= alone
        assert {f.name for f in pair.source_dir.iterdir()} <= kept | {"pid", "state"}
    move = pair.move(spec, key="at-last")
    for name in STEPS:
        await pair.step(name, move)
    assert await pair.at_destination("get") == str(len(BEFORE_COMMIT))


@both_drivers
async def test_a_step_that_arrives_after_it_was_taken_back_does_nothing(pair: Any, driver: str) -> None:
    """A host that was cut off may get, at last, what was sent to it long ago."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    move = pair.move(spec)
    for name in BEFORE_COMMIT:
        await pair.step(name, move)
    for name in reversed(BEFORE_COMMIT):
        await pair.abort(name, move)
    for late in (StepName.FREEZE, StepName.CAPTURE, StepName.PREPARE, StepName.RESTORE):
        with pytest.raises(HostError, match="this move was taken back here already"):
            await pair.step(late, move)
    assert await pair.at_source("add") == "1"
    assert await pair.backend.discover(pair.destination) == ()


@both_drivers
async def test_an_abort_of_a_move_that_never_ran_is_harmless(pair: Any, driver: str) -> None:
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    for name in reversed(BEFORE_COMMIT):
        await pair.abort(name, pair.move(spec))
    assert await pair.at_source("add") == "1"


@both_drivers
async def test_nobody_serves_between_capture_and_resume(pair: Any, driver: str) -> None:
    """S2.27: before the commit point the destination does not serve, and the source cannot."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    move = pair.move(spec)
    for name in BEFORE_COMMIT:
        await pair.step(name, move)
    (at_source,) = await pair.backend.discover(pair.source)
    assert at_source.state is ShardState.FROZEN
    assert {s.state for s in await pair.backend.discover(pair.destination)} <= {ShardState.FROZEN}


@both_drivers
async def test_a_process_that_died_between_commit_and_resume_is_made_again(pair: Any, driver: str) -> None:
    """S2.27: after the commit point there is only forward."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec)
    for name in BEFORE_COMMIT:
        await pair.step(name, move)
    for seen in await pair.backend.discover(pair.destination):
        kill(seen.pid)
    await pair.step(StepName.RESUME, move)
    assert await pair.at_destination("add") == "4"


@pytest.mark.parametrize("last", [b"", b"Killed" + bytes(8)], ids=["whole", "torn"])
async def test_a_process_that_died_after_it_served_is_not_made_again_from_old_state(pair: Any, last: bytes) -> None:
    """Whatever it wrote last: its log need not end in a line, and after a power loss ends in zeros."""
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    move = pair.move(spec)
    for name in STEPS[:-2]:
        await pair.step(name, move)
    (seen,) = await pair.backend.discover(pair.destination)
    kill(seen.pid)
    with (pair.destination_dir / "log").open("ab") as log:
        log.write(last)
    with pytest.raises(ShardEnded, match=f"b: observe: the shard's process {seen.pid} is dead") as caught:
        await pair.step(StepName.OBSERVE, move)
    assert last.rstrip(b"\0").decode() in str(caught.value)
    with pytest.raises(ShardEnded, match="b: resume: the shard died after it had served"):
        await pair.step(StepName.RESUME, move)


@both_drivers
async def test_what_an_earlier_move_left_is_gone_from_both_hosts_once_another_goes_on(pair: Any, driver: str) -> None:
    """A person was asked, and did something else: what was captured then is nobody's any more."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    names = ("capsule", "move", "restored", "served", "unpack", "grown")
    for folder in (pair.source_dir, pair.destination_dir):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / f"{name}.earlier-1").write_text("x")
    move = pair.move(spec)
    for name in STEPS[: STEPS.index(StepName.FREEZE)]:
        await pair.step(name, move)
    assert not [*pair.source_dir.glob("*.earlier-1"), *pair.destination_dir.glob("*.earlier-1")]
    for name in reversed(STEPS[: STEPS.index(StepName.FREEZE)]):
        await pair.abort(name, move)
    assert await pair.at_source("add") == "1"


async def test_the_source_cannot_be_thawed_after_a_newer_token_was_seen(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    move = pair.move(spec)
    await pair.step(StepName.FREEZE, move)
    (pair.source_dir / "fence").write_text("8\n")
    with pytest.raises(HostError, match="fenced at 8"):
        await pair.abort(StepName.FREEZE, move)


async def test_steps_behind_the_commit_point_cannot_be_aborted(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    for name in (StepName.COMMIT, StepName.ROUTE, StepName.RESUME, StepName.OBSERVE, StepName.RELEASE):
        with pytest.raises(HostError, match="only forward"):
            await pair.abort(name, pair.move(spec))


async def test_a_taken_port_is_replaced_and_noted(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec, destination_address="127.0.0.1")
    result = await pair.step(StepName.PREPARE, move)
    assert "is taken" in result.detail
    assert int(pair.notes["port"]) != pair.port
    for name in STEPS[1:]:
        await pair.step(name, move)
    (seen,) = await pair.backend.discover(pair.destination)
    assert (seen.address, seen.port) == ("127.0.0.1", int(pair.notes["port"]))


async def test_a_capsule_that_was_changed_on_the_way_is_not_restored(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    move = pair.move(spec)
    for name in BEFORE_COMMIT[:5]:
        await pair.step(name, move)
    Path(pair.notes["destination_capsule"]).write_text("999")
    with pytest.raises(HostError, match="restore: the capsule here is not the one"):
        await pair.step(StepName.RESTORE, move)
    await pair.abort(StepName.RESTORE, move)
    assert await pair.at_source("add") == "1"


async def test_state_that_differs_after_the_restore_is_not_verified(pair: Any) -> None:
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec)
    for name in BEFORE_COMMIT[:-1]:
        await pair.step(name, move)
    (pair.destination_dir / "state" / "count").write_text("4")
    with pytest.raises(HostError, match="verify: the files here have digest"):
        await pair.step(StepName.VERIFY, move)
    await pair.abort(StepName.VERIFY, move)
    assert await pair.at_source("get") == "3"


@pytest.mark.parametrize("last", [StepName.CAPTURE, StepName.VERIFY])
async def test_the_source_serves_though_the_destination_is_lost_before_the_commit(pair: Any, last: StepName) -> None:
    """A copy that may run somewhere is worth an error; scratch files are not."""
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec)
    for name in BEFORE_COMMIT[: BEFORE_COMMIT.index(last) + 1]:
        await pair.step(name, move)
    lost = pair.destination
    await lost.aclose()
    if last is StepName.VERIFY:
        with pytest.raises(HostUnreachable, match="b: "):
            await pair.abort(last, move)
    else:
        await pair.abort(last, move)
    assert await pair.at_source("add") == "4"
    await lost.connect()


async def test_a_move_to_a_host_that_was_never_reached_is_taken_back(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    move, lost = pair.move(spec), pair.destination
    await lost.aclose()
    with pytest.raises(HostUnreachable, match="b: "):
        await pair.step(StepName.PREPARE, move)
    with pytest.raises(HostUnreachable, match="b: "):
        await pair.abort(StepName.PREPARE, move)
    assert await pair.at_source("add") == "1"
    await lost.connect()
    await pair.abort(StepName.PREPARE, move)


async def test_files_of_every_kind_of_name_move(pair: Any) -> None:
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    state = pair.source_dir / "state"
    (state / "deep" / "er").mkdir(parents=True)
    (state / "deep" / "it's\na 'name' $(x)").write_bytes(b"\x00\xff")
    (state / "empty").mkdir()
    (state / "link").symlink_to("count")
    move = pair.move(spec)
    for name in STEPS:
        await pair.step(name, move)
    moved = pair.destination_dir / "state"
    assert (moved / "deep" / "it's\na 'name' $(x)").read_bytes() == b"\x00\xff"
    assert (moved / "empty").is_dir()
    assert (moved / "link").readlink() == Path("count")


@both_drivers
@pytest.mark.parametrize("last", [StepName.FREEZE, StepName.CAPTURE, StepName.VERIFY])
async def test_an_abort_brings_back_a_source_that_died(pair: Any, driver: str, last: StepName) -> None:
    """S2.27: with what the capsule holds, if there is one; users do not wait for a person."""
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    assert await pair.at_source("add 6") == "6"
    move, done = pair.move(spec), STEPS[: STEPS.index(last) + 1]
    for name in done:
        await pair.step(name, move)
    (seen,) = await pair.backend.discover(pair.source)
    kill(seen.pid, group=True)
    await pair.abort(StepName.FREEZE, move)
    for name in reversed(done):
        await pair.abort(name, move)
    kept = driver == "restart" or last is not StepName.FREEZE  # what is in memory alone dies with its process
    assert await pair.at_source("add") == ("7" if kept else "1")
    shard, token, pid = (await pair.at_source("who")).split()
    assert (shard, token) == ("tally.0", "7")
    assert int(pid) != seen.pid
    assert await pair.backend.discover(pair.destination) == ()
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "loaded", "log", "undone", "pid", "state"}


async def test_keys_are_put_beside_what_a_process_has_or_not_at_all(pair: Any) -> None:
    """S1.21 S2.27: who takes keys where it is and died meanwhile would be made anew with those keys only."""
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    here = replace(pair, destination=pair.source, destination_dir=pair.source_dir, destination_address="127.0.0.1")
    move = here.move(spec, new_token=7)
    await here.step(StepName.PREPARE, move)
    (pair.source_dir / f"capsule.{move.key}").write_bytes(b"41")
    here.notes["digest"] = hashlib.sha256(b"41").hexdigest()
    await here.step(StepName.RESTORE, move)
    assert await pair.at_source("get") == "41"
    kept = pair.source_dir / "state" / "kept"
    kept.write_text("mine")
    (seen,) = await pair.backend.discover(pair.source)
    kill(seen.pid)
    with pytest.raises(HostError, match="dead"):
        await here.step(StepName.RESTORE, move)
    assert kept.read_text() == "mine"
