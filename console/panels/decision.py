"""Dialogs: lines to read, and lines to read before something is decided with one deliberate act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from sidestep.console.commands import COMMANDS, show_key
from sidestep.console.context import Context
from sidestep.console.text import Line, Span
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineReader

_WIDTH: Final = 94


def panel_bindings() -> list[BindingType]:
    """The keys of dialogs, from the registry."""
    return [
        Binding(",".join(c.keys), c.id, c.title, show=False, key_display=show_key(c.keys[0]))
        for c in COMMANDS
        if "panel" in c.scopes
    ]


def tell_width(columns: int) -> int:
    """Columns for lines to read on a terminal of so many, beside frame and scroll bar."""
    return min(90, columns * 9 // 10 - 6)


class TellPanel(ModalScreen[None]):
    """Lines to read, until enter or escape."""

    BINDINGS: ClassVar[list[BindingType]] = panel_bindings()

    def __init__(self, context: Context, title: str, lines: Sequence[Line]) -> None:
        super().__init__(classes="-ascii" if context.glyphs.ascii else "")
        self._title, self._told = title, lines

    def compose(self) -> ComposeResult:
        """The lines and how to leave."""
        with Vertical(classes="dialog" + (" -ascii" if self.has_class("-ascii") else "")) as box:
            entitle(box, self._title)
            yield LineReader(id="told")
            yield LinePane(classes="hint")

    def on_mount(self) -> None:
        """Fill in the lines."""
        told = self.query_one("#told", LineReader)
        told.styles.height = len(self._told)
        told.show_lines(self._told)
        self.query_one(".hint", LinePane).show_lines([(Span("esc", "accent"), Span(" close", "muted"))])
        told.focus()

    def action_confirm(self) -> None:
        """Close."""
        self.dismiss(None)

    def action_cancel(self) -> None:
        """Close."""
        self.dismiss(None)


class DecisionPanel(ModalScreen[str]):
    """What would be decided, lines to type, and a hint; returns the reason that was typed, or None to leave it.

    ``DANGER`` paints it red. Enter in any line decides.
    """

    BINDINGS: ClassVar[list[BindingType]] = panel_bindings()
    TITLE_TEXT: ClassVar[str] = ""
    DANGER: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        ascii_only = " -ascii" if context.glyphs.ascii else ""
        super().__init__(classes=("-danger" if self.DANGER else "") + ascii_only)
        self.given, self._glyphs = context, context.glyphs

    def compose(self) -> ComposeResult:
        """What it is about, the lines to type, and what the keys do."""
        with Vertical(classes="dialog" + (" -ascii" if self.has_class("-ascii") else "")) as box:
            entitle(box, self.TITLE_TEXT)
            yield LineReader(id="what")
            for name, wanted in self.asks():
                yield Input(placeholder=wanted, id=name, max_length=500)
            yield LinePane(classes="hint")

    def on_mount(self) -> None:
        """Fill in the lines."""
        what = self.query_one("#what", LineReader)
        lines = self.lines(min(_WIDTH, self.app.size.width * 9 // 10 - 4))
        what.styles.height = len(lines)
        what.show_lines(lines)
        self.hint(self.how())
        (self.query(Input).first() if self.asks() else what).focus()

    def lines(self, width: int) -> list[Line]:
        """What would be decided."""
        return []

    def asks(self) -> tuple[tuple[str, str], ...]:
        """What is to be typed: a name and a placeholder each; ``why`` is the reason."""
        return (("why", "reason, for the log"),)

    def how(self) -> Line:
        """What the keys do."""
        return ()

    def hint(self, line: Line) -> None:
        """Show the line at the bottom."""
        self.query_one(".hint", LinePane).show_lines([line])

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_confirm()

    def typed(self, name: str) -> str:
        """What was typed so far."""
        return self.query_one(f"#{name}", Input).value.strip() if any(n == name for n, _ in self.asks()) else ""

    def action_confirm(self) -> None:
        """Decide."""
        self.dismiss(self.typed("why"))

    def action_cancel(self) -> None:
        """Leave without deciding."""
        self.dismiss(None)


def keys_line(confirm: str, leave: str = "leave it") -> Line:
    """What enter and escape do."""
    return (Span("enter", "accent"), Span(f" {confirm}   "), Span("esc", "accent"), Span(f" {leave}", "muted"))
