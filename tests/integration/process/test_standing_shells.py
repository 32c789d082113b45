"""S2.29, S3.21: while a shard stands still no session is opened, and nothing depends on what stood ready."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from moving import STEPS, shard_spec

from sidestep.autopilot.bandwidth import Bandwidth
from sidestep.backends.process import ProcessBackend
from sidestep.backends.process.standing import StandingShell
from sidestep.fleet.errors import HostError
from sidestep.fleet.machines import StepName

pytestmark = pytest.mark.openssh
FROZEN = STEPS[STEPS.index(StepName.FREEZE) : STEPS.index(StepName.RESUME) + 1]


def shells(pair: Any) -> list[int]:
    """The shells that stand ready on both hosts."""
    homes = [f"HOME={str(folder).partition('/.local')[0]}\0".encode() for folder in
             (pair.source_dir, pair.destination_dir)]  # fmt: skip
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b'echo "standing $$"' in (entry / "cmdline").read_bytes():
                mine = (entry / "environ").read_bytes()
                found += [int(entry.name)] if any(home in mine for home in homes) else []
        except OSError:
            continue
    return found


async def gone(pair: Any) -> None:
    async with asyncio.timeout(30):
        while shells(pair):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("driver", ["restart", "hook"])
async def test_no_session_is_opened_while_a_shard_stands_still(pair: Any, driver: str, monkeypatch: Any) -> None:
    spec = shard_spec(driver, pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec)
    opened: list[str] = []
    for end in (pair.source, pair.destination):

        def counted(command: str, window: int, end: Any = end, before: Any = end.open_channel) -> Any:
            opened.append(f"{end.host}: {command}")
            return before(command, window)

        monkeypatch.setattr(end, "open_channel", counted)
    for name in STEPS[: STEPS.index(StepName.FREEZE)]:
        await pair.step(name, move)
    assert len(shells(pair)) == 2
    opened.clear()
    for name in FROZEN:
        await pair.step(name, move)
    assert opened == []
    assert await pair.at_destination("add") == "4"
    await gone(pair)


def counted(monkeypatch: Any) -> list[str]:
    """The names of operations that shells are asked for from now on, those that are asked for at once in one line."""
    asked: list[str] = []
    begin = StandingShell._begin

    def counting(shell: StandingShell, program: bytes, give: bytes) -> Any:
        asked.append(" ".join(re.findall(r"^operation_(\w+)", program.decode(), re.MULTILINE)))
        return begin(shell, program, give)

    monkeypatch.setattr(StandingShell, "_begin", counting)
    return asked


async def test_what_follows_one_another_on_a_host_waits_for_no_round_trip(pair: Any, monkeypatch: Any) -> None:
    """Once all but changes is there: three round trips from freeze to resume."""
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    (pair.source_dir / "state" / "ballast").write_bytes(bytes(2 << 20))
    await pair.at_source("add 3")
    move = pair.move(spec)
    asked = counted(monkeypatch)
    for name in STEPS:
        await pair.step(name, move)
    assert asked == ["freeze capture lift", "land restore verify", "resume"]
    assert await pair.at_destination("add") == "4"
    await gone(pair)


async def test_nothing_is_carried_ahead_past_a_limit_of_the_line(pair: Any, monkeypatch: Any) -> None:
    """S2.29: then the capsule goes as every capsule does, no faster than all moves together may."""
    pair.backend.pace = Bandwidth(lambda: 64 << 20)
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    (pair.source_dir / "state" / "ballast").write_bytes(bytes(2 << 20))
    move = pair.move(spec)
    asked = counted(monkeypatch)
    for name in STEPS:
        await pair.step(name, move)
    assert asked == ["freeze capture", "restore", "verify", "resume"]
    assert await pair.at_destination("add") == "1"


@pytest.mark.parametrize("last", [StepName.FREEZE, StepName.CAPTURE, StepName.TRANSFER])
async def test_what_was_done_ahead_is_taken_back_with_the_step_before_it(pair: Any, last: StepName) -> None:
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    (pair.source_dir / "state" / "ballast").write_bytes(bytes(2 << 20))
    pid = (await pair.at_source("who")).split()[2]
    move = pair.move(spec)
    done = STEPS[: STEPS.index(last) + 1]
    for name in done:
        await pair.step(name, move)
    for name in (StepName.FREEZE, *reversed(done)):
        await pair.abort(name, move)
    assert (await pair.at_source("who")).split()[2] == pid
    assert await pair.at_source("add") == "1"
    assert {f.name for f in pair.source_dir.iterdir()} <= {"fence", "log", "pid", "state", "undone"}
    assert {f.name for f in pair.destination_dir.iterdir()} <= {"fence", "log", "undone"}
    await gone(pair)


async def test_a_step_that_is_repeated_while_the_next_is_done_already_is_sent_whole(pair: Any) -> None:
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    (pair.source_dir / "state" / "ballast").write_bytes(bytes(2 << 20))
    await pair.at_source("add 3")
    move = pair.move(spec)
    for name in STEPS:
        first = await pair.step(name, move)
        second = await pair.step(name, move)
        assert first.notes == second.notes, name
    assert await pair.at_destination("add") == "4"


async def test_a_shell_that_is_lost_is_no_harm(pair: Any) -> None:
    """Also one that is lost between two steps: the operations are sent whole."""
    spec = shard_spec("restart", pair.port)
    await pair.start(spec)
    await pair.at_source("add 3")
    move = pair.move(spec)
    for name in STEPS[: STEPS.index(StepName.CAPTURE)]:
        await pair.step(name, move)
    for pid in shells(pair):
        os.kill(pid, signal.SIGKILL)
    for name in STEPS[STEPS.index(StepName.CAPTURE) :]:
        await pair.step(name, move)
    assert await pair.at_destination("add") == "4"


async def test_what_hangs_in_it_is_ended_in_time_and_the_source_serves_again(pair: Any) -> None:
    pair.backend = ProcessBackend("test", timeout=4.0)
    spec = shard_spec("restart", pair.port, quiesce="[ ! -e hang ] || exec sleep 611")
    await pair.start(spec)
    move = pair.move(spec)
    for name in STEPS[: STEPS.index(StepName.FREEZE)]:
        await pair.step(name, move)
    (pair.source_dir / "state" / "hang").touch()
    with pytest.raises(HostError, match="did not end within 4 s and was killed"):
        await pair.step(StepName.FREEZE, move)
    (pair.source_dir / "state" / "hang").unlink()
    await pair.abort(StepName.FREEZE, move)
    assert await pair.at_source("add") == "1"
    await gone(pair)
