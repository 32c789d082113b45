"""An embedded fleet of two hosts without shards, its fleet file, and a daemon over it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

# The service manager's double is shared with the tests of the notifier.
if (shared := str(Path(__file__).parents[1] / "autopilot")) not in sys.path:
    sys.path.append(shared)

from manager_doubles import Manager

from sidestep.backends.embedded import EmbeddedFleet

__all__ = ["DEADLINE", "Manager", "Operated", "free_port", "until"]

DEADLINE = 30.0


class Operated:
    def __init__(self, folder: Path) -> None:
        self.folder, self.socket, self.file = folder, folder / "d.sock", folder / "fleet.toml"
        self.hosts = EmbeddedFleet(folder / "fleet", names=("a", "b"), cpu=2.0, memory=2 << 30)
        self.daemons: list[Process] = []

    async def open(self) -> None:
        await self.hosts.start()
        self.write()

    async def close(self) -> None:
        for process in self.daemons:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await self.hosts.stop()

    def write(self, *, fleet: str = "", policy: str = "", host: str = "", more: str = "") -> None:
        """The fleet file; every argument is more lines of that table, ``more`` whole tables."""
        lines = [
            "[fleet]", 'name = "test"', "interval = 0.2", fleet,
            "[ssh]", f'known_hosts = "{self.hosts.known_hosts}"', f'identity = "{self.hosts.identity}"',
            "[policy]", policy, "[oracle]", "enabled = false", "min_steps = 2",
        ]  # fmt: skip
        for each in self.hosts.hosts:
            lines += [f"[hosts.{each.name}]", f'address = "{each.address}"', f"port = {each.port}"]
            lines += [f'user = "{each.user}"', "cpu = 2", 'memory = "2G"', host if each.name == "a" else ""]
        self.file.write_text("\n".join([*lines, more]) + "\n")

    async def daemon(self, *options: str, **environ: str) -> Process:
        """A daemon that says it is ready."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.file), "--socket", str(self.socket),
                "--state", str(self.folder / "state"), *options, stdout=PIPE, stderr=log,
                env={**os.environ, **environ},
            )  # fmt: skip
        self.daemons.append(process)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        assert line.startswith(b"ready"), self.said()
        return process

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
