"""Runs a sampler on a host for as long as the connection lasts, and hands what it says to the panel.

The sampler's text goes over standard input of one long-lived command; nothing is written on
the host. It ends with its input, so with the connection, and when its lease is not renewed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

from sidestep.backends.sampler import starts
from sidestep.backends.sampler.sftp import follow_files, only_files
from sidestep.backends.ssh.base import Feed, Receiver, Transport
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import SamplerKind

#: seconds that a sampler lives without being asked to go on, and between our asking
LEASE: Final = 60.0
RENEW: Final = 20.0
HELLO_DEADLINE: Final = 15.0
_FLEET: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Taken(Receiver, Protocol):
    """What ``follow`` needs of an intake: see ``intake.Intake``."""

    stderr: bytes

    async def begun(self) -> bool:
        """True at a valid greeting, False when the stream ended without one."""
        ...

    async def ended(self) -> None:
        """Return when the sampler ended by itself; raises what else ended it."""
        ...

    def fail(self, error: HostError) -> None:
        """End it here."""
        ...


async def follow(
    transport: Transport, fleet: str, interval: float, intake: Callable[[], Taken], *, kind: SamplerKind = "auto"
) -> None:
    """Sample every ``interval`` seconds into a fresh ``intake()``, until the stream ends.

    "auto" tries python, perl, awk and sh in this order, and reads files over SFTP where the
    host allows nothing else. Raises HostError when no sampler starts, on what is no record and
    when the sampler ends, HostUnreachable on loss; never returns. Cancellation ends the sampler.
    """
    if not _FLEET.fullmatch(fleet):
        raise HostError(transport.host, "sample", f"{fleet!r} cannot name a folder on a host")
    if kind == "sftp":
        await follow_files(transport, fleet, interval, intake())
    why: HostError | None = None
    for chosen in starts.CHAIN if kind == "auto" else (kind,):
        taken = intake()
        feed = await transport.feed(starts.command(chosen, fleet, interval), taken)
        try:
            feed.write(starts.payload(chosen, fleet, LEASE))
            if await _begun(transport.host, taken):
                await _renew(feed, taken, interval if starts.ticking(chosen) else RENEW, chosen)
                raise HostError(transport.host, "sample", "the sampler ended", tail=taken.stderr.strip())
        finally:
            await feed.aclose()
        why = await _why(transport.host, chosen, taken)
        if kind == "auto" and chosen == starts.CHAIN[0] and await only_files(transport):
            await follow_files(transport, fleet, interval, intake())
    assert why is not None
    raise why


async def _begun(host: str, taken: Taken) -> bool:
    try:
        async with asyncio.timeout(HELLO_DEADLINE):
            return await taken.begun()
    except TimeoutError as error:
        lost = HostUnreachable(host, "sample", f"no greeting of a sampler for {HELLO_DEADLINE:g} s")
        taken.fail(lost)
        raise lost from error


async def _renew(feed: Feed, taken: Taken, seconds: float, kind: SamplerKind) -> None:
    """Say now and every ``seconds`` that it is to go on, until it ends."""
    word = b"n\n" if starts.ticking(kind) else b"l%d\n" % LEASE
    loop = asyncio.get_running_loop()
    due = loop.time()
    timer: asyncio.TimerHandle | None = None

    def say() -> None:
        nonlocal due, timer
        feed.write(word)
        due = max(due + seconds, loop.time())
        timer = loop.call_at(due, say)

    # A timer, and no task: with thousands of hosts they would fill the memory.
    say()
    try:
        await taken.ended()
    finally:
        if timer is not None:
            timer.cancel()


async def _why(host: str, kind: SamplerKind, taken: Taken) -> HostError:
    """Why a sampler did not start; raises HostUnreachable when the host is lost."""
    try:
        await taken.ended()
    except HostUnreachable:
        raise
    except HostError as error:
        return HostError(
            host, "sample", f"no sampler starts; the last was {kind}: {error.args[0]}", tail=taken.stderr.strip()
        )
    return HostError(host, "sample", f"no sampler starts; the last was {kind}", tail=taken.stderr.strip())
