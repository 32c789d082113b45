"""Asks the sources of metrics that the fleet file declares, each in its own time; what they say is as if observed.

A source is somebody else's code: it runs in a thread, is not asked again before it has answered, and
its numbers are looked at before they count. Nothing here stops the daemon; trouble is told once.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.secret import secret
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.extensions import SOURCES, load
from sidestep.fleet.resources import REPORTED
from sidestep.fleet.sources import Reading, Source, SourceSpec

#: seconds after which a source that says nothing is told of
SLOW: Final = 30.0


class SourceFeeds:
    """From ``start`` to ``aclose``: every source is read, into the rates of ``reported``."""

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        shards: Sequence[str],
        *,
        reported: Reported,
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._specs, self._shards = tuple(specs), tuple(shards)
        self._reported, self._clock, self._report = reported, clock, report
        self._tasks: list[asyncio.Task[None]] = []
        self._said: dict[str, str] = {}

    async def start(self) -> None:
        """Begin to ask; a source that cannot be made is told of at its first turn."""
        self._tasks = [asyncio.create_task(self._follow(spec), name=f"source {spec.name}") for spec in self._specs]

    async def aclose(self) -> None:
        """Ask no more; a source that hangs is left behind in its thread, which keeps nobody from ending."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, spec: SourceSpec) -> None:
        made: list[Source] = []

        def turn() -> Mapping[str, Reading]:
            if not made:
                made.append(_made(spec))
            return made[0].read(self._shards)

        while True:
            try:
                asked = asyncio.ensure_future(_in_thread(turn))
                try:
                    await asyncio.wait((asked,), timeout=max(SLOW, 2 * spec.every))
                    if not asked.done():
                        self._say(spec, "it has not answered yet")
                    self._take(await asked, spec.every)
                finally:
                    asked.cancel()
            except SidestepError as error:
                self._say(spec, str(error.args[0]))
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; its text may hold a secret
                self._say(spec, type(error).__name__)
            else:
                self._said.pop(spec.name, None)
            await self._clock.sleep(spec.every)

    def _take(self, answer: Mapping[str, Reading], every: float) -> None:
        names = [name for name in self._shards if name in answer]
        values = np.full((len(names), len(REPORTED)), math.nan)
        for row, name in enumerate(names):
            reading = answer[name]
            values[row] = reading.requests, reading.latency_p50, reading.latency_p95
        values[~(np.isfinite(values) & (values >= 0))] = math.nan
        self._reported.tell(self._clock.monotonic(), self._reported.rows(names), values, lasts=2 * every)

    def _say(self, spec: SourceSpec, why: str) -> None:
        if self._said.get(spec.name) != why:
            self._said[spec.name] = why
            self._report(f"source {spec.name} ({spec.plugin}): {why}")


def _made(spec: SourceSpec) -> Source:
    maker = load(SOURCES, spec.plugin)
    source: Source = maker(json.loads(spec.params), secret(spec.secret, f"source.{spec.name}.secret"))
    if not callable(getattr(source, "read", None)):
        raise SidestepError(f"it is no source: {type(source).__name__} has no read")
    return source


async def _in_thread(work: Callable[[], Any]) -> Any:
    """What work returns, done in a thread of its own: one that never ends takes no place in a pool."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            value, error = work(), None
        except BaseException as raised:  # noqa: BLE001 - it is raised again where it is awaited
            value, error = None, raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, value, error)

    threading.Thread(target=run, name="source", daemon=True).start()
    return await done
