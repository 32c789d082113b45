"""The trust account: how far the autopilot may go by itself, and what that rests on."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from sidestep.autopilot.protocol_levels import AutopilotView, GetAutopilot
from sidestep.console.context import Picture
from sidestep.console.pagetext import trust_lines
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, Span, percent, span
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineReader


class TrustPage(AskingScreen):
    """Looking only: levels are set by ``:level`` and ``:promote``, with a reason."""

    SCOPE: ClassVar[str] = "trust"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("trust")

    def compose_body(self) -> ComposeResult:
        """The account."""
        yield LineReader(id="account", classes=f"body {self.pane}")

    def on_mount(self) -> None:
        """Name the pane and put the keys on it."""
        entitle(self.query_one("#account"), "autopilot")
        self.query_one("#account").focus()

    def show_body(self, picture: Picture) -> None:
        """Show what the daemon says of it, and the accounts of the models."""
        pane, asked = self.query_one("#account", LineReader), GetAutopilot()
        answer, view, glyphs = self.ask(asked, 5.0), picture.present, self.given.glyphs
        width = max(20, pane.scrollable_content_region.width - 1)
        lines: list[Line] = [(span(f" {self.refusal(asked) or 'asking'}", "muted"),)]
        if isinstance(answer, AutopilotView):
            lines = trust_lines(answer, picture.now, width, glyphs)
        if view is not None and view.frame.accounts:
            lines += [(), (Span(" models", "strong"),)]
            for account in view.frame.accounts:
                said = f"   {account.model}: skill {account.skill:+.2f}, 80 % band held {percent(account.coverage)}"
                lines.append((span(said), span(f" of {account.scored:,}", "muted")))
        pane.show_lines(lines)
