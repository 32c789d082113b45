"""How an executor speaks of trouble, and how long it insists."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidestep.fleet.errors import (
    AuthenticationRefused,
    HostIncapable,
    HostKeyRefused,
    HostUnreachable,
    ShardEnded,
    SidestepError,
)
from sidestep.fleet.labels import Label, scrub

_LOG = logging.getLogger(__name__)
_LIMIT = 2000


@dataclass(frozen=True)
class Trouble:
    """Why an attempt failed, in words; ``hopeless`` if the same attempt cannot have another end.

    ``away`` names the host that did not answer, if that is all there is to it.
    """

    text: Label
    timed_out: bool = False
    hopeless: bool = False
    away: str = ""


def trouble_of(error: Exception, doing: str, deadline: float) -> Trouble:
    """The error in one line, with its remedy. A bug's traceback goes to the daemon's log."""
    if isinstance(error, TimeoutError):
        return Trouble(scrub(f"{doing}: did not end within {deadline:g} s", _LIMIT), timed_out=True)
    if isinstance(error, SidestepError):
        hint = f"; remedy: {error.hint}" if error.hint else ""
        hopeless = isinstance(error, HostKeyRefused | AuthenticationRefused | HostIncapable | ShardEnded)
        away = error.host if isinstance(error, HostUnreachable) else ""
        return Trouble(scrub(f"{doing}: {error.args[0]}{hint}", _LIMIT), hopeless=hopeless, away=away)
    _LOG.error("%s failed unexpectedly", doing, exc_info=error)
    return Trouble(scrub(f"{doing}: {type(error).__name__}: {error}", _LIMIT))


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """Bounded back-off: pauses double from ``first`` to ``longest``, for ``patience`` in all (s)."""

    first: float = 0.2
    longest: float = 3.0
    patience: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic

    async def insist(
        self, attempt: Callable[[], Awaitable[Trouble | None]], give_up: Callable[[], bool]
    ) -> Trouble | None:
        """Repeat ``attempt`` until it has no trouble; the last trouble once that is not worth going on."""
        end, pause = self.monotonic() + self.patience, self.first
        while True:
            trouble = await attempt()
            if trouble is None or trouble.hopeless or give_up() or self.monotonic() + pause > end:
                return trouble
            await self.sleep(pause)
            pause = min(pause * 2.0, self.longest)
