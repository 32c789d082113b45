"""Which event loop the daemon runs on: uvloop, which reads a thousand streams for half the processor time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from sidestep.fleet.errors import UsageError

#: environment variable: "uvloop" or "asyncio"; unset is uvloop where it can be imported
VARIABLE: Final = "SIDESTEP_LOOP"

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run`` on the chosen loop. Raises UsageError for a loop that there is not."""
    try:
        factory = _factory(os.environ.get(VARIABLE, ""))
    except UsageError:
        work.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if wanted not in ("", "uvloop", "asyncio"):
        raise UsageError(f"{VARIABLE}={wanted}: there is no such loop", hint="uvloop, asyncio, or unset it")
    if wanted == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - not everywhere, and not for everybody who imports this
    except ImportError as error:
        if wanted:
            raise UsageError(f"{VARIABLE}=uvloop: {error}", hint=f"install uvloop, or unset {VARIABLE}") from error
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
