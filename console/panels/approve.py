"""Dialogs of decision: exactly what will run, the digest it is bound to, and one deliberate act.

A plan of more than ``FREE`` actions needs its number typed: muscle memory gets through an
enter, not through a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from sidestep.autopilot.protocol import PlanView
from sidestep.console.commands import COMMANDS, show_key
from sidestep.console.context import Context
from sidestep.console.plantext import PREFIX, approval_lines
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.lines import LinePane
from sidestep.console.widgets.linetable import LineReader

#: plans of up to this many actions are confirmed with enter alone
FREE: Final = 3
_WIDTH: Final = 94


def panel_bindings() -> list[BindingType]:
    """The keys of dialogs, from the registry."""
    return [
        Binding(",".join(c.keys), c.id, c.title, show=False, key_display=show_key(c.keys[0]))
        for c in COMMANDS
        if c.scope == "panel"
    ]


class TellPanel(ModalScreen[None]):
    """Lines to read, until enter or escape."""

    BINDINGS: ClassVar[list[BindingType]] = panel_bindings()

    def __init__(self, context: Context, title: str, lines: Sequence[Line]) -> None:
        super().__init__(classes="-ascii" if context.glyphs.ascii else "")
        self._title, self._told = title, lines

    def compose(self) -> ComposeResult:
        """The lines and how to leave."""
        with Vertical(classes="dialog" + (" -ascii" if self.has_class("-ascii") else "")) as box:
            box.border_title = self._title
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
    """What would be decided, an optional line to type, and a hint; returns what was typed."""

    BINDINGS: ClassVar[list[BindingType]] = panel_bindings()
    TITLE_TEXT: ClassVar[str] = ""

    def __init__(self, context: Context, item: PlanView, now: float) -> None:
        super().__init__(classes="-ascii" if context.glyphs.ascii else "")
        self.item, self._now, self._glyphs = item, now, context.glyphs

    def compose(self) -> ComposeResult:
        """The plan, the line to type if one is needed, and what the keys do."""
        with Vertical(classes="dialog" + (" -ascii" if self.has_class("-ascii") else "")) as box:
            box.border_title = self.TITLE_TEXT
            yield LineReader(id="what")
            if self.asks():
                yield Input(placeholder=self.asks(), id="typed")
            yield LinePane(classes="hint")

    def on_mount(self) -> None:
        """Fill in the lines."""
        what = self.query_one("#what", LineReader)
        width = min(_WIDTH, self.app.size.width * 9 // 10 - 4)
        lines = approval_lines(self.item, self._now, width, self._glyphs)
        what.styles.height = len(lines)
        what.show_lines(lines)
        self.hint(self.how())
        (self.query_one("#typed") if self.asks() else what).focus()

    def asks(self) -> str:
        """What is to be typed; "" for nothing."""
        return ""

    def how(self) -> Line:
        """What the keys do."""
        return ()

    def hint(self, line: Line) -> None:
        """Show the line at the bottom."""
        self.query_one(".hint", LinePane).show_lines([line])

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_confirm()

    @property
    def typed(self) -> str:
        """What was typed so far."""
        return self.query_one("#typed", Input).value.strip() if self.asks() else ""

    def action_confirm(self) -> None:
        """Decide."""
        self.dismiss(self.typed)

    def action_cancel(self) -> None:
        """Leave without deciding."""
        self.dismiss(None)


class ApprovePanel(DecisionPanel):
    """Approve: returns "yes", or None."""

    TITLE_TEXT = "approve: this will run"

    def asks(self) -> str:
        """The plan's number, for plans that touch a lot."""
        number, count = self.item.plan.number, len(self.item.plan.actions)
        return f"{count} actions: type the plan's number, {number}, to approve" if count > FREE else ""

    def how(self) -> Line:
        """Enter runs exactly this digest."""
        return (
            Span("enter", "accent"),
            span(f" run exactly {self.item.digest[:PREFIX]}   "),
            Span("esc", "accent"),
            Span(" leave it", "muted"),
        )

    def action_confirm(self) -> None:
        """Approve, unless the number is asked for and wrong."""
        if self.asks() and self.typed.lstrip("#") != str(self.item.plan.number):
            self.hint((Span(f"not approved: type {self.item.plan.number} and enter, or esc to leave it", "warn"),))
            return
        self.dismiss("yes")


class RejectPanel(DecisionPanel):
    """Reject: returns the reason, which may be empty, or None."""

    TITLE_TEXT = "reject this plan"

    def asks(self) -> str:
        """The reason, for the log."""
        return "reason, for the log"

    def how(self) -> Line:
        """Enter rejects."""
        return (Span("enter", "accent"), Span(" reject   "), Span("esc", "accent"), Span(" leave it", "muted"))
