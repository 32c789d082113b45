"""The daemon of a lane as a real process, and what is asked of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import Body, GetPlan, GetSnapshot, PlanView, host_states
from sidestep.backends.embedded.proctree import die_with_parent
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import PLAN, HostState, final
from sidestep.fleet.plans import ActionStatus

_START: Final = 90.0


class HarnessError(SidestepError):
    """The harness could not do its part: nothing is said about the cell."""


class Daemon:
    """Started, killed and started again on one state folder; it pauses where files in ``faults`` say."""

    def __init__(self, folder: Path, fleet: Path, level: str = "off") -> None:
        self.folder, self._fleet, self._level = folder, fleet, level
        self.faults, self.socket, self.log = folder / "faults", folder / "d.sock", folder / "daemon.log"
        self.faults.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it unless it runs; returns when it serves. Raises HarnessError."""
        if self.alive:
            return
        command = [sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self._fleet), "--log", "text"]
        command += ["--socket", str(self.socket), "--state", str(self.folder / "state"), "--level", self._level]
        environment = {**os.environ, "SIDESTEP_FAULT": f"pause@{self.faults}", "OPENBLAS_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it is waited for elsewhere
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # as a daemon has: also a share of the processor of its own
                preexec_fn=partial(die_with_parent, signal.SIGKILL),  # noqa: PLW1509 - it calls the kernel only
            )
        try:
            async with asyncio.timeout(_START):
                assert self._process.stdout is not None
                line = await asyncio.to_thread(self._process.stdout.readline)
        except TimeoutError:
            line = b""
        if not line.startswith(b"ready"):
            self.kill()
            raise HarnessError(f"the daemon does not start: {self.log}: {self.log.read_text()[-600:]}")

    def reload(self) -> None:
        """Have it read its fleet file again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """An orderly end."""
        await asyncio.to_thread(self._end, signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    async def call(self, body: Body) -> Any:
        """One call. Raises SidestepError."""

        def ask() -> Any:
            with Client.connect(self.socket) as client:
                return client.call(body)

        return await asyncio.to_thread(ask)

    async def all_ready(self) -> bool:
        """Whether every host is READY to it, or closed by its fleet file."""
        try:
            return set(host_states(await self.call(GetSnapshot()))) <= {HostState.READY, HostState.CORDONED}
        except (SidestepError, OSError):
            return False

    async def outcome(self, digest: str) -> ActionStatus:
        """What has become of that plan's only action."""
        found: PlanView = await self.call(GetPlan(digest))
        (action,) = found.status.actions
        return action

    async def ended(self, digest: str) -> bool:
        """Whether that plan has; while the daemon does not answer nobody knows."""
        if not self.alive:
            return False
        try:
            found: PlanView = await self.call(GetPlan(digest))
        except (SidestepError, OSError):
            return False
        state = found.status.state
        return final(PLAN, state) or str(state) in {"SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED"}

    def owner(self, shard: str) -> tuple[str, int]:
        """Host and token that the journal gives the shard."""
        return self._one("SELECT host, token FROM owner WHERE shard = ?", shard)

    def endpoint(self, shard: str) -> tuple[str, int]:
        """Address and port that the journal knows of it."""
        return self._one("SELECT address, port FROM endpoint WHERE shard = ?", shard)

    def waits(self, shard: str) -> tuple[str, int] | None:
        """Host that has the capsule, and newest token, of a shard in the queue; None if it is not there."""
        rows = self.ask("SELECT host, token FROM queued WHERE shard = ?", shard)
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def _one(self, question: str, shard: str) -> tuple[str, int]:
        rows = self.ask(question, shard)
        if not rows:
            raise HarnessError(f"the journal knows nothing of {shard}")
        return str(rows[0][0]), int(rows[0][1])

    def ask(self, question: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows of the journal. Raises HarnessError while there is none."""
        try:
            with closing(sqlite3.connect(f"file:{self.folder}/state/journal.db?mode=ro", uri=True, timeout=10)) as db:
                return db.execute(question, values).fetchall()
        except sqlite3.OperationalError as error:
            raise HarnessError(f"the journal is not read: {error}") from error

    # -- pauses

    def arm(self, shard: str, point: str) -> Path:
        """Have the shard's next move stand still at that point; the file that says so once it does."""
        armed = self.faults / f"{shard}@{point}"
        armed.touch()
        return armed.with_name(f"{armed.name}.reached")

    def disarm(self) -> None:
        """Nothing stands still any more, and the clock is right."""
        for file in self.faults.iterdir():
            file.unlink(missing_ok=True)

    def shift(self, seconds: float) -> None:
        """Let its wall clock jump."""
        (self.faults / "clock.new").write_text(f"{seconds:g}")
        (self.faults / "clock.new").rename(self.faults / "clock")
