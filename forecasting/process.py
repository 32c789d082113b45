"""One life of the worker process, from spawn to end, as the daemon sees it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from sidestep.fleet.errors import ProtocolError, SidestepError
from sidestep.fleet.labels import scrub
from sidestep.forecasting import wire

#: importing sktime takes seconds on a quiet machine, and much longer on a busy disk
START_DEADLINE: Final = 180.0
#: the pipes of a dead process end at once
DRAIN: Final = 2.0
#: bytes that a pipe holds: an answer of megabytes then comes in a few pieces
PIPE: Final = 1 << 20
#: one thread does the arithmetic: more of them wait for each other in loops, which triples what a tick costs
ALONE: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
#: longest line of the worker's log that is passed on
LINE: Final = 65536
COMMAND: Final = (sys.executable, "-m", "sidestep.forecasting.worker")


class WorkerLost(SidestepError):
    """The worker ended, broke its protocol or refused its configuration."""


class Worker:
    """A running worker; every call is one request and its answer, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, report: Callable[[str], None]) -> None:
        self._process = process
        self._report = report
        self._one = asyncio.Lock()
        #: whether a call was given up in the middle, so that its answer is still to come
        self._broken = False
        self._log = asyncio.create_task(self._pass_log(), name="oracle worker's log")

    @classmethod
    async def spawn(cls, report: Callable[[str], None], command: Sequence[str] = COMMAND) -> Worker:
        """Start a process; it is not ready before it was configured. Raises OSError."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE, env={**ALONE, **os.environ}
        )
        widen(process)
        return cls(process, report)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def call(self, request: wire.Request) -> wire.Response:
        """Send a request and wait for its answer. Raises WorkerLost; the caller sets the deadline.

        Calls wait for each other. One that was cancelled leaves its answer in the pipe: every later one is refused.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        async with self._one:
            if self._broken:
                raise WorkerLost("the oracle's worker still owes an answer")
            self._broken = True
            try:
                stdin.write(wire.pack(request))
                await stdin.drain()
                length = wire.frame_length(await stdout.readexactly(wire.HEADER))
                answer = wire.parse_response(await stdout.readexactly(length))
            except asyncio.IncompleteReadError as error:
                raise WorkerLost(f"the oracle's worker ended{self._how()} in mid-answer") from error
            except (OSError, RuntimeError) as error:
                # uvloop says RuntimeError of a pipe that is closed
                raise WorkerLost(f"the oracle's worker ended{self._how()}") from error
            except ProtocolError as error:
                raise WorkerLost(str(error)) from error
            self._broken = False
            return answer

    def _how(self) -> str:
        status = self._process.returncode
        return "" if status is None else f" by signal {-status}" if status < 0 else f" with status {status}"

    async def prepare(self, request: wire.Request) -> wire.Response:
        """Have the worker load everything, learn past rows or take what it is told; its answer.

        Raises WorkerLost when it refuses or takes too long.
        """
        try:
            async with asyncio.timeout(START_DEADLINE):
                answer = await self.call(request)
        except TimeoutError as error:
            raise WorkerLost(f"the oracle's worker was not ready after {START_DEADLINE:.0f} s") from error
        if isinstance(answer, wire.Failed):
            raise WorkerLost(f"the oracle's worker refused to start: {answer.message}")
        return answer

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
            self._report(f"oracle worker: {scrub(line.rstrip())}")

    async def ended(self) -> int:
        """Wait for the end of the process; its status."""
        return await self._process.wait()

    async def aclose(self, grace: float = 0.0) -> None:
        """End the process: its input ends, and after ``grace`` seconds it is killed (a stopped one too)."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        finally:
            await self._drain()

    async def _drain(self) -> None:
        """Read both pipes to their end, which closes them."""
        stdout = self._process.stdout
        assert stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await stdout.read()
                await self._log


def widen(process: asyncio.subprocess.Process) -> None:
    """Let the pipes to and from a process hold more, as far as the kernel lets us."""
    transport = process._transport  # type: ignore[attr-defined]
    for number in (0, 1):
        pipe = transport.get_pipe_transport(number).get_extra_info("pipe")
        if pipe is None:  # uvloop keeps its pipes to itself
            continue
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
