"""Commands and files over channels: what every transport does the same way once it can open one."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, suppress
from shlex import quote
from typing import Any, Final, Protocol

from sidestep.backends.ssh import carry
from sidestep.backends.ssh.base import Channel, Completed
from sidestep.fleet.errors import HostError

KILL_DEADLINE: Final = 5.0
FEED: Final = 256 << 10
_MARK: Final = "sidestep-pid:"


class CommandChannel(Channel, Protocol):
    """A channel whose standard error can be looked at while the command runs."""

    @property
    def stderr(self) -> bytes:
        """The tail of what was written so far."""
        ...

    async def stderr_match(self, pattern: bytes) -> re.Match[bytes] | None:
        """Wait until standard error matches; None when the command ended without."""
        ...


class Commands(ABC):
    """Runs commands to their end and carries files; a transport gives ``open_channel`` and ``connected``."""

    host: str

    def __init__(self) -> None:
        self._tool = ""
        #: made when the first is needed, which for most hosts is never
        self._cleaners: set[asyncio.Task[None]] | None = None

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""

    @abstractmethod
    async def open_channel(self, command: str, window: int) -> CommandChannel:
        """Start a command in the login shell and return its streams."""

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        """Run a command with /bin/sh to its end.

        On timeout and when cancelled, its process group is killed through a second channel:
        closing the first would leave it running. Raises HostError on timeout.
        """
        channel: CommandChannel | None = None
        try:
            async with asyncio.timeout(timeout):
                channel = await self.open_channel(carry.shell(f"echo {_MARK}$$ >&2\n{command}"), FEED << 3)
                done = await _exchange(channel, stdin)
        except TimeoutError as error:
            tail = _unmarked(channel.stderr) if channel is not None else b""
            if channel is not None:
                await self._kill(channel)
            raise HostError(
                self.host, "run", f"did not end within {timeout:g} s and was killed", command=command, tail=tail
            ) from error
        except BaseException:  # raised again: whatever ended us ends the command, too
            if channel is not None:
                self._later(self._kill(channel))
            raise
        await channel.aclose()
        return Completed(done.status, done.stdout, _unmarked(done.stderr))

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        """Write ``chunks`` to ``path`` (created 0600, replaced atomically); returns their SHA-256."""
        part = carry.part_of(path)
        written = False
        try:
            async with asyncio.timeout(timeout):
                self._tool = self._tool or await carry.digest_tool(self)  # type: ignore[arg-type]
                digest = await carry.send(self, self._tool, part, path, chunks)  # type: ignore[arg-type]
                written = True
        except TimeoutError as error:
            raise HostError(self.host, "send", f"{path} was not written within {timeout:g} s") from error
        finally:
            if not written and self.connected:
                self._later(carry.discard(self, part))  # type: ignore[arg-type]
        return digest

    async def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        """The bytes of ``path`` in chunks. Raises HostError if it cannot be read to the end."""
        channel = await self.open_channel(carry.shell(f"exec cat < {quote(path)}"), carry.WINDOW)
        async with aclosing(channel), aclosing(carry.receive(self.host, channel, path, timeout)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def finish_cleaning(self) -> None:
        """Wait, but not for ever, for what still ends commands and removes leftovers."""
        if self._cleaners:
            await asyncio.wait(tuple(self._cleaners), timeout=KILL_DEADLINE)

    async def _kill(self, channel: CommandChannel) -> None:
        """Kill the command's process group, and close its channel."""
        with suppress(HostError, TimeoutError):
            async with asyncio.timeout(KILL_DEADLINE), aclosing(channel):
                found = await channel.stderr_match(rb"(?m)^" + _MARK.encode() + rb"(\d+)$")
                if found is None or not self.connected:
                    return
                pid = int(found[1])
                # When the server gave the command no group of its own, -pid names nothing, and only it is hit.
                hit = "kill -s {0} -- -{1} 2>/dev/null || kill -s {0} {1} 2>/dev/null"
                script = f"{hit.format('TERM', pid)}\nsleep 0.3 || sleep 1\n{hit.format('KILL', pid)}\n:"
                async with aclosing(await self.open_channel(carry.shell(script), FEED)) as killer:
                    await killer.wait()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        cleaners = self._cleaners = self._cleaners or set()
        cleaners.add(task)
        task.add_done_callback(cleaners.discard)


def _unmarked(stderr: bytes) -> bytes:
    return re.sub(rb"(?m)^" + _MARK.encode() + rb"\d+\n", b"", stderr, count=1)


async def _exchange(channel: Channel, stdin: bytes) -> Completed:
    async def feed() -> None:
        # A command may end without reading its input: its status says whether that matters.
        with suppress(HostError):
            for at in range(0, len(stdin), FEED):
                await channel.write(stdin[at : at + FEED])
            await channel.finish_input()

    feeding = asyncio.ensure_future(feed())
    try:
        return await channel.wait()
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
