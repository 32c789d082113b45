"""The supervisor of a pool, with real processes: life of an instance, hand-over, refusals, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidestep.backends.pool.client import PoolHost
from sidestep.backends.ssh.base import Completed
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label
from sidestep.fleet.pools import PoolSpec

SERVICE = """
import threading
def activate(context):
    context.count = int(context.state or b"0")
def save(context):
    return str(context.count).encode()
def serve(listener, context):
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, context.request():
            peer.recv(9)
            context.count += 1
            peer.sendall(b"%s %d" % (context.tenant.encode(), context.count))
"""


class Here:
    """A transport to this machine: its shell, without SSH in between."""

    host = "here"

    def __init__(self, home: Path) -> None:
        self._env = {**os.environ, "HOME": str(home)}

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._env
        )
        out, err = await process.communicate(stdin)
        return Completed(process.returncode or 0, out, err)

    async def open(self, command: str) -> Line:
        return Line(
            await asyncio.create_subprocess_exec("/bin/sh", "-c", command, stdin=PIPE, stdout=PIPE, env=self._env)
        )

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        Path(path).write_bytes(b"".join([chunk async for chunk in chunks]))
        return ""


class Line:
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout

    async def readline(self, limit: int = 0) -> bytes:
        return await self._out.readline()

    async def write(self, data: bytes) -> None:
        self._in.write(data)

    async def aclose(self) -> None:
        self._in.close()
        await self._process.wait()


def free(count: int) -> int:
    return 30000 + os.getpid() * 7 % 9000 + count


def spec(folder: Path, **changes: object) -> PoolSpec:
    known = {"name": Label("p"), "apps": (Label("a"),), "hosts": (Label("here"),), "max": 4, "drain_deadline": 1.0}
    python = {"service": "counting", "path": str(folder), "python": sys.executable}
    return PoolSpec(**{**known, **(python if "kind" not in changes else {"python": sys.executable}), **changes})  # type: ignore[arg-type]


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"?")
    said = await reader.read()
    writer.close()
    return said


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_an_instance_serves_hands_over_and_is_never_handed_on_dirty(tmp_path: Path) -> None:
    """S4.2, S4.7, S4.11, S4.14, S4.24"""
    (tmp_path / "counting.py").write_text(SERVICE)
    here = Here(tmp_path)
    host = PoolHost("f", spec(tmp_path), here, "127.0.0.1", 2)  # type: ignore[arg-type]
    first = await host.warm("i1", free(1))
    assert first.state == "ready"
    assert Path(f"/proc/{first.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it is not frozen"
    await host.activate("i1", "a")
    assert (await host.activate("i1", "a"))[0].pid == first.pid, "the same order again is the same instance"
    assert [await ask(free(1)), await ask(free(1))] == [b"a 1", b"a 2"]
    for again in (host.warm("i1", free(1)), host.activate("i1", "b")):
        with pytest.raises(HostError):
            await again
    saved = (await host.drain("i1")).saved
    assert (await host.scrub("i1")).state == "gone"
    assert not alive(first.pid)
    await host.warm("i2", free(2))
    await host.activate("i2", "a", saved[:2])
    assert await ask(free(2)) == b"a 3"

    older = PoolHost("f", spec(tmp_path), here, "127.0.0.1", 1)  # type: ignore[arg-type]
    with pytest.raises(HostError, match="epoch 1 is over"):
        await older.end("i2")
    await older.aclose()

    assert (await host.cold("i3", free(3))).state == "cold"
    woken = await host.warm("i3", free(3))
    parent = int(Path(f"/proc/{woken.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert "supervisor.py" in Path(f"/proc/{parent}/cmdline").read_text(), "a cold instance is no fork of the zygote"
    running = [each.pid for each in await host.instances()]
    os.kill(parent, signal.SIGKILL)
    async with asyncio.timeout(30):
        while any(map(alive, running)):  # frozen ones, too
            await asyncio.sleep(0.05)
    assert await host.instances() == ()
    await host.retire()


async def test_a_command_is_scrubbed_for_the_next_tenant_or_ended(tmp_path: Path) -> None:
    """S4.11"""
    wanted = {"kind": "command", "start": "exec sleep 1000", "drain": "true", "activate": 'echo $TENANT > "$STATE/x"'}
    scrubbing = spec(tmp_path, **wanted, scrub='rm "$STATE/x"')
    host = PoolHost("f", scrubbing, Here(tmp_path), "127.0.0.1", 1)  # type: ignore[arg-type]
    for _ in range(2):
        await host.warm("i1", 1)
        await host.activate("i1", "a")
        await host.drain("i1")
        seen = await host.scrub("i1")
        assert (seen.state, seen.dirty, seen.tenant) == ("ready", False, "")
    await host.activate("i1", "a")
    (folder,) = (tmp_path / ".local/state/sidestep/pools/f/p").glob("i1")
    (folder / "x").unlink()  # so that the scrub fails
    await host.drain("i1")
    assert (await host.scrub("i1")).state == "gone"
    with pytest.raises(HostError, match=r"Syntax error|syntax error"):
        broken = PoolHost("g", spec(tmp_path, kind="command", start="if"), Here(tmp_path), "", 1)  # type: ignore[arg-type]
        try:
            await broken.cold("i1", 1)
        finally:
            await broken.retire()
    await host.retire()


async def test_a_python_that_cannot_supervise_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    """S4.2: at once, with the end of the log; Debian's python3-minimal is such a one."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "asyncio.py").write_text("raise ImportError('no module \"asyncio\"')")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/broken exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    host = PoolHost("f", spec(tmp_path, python=str(python)), Here(tmp_path), "127.0.0.1", 1)  # type: ignore[arg-type]
    with pytest.raises(HostError, match="ended with status 1: ImportError: no module 'asyncio'") as raised:
        await host.instances()
    assert "python3-minimal" in raised.value.hint
    await host.aclose()
