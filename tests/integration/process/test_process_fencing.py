"""Starting, stopping and fencing of process groups on one real host."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from moving import Elsewhere, kill, shard_spec

from sidestep.backends.base import Backend
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState

pytestmark = pytest.mark.openssh


async def test_it_is_a_backend_and_is_found_by_its_entry_point(pair: Any) -> None:
    from importlib.metadata import entry_points

    (found,) = (e for e in entry_points(group="sidestep.backends") if e.name == "process")
    assert isinstance(pair.backend, found.load())
    assert isinstance(pair.backend, Backend)


async def test_an_older_token_is_refused(pair: Any) -> None:
    """S2.27: a lower fencing token than one seen before cannot start the shard."""
    spec = shard_spec("hook", pair.port)
    await pair.start(spec, token=7)
    await pair.backend.stop(pair.source, spec, 9)
    with pytest.raises(HostError, match="fenced: token 8 is older than 9"):
        await pair.start(spec, token=8)
    await pair.start(spec, token=9)
    assert (await pair.at_source("who")).split()[1] == "9"


async def test_a_running_shard_is_not_started_again_under_another_token(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec, token=7)
    with pytest.raises(HostError, match="already runs here with token 7"):
        await pair.start(spec, token=8)
    assert (await pair.at_source("who")).split()[1] == "7"


async def test_a_shard_with_a_newer_token_is_not_stopped(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec, token=7)
    with pytest.raises(HostError, match="newer token 7"):
        await pair.backend.stop(pair.source, spec, 6)
    assert await pair.at_source("add") == "1"


async def test_two_starts_at_once_start_one_process(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    seen = await asyncio.gather(*(pair.backend.start(pair.source, spec, 7, "127.0.0.1") for _ in range(4)))
    assert len({(s.pid, s.started) for s in seen}) == 1


async def test_a_pid_used_by_another_process_is_not_taken_for_the_shard(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        (pair.source_dir / "pid").rename(pair.source_dir / "was")
        (pair.source_dir / "pid").write_text(f"{stranger.pid} 1 7 {pair.port} 127.0.0.1\n")
        (seen,) = await pair.backend.discover(pair.source)
        assert seen.state is ShardState.FAILED
        await pair.backend.stop(pair.source, spec, 7)
        assert stranger.returncode is None
        os.kill(stranger.pid, 0)
    finally:
        stranger.kill()
        await stranger.wait()
        (pair.source_dir / "was").rename(pair.source_dir / "pid")


async def test_a_stop_ends_the_whole_group_even_when_its_leader_is_gone(pair: Any, tmp_path: Path) -> None:
    child = tmp_path / "child"
    spec = shard_spec("restart", 0, start=f"sleep 600 & echo $! > {child}; exec sleep 600", ready="")
    await pair.start(spec)
    (seen,) = await pair.backend.discover(pair.source)
    kill(seen.pid)
    await pair.backend.stop(pair.source, spec, 7)
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


async def test_a_start_that_fails_tells_command_and_log_and_leaves_nothing(pair: Any) -> None:
    spec = shard_spec("restart", 0, start="echo it is broken >&2; exit 3", ready="")
    with pytest.raises(HostError) as caught:
        await pair.start(spec)
    assert (caught.value.host, caught.value.step) == ("a", "start")
    assert "it is broken" in caught.value.tail
    assert "exit 3" in caught.value.command
    (seen,) = (*await pair.backend.discover(pair.source), None)[:1]
    assert seen is None or seen.state is ShardState.FAILED


async def test_a_shard_that_never_becomes_ready_is_stopped_again(pair: Any) -> None:
    """S3.21: activation is gated by health."""
    from sidestep.backends.process import ProcessBackend

    hasty = ProcessBackend("test", patience=1)
    spec = shard_spec("restart", 0, start="exec sleep 600", ready="echo not yet >&2; false")
    with pytest.raises(HostError, match=r"start: ready did not succeed within 1 s; command: echo not yet.*not yet"):
        await hasty.start(pair.source, spec, 7, "127.0.0.1")
    assert await pair.backend.discover(pair.source) == ()


async def test_commands_see_their_environment_and_are_never_expanded_by_us(pair: Any, tmp_path: Path) -> None:
    out = tmp_path / 'it\'s $(here) `x` "y"\nz'
    quoted = "'" + str(out).replace("'", "'\\''") + "'"
    start = f"""printf '%s|' "$SHARD" "$TOKEN" "$PORT" "$ADDRESS" "$STATE" '$HOME' "it's" > {quoted}; exec sleep 600"""
    spec = shard_spec("restart", 4242, start=start, ready=f"test -s {quoted}")
    await pair.backend.start(pair.source, spec, 7, "127.0.0.1")
    state = str(pair.source_dir / "state")
    assert out.read_text() == f"tally.0|7|4242|127.0.0.1|{state}|$HOME|it's|"


@pytest.mark.parametrize("name", ["../x", "a b", "$(x)", "", "-rf", "a/b", ".", "..", "a\nb"])
async def test_a_shard_name_that_is_no_folder_name_is_refused(pair: Any, name: str) -> None:
    spec = ShardSpec(name=Label(name), app=Label("x"), host=Label("a"), start="true")
    with pytest.raises(HostError, match="cannot name a folder"):
        await pair.start(spec)


async def test_an_address_that_is_none_is_refused(pair: Any) -> None:
    with pytest.raises(HostError, match="cannot be an address"):
        await pair.backend.start(pair.source, shard_spec("hook", pair.port), 7, "127.0.0.1; touch x")


async def test_a_damaged_pid_file_is_reported_and_never_acted_on(pair: Any) -> None:
    pair.source_dir.mkdir(parents=True)
    (pair.source_dir / "pid").write_text("-1 $(touch x) 7\n")
    (seen,) = await pair.backend.discover(pair.source)
    assert (seen.state, seen.detail) == (ShardState.FAILED, "pid file is damaged")
    with pytest.raises(HostError, match=r"pid is damaged: remove it"):
        await pair.backend.stop(pair.source, shard_spec("restart", 0), 7)
    (pair.source_dir / "pid").unlink()


async def test_a_lock_of_a_dead_operation_does_not_block_the_next(pair: Any) -> None:
    pair.source_dir.mkdir(parents=True)
    (pair.source_dir / "lock").symlink_to("999999:1")
    await pair.start(shard_spec("hook", pair.port))
    assert not (pair.source_dir / "lock").is_symlink()
    assert await pair.at_source("add") == "1"


def with_ln(pair: Any, script: str) -> None:
    """What is run at the source finds this as its ``ln``."""
    tool = pair.source_dir.parents[4] / "bin"
    tool.mkdir()
    (tool / "ln").write_text(f"#!/bin/sh\n{script}\n")
    (tool / "ln").chmod(0o755)
    pair.source = Elsewhere(pair.source, f"PATH={tool}:$PATH")


async def test_a_folder_that_is_removed_while_its_lock_is_taken_is_made_again(pair: Any) -> None:
    once = pair.source_dir.parents[4] / "once"
    with_ln(pair, f'[ -e {once} ] || {{ : >{once}; rm -rf {pair.source_dir}; }}\nexec /bin/ln "$@"')
    await pair.backend.stop(pair.source, shard_spec("restart", 0), 7)
    assert once.exists() and (pair.source_dir / "fence").read_text() == "7\n"
    assert not (pair.source_dir / "lock").is_symlink()


@pytest.mark.parametrize("stale", [False, True])
async def test_a_disk_that_takes_no_more_names_is_said_and_not_tried_for_ever(pair: Any, stale: bool) -> None:
    with_ln(pair, "echo Read-only file system >&2; exit 1")
    mv = pair.source_dir.parents[4] / "bin" / "mv"
    mv.symlink_to("ln")
    if stale:
        pair.source_dir.mkdir(parents=True)
        (pair.source_dir / "lock").symlink_to("999999:1")
    with pytest.raises(HostError, match=r"cannot take \S+/lock: Read-only file system"):
        await pair.backend.stop(pair.source, shard_spec("restart", 0), 7)


async def test_nothing_but_the_shards_folder_is_left_on_the_host(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    home = pair.source_dir.parents[4]
    assert {str(f.relative_to(home)) for f in home.rglob("*") if f.is_file()} == {
        f".local/state/sidestep/test/tally.0/{name}" for name in ("pid", "fence", "log")
    }
