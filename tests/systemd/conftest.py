"""Tests on real hosts: they run only inside a test fleet (docs/testfleet.md).

``python -m scripts.testfleet run -- .venv/bin/python -m pytest tests/systemd`` makes one for
them; anywhere else this folder has no tests, and the summary says so.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# The repository, for scripts.testfleet; and what the tests of the process backend share.
for folder in (HERE.parents[1], HERE.parent / "integration" / "process"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from real_hosts import NAME, Control, RealHost, inside, real_hosts  # noqa: E402

from scripts.testfleet.fleet import Fleet  # noqa: E402
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport  # noqa: E402

INSIDE = inside()
HOSTS = real_hosts()
collect_ignore_glob = [] if INSIDE else ["test_*.py"]
HOW = "python -m scripts.testfleet run -- .venv/bin/python -m pytest tests/systemd"

Connect = Callable[..., Awaitable[AsyncsshTransport]]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was left out, and how to run it."""
    if not INSIDE:
        terminalreporter.write_line(f"tests/systemd: not run here; as root: {HOW}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``host`` is every host, ``layout_host`` one of each cgroup layout."""
    if "host" in metafunc.fixturenames:
        every = list(HOSTS.values())
        metafunc.parametrize("host", every, ids=[f"{h.name}-{h.layout}-{h.interpreter}" for h in every])
    if "layout_host" in metafunc.fixturenames:
        firsts = {h.layout: h for h in reversed(HOSTS.values()) if h.interpreter == "python"}
        metafunc.parametrize("layout_host", list(firsts.values()), ids=list(firsts))


@pytest.fixture(scope="session")
def hosts() -> dict[str, RealHost]:
    """All hosts by name."""
    return HOSTS


@pytest.fixture
def fleet() -> Iterator[Control]:
    """Faults; whatever a test hurts is healed when it ends."""
    control = Control(Fleet(NAME))
    yield control
    control.restore()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``await connect(host, keepalive=1.0)``: a connected transport, closed when the test ends."""
    made: list[AsyncsshTransport] = []

    async def connected(host: RealHost, **options: float) -> AsyncsshTransport:
        transport = host.transport(**options)
        made.append(transport)
        await transport.connect()
        return transport

    yield connected
    await asyncio.gather(*(t.aclose() for t in made), return_exceptions=True)


@pytest.fixture
def needs_own_numbers() -> None:
    """Skip, loudly, where hosts cannot be given a /proc of their own; fail where they must."""
    notes = [note for note in Fleet(NAME).state().notes if "lxcfs" in note]
    if notes:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("; ".join(notes))
