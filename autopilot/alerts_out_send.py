"""Sends alerts through notifiers, whose addresses come by reference: file:PATH or command:LINE.

An address holds its secret. It is fetched when the first message goes, kept in memory only, and
never shown. Nothing here stops the daemon: not a notifier that raises, nor one that never returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidestep.autopilot.alerts_out import AlertDesk, conditions_of
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_report import Trouble
from sidestep.backends.secret import fetched
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.plugins.notifiers import Notice, Notifier, notifier, split_target

#: messages that wait while a target does not answer
QUEUE: Final = 100
#: seconds before each further try
AGAIN: Final = (5.0, 30.0, 120.0)
#: seconds after which a notifier is not waited for
DELIVERY: Final = 60.0


class AlertsOut:
    """``look`` after every tick, ``run`` as long as the daemon lives, ``forget`` to fetch targets again."""

    def __init__(
        self,
        fleet: FleetSpec,
        *,
        troubles: Callable[[], tuple[Trouble, ...]],
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._spec, self._folder = fleet.alerts, Path(fleet.source).absolute().parent
        self._desk = AlertDesk(fleet.alerts, fleet.name)
        self._troubles, self._clock, self._report = troubles, clock, report
        self._since = clock.wall()
        self._queue: asyncio.Queue[Notice] = asyncio.Queue(QUEUE)
        self._targets: dict[str, list[str]] = {}
        self._notifiers: dict[str, Notifier] = {}
        self._said: set[str] = set()

    def look(self, picture: Picture) -> None:
        """Take a picture; never waits."""
        found = conditions_of(picture, self._troubles(), self._since)
        for message in self._desk.look(found, self._clock.monotonic()):
            try:
                self._queue.put_nowait(message)
            except asyncio.QueueFull:
                self._complain(f"{QUEUE} alerts wait already; not sent: {message.title}")

    def forget(self) -> None:
        """Fetch targets again before the next message."""
        self._targets = {}

    async def run(self) -> None:
        """Send one message after the other until cancelled."""
        while True:
            message = await self._queue.get()
            for reference in self._spec.targets:
                await self._send(reference, message)

    async def _send(self, reference: str, message: Notice) -> None:
        why = ""
        for pause in (*AGAIN, 0.0):
            try:
                async with asyncio.timeout(DELIVERY):
                    await asyncio.to_thread(self._deliver, reference, message)
            except SidestepError as error:
                self._targets.pop(reference, None)
                why = str(error)
            except Exception as error:  # noqa: BLE001 - a foreign library: its text may hold the address, so only the kind is told
                why = type(error).__name__
            else:
                self._said.clear()
                return
            await self._clock.sleep(pause)
        self._complain(f"alerts: {_named(reference)}: {why}")

    def _deliver(self, target: str, message: Notice) -> None:
        """One message to all addresses of a target. Blocks; raises SidestepError."""
        name, reference = split_target(target)
        if name not in self._notifiers:
            self._notifiers[name] = notifier(name)
        if target not in self._targets:
            self._targets[target] = fetch(reference, self._folder)
        self._notifiers[name].send(self._targets[target], message)

    def _complain(self, text: str) -> None:
        """Say trouble once until a message went through."""
        if text not in self._said:
            self._said.add(text)
            self._report(text)


def _named(target: str) -> str:
    """A target without what a command may hold of secrets."""
    name, reference = split_target(target)
    before = f"{name}=" if target != reference else ""
    kind, _, rest = reference.partition(":")
    return f"{before}{reference}" if kind == "file" else f"{before}{kind}:{rest.split()[0]} ..."


def fetch(reference: str, folder: Path) -> list[str]:
    """The targets that a reference leads to, one a line. Blocks; raises SidestepError that shows none of them."""
    try:
        text = fetched(reference, "target", folder)
    except ValueError as error:
        raise SidestepError(str(error)) from None
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise SidestepError("there is no address in it", hint="write one Apprise URL a line")
    return found
