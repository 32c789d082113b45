"""Faults on purpose, at named points of a move: what a crash test needs, and nothing else uses.

The points of a step are ``<step>:before`` (its intent is durable), ``<step>:after`` (it acted, and
that is not recorded) and ``<step>:recorded``; taking a step back has ``abort-<step>:before``
and ``abort-<step>:after``.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Final, Protocol

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.machines import StepName

VARIABLE: Final = "SIDESTEP_FAULT"
KINDS: Final = ("kill", "stall", "error")
POINTS: Final = frozenset(
    [f"{step}:{when}" for step in StepName for when in ("before", "after", "recorded")]
    + [f"abort-{step}:{when}" for step in StepName for when in ("before", "after")]
)


class InjectedFault(SidestepError):
    """The error that was asked for."""


class Faults(Protocol):
    """Called at every point of every step."""

    async def at(self, point: str) -> None:
        """Return, raise, never return, or end the process."""
        ...


class _NoFaults:
    async def at(self, point: str) -> None:
        """Nothing happens."""


NO_FAULTS: Final[Faults] = _NoFaults()


class EnvironmentFaults:
    """One fault at one point, once: ``kill@freeze:after``, ``stall@...`` or ``error@...``.

    ``kill`` is SIGKILL of this process, as pulling the plug is. Raises UsageError for anything else.
    """

    def __init__(self, text: str) -> None:
        self.kind, _, self.point = text.partition("@")
        self._spent = False
        if self.kind not in KINDS or self.point not in POINTS:
            raise UsageError(
                f"{VARIABLE}={text!r} is no fault",
                hint="kill, stall or error, @, a step, then :before, :after or :recorded; such as kill@freeze:after",
            )

    def __str__(self) -> str:
        return f"{self.kind}@{self.point}"

    async def at(self, point: str) -> None:
        """The fault, at its point, the first time."""
        if self._spent or point != self.point:
            return
        self._spent = True
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "stall":
            await asyncio.Event().wait()
        raise InjectedFault(f"{self} ({VARIABLE} is set)")


def faults_from(environment: Mapping[str, str]) -> EnvironmentFaults | None:
    """The fault that the environment asks for; None almost always. Raises UsageError."""
    text = environment.get(VARIABLE, "")
    return EnvironmentFaults(text) if text else None
