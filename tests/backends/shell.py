"""A host's shell, without SSH in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sidestep.backends.ssh.base import Completed, Feed, Receiver
from sidestep.fleet.errors import HostUnreachable


class Piped:
    """``Channel`` over the pipes of a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process, self._in, self._out, self._err = process, process.stdin, process.stdout, process.stderr

    async def readline(self, limit: int = 262144) -> bytes:
        return await self._out.readline()

    async def read(self, n: int) -> bytes:
        return await self._out.read(n)

    async def write(self, data: bytes) -> None:
        try:
            self._in.write(data)
            await self._in.drain()
        except OSError as error:
            raise HostUnreachable("lb", "write", str(error)) from error

    async def finish_input(self) -> None:
        self._in.close()

    async def wait(self) -> Completed:
        out, err = await asyncio.gather(self._out.read(), self._err.read())
        return Completed(await self.process.wait(), out, err)

    async def aclose(self) -> None:
        self._in.close()
        await self.process.wait()


class Shell:
    """``Transport`` as far as a router needs it; ``started`` are all processes."""

    host = "lb"

    def __init__(self, greeting: str = "") -> None:
        self.started: list[Piped] = []
        self._greeting = greeting

    async def connect(self) -> None:
        """Nothing has to be done."""

    async def open(self, command: str) -> Piped:
        pipe = asyncio.subprocess.PIPE
        line = f"printf %s '{self._greeting}'\n{command}"
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", line, stdin=pipe, stdout=pipe, stderr=pipe)
        self.started.append(Piped(process))
        return self.started[-1]

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> Completed:
        raise NotImplementedError

    async def feed(self, command: str, receiver: Receiver) -> Feed:
        raise NotImplementedError

    async def send(self, path: str, chunks: AsyncIterator[bytes], *, timeout: float = 60.0) -> str:
        raise NotImplementedError

    def fetch(self, path: str, *, timeout: float = 60.0) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
