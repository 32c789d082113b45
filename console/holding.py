"""The hold, from every screen: one key and enter, with the daemon or without it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import App

from sidestep.autopilot.client import DaemonLost, DaemonMissing
from sidestep.autopilot.protocol import Done
from sidestep.autopilot.protocol_control import HoldAll, ReleaseHold
from sidestep.console.panels.approve import HoldPanel, ReleasePanel
from sidestep.fleet.errors import SidestepError

if TYPE_CHECKING:
    from sidestep.console.clockwork import Clockwork
    from sidestep.console.context import Context


class Holding(App[int]):
    """The part of the application that holds and releases."""

    given: Context
    clockwork: Clockwork

    if TYPE_CHECKING:  # what the application has

        def tell(self, text: str) -> None:
            """A note in the corner."""

    def do_hold(self) -> None:
        """Begin nothing new; if that is so already, ask whether to release it."""
        if self.given.read_only:
            self.tell(f"hold is disabled: {self.given.looking}; use: sidestep hold")
            return
        held = self.clockwork.picture().held

        def decided(reason: str | None) -> None:
            if reason is not None:
                body = ReleaseHold(reason) if held else HoldAll(reason)
                self.run_worker(self._hold(body), exit_on_error=False)

        self.push_screen(ReleasePanel(self.given, held) if held else HoldPanel(self.given), decided)

    async def _hold(self, body: HoldAll | ReleaseHold) -> None:
        try:
            answer = await self.given.feed.call(body)
        except (DaemonLost, DaemonMissing) as error:
            if isinstance(body, ReleaseHold):
                self.tell(str(error))
                return
            answer = await self._by_file(body.reason, str(error.args[0]))
        except SidestepError as error:
            self.tell(str(error))
            return
        if isinstance(answer, Done):
            self.tell(answer.text or "done")

    async def _by_file(self, reason: str, why: str) -> Done:
        """Hold by the file that the daemon looks for: that needs nobody to answer."""
        from sidestep.console.headless.control import by_file  # noqa: PLC0415 - only in need

        path = self.given.feed.path
        if path is None:
            return Done()
        try:
            return await asyncio.to_thread(by_file, path, reason, None, why)
        except SidestepError as error:
            self.tell(str(error))
            return Done()
