"""A lock service and its clients as real processes on real sockets, and the faults that befall them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lock_history import Check, Grant, Write

HERE = Path(__file__).parent
#: seconds after which a run that does not get on is a failure
PATIENCE = 90.0

Event = dict[str, Any]


class World:
    """Start and kill what runs; everything that clients say comes out of ``wait``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "locks"
        self.events: queue.Queue[Event] = queue.Queue()
        self.past: list[Event] = []
        self.service: subprocess.Popen[str] | None = None
        self.clients: dict[str, subprocess.Popen[str]] = {}
        self._ends: set[int] = set()

    def __enter__(self) -> World:
        self.serve()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.clients.values(), self.service):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def serve(self) -> None:
        """Start the service, and wait until it answers."""
        command = [sys.executable, str(HERE / "lock_service_process.py")]
        self.service = subprocess.Popen(
            [*command, str(self.folder / "state" / "journal.db"), str(self.socket)], stdout=subprocess.PIPE, text=True
        )
        assert self.service.stdout is not None
        line = self.service.stdout.readline()
        while line and line != "ready\n":
            line = self.service.stdout.readline()
        assert line == "ready\n", "the service did not start"

    def kill_service(self) -> None:
        """As ``kill -9`` does; what it held in memory is gone."""
        assert self.service is not None
        self.service.kill()
        self.service.wait()

    def client(self, name: str, **config: Any) -> subprocess.Popen[str]:
        """Start a client."""
        whole = {
            "client": name,
            "folder": str(self.folder),
            "socket": str(self.socket),
            "ttl": 0.6,
            "writes": 3,
        } | config
        process = self.clients[name] = subprocess.Popen(
            [sys.executable, str(HERE / "lock_client_process.py"), json.dumps(whole)], stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, args=(process, name), daemon=True).start()
        return process

    def wait(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event of that kind."""
        while True:
            event = self.events.get(timeout=PATIENCE)
            self.past.append(event)
            if wanted(event):
                return event

    def told(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event of that kind, whether it was heard already or is still to come."""
        return next((event for event in self.past if wanted(event)), None) or self.wait(wanted)

    def stopped(self, name: str) -> None:
        """Wait until that client is stopped by a signal."""
        number, status = os.waitpid(self.clients[name].pid, os.WUNTRACED)
        assert number and os.WIFSTOPPED(status), f"{name} ended instead"

    def go_on(self, name: str) -> None:
        self.clients[name].send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Wait until every client has done its rounds."""
        for name, process in self.clients.items():
            assert process.wait(timeout=PATIENCE) == 0, f"{name} ended with {process.returncode}"

    def history(self) -> tuple[list[Grant], list[Check], list[Write]]:
        """What was seen and what was stored."""
        grants, checks = [], []
        for path in sorted(self.folder.glob("*.seen")):
            for row in map(json.loads, path.read_text().splitlines()):
                kind = row.pop("kind")
                if kind == "grant":
                    grants.append(Grant(**row))
                else:
                    checks.append(Check(**row))
        log = self.folder / "storage.log"
        return grants, checks, [Write(**json.loads(line)) for line in log.read_text().splitlines()]

    def _listen(self, process: subprocess.Popen[str], name: str) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.events.put(json.loads(line))
        self.events.put({"client": name, "event": "ended", "text": "", "token": 0})
