"""Starts the embedded fleet and a daemon on it, each as processes of their own, and stops them.

Whatever ends the stage, also a crash of its owner, ends them too: the fleet lives until
its standard input closes, and the daemon is told before.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

from sidestep.autopilot.client import AsyncClient
from sidestep.backends.routing.client import UnixRouter
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import scrub

START_DEADLINE = 60.0
STOP_DEADLINE = 15.0
Report = Callable[[str], None]


class Stage:
    """One embedded fleet with one daemon; an async context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: int,
        shards: int,
        seed: int,
        endless: bool = False,
        report: Report = lambda _: None,
    ) -> None:
        self.folder, self.socket = folder, folder / "daemon.sock"
        self.fleet_file = folder / "fleet.toml"
        self._arguments = ["--hosts", str(hosts), "--shards", str(shards), "--seed", str(seed)]
        self._arguments += ["--endless"] if endless else []
        self._report = report
        self._processes: list[Process] = []
        self._router_path = ""
        self._hosts: Process | None = None

    async def __aenter__(self) -> Stage:
        try:
            await asyncio.wait_for(self._start(), START_DEADLINE)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def attach(self) -> AsyncClient:
        """A connection to the stage's daemon."""
        return await AsyncClient.connect(self.socket)

    def router(self) -> UnixRouter:
        """A connection to the stage's router."""
        return UnixRouter(self._router_path)

    async def order(self, **command: str) -> None:
        """Tell the fleet to kill, cut, heal or revive a host: ``order(cut="h2")``."""
        if self._hosts is None or self._hosts.stdin is None:
            raise SidestepError("the embedded fleet does not run")
        self._hosts.stdin.write(msgspec.json.encode(command) + b"\n")
        await self._hosts.stdin.drain()

    async def _start(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._report("starting the hosts")
        self._hosts = await self._spawn(
            "fleet", "sidestep.backends.embedded", "--dir", str(self.folder), *self._arguments
        )
        ready = msgspec.json.decode(await self._line(self._hosts, "fleet", b"{"), type=dict[str, object])
        self.fleet_file, self._router_path = Path(str(ready["fleet"])), str(ready["router"])
        self._report("starting the shards")
        arguments = [
            "--fleet",
            str(self.fleet_file),
            "--socket",
            str(self.socket),
            "--state",
            str(self.folder / "state"),
        ]
        daemon = await self._spawn("daemon", "sidestep.autopilot", *arguments, "--level", "advise", "--log", "text")
        await self._line(daemon, "daemon", b"ready")
        self._report("ready")

    async def _spawn(self, name: str, module: str, *arguments: str) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                stdin=PIPE if name == "fleet" else DEVNULL, stdout=PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    async def _line(self, process: Process, name: str, start: bytes) -> bytes:
        """The first line that begins with ``start``. Raises SidestepError with the log's tail if it ends before."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line.startswith(start):
                return line
        tail = (self.folder / f"{name}.log").read_bytes()[-800:]
        raise SidestepError(f"the demo's {name} ended with exit code {await process.wait()}; log: {scrub(tail, 800)}")

    async def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.returncode is None:
                if process.stdin is not None:
                    process.stdin.close()
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), STOP_DEADLINE)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        self._processes.clear()
