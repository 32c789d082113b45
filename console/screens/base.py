"""What every screen has: the top line, a place to wait, the keys of the registry, the footer."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from sidestep.console.commands import Scope, on_screen, show_key
from sidestep.console.context import Context, Picture
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.keybar import KeyBar
from sidestep.console.widgets.lines import LinePane
from sidestep.console.widgets.topbar import TopBar


def screen_bindings(scope: Scope) -> list[BindingType]:
    """The keys of a screen from the registry; the lists' own are bound by the lists."""
    return [
        Binding(
            ",".join(c.keys),
            f"app.command('{c.id}')",
            c.title,
            show=c.footer,
            key_display=show_key(c.keys[0]),
            tooltip=c.help,
        )
        for c in on_screen(scope)
        if c.keys and c.scope != "list"
    ]


class ConsoleScreen(Screen[None]):
    """Base of the screens. ``show`` is called on every beat while the screen is the current one."""

    SCOPE: ClassVar[Scope] = "any"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (160, "-wide")]  # noqa: RUF012 - Textual's type
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - likewise

    def __init__(self, context: Context) -> None:
        super().__init__(classes="-ascii -waiting" if context.glyphs.ascii else "-waiting")
        self.given = context
        self.pattern = ""
        self.picture = Picture(status=context.feed.status)

    def compose(self) -> ComposeResult:
        """The frame around the screen's own body."""
        yield TopBar(self.given)
        yield LinePane(id="waiting")
        yield from self.compose_body()
        yield KeyBar(self.SCOPE)

    def compose_body(self) -> ComposeResult:
        """The screen's own widgets; each has the class ``body``."""
        yield from ()

    @property
    def pane(self) -> str:
        """The classes of a framed pane."""
        return "pane -ascii" if self.given.glyphs.ascii else "pane"

    def show(self, picture: Picture) -> None:
        """Take the picture of this beat."""
        self.picture = picture
        waiting = picture.view is None
        self.set_class(waiting, "-waiting")
        if waiting:
            self.query_one("#waiting", LinePane).show_lines(self._waiting_lines(picture))
        else:
            self.show_body(picture)
        crumbs = (*self.crumbs(), *((f"/{self.pattern}",) if self.pattern else ()))
        self.query_one(TopBar).show(picture, *crumbs)

    def show_body(self, picture: Picture) -> None:
        """Show a picture that has a view."""

    def crumbs(self) -> tuple[str, ...]:
        """Where the operator is, after the fleet's name."""
        return (self.SCOPE,)

    def filter_by(self, pattern: str) -> None:
        """Show only rows that the pattern lets through."""
        self.pattern = pattern
        self.show(self.picture)

    def leave(self) -> bool:
        """Leave what is open on this screen; False if nothing was."""
        if self.pattern:
            self.filter_by("")
            return True
        return False

    def _waiting_lines(self, picture: Picture) -> list[Line]:
        glyphs = self.given.glyphs
        status = picture.status
        lines: list[Line] = [
            (Span(f" {glyphs.done if at + 1 < len(status.phases) else glyphs.running} ", "accent"), span(phase))
            for at, phase in enumerate(status.phases)
        ]
        if status.kind == "failed":
            lines += [(), (Span(" failed ", "alert"), span(f" {status.text}", "error"))]
            lines += [(), (Span("   press q to leave", "muted"),)]
        elif status.kind == "gone":
            lines += [(), (Span(" no daemon ", "alert"), span(f" {status.text}; trying again"))]
        return lines or [(Span(" attaching", "muted"),)]
