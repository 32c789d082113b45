"""A daemon as a benchmark has it: started, asked, told to carry out plans; and one HTTP request, read to its end."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import Approve, Body, GetPlan, PlanView
from sidestep.fleet.machines import PLAN, PlanState, final

#: seconds for anything that a stage waits for
PATIENCE: Final = 120.0


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> str:
    """The status of one request; its whole answer is read."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: kv\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    size = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
    await reader.readexactly(size)
    return lines[0].split()[1]


class Controller:
    """A daemon by its folder: ``fleet.toml`` is there before it is started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "d.sock"
        self.daemon: asyncio.subprocess.Process | None = None

    async def start_daemon(self, fault: str = "", level: str = "off") -> None:
        """A daemon that serves."""
        environment = {**os.environ, "SIDESTEP_FAULT": fault} if fault else dict(os.environ)
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.folder / "fleet.toml"),
                "--socket", str(self.socket), "--state", str(self.folder / "state"), "--level", level,
                stdout=asyncio.subprocess.PIPE, stderr=log, env=environment,
            )  # fmt: skip
        assert self.daemon.stdout is not None
        line = await asyncio.wait_for(self.daemon.stdout.readline(), PATIENCE)
        if not line.startswith(b"ready"):
            raise RuntimeError((self.folder / "daemon.log").read_text()[-3000:])

    async def kill_daemon(self) -> None:
        """Without a word."""
        assert self.daemon is not None
        with suppress(ProcessLookupError):
            self.daemon.kill()
        await self.daemon.wait()

    async def stop_daemon(self) -> None:
        """End it in good order."""
        if self.daemon is not None and self.daemon.returncode is None:
            self.daemon.terminate()
            await self.daemon.wait()

    async def call(self, body: Body) -> Any:
        """Ask the daemon."""
        return await asyncio.to_thread(self._call, body)

    def _call(self, body: Body) -> Any:
        with Client.connect(self.socket) as client:
            return client.call(body)

    async def plan(self, propose: Callable[[], Awaitable[PlanView]]) -> PlanView:
        """Propose, approve, and wait for the end; the daemon may need its first samples. Raises RuntimeError."""
        view = await self.propose(propose)
        await self.call(Approve(view.digest, "the stage approves"))
        return await self.ended(view.digest)

    async def propose(self, propose: Callable[[], Awaitable[PlanView]]) -> PlanView:
        """The plan, once the daemon knows enough to make it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await propose()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)

    async def ended(self, digest: str) -> PlanView:
        """The plan as it ended. Raises RuntimeError unless it succeeded."""
        deadline = time.monotonic() + PATIENCE
        while True:
            view = await self.call(GetPlan(digest))
            state = view.status.state
            if state is PlanState.SUCCEEDED:
                assert isinstance(view, PlanView)
                return view
            if final(PLAN, state) or state in (PlanState.FAILED, PlanState.PARTIAL) or time.monotonic() > deadline:
                raise RuntimeError(f"{state}: {[(a.state, a.note) for a in view.status.actions]}")
            await asyncio.sleep(0.1)
