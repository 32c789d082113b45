"""One life of the worker process, from spawn to end, as the daemon sees it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from sidestep.fleet.errors import ProtocolError, SidestepError
from sidestep.forecasting import wire
from sidestep.forecasting.piped import Piped, spawned

#: importing sktime takes seconds on a quiet machine, and much longer on a busy disk
START_DEADLINE: Final = 180.0
#: one thread does the arithmetic: more of them wait for each other in loops, which triples what a tick costs
ALONE: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COMMAND: Final = (sys.executable, "-m", "sidestep.forecasting.worker")


class WorkerLost(SidestepError):
    """The worker ended, broke its protocol or refused its configuration."""


class Worker(Piped):
    """A running worker; every call is one request and its answer, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, report: Callable[[str], None]) -> None:
        super().__init__(process, "oracle worker", report)
        self._one = asyncio.Lock()
        #: whether a call was given up in the middle, so that its answer is still to come
        self._broken = False

    @classmethod
    async def spawn(cls, report: Callable[[str], None], command: Sequence[str] = COMMAND) -> Worker:
        """Start a process; it is not ready before it was configured. Raises OSError."""
        return cls(await spawned(command, {**ALONE, **os.environ}), report)

    async def call(self, request: wire.Request) -> wire.Response:
        """Send a request and wait for its answer. Raises WorkerLost; the caller sets the deadline.

        Calls wait for each other. One that was cancelled leaves its answer in the pipe: every later one is refused.
        """
        async with self._one:
            if self._broken:
                raise WorkerLost("the oracle's worker still owes an answer")
            self._broken = True
            try:
                answer = wire.parse_response(await self.exchange(wire.pack(request)))
            except EOFError as error:
                # nobody waits for it here: a tick does for this call
                raise WorkerLost(f"the oracle's worker ended{await self.how(0.0)} {error}".rstrip()) from error
            except ProtocolError as error:
                raise WorkerLost(str(error)) from error
            self._broken = False
            return answer

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
