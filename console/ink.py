"""How lines become the sequences that a terminal is told; what a span became is kept.

Most of a line is the same from one picture to the next, and its styles are few: filtering and
rendering each piece again costs more than everything else that painting a line does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from sidestep.console.text import Line, Span, StyleName, width_of

#: spans that one pane keeps, marked and not
_KEPT: Final = 4096
_END: Final = "\x1b[0m"


class Ink(NamedTuple):
    """What stands between segments and the terminal. Each filter looks at every segment alone."""

    filters: tuple[LineFilter, ...]
    #: what the filters take to be behind everything
    ground: Color
    system: ColorSystem

    def pieces(self, segments: list[Segment]) -> list[tuple[str, str]]:
        """What begins the style ("" for none) and the text of each segment, filtered."""
        for each in self.filters:
            segments = each.apply(segments, self.ground)
        found = []
        for text, style, _ in segments:
            ansi = "" if style is None else style._ansi
            if ansi is None:
                assert style is not None
                ansi = Strip.render_ansi(style, self.system)
            found.append((f"\x1b[{ansi}m" if ansi else "", text))
        return found

    def written(self, segments: list[Segment]) -> str:
        """The sequences of the segments."""
        return "".join(f"{begin}{text}{_END}" if begin else text for begin, text in self.pieces(segments))


class Written:
    """Spans as they are written with one ink in one theme's styles; with another of either, make another."""

    def __init__(self, ink: Ink, look: Callable[[StyleName, bool], Style]) -> None:
        self.ink, self._look = ink, look
        self._plain: dict[Span, tuple[int, str, str]] = {}
        self._marked: dict[Span, tuple[int, str, str]] = {}

    def line(self, spans: Line, width: int, *, marked: bool) -> str | None:
        """The line's sequences, padded to ``width`` columns; None if it is wider than that."""
        kept = self._marked if marked else self._plain
        parts: list[str] = []
        left, last = width, ""
        for part in spans:
            wide, begin, text = kept.get(part) or self._make(part, marked)
            if begin != last:
                parts += (_END, begin) if last else (begin,)
                last = begin
            parts.append(text)
            left -= wide
        if left < 0:
            return None
        if left:
            pad = Span(" " * left)
            _, begin, text = kept.get(pad) or self._make(pad, marked)
            parts += (text,) if begin == last else (_END, begin, text) if last else (begin, text)
            last = begin
        if last:
            parts.append(_END)
        return "".join(parts)

    def _make(self, part: Span, marked: bool) -> tuple[int, str, str]:
        """Columns, what begins the style, and the text of a span."""
        kept = self._marked if marked else self._plain
        if len(kept) >= _KEPT:
            kept.clear()
        ((begin, text),) = self.ink.pieces([Segment(part.text, self._look(part.style, marked))])
        return kept.setdefault(part, (width_of(part.text), begin, text))
