"""Commands of actions of plugins beside a real shard: under its token, ended in time, never after they were undone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from moving import kill, shard_spec
from msgspec.structs import replace

from sidestep.backends.base import Actor, Order
from sidestep.fleet.errors import HostError

pytestmark = pytest.mark.openssh

ON, OFF, IS = "date >>on", "rm -f on", "test -s on"


def order(what: str, command: str = "", **changes: Any) -> Order:
    default = {"validate": ":", "do": ON, "undo": OFF, "verify": IS}[what]
    given = {"key": "plan-1", "name": "mark", "command": command or default, "verify": IS, "seconds": 5.0}
    return Order(what=what, **{**given, **changes})  # type: ignore[arg-type]


async def act(pair: Any, what: str, command: str = "", token: int = 7, **changes: Any) -> int | None:
    found: int | None = await pair.backend.act(
        pair.source, shard_spec("hook", pair.port), token, order(what, command, **changes)
    )
    return found


def acting(pair: Any) -> list[Path]:
    return list((pair.source_dir / "act").glob("*")) if (pair.source_dir / "act").exists() else []


async def test_it_is_done_once_is_in_force_and_leaves_nothing_when_taken_back(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    assert isinstance(pair.backend, Actor)
    assert await act(pair, "validate") == 1
    assert [await act(pair, "do") for _ in range(2)] == [0, 0]
    assert await act(pair, "verify") == 0 and len(acting(pair)) == 1
    assert [await act(pair, "undo") for _ in range(2)] == [1, 1]
    assert not acting(pair) and not (pair.source_dir / "acting").exists() and not (pair.source_dir / "lock").exists()
    assert await pair.at_source("add") == "1"


async def test_a_command_knows_its_shard_and_nothing_of_another_folder(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    said = f'test "$SHARD $APP $TOKEN $PORT $ADDRESS" = "tally.0 tally 7 {pair.port} 127.0.0.1" && '
    said += 'test "$(pwd)" = "$KEEP" && case " $PIDS " in *" $PID "*) kill -0 "$PID" ;; *) false ;; esac && ' + ON
    assert await act(pair, "do", said) == 0
    assert not list((pair.source_dir / "state").glob("on"))


@pytest.mark.parametrize("what", ["validate", "do", "verify"])
async def test_another_owner_s_shard_is_not_touched(pair: Any, what: str) -> None:
    """S2.27: an order under another token than the owner's does nothing."""
    await pair.start(shard_spec("hook", pair.port))
    for token in (6, 8):
        with pytest.raises(HostError, match="the shard here has token 7"):
            await act(pair, what, token=token)
    assert not acting(pair)
    assert await act(pair, "do") == 0
    assert await act(pair, "undo", token=6) is None, "what another owner's process has is not ours to undo"
    assert await act(pair, "verify", key="plan-2") == 0


async def test_what_comes_after_it_was_undone_is_refused(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    assert await act(pair, "undo") == 1
    with pytest.raises(HostError, match="taken back here already"):
        await act(pair, "do")
    assert await act(pair, "do", key="plan-2") == 0


async def test_what_does_not_end_is_killed_with_all_that_it_started(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    began = time.monotonic()
    with pytest.raises(HostError, match="did not end in its time, and was killed") as caught:
        await act(pair, "do", "sleep 4321 & echo $! >pid; date >>on; wait", seconds=0.3)
    assert "command: sleep 4321" in str(caught.value) and time.monotonic() - began < 60
    (keep,) = acting(pair)
    child = int((keep / "pid").read_text())
    assert not running(child), "its child lives"
    assert await act(pair, "undo") == 1


async def test_what_it_leaves_in_the_background_ends_with_it(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    assert await act(pair, "do", "sleep 4321 & echo $! >pid; date >>on") == 0
    (keep,) = acting(pair)
    assert not running(int((keep / "pid").read_text()))


async def test_a_command_whose_shell_was_killed_is_ended_before_it_is_undone(pair: Any) -> None:
    """S2.27: nobody goes on with what is being taken back."""
    await pair.start(shard_spec("hook", pair.port))
    task = asyncio.create_task(act(pair, "do", "echo $$ >pid; sleep 4321; date >>on", seconds=60.0))
    holder = pair.source_dir / "lock"
    await until(lambda: bool(acting(pair)) and (acting(pair)[0] / "pid").exists() and holder.is_symlink())
    await until(lambda: (acting(pair)[0] / "pid").read_text().strip() != "")
    child = int((acting(pair)[0] / "pid").read_text())
    kill(int(str(holder.readlink()).split(":")[0]))
    assert running(child)
    assert await act(pair, "undo") == 1
    assert not running(child)
    with pytest.raises(HostError):
        await task


async def test_it_is_undone_where_the_shard_is_dead_and_brought_into_force_nowhere(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    assert await act(pair, "do") == 0
    (seen,) = await pair.backend.discover(pair.source)
    kill(seen.pid)
    await until(lambda: not running(seen.pid))
    assert await act(pair, "undo", ON, lift=True) is None
    with pytest.raises(HostError, match="is dead"):
        await act(pair, "do", key="plan-2")
    assert await act(pair, "undo", 'test "$PID" = 0 && rm -f on') == 1
    assert not acting(pair)


async def test_what_an_older_process_had_says_nothing_of_a_new_one(pair: Any) -> None:
    spec = shard_spec("hook", pair.port)
    await pair.start(spec)
    assert await act(pair, "do") == 0
    (seen,) = await pair.backend.discover(pair.source)
    kill(seen.pid)
    await until(lambda: not running(seen.pid))
    await pair.start(spec)
    assert await act(pair, "validate", key="plan-2") == 1
    assert not acting(pair), "what the old one kept is gone"


async def test_a_lift_is_the_same_the_other_way_round(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    assert await act(pair, "do") == 0
    assert await act(pair, "do", OFF, key="plan-2", lift=True) == 1
    assert not acting(pair)
    assert await act(pair, "undo", ON, key="plan-2", lift=True) == 0


async def test_a_command_that_fails_is_told_with_what_it_said(pair: Any) -> None:
    await pair.start(shard_spec("hook", pair.port))
    with pytest.raises(HostError, match="ended with status 3; command: echo no cores; exit 3; log: no cores"):
        await act(pair, "do", "echo no cores; exit 3")
    assert await act(pair, "verify", verify="exit 7") == 7
    odd = replace(order("do"), name="a/b")
    with pytest.raises(HostError, match="cannot name a folder"):
        await pair.backend.act(pair.source, shard_spec("hook", pair.port), 7, odd)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def until(so: Any) -> None:
    async with asyncio.timeout(30):
        while not so():
            await asyncio.sleep(0.02)
