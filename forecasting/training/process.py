"""One life of the training process, from spawn to end, as the daemon sees it. Loads nothing heavy."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidestep.fleet.errors import ProtocolError, SidestepError
from sidestep.fleet.labels import scrub
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol

COMMAND: Final = (sys.executable, "-m", "sidestep.forecasting.training")
#: seconds that a trainer may take to load and to look at all candidates
START_DEADLINE: Final = 300.0
#: longest line of its log that is passed on
LINE: Final = 65536
#: the pipes of a dead process end at once
DRAIN: Final = 2.0


class TrainerLost(SidestepError):
    """The trainer ended, broke its protocol, refused its configuration or did not answer."""


class TrainingProcess:
    """A running trainer; every call is one request and its answer, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process, report: Callable[[str], None]) -> None:
        self._process = process
        self._report = report
        self._log = asyncio.create_task(self._pass_log(), name="trainer's log")

    @classmethod
    async def spawn(
        cls, report: Callable[[str], None], command: Sequence[str] = COMMAND, env: Mapping[str, str] | None = None
    ) -> TrainingProcess:
        """Start a process; the first call must be ``Begin``. Raises OSError."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE, env=env
        )
        return cls(process, report)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def call(self, request: protocol.Request, deadline: float) -> protocol.Response:
        """Send a request and wait for its answer. Raises TrainerLost, also after ``deadline`` seconds: kill it then."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            async with asyncio.timeout(deadline):
                stdin.write(protocol.pack(request))
                await stdin.drain()
                length = wire.frame_length(await stdout.readexactly(wire.HEADER))
                return protocol.parse_response(await stdout.readexactly(length))
        except TimeoutError as error:
            raise TrainerLost(f"the trainer did not answer in {deadline:g} s") from error
        except (asyncio.IncompleteReadError, OSError, RuntimeError) as error:
            # uvloop says RuntimeError of a pipe that is closed
            raise TrainerLost(f"the trainer ended{await self._how()}") from error
        except ProtocolError as error:
            raise TrainerLost(str(error)) from error

    async def _how(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await self._process.wait()
        status = self._process.returncode
        return "" if status is None else f" by signal {-status}" if status < 0 else f" with status {status}"

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
            self._report(f"trainer: {scrub(line.rstrip(), 800)}")

    async def aclose(self) -> None:
        """End the process at once (a stopped one too); its children die with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        try:
            await self._process.wait()
        finally:
            stdout = self._process.stdout
            assert stdout is not None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN):
                    await stdout.read()
                    await self._log
            self._log.cancel()
