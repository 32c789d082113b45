"""A pane of lines: scrolls, and repaints only the lines whose content changed.

Textual sends whatever is repainted, changed or not, so the comparison is made here. That
is what keeps a quiet fleet quiet on a slow SSH line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from sidestep.console.compositing import DirectLines
from sidestep.console.ink import Ink, Written
from sidestep.console.text import HEAT, UNICODE, Line, StyleName, span, width_of
from sidestep.themes.colour import contrast

#: the theme's variables for foreground and background, and whether it is bold. Not component classes:
#: Textual would work those out anew for every pane whenever any class on the screen changes.
_LOOKS: Final[dict[StyleName, tuple[str, str, bool]]] = {
    "text": ("foreground", "", False),
    "muted": ("muted", "", False),
    "strong": ("foreground", "", True),
    "accent": ("accent", "", False),
    "ok": ("ok", "", False),
    "warn": ("warn", "", True),
    "error": ("error", "", True),
    "bar": ("foreground", "panel", True),
    "alert": ("background", "warn", True),
    "danger": ("background", "error", True),
    "ahead": ("background", "accent", True),
}


class LinePane(ScrollView, DirectLines):
    """Shows lines that are plain data. Subclasses say what stands in a line, never how it is painted."""

    DEFAULT_CSS = "LinePane { scrollbar-size: 1 1; overflow-x: hidden; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: Sequence[Line] = ()
        self._styles: dict[tuple[StyleName, bool], Style] = {}
        self._written: Written | None = None
        self.painted = 0

    @property
    def lines(self) -> Sequence[Line]:
        """The lines as they were last shown."""
        return self._lines

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Take new lines; what differs from before is repainted, and nothing else."""
        old, self._lines = self._lines, lines
        if len(old) != len(lines):
            self.virtual_size = Size(0, len(lines))
        top, height = round(self.scroll_offset.y), max(1, self.size.height)
        shown = zip_longest(old[top : top + height], lines[top : top + height], fillvalue=())
        if changed := [y for y, (was, now) in enumerate(shown) if was is not now and was != now]:
            self.refresh(*stripes(changed, self.scrollable_content_region.width))

    def refresh_line(self, y: int) -> None:
        """Paint line ``y`` of the content again: that, and not the scrollbar beside it."""
        self.refresh(Region(0, y - round(self.scroll_offset.y), self.scrollable_content_region.width, 1))

    def is_marked(self, y: int) -> bool:
        """Whether line ``y`` lies under a cursor."""
        return False

    def render_line(self, y: int) -> Strip:
        """One line of the window, for Textual."""
        width = self.scrollable_content_region.width
        (segments,) = self.line_segments(range(y, y + 1), width)
        return Strip(segments, width)

    def line_segments(self, rows: range, width: int) -> Iterator[list[Segment]]:
        """Those lines of the window."""
        top = round(self.scroll_offset.y)
        for y in rows:
            self.painted += 1
            yield self.paint(y + top, width)

    def line_texts(self, rows: range, width: int, ink: Ink) -> Iterator[str]:
        """Those lines as the terminal is told; as ``line_segments``."""
        written = self._written
        if written is None or written.ink != ink:
            written = self._written = Written(ink, self.look)
        top, last = round(self.scroll_offset.y), len(self._lines)
        for y in range(rows.start + top, rows.stop + top):
            self.painted += 1
            text = written.line(self._lines[y] if y < last else (), width, marked=y < last and self.is_marked(y))
            yield ink.written(self.paint(y, width)) if text is None else text

    def paint(self, y: int, width: int) -> list[Segment]:
        """Line ``y`` of the content, exactly ``width`` wide."""
        if not 0 <= y < len(self._lines):
            return [Segment(" " * width, self.look("text", False))]
        marked = self.is_marked(y)
        segments: list[Segment] = []
        styles, used, run, style = self._styles, 0, "", None
        for text, name in self._lines[y]:
            look = styles.get((name, marked)) or self.look(name, marked)
            if look is not style and run:
                segments.append(Segment(run, style))
                run = ""
            run, style = run + text, look
            used += len(text) if text.isascii() else width_of(text)
        if used < width:
            look = self.look("text", marked)
            if look is not style and run:
                segments.append(Segment(run, style))
                run = ""
            run, style = run + " " * (width - used), look
        if run:
            segments.append(Segment(run, style))
        return self._cut(Strip(segments, used), width) if used > width else segments

    def _cut(self, strip: Strip, width: int) -> list[Segment]:
        """As much as fits, and the sign that there is more."""
        if strip.text.rstrip() == (kept := strip.crop(0, width)).text.rstrip():
            return list(kept)
        kept, rest = strip.crop(0, max(0, width - 1)), strip.crop(max(0, width - 1), width)
        style = next((segment.style for segment in rest), None)
        sign = Segment(str(getattr(self.app, "cut_sign", UNICODE.cut)), style)
        return list(Strip([*kept, sign]).adjust_cell_length(width))

    def look(self, name: StyleName, marked: bool) -> Style:
        """The Rich style of a name, on the cursor's background if marked."""
        style = self._styles.get((name, marked))
        if style is None:
            theme = self.app.theme_variables
            if name in HEAT:
                return self._styles.setdefault((name, marked), _heat(theme, HEAT.index(name), marked))
            front, back, bold = _LOOKS[name]
            behind = theme["panel" if marked else back] if marked or back else self.background_colors[1].hex6
            style = Style(color=theme[front], bgcolor=behind, bold=bold)
            self._styles[name, marked] = style
        return style

    def notify_style_update(self) -> None:
        """The theme changed: forget the styles that were made from it."""
        self._styles, self._written = {}, None
        super().notify_style_update()

    def on_resize(self, event: Any) -> None:
        """A new width means new lines; subclasses that make them by width override ``relay``."""
        self.relay()

    def relay(self) -> None:
        """Make the lines again for the present size."""


def stripes(lines: Sequence[int], width: int) -> list[Region]:
    """Lines, in order, as regions of neighbours: each one that Textual is told costs as much as a whole block."""
    found: list[Region] = []
    for y in lines:
        if found and found[-1].bottom == y:
            found[-1] = Region(0, found[-1].y, width, found[-1].height + 1)
        else:
            found.append(Region(0, y, width, 1))
    return found


def entitle(widget: Widget, title: str) -> None:
    """Title a pane: text, never markup; one that is there already is not painted again."""
    if getattr(widget, "_entitled", None) != title:
        widget._entitled = title  # type: ignore[attr-defined]
        widget.border_title = Content(span(title).text)


def _heat(theme: Mapping[str, str], step: int, marked: bool) -> Style:
    """A step of the theme's ramp as background, with ink that can be read on it."""
    stops = [Color.parse(theme[f"ramp-{k}"]) for k in range(5)]
    place = step / (len(HEAT) - 1) * 4
    low = min(3, int(place))
    ground = stops[low].blend(stops[low + 1], place - low)
    ink = max(("#000000", "#ffffff"), key=lambda colour: contrast(colour, ground.hex6))
    return Style(color=ink, bgcolor=ground.rich_color, bold=marked)
