"""Samples of one host by protocol 1, until the daemon follows protocol 2.

The sampler's text goes over standard input of one long-lived command; nothing is written on
the host. It ends with its input, so with the connection, and when its lease is not renewed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import Final

from sidestep.backends.sampler.records import MAX_LINE, Decoder, HostSample
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.backends.ssh.carry import shell
from sidestep.fleet.errors import HostError, HostUnreachable

LEASE: Final = 60.0
RENEW: Final = 20.0
HELLO_DEADLINE: Final = 15.0
#: lines that a host's shell may print before the sampler speaks; the next one counts as its own
NOISE: Final = 64
_SPEAKS: Final = re.compile(rb"(H\d+|E) ")
_FLEET: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_READER: Final = """\
import os, sys
def take(n):
    data = bytes()
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more: sys.exit(98)
        data += more
    return data
exec(compile(take(int(take(8))), 'sampler', 'exec'), {'__name__': '__main__'})
"""


async def sample(
    transport: Transport, fleet: str, interval: float, *, python: bool = True
) -> AsyncGenerator[HostSample, None]:
    """Samples every ``interval`` seconds, until the caller stops or the host is lost.

    Without ``python``, or without python3 on the host, the awk sampler is used. Raises
    HostError on a record that is none and when the sampler ends, HostUnreachable on loss
    or silence. The first sample of a connection has no rates (NaN).
    """
    if not _FLEET.fullmatch(fleet):
        raise HostError(transport.host, "sample", f"{fleet!r} cannot name a folder on a host")
    channel, line, ticking = await _begin(transport, fleet, interval, python)
    decoder = Decoder(transport.host)
    pacing = asyncio.create_task(_pace(channel, interval if ticking else RENEW, b"n\n" if ticking else _lease()))
    patience = max(10.0, 5 * interval)
    async with aclosing(channel):
        try:
            while line:
                found = decoder.feed(line)
                if found is not None:
                    yield found
                line = await _next_line(transport.host, channel, patience)
        finally:
            pacing.cancel()
            with suppress(asyncio.CancelledError, HostError):
                await pacing
        done = await channel.wait()
        raise HostError(
            transport.host, "sample", f"the sampler ended with status {done.status}", tail=done.stderr.strip()
        )


async def _begin(transport: Transport, fleet: str, interval: float, python: bool) -> tuple[Channel, bytes, bool]:
    """The running sampler, its first line, and whether it wants to be asked for every sample."""
    if python:
        channel = await transport.open(_python_command(fleet, interval))
        line = await _greeting(transport.host, channel, _python_payload())
        if line:
            return channel, line, False
        await channel.aclose()
    channel = await transport.open(shell("exec /bin/sh -s"))
    line = await _greeting(transport.host, channel, _awk_payload(fleet))
    if line:
        return channel, line, True
    async with aclosing(channel):
        done = await channel.wait()
    raise HostError(transport.host, "sample", "no sampler starts: python3 and awk both fail", tail=done.stderr.strip())


async def _greeting(host: str, channel: Channel, payload: bytes) -> bytes:
    """The sampler's first line; b"" when it ended without one."""
    heard = False
    try:
        with suppress(HostUnreachable):
            await channel.write(payload)
        line = await _next_line(host, channel, HELLO_DEADLINE)
        noise = 0
        while line and not _SPEAKS.match(line) and noise < NOISE:
            noise += 1
            line = await _next_line(host, channel, HELLO_DEADLINE)
        heard = True
        return line
    finally:
        if not heard:
            await channel.aclose()


async def _next_line(host: str, channel: Channel, patience: float) -> bytes:
    try:
        async with asyncio.timeout(patience):
            return await channel.readline(MAX_LINE)
    except TimeoutError as error:
        raise HostUnreachable(host, "sample", f"no record for {patience:g} s") from error
    except ValueError as error:
        raise HostError(host, "sample", str(error)) from error


async def _pace(channel: Channel, seconds: float, word: bytes) -> None:
    """Say ``word`` now and every ``seconds``, for as long as somebody listens."""
    due = asyncio.get_running_loop().time()
    with suppress(HostError):
        while True:
            await channel.write(word)
            due = max(due + seconds, asyncio.get_running_loop().time())
            await asyncio.sleep(due - asyncio.get_running_loop().time())


def _lease() -> bytes:
    return b"l%d\n" % LEASE


def _python_command(fleet: str, interval: float) -> str:
    run = f'exec "$P" -SEs -c {quote(_READER)} {quote(fleet)} {interval:.3f}'
    return shell(f"P=$(command -v python3) || exit 97; {run}")


@cache
def _python_payload() -> bytes:
    code = files(__package__).joinpath("host_sampler.py").read_bytes()
    return b"%08d" % len(code) + code


def _awk_payload(fleet: str, lease: float = LEASE) -> bytes:
    source = files(__package__)
    program, script = (source.joinpath(f"host_sampler.{kind}").read_text("utf-8") for kind in ("awk", "sh"))
    return f"fleet={quote(fleet)}\nlease={lease:g}\nprogram={quote(program)}\n{script}".encode()
