"""A table with a cursor that follows the row's identity, not its place.

Rows are keyed; when the order changes the cursor stays on its key, so that what an operator
looks at never changes under the hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, overload

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message

from sidestep.console.commands import COMMANDS
from sidestep.console.ink import Ink
from sidestep.console.text import Line
from sidestep.console.widgets.lines import LinePane

Render = Callable[[str, int], Line]


class _Rows(Sequence[Line]):
    """Heading and rows, each made when it is first looked at: of thousands, only the window is."""

    def __init__(self, heading: Line, keys: Sequence[str], render: Render, width: int) -> None:
        self._keys, self._render, self._width = keys, render, width
        self._made: dict[int, Line] = {0: heading}

    def __len__(self) -> int:
        return len(self._keys) + 1

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> list[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | list[Line]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        found = self._made.get(at)
        if found is None:
            found = self._made[at] = self._render(self._keys[at - 1], self._width)
        return found


def list_bindings() -> list[BindingType]:
    """The keys that move a cursor, from the registry."""
    return [
        Binding(",".join(c.keys), f"move('{c.id}')", c.title, show=False, id=c.id)
        for c in COMMANDS
        if c.scope == "list"
    ]


def moved(to: str, at: int, last: int, page: int) -> int:
    """Where a cursor at ``at`` goes."""
    target = {
        "down": at + 1,
        "up": at - 1,
        "first": 0,
        "end": last,
        "half_down": at + max(1, page // 2),
        "half_up": at - max(1, page // 2),
    }[to]
    return max(0, min(last, target))


class LineTable(LinePane, can_focus=True):
    """Rows by key under a heading that does not scroll."""

    BINDINGS: ClassVar[list[BindingType]] = list_bindings()

    class Selected(Message):
        """The cursor is on another row."""

        def __init__(self, table: LineTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> LineTable:
            """The table, for ``on`` with a selector."""
            return self.table

    class Opened(Selected):
        """A row that the cursor was on was clicked."""

    class HeadingClicked(Message):
        """A click on the heading, ``x`` columns from its left."""

        def __init__(self, table: LineTable, x: int) -> None:
            super().__init__()
            self.table, self.x = table, x

        @property
        def control(self) -> LineTable:
            """The table, for ``on`` with a selector."""
            return self.table

    def __init__(self, *, id: str | None = None, classes: str | None = None, leads: bool = False) -> None:
        super().__init__(id=id, classes=classes)
        #: whether the cursor is on the first row, whichever that is, until somebody chooses one
        self._leads = leads
        self._keys: Sequence[str] = ()
        self._heading: Callable[[int], Line] = lambda _: ()
        self._row_line: Render = lambda _key, _width: ()
        self.cursor = ""
        #: the row that somebody chose: a filter that hides it for a while does not lose it
        self._chosen = ""

    @property
    def keys(self) -> Sequence[str]:
        """The rows in order."""
        return self._keys

    @property
    def row(self) -> int:
        """The cursor's place; -1 in an empty table."""
        return self._keys.index(self.cursor) if self.cursor in self._keys else -1

    def show_rows(self, keys: Sequence[str], heading: Callable[[int], Line], render: Render) -> None:
        """Take new rows, which must not change any more.

        The cursor stays on its row, or comes back to the one that was chosen; if that is gone, it is on
        what is at its place now.
        """
        was, place = self.cursor, max(0, self.row)
        self._keys, self._heading, self._row_line = keys, heading, render
        if self._chosen in self._keys:
            self.cursor = self._chosen
        elif self._leads and not self._chosen and self._keys:
            self.cursor = self._keys[0]
        elif was not in self._keys:
            self.cursor = self._keys[min(place, len(self._keys) - 1)] if self._keys else ""
        self.relay()
        if self.cursor != was:
            self._tell(place)

    def relay(self) -> None:
        """Make heading and rows again and repaint those that differ."""
        width = self.scrollable_content_region.width
        if width:
            self.show_lines(_Rows(self._heading(width), self._keys, self._row_line, width))

    def show_lines(self, lines: Sequence[Line]) -> None:
        """As a pane does; the heading's line is compared apart, since it does not scroll."""
        if self._lines and lines and self._lines[0] != lines[0]:
            self.refresh()
        old = len(self._lines)
        super().show_lines(lines)
        if old != len(lines):
            self.virtual_size = Size(0, len(lines))

    def line_segments(self, rows: range, width: int) -> Iterator[list[Segment]]:
        """The heading on top, then the window of rows."""
        if rows.start == 0 and rows:
            self.painted += 1
            yield self.paint(0, width)
            rows = rows[1:]
        yield from super().line_segments(rows, width)

    def line_texts(self, rows: range, width: int, ink: Ink) -> Iterator[str]:
        """The same, as the terminal is told."""
        if rows.start == 0 and rows:
            self.painted += 1
            yield ink.written(self.paint(0, width))
            rows = rows[1:]
        yield from super().line_texts(rows, width, ink)

    def is_marked(self, y: int) -> bool:
        """Whether the cursor is on that line."""
        return 0 < y <= len(self._keys) and self._keys[y - 1] == self.cursor

    @property
    def has_keys(self) -> bool:
        """Whether there is any row."""
        return bool(self._keys)

    def select(self, key: str) -> bool:
        """Put the cursor on that row; False if there is none."""
        if key not in self._keys:
            return False
        before = self.row
        self.cursor = self._chosen = key
        self._tell(before)
        return True

    def action_move(self, to: str) -> None:
        """Move the cursor as a list command says."""
        if self._keys:
            self.select(self._keys[moved(to, max(0, self.row), len(self._keys) - 1, self.size.height)])

    def on_click(self, event: Click) -> None:
        """A click on a row selects it, a second one opens it; one on the heading is told."""
        inside = event.get_content_offset(self)
        if inside is None:
            return
        if inside.y < 1:
            self.post_message(self.HeadingClicked(self, inside.x))
            return
        at = inside.y + round(self.scroll_offset.y) - 1
        if 0 <= at < len(self._keys):
            if self._keys[at] == self.cursor:
                self.post_message(self.Opened(self, self.cursor))
            self.select(self._keys[at])

    def _tell(self, before: int) -> None:
        for row in {before, self.row}:
            self.refresh_line(row + 1)
        self._follow()
        self.post_message(self.Selected(self, self.cursor))

    def _follow(self) -> None:
        top, height = round(self.scroll_offset.y), self.size.height - 1
        at = max(0, self.row)
        if at < top:
            self.scroll_to(y=at, animate=False)
        elif height > 0 and at >= top + height:
            self.scroll_to(y=at - height + 1, animate=False)


class LineReader(LinePane, can_focus=True):
    """Lines to read: the list keys scroll."""

    BINDINGS: ClassVar[list[BindingType]] = list_bindings()

    def action_move(self, to: str) -> None:
        """Scroll as a list command says."""
        at, page = round(self.scroll_offset.y), self.size.height
        last = max(0, len(self.lines) - page)
        self.scroll_to(y=moved(to, at, last, page), animate=False)
