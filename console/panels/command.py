"""The line at the bottom: ``:`` for commands with completion, ``/`` for the filter as it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label

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
    """One line to type; returns it, or None. ``changed`` hears every keystroke."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", show=False),
        Binding("tab", "complete", "Complete", show=False),
    ]

    def __init__(
        self,
        sign: str,
        value: str = "",
        *,
        complete: Complete = lambda _: (),
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._sign, self._value, self._complete, self._changed = sign, value, complete, changed

    def compose(self) -> ComposeResult:
        """The sign and the line."""
        with Horizontal():
            yield Label(self._sign, markup=False)
            yield Input(self._value, suggester=Completion(self._complete), compact=True)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _heard(self, event: Input.Changed) -> None:
        self._changed(event.value)

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
