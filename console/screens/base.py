"""What every screen has: the top line, a place to wait, the keys of the registry, the tables' verbs, the footer."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from sidestep.console import query as queries
from sidestep.console.commands import on_screen, show_key
from sidestep.console.compositing import LineCompositor
from sidestep.console.context import Context, Picture
from sidestep.console.query import Query
from sidestep.console.text import Line, Span, span
from sidestep.console.widgets.keybar import KeyBar
from sidestep.console.widgets.lines import LinePane
from sidestep.console.widgets.linetable import LineTable
from sidestep.console.widgets.sheettable import SheetTable
from sidestep.console.widgets.topbar import TopBar

#: seconds between two pictures of a recording from which on it was sought, not played
_LEAP: Final = 10.0


def screen_bindings(scope: str) -> list[BindingType]:
    """The keys of a screen from the registry; the lists' own are bound by the lists."""
    return [
        Binding(
            ",".join(c.keys),
            f"app.command('{c.id}')",
            c.title,
            show=c.footer,
            key_display=show_key(c.keys[0]),
            tooltip=c.help,
            id=c.id,
        )
        for c in on_screen(scope)
        if c.keys and "list" not in c.scopes
    ]


class ConsoleScreen(Screen[None]):
    """Base of the screens. ``show`` is called on every beat while the screen is the current one."""

    SCOPE: ClassVar[str] = "any"
    #: selector of the table that sorting, marks and filters are about
    TABLE: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (160, "-wide")]  # noqa: RUF012 - Textual's type
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - likewise

    def __init__(self, context: Context) -> None:
        super().__init__(classes="-ascii -waiting" if context.glyphs.ascii else "-waiting")
        self._compositor = LineCompositor()
        self.given = context
        self.pattern = ""
        self.query_now = Query()
        self.picture = Picture(status=context.feed.status)

    def compose(self) -> ComposeResult:
        """The frame around the screen's own body."""
        top, waiting = TopBar(self.given), LinePane(id="waiting")
        if self.given.feed.view is None:  # in the very first paint already
            top.show(self.picture, self.SCOPE)
            waiting.show_lines(self._waiting_lines(self.picture))
        yield top
        yield waiting
        yield from self.compose_body()
        yield KeyBar(self.SCOPE, self.given.keymap)

    def compose_body(self) -> ComposeResult:
        """The screen's own widgets; each has the class ``body``."""
        yield from ()

    @property
    def is_composed(self) -> bool:
        """Whether the widgets of the frame are there."""
        return any(isinstance(child, TopBar) for child in self.children)

    @property
    def pane(self) -> str:
        """The classes of a framed pane."""
        return "pane -ascii" if self.given.glyphs.ascii else "pane"

    @property
    def table(self) -> SheetTable[Any] | None:
        """The table that sorting, marks and filters are about; None on a screen without."""
        return self.query_one(self.TABLE, SheetTable) if self.TABLE else None

    def show(self, picture: Picture) -> None:
        """Take the picture of this beat."""
        leapt = bool(picture.replay) and abs(picture.now - self.picture.now) > _LEAP
        if leapt or (picture.ahead, picture.with_plan) != (self.picture.ahead, self.picture.with_plan):
            for table in self.query(SheetTable):
                table.forget()  # another time was asked for: rows need no patience
        self.picture = picture
        waiting = picture.view is None
        self.set_class(waiting, "-waiting")
        if waiting:
            self.query_one("#waiting", LinePane).show_lines(self._waiting_lines(picture))
        else:
            self.show_body(picture)
        crumbs = (*self.crumbs(), *((f"/{self.pattern}",) if self.pattern else ()))
        self.query_one(TopBar).show(picture, *crumbs)

    def again(self) -> None:
        """Show the same picture again: something on this screen changed."""
        if self.picture.view is not None and self.is_mounted:
            self.show(self.picture)

    def show_body(self, picture: Picture) -> None:
        """Show a picture that has a view."""

    def crumbs(self) -> tuple[str, ...]:
        """Where the operator is, after the fleet's name."""
        return (self.SCOPE,)

    @property
    def comparable(self) -> tuple[str, ...]:
        """The columns that a filter of this screen may compare."""
        table = self.table
        return table.sheet.comparable if table is not None else ("name",)

    def filter_by(self, pattern: str) -> str:
        """Show only rows that the pattern lets through; returns what is wrong with it, or ""."""
        found = queries.parse(pattern, self.comparable)
        if not found.problem:
            self.pattern, self.query_now = pattern.strip(), found
            self.again()
        return found.problem

    def leave(self) -> bool:
        """Leave what is open on this screen; False if nothing was."""
        if self.pattern:
            self.filter_by("")
            return True
        return False

    def _verb(self, name: str, *given: Any) -> None:
        table = self.table
        if table is None:
            self.tell(f"there is no table to {name.split('_', maxsplit=1)[0]} here")
            return
        getattr(table, name)(*given)

    def do_sort_left(self) -> None:
        """Sort by the column before."""
        self._verb("sort_beside", -1)

    def do_sort_right(self) -> None:
        """Sort by the next column."""
        self._verb("sort_beside", 1)

    def do_reverse(self) -> None:
        """Turn the order round."""
        self._verb("turn")

    def do_mark(self) -> None:
        """Mark the row."""
        self._verb("mark")

    def hosts_meant(self) -> tuple[str, ...]:
        """The hosts that an order without a name is about; none on a screen without hosts."""
        return ()

    def shard_meant(self) -> str:
        """The shard that an order without a name is about, or ""."""
        return ""

    def pool_names(self) -> tuple[str, ...]:
        """The pools that are shown, the one under the cursor first; none on a screen without pools."""
        return ()

    def sort_columns(self) -> tuple[str, ...]:
        """What can be sorted by here."""
        return self.table.sheet.ids if self.table is not None else ()

    def sort_by(self, column: str) -> None:
        """Sort by a column that was typed."""
        if self.table is None or not self.table.sort_by(column):
            self.tell(f"no column {column} here; there are: {', '.join(self.sort_columns()) or 'none'}")

    @on(SheetTable.Changed)
    def _changed(self) -> None:
        self.again()

    @on(LineTable.Opened)
    def _opened(self) -> None:
        opened = getattr(self, "do_open", None)
        if opened is not None:
            opened()

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A note in the corner; never markup."""
        self.app.notify(span(" ".join(text.split())).text, severity="error" if bad else "information", markup=False)

    def go(self, kind: str, name: str) -> None:
        """Open a page."""
        self.app.open_page(kind, name)  # type: ignore[attr-defined]

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
