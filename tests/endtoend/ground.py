"""Real fleets for whole stories: embedded hosts, a daemon that can be killed, real requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import (
    Approve,
    Body,
    GetLog,
    GetPlan,
    GetSnapshot,
    PlanView,
    ProposeMove,
    SnapshotFrame,
    host_states,
)
from sidestep.fleet.machines import PLAN, HostState, PlanState, final


def watched(frame: SnapshotFrame) -> bool:
    """Whether every host is READY and the demand of every shard is known."""
    use = np.frombuffer(frame.shard_use, "<f4")
    return bool(np.isfinite(use).all()) and set(host_states(frame)) == {HostState.READY}


class Ground:
    """An embedded fleet under load, and daemons on it one after the other."""

    def __init__(self, folder: Path, *, hosts: int, shards: int) -> None:
        self.folder, self.socket = folder, folder / "d.sock"
        command = [sys.executable, "-m", "sidestep.backends.embedded", "--dir", str(folder)]
        command += ["--hosts", str(hosts), "--shards", str(shards), "--seed", "3"]
        self._log = (folder / "fleet.log").open("ab")
        self._fleet = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        assert self._fleet.stdout is not None
        line = self._fleet.stdout.readline()
        assert line, (folder / "fleet.log").read_text()
        ready = msgspec.json.decode(line)
        self.file, self.router = Path(ready["fleet"]), ready["router"]
        # These stories are about moves, not about load: every host has room for every shard.
        self.file.write_text(self.file.read_text().replace("cpu = 0.25", "cpu = 2.0"))

    @contextmanager
    def daemon(self, *, fault: str = "", level: str = "off") -> Iterator[subprocess.Popen[bytes]]:
        """A daemon that serves; it is ended with the block if it has not died before."""
        environment = {k: v for k, v in os.environ.items() if k != "SIDESTEP_FAULT"}
        if fault:
            environment["SIDESTEP_FAULT"] = fault
        command = [sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.file), "--socket", str(self.socket)]
        command += ["--state", str(self.folder / "state"), "--level", level]
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(b"ready"), (self.folder / "daemon.log").read_text()[-3000:]
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            if process.stdout is not None:
                process.stdout.close()

    def call(self, body: Body) -> Any:
        with Client.connect(self.socket) as client:
            return client.call(body)

    def propose(self, shard: str, destination: str) -> PlanView:
        """An operator's plan, once the daemon has seen both hosts and every shard run."""
        self.until(watched)
        view = self.call(ProposeMove(shard, destination, "a test moves it"))
        assert isinstance(view, PlanView)
        return view

    def approve(self, view: PlanView) -> None:
        self.call(Approve(view.digest, "a test approves"))

    def status(self, digest: str) -> PlanView:
        view = self.call(GetPlan(digest))
        assert isinstance(view, PlanView)
        return view

    def wait(self, digest: str, state: PlanState, deadline: float = 60.0) -> PlanView:
        """The plan once it is in ``state``; fails at the deadline or when it ended elsewhere."""
        until = time.monotonic() + deadline
        while True:
            view = self.status(digest)
            if view.status.state is state:
                return view
            assert not final(PLAN, view.status.state), view.status
            assert time.monotonic() < until, view.status
            time.sleep(0.05)

    def until(self, wanted: Callable[[SnapshotFrame], bool], deadline: float = 60.0) -> SnapshotFrame:
        """The first snapshot that is as wanted; fails at the deadline with the last one's words."""
        until = time.monotonic() + deadline
        while True:
            frame = self.call(GetSnapshot())
            if wanted(frame):
                assert isinstance(frame, SnapshotFrame)
                return frame
            assert time.monotonic() < until, (host_states(frame), frame.reasons)
            time.sleep(0.1)

    def log(self) -> list[str]:
        """Every line of the journal, read page by page."""
        lines: list[str] = []
        since = 0
        while events := self.call(GetLog(since, 500)).events:
            lines += [event.text for event in events]
            since = events[-1].seq
        return lines

    def serving(self, shard: str) -> list[tuple[str, int]]:
        """(host, pid) of every process of the shard that is alive and not stopped, from /proc alone."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = dict(
                    item.split("=", 1)
                    for item in (entry / "environ").read_text(errors="replace").split("\0")
                    if "=" in item
                )
                command = (entry / "cmdline").read_text(errors="replace")
                state = (entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()[0]
            except (OSError, IndexError):
                continue
            home = environment.get("HOME", "")
            ours = home.startswith(str(self.folder)) and environment.get("SHARD") == shard
            if ours and "counter.py" in command and "serve" in command and state not in "TZX":
                found.append((Path(home).name, int(entry.name)))
        return found

    def order(self, **command: str) -> None:
        assert self._fleet.stdin is not None
        self._fleet.stdin.write(msgspec.json.encode(command) + b"\n")
        self._fleet.stdin.flush()

    def close(self) -> None:
        assert self._fleet.stdin is not None
        assert self._fleet.stdout is not None
        self._fleet.stdin.close()
        try:
            self._fleet.wait(20)
        finally:
            self._fleet.kill()
            self._fleet.stdout.close()
            self._log.close()
