"""Two hosts that only we reach: they speak TLS with each other, and we pass on what we cannot open."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sshd_hosts import SshdHost
from transfer_hosts import after, file, kill, nothing_stays

from sidestep.autopilot.bandwidth import Bandwidth
from sidestep.backends.ssh import direct, splice
from sidestep.backends.ssh.direct import NotDirect, transfer

pytestmark = pytest.mark.openssh
MiB = 1 << 20


@pytest.fixture
async def hosts(sshd: Callable[..., SshdHost]) -> tuple[SshdHost, SshdHost]:
    return sshd("source"), sshd("destination")


async def test_hosts_that_only_we_reach_are_joined(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = file(hosts[0], 5 * MiB)
    told = []

    async def elsewhere(address: str, port: int) -> tuple[str, int] | None:
        told.append(port)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return (address, int(probe.getsockname()[1])) if len(told) == 1 else None

    after(monkeypatch, "listens", elsewhere)
    target = hosts[1].home / "t"
    line = Bandwidth(lambda: 64 * MiB)
    carried = await transfer(
        await hosts[0].connected(), str(path), await hosts[1].connected(), str(target), direct_from=MiB, pace=line
    )
    assert (carried.digest, carried.way, len(told)) == (digest, "joined", 3)
    assert "cannot be reached" in carried.reason
    assert target.read_bytes() == path.read_bytes()
    await nothing_stays(*hosts, files=1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("splice")]


async def test_a_host_cannot_have_us_connect_elsewhere_than_to_itself(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = file(hosts[0], MiB)

    async def lie(_address: str, port: int) -> tuple[str, int]:
        return "192.0.2.1", port  # where nobody is

    after(monkeypatch, "listens", lie)
    ends = await hosts[0].connected(), await hosts[1].connected()
    found = await direct.direct(ends[0], str(path), ends[1], str(hosts[1].home / "t"), join=True)
    assert found == digest
    monkeypatch.setattr(ends[0], "address", lambda: None)
    with pytest.raises(NotDirect, match="is not reached from here itself"):
        await direct.direct(ends[0], str(path), ends[1], str(hosts[1].home / "t"), join=True)
    await nothing_stays(*hosts, files=1)


@pytest.mark.parametrize("end", ["cancelled", "killed 0", "killed 1"])
async def test_a_joined_transfer_that_ends_early_leaves_nothing(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    path, _ = file(hosts[0], 8 * MiB)
    ends = await hosts[0].connected(), await hosts[1].connected()
    joined, task = splice.joined, asyncio.current_task()

    @asynccontextmanager
    async def hooked(*words: Any) -> AsyncIterator[None]:
        async with joined(*words):
            if end == "cancelled":
                assert task is not None
                task.cancel()
            else:
                kill(hosts[int(end[-1])])
            yield

    monkeypatch.setattr(splice, "joined", hooked)
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else NotDirect):
        await direct.direct(ends[0], str(path), ends[1], str(hosts[1].home / "target"), join=True)
    if end == "cancelled":
        assert task is not None
        task.uncancel()
    await nothing_stays(*hosts, files=0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("splice")]
