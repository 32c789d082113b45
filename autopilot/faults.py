"""Faults on purpose, at named points of a move: what a crash test needs, and nothing else uses.

The points of a step are ``<step>:before`` (its intent is durable), ``<step>:after`` (it acted, and
that is not recorded) and ``<step>:recorded``; taking a step back has ``abort-<step>:before``
and ``abort-<step>:after``.

``pause@FOLDER`` lets a harness hurt the world at an exact point, and then lets the move go on: where the
folder holds a file ``<shard>@<point>`` the daemon renames it to ``<shard>@<point>.reached`` and waits until
that is gone; if it holds the word ``block``, its whole loop stands still so long. The seconds in the
folder's file ``clock`` are added to the daemon's wall clock while they stand there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.machines import StepName

VARIABLE: Final = "SIDESTEP_FAULT"
KINDS: Final = ("kill", "stall", "error")
_PAUSE: Final = "pause@"
_LOOK: Final = 0.02
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
                hint="kill, stall or error, @, a step, then :before, :after or :recorded, such as kill@freeze:after;"
                " or pause@ and an absolute folder",
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


class FolderFaults:
    """Pauses wherever a file in its folder asks for it, as often as it asks."""

    def __init__(self, folder: Path, shard: str = "") -> None:
        self.folder, self._shard = folder, shard

    def __str__(self) -> str:
        return f"{_PAUSE}{self.folder}"

    def of(self, shard: str) -> FolderFaults:
        """The same for one shard."""
        return FolderFaults(self.folder, shard)

    async def at(self, point: str) -> None:
        """Wait, if a file says so, until somebody removes it."""
        armed = self.folder / f"{self._shard}@{point}"
        reached = armed.with_name(f"{armed.name}.reached")
        with suppress(OSError):
            armed.rename(reached)
            while reached.read_bytes() == b"block":
                time.sleep(_LOOK)  # noqa: ASYNC251 - the loop is to stand still
            while reached.exists():  # noqa: ASYNC110 - a file is all that the harness has
                await asyncio.sleep(_LOOK)

    def wall(self) -> float:
        """The shifted wall clock, unix seconds."""
        with suppress(OSError, ValueError):
            return time.time() + float((self.folder / "clock").read_text("ascii"))
        return time.time()


def faults_from(environment: Mapping[str, str]) -> EnvironmentFaults | FolderFaults | None:
    """The fault that the environment asks for; None almost always. Raises UsageError."""
    text = environment.get(VARIABLE, "")
    if text.startswith(f"{_PAUSE}/"):
        return FolderFaults(Path(text.removeprefix(_PAUSE)))
    return EnvironmentFaults(text) if text else None


def faults_of(faults: Faults, shard: str) -> Faults:
    """What of these faults meets the actions of one shard."""
    return faults.of(shard) if isinstance(faults, FolderFaults) else faults


def clock_from(environment: Mapping[str, str]) -> Clock:
    """The daemon's clocks; the wall clock is wrong on purpose if the environment asks for it. Raises UsageError."""
    faults = faults_from(environment)
    return Clock(wall=faults.wall) if isinstance(faults, FolderFaults) else Clock()
