"""A table of a sheet's rows: sorted calmly by any column, filtered, marked; only rows on screen are made.

Twenty thousand rows cost a few array operations a beat, and one line of text for each row
of the window.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from textual.message import Message

from sidestep.console import query as queries
from sidestep.console.context import Context
from sidestep.console.query import Query
from sidestep.console.sheet import Sheet, keys_of
from sidestep.console.sorting import Order, ranked, settle
from sidestep.console.text import Line, Span
from sidestep.console.widgets.linetable import LineTable

V = TypeVar("V")


class Keys(Sequence[str]):
    """The names of rows in the order shown, without making a list of them."""

    def __init__(self, names: Sequence[str], rows: Any, places: Mapping[str, int]) -> None:
        self._names, self._rows, self._places = names, rows, places

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._names[row] for row in self._rows[at]]
        return self._names[int(self._rows[at])]

    def __contains__(self, key: object) -> bool:
        return self._place(key) >= 0

    def __iter__(self) -> Iterator[str]:
        return (self._names[row] for row in self._rows)

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """The place of a name. Raises ValueError."""
        if (at := self._place(value)) < 0:
            raise ValueError(value)
        return at

    def _place(self, key: object) -> int:
        row = self._places.get(key) if isinstance(key, str) else None
        if row is None:
            return -1
        found = (self._rows == row).nonzero()[0]
        return int(found[0]) if len(found) else -1


class SheetTable(LineTable, Generic[V]):
    """Rows of a sheet. What is looked at stays put: the order is calm and the cursor keeps its row."""

    class Changed(Message):
        """Sorting or marks changed."""

    def __init__(
        self,
        sheet: Sheet[V],
        context: Context,
        *,
        id: str | None = None,
        classes: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        leads: bool = False,
    ) -> None:
        super().__init__(id=id, classes=classes, leads=leads)
        self.sheet, self._glyphs, self.clock = sheet, context.glyphs, clock
        self.sort = sheet.first or sheet.columns[0].id
        self.high = sheet.column(self.sort).high
        self.marked: frozenset[str] = frozenset()
        self._order: Order | None = None
        self._data: V | None = None
        self._rows: Any = None
        self._query = Query()
        self._places: tuple[Sequence[str], dict[str, int]] = ((), {})

    @property
    def data(self) -> V | None:
        """What was shown last."""
        return self._data

    @property
    def meant(self) -> tuple[str, ...]:
        """The marked rows, or the one under the cursor."""
        return tuple(sorted(self.marked)) or ((self.cursor,) if self.cursor else ())

    def show_sheet(self, data: V, query: Query = Query(), rows: Any = None) -> None:  # noqa: B008 - frozen
        """Take a new picture. ``rows`` are the rows to choose from; all without."""
        import numpy as np  # noqa: PLC0415 - not before the first paint

        if query != self._query:
            self._order = None
        self._data, self._query, self._rows = data, query, rows
        names = self.sheet.names(data)
        chosen = np.arange(len(names)) if rows is None else np.asarray(rows, dtype=np.intp)
        if query:
            marks = np.array([name in self.marked for name in names], dtype=float) if self._asks_marks else None
            chosen = chosen[queries.passes(query, len(names), self.sheet.fields(data, marks))[chosen]]
        keys = keys_of(self.sheet.column(self.sort).key(data))
        self._order = settle(self._order, names, ranked(keys, chosen, high_first=self.high), self.clock())
        places = self._named(names)
        top = round(self.scroll_offset.y)
        self.sheet.ready(data, self._order.rows[top : top + self.size.height].tolist())
        self.show_rows(Keys(names, self._order.rows, places), self._head, self._made)

    @property
    def _asks_marks(self) -> bool:
        return any(term.column == "mark" for term in self._query.terms)

    def _named(self, names: Sequence[str]) -> dict[str, int]:
        if self._places[0] is not names and self._places[0] != names:
            self._places = (names, {name: row for row, name in enumerate(names)})
        return self._places[1]

    def _head(self, width: int) -> Line:
        return self.sheet.heading(width, self._glyphs, self.sort, high=self.high)

    def _made(self, name: str, width: int) -> Line:
        assert self._data is not None
        line = self.sheet.line(self._data, self._places[1][name], width, self._glyphs)
        if name not in self.marked:
            return line
        first, *rest = line
        return (Span(self._glyphs.mark, "accent"), Span(first.text[1:], first.style), *rest)

    def forget(self) -> None:
        """Put rows in their places at once when they are shown next."""
        self._order = None

    def again(self) -> None:
        """Order what was shown anew, without patience: somebody asked for it."""
        self._order = None
        if self._data is not None:
            self.show_sheet(self._data, self._query, self._rows)
        self.post_message(self.Changed())

    def sort_by(self, column: str) -> bool:
        """Sort by a column; by the same one again turns the order round. False if there is no such column."""
        if column not in self.sheet.ids:
            return False
        self.high = not self.high if column == self.sort else self.sheet.column(column).high
        self.sort = column
        self.again()
        return True

    def sort_beside(self, by: int) -> None:
        """Sort by a column further to the right or left, among those that are shown."""
        width = self.scrollable_content_region.width
        shown = [column.id for column, _ in self.sheet.shown(width)]
        at = shown.index(self.sort) if self.sort in shown else 0
        self.sort_by(shown[(at + by) % len(shown)])

    def turn(self) -> None:
        """Turn the order round."""
        self.sort_by(self.sort)

    def mark(self) -> None:
        """Mark the row under the cursor, or take its mark, and go on to the next."""
        if self.cursor:
            self.marked ^= {self.cursor}
            self.action_move("down")
            self.again()

    def on_line_table_heading_clicked(self, event: LineTable.HeadingClicked) -> None:
        """A click on a title sorts by it."""
        event.stop()
        if column := self.sheet.at(event.x, self.scrollable_content_region.width):
            self.sort_by(column)
