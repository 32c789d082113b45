"""Tasks that live as long as the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from sidestep.autopilot.daemon_log import Log


class Background:
    """Tasks that live as long as the daemon; one that ends is said, since none should."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None], name: str, *, idle: bool = False) -> None:
        """Run ``work`` until the daemon ends; an ``idle`` one has nothing to do, and may return at once."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(partial(self._ended, idle))
        self._tasks.append(task)

    async def __aenter__(self) -> Background:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pending = set(self._tasks)
        while pending:  # again: what was waited for may have come at the same moment, and hidden the cancellation
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1.0)

    def _ended(self, idle: bool, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (idle and task.exception() is None):
            return
        why = "without a reason" if (error := task.exception()) is None else repr(error)
        self._log.say("error", f"{task.get_name()} ended: {why}")
