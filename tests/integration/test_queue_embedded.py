"""On real hosts: a less important shard gives way, keeps its state, and comes back with it once there is room."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shlex import quote

import pytest
from operated import DEADLINE, Operated, free_port

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import GetSnapshot, SnapshotFrame, shard_states
from sidestep.autopilot.protocol_queue import ListQueue, QueueRow, QueueView
from sidestep.console.headless.queue import show

pytestmark = pytest.mark.fleet

TALLY = f"exec {quote(sys.executable)} -I -S {quote(str(Path(__file__).parent / 'process' / 'tally.py'))}"


class Crowded(Operated):
    """Host a has storage for one of two shards; host b takes nothing until it is said to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self.closed = free_port(), True

    def write(self, **_: str) -> None:
        lines = [
            "[fleet]", 'name = "test"', "interval = 0.2", 'level = "full"',
            "[ssh]", f'known_hosts = "{self.hosts.known_hosts}"', f'identity = "{self.hosts.identity}"',
            "[policy]", 'kinds = ["migrate", "preempt", "place"]', "settle = 0.5", "observe = 0",
            "[oracle]", "enabled = false", "min_steps = 2",
        ]  # fmt: skip
        for each in self.hosts.hosts:
            lines += [f"[hosts.{each.name}]", f'address = "{each.address}"', f"port = {each.port}"]
            lines += [f'user = "{each.user}"', "cpu = 2", 'memory = "2G"', 'disk = "10G"']
            lines += ["cordoned = true"] if each.name == "b" and self.closed else []
        lines += ["[shards.low]", 'app = "tally"', 'host = "a"', 'driver = "hook"', f"port = {self.port}"]
        lines += [
            "priority = 5",
            'disk = "6G"',
            f'start = """{TALLY} serve --closed"""',
            f'ready = """{TALLY} ready"""',
        ]
        lines += [f'{verb} = """{TALLY} {verb}"""' for verb in ("save", "load", "quiesce", "resume")]
        lines += ["[shards.high]", 'app = "sleep"', 'host = "a"', "queued = true", "priority = 1", 'disk = "6G"']
        lines += ["limit_cpu = 0.5", 'limit_memory = "64M"', 'start = "exec sleep 1000"']
        self.file.write_text("\n".join(lines) + "\n")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Crowded]:
    stage = Crowded(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def ask(stage: Crowded, host: int, text: str) -> str:
    reader, writer = await asyncio.open_connection(stage.hosts.hosts[host].address, stage.port)
    writer.write(text.encode() + b"\n")
    line = await reader.readline()
    writer.close()
    return line.decode().strip()


async def picture(client: AsyncClient, condition: Callable[[SnapshotFrame], bool]) -> SnapshotFrame:
    async with asyncio.timeout(DEADLINE):
        async for frame in client.subscribe(20):
            if condition(frame):
                return frame
    raise AssertionError("unreachable")


async def queue(client: AsyncClient) -> tuple[QueueRow, ...]:
    view = await client.call(ListQueue())
    assert isinstance(view, QueueView)
    return view.rows


async def reload(stage: Crowded, process: Process, *, closed: bool) -> None:
    stage.closed = closed
    stage.write()
    process.send_signal(signal.SIGHUP)


async def test_a_shard_gives_way_and_comes_back_with_its_state(
    stage: Crowded, capsys: pytest.CaptureFixture[str]
) -> None:
    """S5.10, S5.16-S5.20: queued, preempted, captured, resumed elsewhere; without a person."""
    process = await stage.daemon("--level", "advise")
    client = await AsyncClient.connect(stage.socket)
    first = await picture(client, lambda f: shard_states(f) == ("RUNNING", "PENDING"))
    assert [s.name for s in first.shards] == ["low", "high"]
    assert await ask(stage, 0, "add 41") == "41"
    assert [row.shard for row in await queue(client)] == ["high"]
    await client.aclose()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0

    process = await stage.daemon()  # level full: the same queue, and nobody has to approve
    client = await AsyncClient.connect(stage.socket)
    await picture(client, lambda f: shard_states(f) == ("STOPPED", "RUNNING"))
    with pytest.raises(OSError):
        await ask(stage, 0, "get")
    async with asyncio.timeout(DEADLINE):
        while not ((rows := await queue(client)) and rows[0].looked and rows[0].reason.code != "SETTLING"):
            await asyncio.sleep(0.1)
    (low,) = rows
    assert (low.shard, low.cause, low.host, low.reason.code) == ("low", "preempted", "a", "NO_VICTIM")
    assert low.bytes > 0 and low.cpu > 0 and low.memory > 0 and len(low.digest) == 64
    assert {one.host: one.reason.code for one in low.reasons} == {"": "NO_VICTIM", "a": "NO_ROOM", "b": "CORDONED"}

    capsys.readouterr()
    assert await asyncio.to_thread(show, stage.socket, shard="", as_json=False) == 0
    said = capsys.readouterr().out
    assert "NO_VICTIM" in said and "3 on a" in said and "CORDONED" in said, said
    assert await asyncio.to_thread(show, stage.socket, shard="high", as_json=False) == 1
    assert capsys.readouterr().out == "high does not wait\n"

    await reload(stage, process, closed=False)
    back = await picture(client, lambda f: shard_states(f) == ("RUNNING", "RUNNING"))
    assert back.shard_host == b"\x01\x00\x00\x00" + b"\x00\x00\x00\x00"
    assert await ask(stage, 1, "add") == "42"
    assert await queue(client) == ()
    assert isinstance(await client.call(GetSnapshot()), SnapshotFrame)
    await client.aclose()
