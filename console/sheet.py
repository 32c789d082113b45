"""A sheet: what the columns of a table say, sort by and can be filtered by. Pure.

Rows are numbers; a cell is made only for a row that is on screen, a key for all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from msgspec import Struct

from sidestep.console.query import Fields, Words
from sidestep.console.text import Glyphs, Line, Span, fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

V = TypeVar("V")
#: signs at the heading of the column that sorts: high first, low first
SORTED: Final = ("▾", "▴")
SORTED_ASCII: Final = ("v", "^")


class Column(Struct, Generic[V], frozen=True, kw_only=True):
    """One column: ``width`` columns of the terminal with the blank behind it, shown from ``least`` on.

    ``cells`` make a row's spans, exactly ``width`` wide; ``key`` is what it sorts by and compares,
    an array or ``Words``. ``high`` says whether the highest comes first.
    """

    id: str
    title: str
    width: int
    cells: Callable[[V, int, int, Glyphs], Sequence[Span]]
    key: Callable[[V], Any]
    least: int = 0
    right: bool = False
    high: bool = True


class Sheet(Struct, Generic[V], frozen=True, kw_only=True):
    """The columns of one table; the first is the name, which takes the room that is left."""

    columns: tuple[Column[V], ...]
    #: names by row, which are the rows' identity
    names: Callable[[V], Sequence[str]]
    #: the widest that names become
    widest: int = 28
    #: the column that sorts at first
    first: str = ""
    #: more that can be filtered by, without a column of its own
    more: dict[str, Callable[[V], Any]] = {}
    #: told which rows are about to be made, so that they can be made together
    ready: Callable[[V, Sequence[int]], None] = lambda _data, _rows: None
    #: what ``shown`` has worked out, by width
    laid: dict[int, list[tuple[Column[V], int]]] = {}

    def shown(self, width: int) -> list[tuple[Column[V], int]]:
        """The columns that fit, each with its width; the last one takes what is left if its width is 0."""
        if width not in self.laid:
            self.laid[width] = self._lay(width)
        return self.laid[width]

    def _lay(self, width: int) -> list[tuple[Column[V], int]]:
        fitting = [c for c in self.columns[1:] if width >= c.least]
        name = max(6, min(self.widest, width - 3 - sum(c.width for c in fitting)))
        rest = max(0, width - 3 - name - sum(c.width for c in fitting))
        return [(self.columns[0], name), *((c, c.width or rest) for c in fitting)]

    def heading(self, width: int, glyphs: Glyphs, sort: str = "", *, high: bool = True) -> Line:
        """The titles, with a sign at the column that sorts."""
        signs = SORTED_ASCII if glyphs.ascii else SORTED
        parts: list[Span] = [Span("   ", "muted")]
        for column, wide in self.shown(width):
            title = column.title.replace("→", glyphs.arrow)
            here = column.id == sort
            text = f"{title}{signs[not high]}" if here else title
            room = wide if column is self.columns[0] else wide - 1
            parts.append(Span(fit(text, room, glyphs, right=column.right), "accent" if here else "muted"))
            parts += [] if column is self.columns[0] else [Span(" ")]
        return tuple(parts)

    def line(self, data: V, row: int, width: int, glyphs: Glyphs) -> Line:
        """One row; the first three columns belong to the name's cell."""
        parts: list[Span] = []
        for column, wide in self.shown(width):
            parts += column.cells(data, row, wide, glyphs)
        return tuple(parts)

    def at(self, x: int, width: int) -> str:
        """The column that stands at a place of the heading, or ""."""
        end = 3
        for column, wide in self.shown(width):
            end += wide
            if x < end:
                return column.id
        return ""

    def column(self, id: str) -> Column[V]:
        """The column of that id, or the one that sorts at first."""
        return next((c for c in self.columns if c.id == id), self.columns[0] if not self.first else self._first)

    @property
    def _first(self) -> Column[V]:
        return next(c for c in self.columns if c.id == self.first)

    @property
    def ids(self) -> tuple[str, ...]:
        """What can be sorted by."""
        return tuple(column.id for column in self.columns)

    @property
    def comparable(self) -> tuple[str, ...]:
        """What can be filtered by."""
        return tuple(sorted({"name", "mark", *self.ids, *self.more}))

    def fields(self, data: V, marks: NDArray[np.float64] | None = None) -> Fields:
        """Every column's values for the filter; ``marks`` is 1 for rows that are marked."""
        made: dict[str, Callable[[], Any]] = {c.id: _bound(c.key, data) for c in self.columns}
        made.update({name: _bound(key, data) for name, key in self.more.items()})
        made.setdefault("name", lambda: Words(self.names(data)))
        if marks is not None:
            made["mark"] = lambda: marks
        return made


def _bound(key: Callable[[V], Any], data: V) -> Callable[[], Any]:
    return lambda: key(data)


def keys_of(found: Any) -> Any:
    """What a column's key sorts by: words by what they say."""
    if not isinstance(found, Words):
        return found
    import numpy as np  # noqa: PLC0415 - not before the first paint

    labels = np.asarray([label.casefold() for label in found.labels], dtype=str)
    if found.codes is None:
        return labels
    places = np.empty(len(labels), dtype=np.intp)
    places[np.argsort(labels, kind="stable")] = np.arange(len(labels))
    return places[found.codes]
