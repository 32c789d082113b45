"""Real counter processes on loopback, and a client for their protocol."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sidestep.backends.embedded.demo_fleet import COUNTER
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import KEYS, Route, RoutingTable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CounterProcess:
    """One ``counter.py serve``, with its hooks as a host would run them."""

    def __init__(
        self,
        folder: Path,
        name: str = "kv-01",
        token: int = 1,
        *,
        standby: bool = False,
        report: bool = False,
        durable: bool = False,
    ) -> None:
        self.name, self.token, self.port = name, token, free_port()
        self._environment = {
            **{"SHARD": name, "TOKEN": str(token), "ADDRESS": "127.0.0.1"},
            **{"PORT": str(self.port), "PATH": os.environ["PATH"]},
        }
        self._command = [sys.executable, "-S", "-I", str(COUNTER)]
        options = ["serve", "--cost", "0.0002", "--padding", "4096", *(["--standby"] if standby else [])]
        options += ["--report"] if report else []
        options += ["--durable"] if durable else []
        self.process = subprocess.Popen([*self._command, *options], env=self._environment, cwd=folder)
        until = time.monotonic() + 20
        while self.hook("total").returncode:
            assert self.process.poll() is None, "the counter ended"
            assert time.monotonic() < until, "the counter does not answer"

    def hook(
        self, verb: str, data: bytes = b"", more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command, environment = [*self._command, verb], {**self._environment, **(more or {})}
        return subprocess.run(command, env=environment, input=data, capture_output=True, check=False)

    def total(self) -> int:
        return int(self.hook("total").stdout)

    def ask(self, request: bytes) -> bytes:
        """The first line of the answer to raw bytes."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as peer, peer.makefile("rb") as answers:
            peer.sendall(request)
            return answers.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def table(generation: int, *counters: CounterProcess) -> RoutingTable:
    """A table that gives each counter an equal part of the keys."""
    n = len(counters)
    return RoutingTable(
        generation,
        tuple(
            Route(Label("kv"), KEYS * i // n, KEYS * (i + 1) // n, Label(c.name), "127.0.0.1", c.port, c.token)
            for i, c in enumerate(counters)
        ),
    )
