"""Where a console gets its daemon from: attach to one, start one, or start the demo.

A session opens once and says what it does while it does; closing it ends what it started
and nothing else. Paths and ports go to children, secrets never do.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from sidestep.autopilot.client import AsyncClient
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import scrub

Say = Callable[[str], None]
#: seconds that a daemon may take until it answers, and that it may take to end
START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 15.0
_POLL: Final = 0.1


class Session(Protocol):
    """Something that leads to a daemon's socket."""

    #: what the top line says about it, such as "started here"; "" for nothing
    note: str

    async def open(self, say: Say) -> Path:
        """The socket to attach to. Raises SidestepError."""
        ...

    async def close(self) -> None:
        """End what ``open`` started."""
        ...


class Attached:
    """A daemon that somebody else runs."""

    note = ""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def open(self, say: Say) -> Path:
        """The path, at once."""
        say(f"attaching to {self.path}")
        return self.path

    async def close(self) -> None:
        """Nothing was started."""


class OwnDaemon:
    """A daemon of the console's own, in automation level advise; it ends with the console."""

    note = "own daemon"

    def __init__(self, fleet_file: Path, socket: Path, arguments: Sequence[str] = ()) -> None:
        self.socket = socket
        self._command = [sys.executable, "-m", "sidestep.autopilot", "--fleet", str(fleet_file), "--level", "advise"]
        self._command += ["--log", "text", *arguments]
        self._child: _Child | None = None

    async def open(self, say: Say) -> Path:
        """Start the daemon and wait until its socket is there."""
        say("no daemon runs: starting one in level advise; it ends with this console")
        self._child = await _Child.start(self._command)
        async with asyncio.timeout(START_DEADLINE):
            while not await _answers(self.socket):
                if self._child.ended():
                    raise await self._child.failure("the daemon ended at once")
                await asyncio.sleep(_POLL)
        say("the daemon answers")
        return self.socket

    async def close(self) -> None:
        """Ask the daemon to end and wait for it."""
        if self._child is not None:
            await self._child.stop(first=Process.terminate)


async def _answers(path: Path) -> bool:
    """Whether a daemon greets at that socket; a file that a dead one left behind is not enough."""
    try:
        client = await AsyncClient.connect(path, name="console")
    except SidestepError:
        return False
    await client.aclose()
    return True


class Demo:
    """The embedded fleet of this machine and its daemon, as one child."""

    note = "demo"

    def __init__(self, hosts: int, shards: int, seed: int, module: str = "sidestep.autopilot.demo") -> None:
        self._arguments = ["--hosts", str(hosts), "--shards", str(shards), "--seed", str(seed)]
        self._module = module
        self._folder: Path | None = None
        self._child: _Child | None = None

    async def open(self, say: Say) -> Path:
        """Start the child, pass on what it says, and return the socket that it names."""
        say("starting a live fleet on this machine")
        self._folder = Path(tempfile.mkdtemp(prefix="sidestep-"))
        command = [sys.executable, "-m", self._module, "--dir", str(self._folder), *self._arguments]
        self._child = await _Child.start(command, listen=True)
        async with asyncio.timeout(START_DEADLINE * 2):
            async for message in self._child.messages():
                if message.get("ready"):
                    return Path(str(message["socket"]))
                say(str(message.get("phase", "")))
        raise await self._child.failure("the demo ended before it was ready")

    async def close(self) -> None:
        """Close the child's input, wait for it, and remove its folder."""
        if self._child is not None:
            await self._child.stop(first=lambda _: None)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


async def child(command: list[str]) -> _Child:
    """Start a process that says how far it is on its standard output, and ends when its input does."""
    return await _Child.start(command, listen=True)


class _Child:
    """A process of ours: its standard input is held open for as long as it shall live."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process, self._log = process, log

    @classmethod
    async def start(cls, command: list[str], *, listen: bool = False) -> _Child:
        with tempfile.NamedTemporaryFile(prefix="sidestep-", suffix=".log", delete=False) as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE if listen else DEVNULL, stderr=log, start_new_session=True
            )
        return cls(process, Path(log.name))

    def ended(self) -> bool:
        return self._process.returncode is not None

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        assert self._process.stdout is not None
        async for row in self._process.stdout:
            try:
                yield msgspec.json.decode(row, type=dict[str, Any])
            except msgspec.DecodeError:
                yield {"phase": scrub(row.strip())}

    async def failure(self, what: str) -> SidestepError:
        """What to raise when the child is gone: its code and the end of what it wrote."""
        code = await self._process.wait()
        tail = self._log.read_text(errors="replace").strip()[-600:] if self._log.exists() else ""
        return SidestepError(f"{what} (exit {code}): {' '.join(tail.split()) or 'it said nothing'}")

    async def stop(self, *, first: Callable[[Process], None]) -> None:
        """Close its input and do ``first``; then TERM, then KILL, each with a deadline. Its log goes too."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        drain = asyncio.create_task(self._drain())
        for end in (first, Process.terminate, Process.kill):
            with contextlib.suppress(ProcessLookupError):
                end(self._process)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_DEADLINE)
                break
        drain.cancel()
        self._log.unlink(missing_ok=True)

    async def _drain(self) -> None:
        """Read on, so that a child that still talks is not blocked by a full pipe."""
        while self._process.stdout is not None and await self._process.stdout.read(65536):
            pass
