"""One fleet of workers for the tests of a module, and the functions that they run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.functions_liar import python_that_lies  # noqa: E402
from sidestep.backends.embedded import EmbeddedFleet  # noqa: E402
from sidestep.backends.functions.agents import Site  # noqa: E402
from sidestep.backends.functions.cluster import Cluster  # noqa: E402
from sidestep.backends.functions.job import Conductor  # noqa: E402
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport  # noqa: E402
from sidestep.backends.ssh.hostkeys import HostKeys  # noqa: E402
from sidestep.backends.ssh.target import plain_target  # noqa: E402

SOURCE = """
import sidestep
from helper import half, wait_for


@sidestep.function
def doubled(x, n=1):
    return [half(x) * 4] * n


def refuses(x):
    raise ValueError("no", x)


class Own(Exception):
    pass


def fails():
    raise Own("mine")


def unfit():
    return object()


def waits(gate):
    return wait_for(gate)
"""
GATED = '''
import os
import time


def table(n, x):
    out = [0.0] * n
    for i in range(n):
        s = 0.0
        for j in range(50):
            s += (i * j) % 7 * x
        out[i] = s
    return out


def late(gate, end):
    """Reaches no safepoint before somebody writes to a pipe; then goes on until a file is there."""
    with open(gate) as pipe:
        pipe.read()
    while not os.path.exists(end):
        time.sleep(0.01)
    return end


def gated(n, mark, gate):
    """Waits in its middle for a file; says in another how often it was begun."""
    with open(mark, "a") as file:
        file.write(f"{os.getpid()}\\n")
    rows = [0.0] * 20000
    total = 0.0
    waited = 0
    for i in range(n):
        if i == n // 2:
            while not os.path.exists(gate):
                time.sleep(0.01)
                waited += 1
        total += (i * 7) % 11 * 0.1
        rows[i % 20000] += total
    return total, rows[:50]


def note(log, i):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {i}\\n")


def stepped(n, log, gate):
    """Says in a file which step each process does, and waits in its middle for another file."""
    total = 0.0
    for i in range(n):
        note(log, i)
        total += (i * 7) % 11 * 0.1
        if i == n // 2:
            while not os.path.exists(gate):
                time.sleep(0.01)
    return total
'''
HELPER = """
import os
import time


def half(x):
    return x / 2


def wait_for(gate):
    while not os.path.exists(gate):
        time.sleep(0.01)
    return gate
"""


@dataclass
class Workers:
    """The fleet, its cluster and its conductor."""

    fleet: EmbeddedFleet
    cluster: Cluster
    conductor: Conductor

    def engine(self, host: str) -> int:
        """The pid of a host's worker process: the parent of the nursery."""
        for pid, line in self.fleet.tree(host):
            if "functions.nursery" in line:
                return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        raise AssertionError(f"no worker on {host}")


def sites(fleet: EmbeddedFleet, pythons: dict[str, str] | None = None) -> list[Site]:
    keys = HostKeys.load(fleet.known_hosts)
    return [
        Site(
            host.name,
            host.address,
            AsyncsshTransport(plain_target(host, identity=str(fleet.identity), connect_timeout=30), keys),
            (pythons or {}).get(host.name, sys.executable),
        )
        for host in fleet.hosts
    ]


async def until(true: Callable[[], Any], what: str) -> Any:
    """Wait for something that has to come."""
    for _ in range(6000):
        if found := true():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"never came: {what}")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    (folder / "helper.py").write_text(HELPER)
    (folder / "work.py").write_text(SOURCE)
    (folder / "gated.py").write_text(GATED)
    return folder / "work.py"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    """Three hosts; the last one is hostile when it is told to."""
    folder = tmp_path_factory.mktemp("workers")
    async with EmbeddedFleet(folder / "fleet", hosts=3) as fleet:
        cluster = Cluster(sites(fleet, {"h3": python_that_lies(folder)}), log=folder / "runner.log")
        async with cluster:
            assert not cluster.lost, (cluster.lost, (folder / "runner.log").read_text()[-2000:])
            yield Workers(fleet, cluster, Conductor(cluster))
