"""The dialog of an order: what it does, what stands in the way, and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sidestep.console.context import Context
from sidestep.console.panels.decision import DecisionPanel, keys_line
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.linetable import LineReader
from sidestep.fleet.errors import UsageError

#: rows of a screen that the dialog's frame, the reason and the keys take
_REST: Final = 10


class OrderPanel(DecisionPanel):
    """Returns the reason, which may be empty, or None.

    ``ends``: it may end by itself, at a time that is typed (``until``). ``word``: has to be typed.
    """

    def __init__(
        self, context: Context, order: str, lines: Callable[[int], list[Line]], *, ends: bool = False, word: str = ""
    ) -> None:
        super().__init__(context)
        self.TITLE_TEXT = order  # type: ignore[misc]
        self._said, self._order, self._ends, self._word = lines, order, ends, word
        #: unix time at which the order ends by itself, 0 for never; once it is confirmed
        self.until = 0.0

    def on_mount(self) -> None:
        """Keep the reason and the keys on screen however much there is to read: the rest is scrolled to."""
        super().on_mount()
        what = self.query_one("#what", LineReader)
        what.styles.max_height = max(3, self.app.size.height - _REST - 2 * (self._ends + bool(self._word)))

    def lines(self, width: int) -> list[Line]:
        """What the order does, or what would have to move."""
        return self._said(width)

    def asks(self) -> tuple[tuple[str, str], ...]:
        """The word if one is wanted, a reason, and until when."""
        word = (("word", f"type {self._word}"),) if self._word else ()
        ends = (("until", "until, such as 2h or 18:00; nothing: until somebody lifts it"),) if self._ends else ()
        return (*word, ("why", "reason, for the log"), *ends)

    def how(self) -> Line:
        """Enter gives the order."""
        return keys_line(self._order)

    def action_confirm(self) -> None:
        """Give the order, if what was typed can be read."""
        from sidestep.console.headless.hosts import moment  # noqa: PLC0415 - only when there is an order

        if self._word and self.typed("word").casefold() != self._word:
            self.hint((Span(f"not done: type {self._word} and enter, or esc to leave it", "warn"),))
            return
        try:
            self.until = moment(self.typed("until"), time.time())
        except UsageError as error:
            self.hint((span(str(error).removeprefix("--"), "warn"),))
            self.query_one("#until").focus()
            return
        self.dismiss(self.typed("why"))
