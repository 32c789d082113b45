"""Carrying files over channels: beside the target first, read back, then in its place."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from shlex import quote
from typing import Final

from sidestep.backends.ssh import digests
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.backends.ssh.pace import Flow
from sidestep.fleet.errors import HostError, HostUnreachable

CHUNK: Final = 512 << 10
#: bytes that are read at a time where a pace is to be kept
PACED: Final = 64 << 10
#: room for bytes under way, for links with a long delay
WINDOW: Final = 16 << 20
DISCARD_DEADLINE: Final = 5.0
_numbers = itertools.count(1)


def shell(script: str) -> str:
    """A command line that runs ``script`` with /bin/sh, whatever the login shell is."""
    return f"exec /bin/sh -c {quote(script)}"


def part_of(path: str) -> str:
    """The name under which ``path`` is written at first; never the same twice."""
    return f"{path}.part.{next(_numbers)}{secrets.token_hex(3)}"


async def digest_tool(transport: Transport) -> str:
    """The digest tool of the host, one of ``digests.TOOLS``. Raises HostError."""
    done = await transport.run(digests.PICK_TOOL)
    # The last line: a host's shell may greet on standard output.
    tool = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if done.status != 0 or tool not in digests.TOOLS:
        raise HostError(transport.host, "send", "no digest tool found", tail=done.stderr or done.stdout)
    return tool


async def send(transport: Transport, tool: str, part: str, path: str, chunks: AsyncIterator[bytes]) -> str:
    """Write ``chunks`` to ``part``, have the host read it back, move it to ``path``; their SHA-256.

    An end of the connection looks like an end of the bytes to the host: only the digest,
    sent afterwards, makes the file count. Raises HostError.
    """
    sent, weak = digests.Sha256(), digests.Cksum() if tool == "cksum" else None
    loop, digested = asyncio.get_running_loop(), asyncio.Future[None]()
    digested.set_result(None)
    async with aclosing(await transport.open(shell(f"umask 077; exec cat > {quote(part)}"))) as channel:
        async for chunk in chunks:
            # Beside the event loop, one chunk behind: a digest takes as long as everything else here.
            await digested
            digested = loop.run_in_executor(None, sent.update, chunk)
            if weak is not None:
                weak.update(chunk)
            try:
                await channel.write(chunk)
            except HostUnreachable:
                raise
            except HostError:  # the command has ended: its status and its last words say why
                break
        await digested
        await channel.finish_input()
        done = await channel.wait()
    if done.status != 0:
        raise HostError(transport.host, "send", f"cannot write {path}", command="cat", tail=done.stderr)
    word = (weak or sent).first_word()
    script = f"""p={quote(part)} f={quote(path)} want={quote(word)}
sync "$p" 2>/dev/null || sync
got=$({tool} < "$p") || exit 3
[ "${{got%% *}}" = "$want" ] || {{ echo "read back $got, sent $want" >&2; exit 4; }}
[ ! -d "$f" ] || {{ echo "$f is a directory" >&2; exit 5; }}
mv -f "$p" "$f" && {{ sync "${{f%/*}}" 2>/dev/null || :; }}"""
    done = await transport.run(script, timeout=3600.0)
    if done.status != 0:
        raise HostError(transport.host, "send", f"{path} was not kept", command=tool, tail=done.stderr)
    return sent.first_word()


async def discard(transport: Transport, part: str) -> None:
    """Remove what an interrupted ``send`` left, if the host still answers."""
    with suppress(HostError):
        await transport.run(f"rm -f {quote(part)}", timeout=DISCARD_DEADLINE)


async def receive(
    host: str, channel: Channel, path: str, timeout: float, *, most: int = CHUNK
) -> AsyncGenerator[bytes, None]:
    """What ``channel`` (a cat of ``path``) says, to the end, at most so many bytes at a time. Raises HostError."""
    deadline = asyncio.get_running_loop().time() + timeout
    read = getattr(channel, "read_much", channel.read) if most >= CHUNK else channel.read
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                data = await read(most)
                done = None if data else await channel.wait()
        except TimeoutError as error:
            raise HostError(host, "fetch", f"{path} was not read within {timeout:g} s") from error
        if done is None:
            yield data
            continue
        if done.status != 0:
            raise HostError(host, "fetch", f"cannot read {path}", command="cat", tail=done.stderr)
        return


async def _paced(source: Transport, path: str, timeout: float, flow: Flow) -> AsyncGenerator[bytes, None]:
    """What ``path`` says, no faster than ``flow`` allows: little is under way, so the host waits for our reading."""
    channel = await source.open(shell(f"exec cat < {quote(path)}"))
    async with aclosing(channel), aclosing(receive(source.host, channel, path, timeout, most=PACED)) as chunks:
        async for chunk in chunks:
            await flow.take(len(chunk))
            yield chunk


async def relay(
    source: Transport, here: str, destination: Transport, there: str, *, timeout: float = 60.0, flow: Flow | None = None
) -> str:
    """Carry a file from one host to another through this process; its SHA-256.

    Read once, written beside, read back by the destination, then in its place. ``flow`` says when
    more may be read. Raises HostError.
    """
    chunks = source.fetch(here, timeout=timeout) if flow is None else _paced(source, here, timeout, flow)
    try:
        return await destination.send(there, chunks, timeout=timeout)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
