"""A process that answers frames on its standard streams, from spawn to end: what the worker and the trainer share."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidestep.fleet.labels import scrub
from sidestep.forecasting.frames import HEADER, frame_length

#: longest line of the process's log that is passed on, and how much of it
LINE: Final = 65536
SHOWN: Final = 800
#: the pipes of a dead process end at once
DRAIN: Final = 2.0
#: bytes that a pipe holds: an answer of megabytes then comes in a few pieces
PIPE: Final = 1 << 20


class Piped:
    """A running process called ``name``; every line of its log goes to ``report``."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, report: Callable[[str], None]) -> None:
        self._process, self._name, self._report = process, name, report
        self._log = asyncio.create_task(self._pass_log(), name=f"{name}'s log")

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def exchange(self, frame: bytes | bytearray) -> bytes:
        """Send a frame and wait for the body of its answer.

        Raises EOFError when the process ended, ProtocolError for a length that cannot be.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(frame)
            await stdin.drain()
            return await stdout.readexactly(frame_length(await stdout.readexactly(HEADER)))
        except asyncio.IncompleteReadError as error:
            raise EOFError("in mid-answer") from error
        except (OSError, RuntimeError) as error:
            # uvloop says RuntimeError of a pipe that is closed
            raise EOFError from error

    async def how(self, patience: float = DRAIN) -> str:
        """How the process ended, to be put after "ended"; "" if it did not within ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._process.wait()
        status = self._process.returncode
        return "" if status is None else f" by signal {-status}" if status < 0 else f" with status {status}"

    async def ended(self) -> int:
        """Wait for the end of the process; its status."""
        return await self._process.wait()

    async def aclose(self, grace: float = 0.0) -> None:
        """End the process: its input ends, and after ``grace`` seconds it is killed (a stopped one too)."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.close()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        finally:
            # reading both pipes to their end closes them
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN):
                    await stdout.read()
                    await self._log
            self._log.cancel()

    async def _pass_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while True:
            try:
                line = await stderr.readline()
            except ValueError:
                continue  # a line over the limit: the reader has dropped it
            if not line:
                return
            self._report(f"{self._name}: {scrub(line.rstrip(), SHOWN)}")


async def spawned(command: Sequence[str], env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """A process with pipes to all its standard streams, wide ones if the kernel lets us. Raises OSError."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE, env=env)
    transport = process._transport  # type: ignore[attr-defined]
    for number in (0, 1):
        found = transport.get_pipe_transport(number).get_extra_info("pipe")
        if found is None:  # uvloop keeps its pipes to itself
            continue
        with contextlib.suppress(OSError):
            fcntl.fcntl(found.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
    return process
