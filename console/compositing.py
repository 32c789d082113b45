"""What is written to the terminal when lines change: those lines, and nothing around them.

Textual's compositor renders every widget that meets the smallest box around all changes, puts borders
around each line, cuts it where any widget begins, and keeps seven caches for each piece. Here a
changed region that lies within the content of one widget in front of all others is rendered as that
widget's lines alone; everything else (scrolled, covered, resized) is left to Textual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate, Compositor
from textual.color import BLACK
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from sidestep.console.guard import TerminalGuard
from sidestep.console.ink import Ink

#: a place on the screen, and the sequences of what is to stand there
Piece = tuple[int, int, str]


class DirectLines(Widget):
    """A widget of lines that may be written without what is around them.

    Its style sheet must not use opacity, tint or hatch: those are not applied to its lines.
    """

    def line_segments(self, rows: range, width: int) -> Iterator[list[Segment]]:
        """The content's lines in those rows of the window, each exactly ``width`` wide."""
        raise NotImplementedError

    def line_texts(self, rows: range, width: int, ink: Ink) -> Iterator[str]:
        """The same lines as the terminal is told."""
        return map(ink.written, self.line_segments(rows, width))


class DirectUpdate(ChopsUpdate):
    """Lines at their places, and after them what Textual makes of the rest."""

    def __init__(self, pieces: Sequence[Piece], rest: ChopsUpdate | None) -> None:
        super().__init__([], [], [])
        self._pieces, self._rest = pieces, rest

    def render_segments(self, console: Console) -> str:
        """The sequences to write."""
        parts = [f"\x1b[{y + 1};{x + 1}H{text}" for x, y, text in self._pieces]
        if self._rest is not None:
            parts.append(self._rest.render_segments(console))
        return "".join(parts)


class LineCompositor(Compositor):
    """The compositor of our screens."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """What changed; None if nothing did."""
        contents: dict[DirectLines, Region] = {}
        found = [(region, self._alone(region, contents)) for region in self._dirty_regions]
        if not any(widget for _, widget in found):
            return super().render_partial_update()
        self._dirty_regions = {region for region, widget in found if widget is None}
        rest = super().render_partial_update()
        pieces: list[Piece] = []
        by_widget: dict[DirectLines, list[Region]] = {}
        for region, widget in found:
            if widget is not None:
                by_widget.setdefault(widget, []).append(region)
        for widget, regions in by_widget.items():
            pieces += _pieces(widget, contents[widget], regions)
        return DirectUpdate(pieces, rest)

    def _alone(self, region: Region, contents: dict[DirectLines, Region]) -> DirectLines | None:
        """The widget that is in front of all others in the whole region, if it can be written without them.

        ``contents`` is filled with where the content of such widgets stands, without borders and scrollbars.
        """
        for widget, (place, clip) in self.visible_widgets.items():
            if place.overlaps(region) and clip.overlaps(region):
                if not isinstance(widget, DirectLines) or not clip.contains_region(region):
                    return None
                if widget not in contents:
                    contents[widget] = place.shrink(widget.styles.gutter).shrink(widget.scrollbar_gutter)
                return widget if contents[widget].contains_region(region) else None
        return None


def _pieces(widget: DirectLines, content: Region, regions: Iterable[Region]) -> Iterator[Piece]:
    filters = tuple(widget.get_line_filters())
    ground = BLACK if all(isinstance(each, TerminalGuard) for each in filters) else widget.background_colors[1]
    ink = Ink(filters, ground, widget.app.console._color_system or ColorSystem.TRUECOLOR)
    for region in regions:
        rows = range(region.y - content.y, region.bottom - content.y)
        if region.width == content.width:
            for y, text in zip(region.line_range, widget.line_texts(rows, content.width, ink), strict=True):
                yield region.x, y, text
            continue
        begin, end = region.x - content.x, region.right - content.x
        for y, segments in zip(region.line_range, widget.line_segments(rows, content.width), strict=True):
            yield region.x, y, ink.written(list(Strip(segments, content.width).crop(begin, end)))
