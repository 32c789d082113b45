"""Keeps one worker running: starts it, has it told what is known, and starts another when it is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting import wire
from sidestep.forecasting.process import Worker, WorkerLost

#: seconds before a lost worker is started again: first, and at most
BACKOFF: Final = (0.5, 30.0)


class Supervisor:
    """``worker`` is the one that forecasts, None while there is none; ``why`` says why not.

    ``tell`` tells a new worker what is known; it serves from the moment that it returns, with
    nothing awaited in between.
    """

    def __init__(
        self,
        spec: OracleSpec,
        horizon: float,
        tell: Callable[[Worker], Awaitable[None]],
        *,
        report: Callable[[str], None],
    ) -> None:
        self.worker: Worker | None = None
        self.why = "worker starting"
        self.ready = asyncio.Event()
        self._spec, self._horizon, self._tell, self._report = spec, horizon, tell, report
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the worker and return at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="oracle supervisor")

    async def aclose(self) -> None:
        """End the worker and everything that watches it."""
        task, self._task = self._task, None
        self.why = "oracle closed"
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def give_up(self, worker: Worker, why: str) -> None:
        """Use this worker no more; it is ended and another one started."""
        if self.worker is worker:
            self.worker = None
            self.ready.clear()
            self.why = why
            self._report(f"oracle: {why}")
            self._lost.set()

    async def _run(self) -> None:
        """Keep one worker running for as long as we live."""
        clock = asyncio.get_running_loop().time
        delay = BACKOFF[0]
        while True:
            started = clock()
            worker: Worker | None = None
            try:
                worker = await Worker.spawn(self._report)
                await worker.prepare(wire.Configure(self._spec, self._horizon))
                await self._tell(worker)
                self._lost = asyncio.Event()
                self.worker, self.why = worker, ""
                self.ready.set()
                self._report(f"oracle: worker {worker.pid} is ready, model {self._spec.model}")
                await self._watch(worker)
            except (WorkerLost, OSError, TimeoutError) as error:
                self.why = f"{error}, restarting"
                self._report(f"oracle: {self.why}")
            finally:
                self.worker = None
                self.ready.clear()
                if worker is not None:
                    await worker.aclose()
            if clock() - started > BACKOFF[1]:
                delay = BACKOFF[0]
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
            delay = min(delay * 2, BACKOFF[1])

    async def _watch(self, worker: Worker) -> None:
        """Return when the worker was given up or has ended."""
        waits = {asyncio.create_task(self._lost.wait()), asyncio.create_task(worker.ended())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self.give_up(worker, "worker ended, restarting")
