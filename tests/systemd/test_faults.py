"""Hosts that are cut off, hang or lose power, and what a client notices of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from real_hosts import Control, RealHost

from sidestep.fleet.errors import HostError, HostUnreachable

Connect = Callable[..., Awaitable[Any]]
#: keepalive x (missed + 1), and what a busy machine may add
NOTICED = 15.0
LATE = 10.0


async def reconnected(host: RealHost, connect: Connect, seconds: float = 30.0) -> Any:
    """A new connection as soon as the host lets us."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await connect(host, connect_timeout=2.0)
        except HostUnreachable:
            assert time.monotonic() < deadline, f"{host.name} does not come back"


async def lost(transport: Any) -> float:
    """Seconds until a silent channel is told that its host is gone."""
    channel = await transport.open("echo ready; exec cat")
    assert await channel.readline() == b"ready\n"
    return await asyncio.wait_for(_ended(channel), NOTICED + LATE)


async def _ended(channel: Any) -> float:
    started = time.monotonic()
    with contextlib.suppress(HostError):
        assert await channel.readline() == b""
    return time.monotonic() - started


async def test_a_cut_link_is_noticed_by_keepalives_within_fifteen_seconds(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    """With the keepalives that fleets get by default; and a healed link is used again."""
    host = hosts["h2"]
    transport = await connect(host)
    channel = await transport.open("echo ready; exec cat")
    assert await channel.readline() == b"ready\n"
    await asyncio.to_thread(fleet.cut, host.name)
    waited = await asyncio.wait_for(_ended(channel), NOTICED + LATE)
    assert 5.0 < waited < NOTICED + LATE / 2
    assert not transport.connected
    with pytest.raises(HostUnreachable, match=r"h2: connect: .*within 1 s"):
        await connect(host, connect_timeout=1.0)
    await asyncio.to_thread(fleet.heal, host.name)
    again = await reconnected(host, connect)
    assert (await again.run("hostname")).stdout == b"h2\n"


async def test_a_short_cut_is_survived_by_the_same_connection(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    transport = await connect(hosts["h2"])
    await asyncio.to_thread(fleet.cut, "h2")
    running = asyncio.create_task(transport.run("echo through", timeout=30))
    await asyncio.sleep(0.3)
    assert not running.done()
    await asyncio.to_thread(fleet.heal, "h2")
    assert (await running).stdout == b"through\n"


async def test_a_frozen_host_is_noticed_and_used_again_once_it_goes_on(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    host = hosts["h2"]
    transport = await connect(host, keepalive=1.0)
    channel = await transport.open("echo ready; exec cat")
    assert await channel.readline() == b"ready\n"
    await asyncio.to_thread(fleet.freeze, host.name)
    # Its kernel still acknowledges every byte: only an answer counts.
    await asyncio.wait_for(_ended(channel), NOTICED + LATE)
    with pytest.raises(HostUnreachable):
        await connect(host, connect_timeout=1.0)
    await asyncio.to_thread(fleet.thaw, host.name)
    again = await reconnected(host, connect)
    assert (await again.run("echo back")).stdout == b"back\n"


async def test_power_loss_tells_nobody_and_the_host_comes_back_as_itself(
    layout_host: RealHost, connect: Connect, fleet: Control
) -> None:
    name = layout_host.name
    transport = await connect(layout_host, keepalive=1.0)
    facts = "cat /proc/sys/kernel/random/boot_id /etc/machine-id"
    boot, machine = (await transport.run(f"echo kept >/srv/note; {facts}")).stdout.split()
    channel = await transport.open("echo ready; exec cat")
    assert await channel.readline() == b"ready\n"
    await asyncio.to_thread(fleet.kill, name)
    # No reset and no goodbye came, or this were over at once.
    assert await asyncio.wait_for(_ended(channel), NOTICED + LATE) > 0.8
    await asyncio.to_thread(fleet.start, name)
    again = await reconnected(layout_host, connect)
    assert (await again.run("cat /srv/note; rm /srv/note")).stdout == b"kept\n"
    new_boot, same_machine = (await again.run(facts)).stdout.split()
    assert (same_machine, new_boot != boot) == (machine, True)


async def test_an_orderly_shutdown_ends_the_connection(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    transport = await connect(hosts["h4"])
    waiting = asyncio.create_task(lost(transport))
    while not fleet.shell("h4", "pgrep -x cat || true").strip():
        await asyncio.sleep(0.05)
    await asyncio.to_thread(fleet.stop, "h4")
    await waiting
    assert not fleet.fleet.is_on("h4")
    with pytest.raises(HostUnreachable):
        await connect(hosts["h4"], connect_timeout=1.0)
