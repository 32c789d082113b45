"""Answers that a screen needs besides the picture: asked for in the background, again when they are old."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sidestep.autopilot.protocol import Answer, Body
from sidestep.console.context import Picture
from sidestep.console.screens.base import ConsoleScreen
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub

#: seconds until a new screen is laid out, about; it is looked at again until it is
_LAID_OUT: Final = 0.03


class AskingScreen(ConsoleScreen):
    """A screen that asks the daemon; what it said last stays until it says something newer."""

    #: for tests
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self._answers: dict[Body, Answer] = {}
        self._refusals: dict[Body, Label] = {}
        self._asked: dict[Body, float] = {}

    def show(self, picture: Picture) -> None:
        """Take the picture; on a screen that was not laid out yet once more, as soon as its panes have their size."""
        super().show(picture)
        if picture.view is not None and self.is_current and not self.query(".body").first().size.width:
            self.set_timer(_LAID_OUT, self.again)

    def ask(self, body: Body, every: float = 15.0) -> Answer | None:
        """The newest answer, None before there is one; asks again if it is older than ``every`` seconds."""
        live = self.picture.status.kind == "live" and not self.picture.frozen
        if live and self.clock() - self._asked.get(body, -1e9) >= every:
            self._asked[body] = self.clock()
            self.run_worker(self._ask(body), exit_on_error=False)
        return self._answers.get(body)

    def refusal(self, body: Body) -> Label:
        """Why there is no answer, or ""."""
        return self._refusals.get(body, Label(""))

    async def _ask(self, body: Body) -> None:
        try:
            self._answers[body] = await self.given.feed.call(body)
            self._refusals.pop(body, None)
        except SidestepError as error:
            self._refusals[body] = scrub(str(error.args[0]), 400)
        self.again()
