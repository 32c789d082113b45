"""The line at the bottom: ``:`` for commands with completion, ``/`` for the filter as it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Key
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label

from sidestep.console.text import span
from sidestep.console.widgets.lines import LinePane

Complete = Callable[[str], tuple[str, ...]]


class Completion(Suggester):
    """Offers the first whole line that the typed one could become."""

    def __init__(self, complete: Complete) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """The first completion, or None."""
        found = self._complete(value) if value else ()
        return found[0] if found else None


class PromptPanel(ModalScreen[str]):
    """One line to type; returns it, or None. ``changed`` hears every keystroke and says what is wrong."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", show=False),
        Binding("tab", "complete", "Complete", show=False),
        Binding("up", "older", "Line before", show=False),
        Binding("down", "newer", "Next line", show=False),
    ]

    def __init__(
        self,
        sign: str,
        value: str = "",
        *,
        complete: Complete = lambda _: (),
        changed: Callable[[str], str | None] = lambda _: "",
        history: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._history, self._at = [*history, ""], len(history)
        self._sign, self._value, self._complete, self._changed = sign, value, complete, changed

    def compose(self) -> ComposeResult:
        """The sign and the line."""
        with Horizontal():
            yield Label(self._sign, markup=False)
            yield Input(self._value, suggester=Completion(self._complete), compact=True, max_length=500)
            yield LinePane(id="problem")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_key(self, event: Key) -> None:
        """What is typed before the line has the focus belongs to it, not to nobody."""
        if event.is_printable and event.character is not None:
            event.stop()
            self.query_one(Input).insert_text_at_cursor(event.character)

    @on(Input.Changed)
    def _heard(self, event: Input.Changed) -> None:
        problem = self._changed(event.value) or ""
        pane = self.query_one("#problem", LinePane)
        pane.styles.width = min(60, len(problem) + 2) if problem else 0
        pane.show_lines([(span(f" {problem}", "error"),)] if problem else [])

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Leave without a line."""
        self.dismiss(None)

    def action_complete(self) -> None:
        """Take the first completion."""
        line = self.query_one(Input)
        if found := self._complete(line.value):
            line.value = found[0]
            line.cursor_position = len(found[0])

    def action_older(self) -> None:
        """The line that was typed before."""
        self._recall(-1)

    def action_newer(self) -> None:
        """The line that was typed after that."""
        self._recall(1)

    def _recall(self, by: int) -> None:
        line = self.query_one(Input)
        self._history[self._at] = line.value
        self._at = max(0, min(len(self._history) - 1, self._at + by))
        line.value = self._history[self._at]
        line.cursor_position = len(line.value)
