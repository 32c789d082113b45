"""The fan chart as a widget: history, median and nested bands, red where demand exceeds the threshold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from sidestep.console.compositing import DirectLines
from sidestep.console.context import Context
from sidestep.console.fandraw import ALARM, TONES, Cell, Fan, draw
from sidestep.console.widgets.lines import stripes

_ALPHA = (0.0, 0.24, 0.42, 0.62)


class FanChart(DirectLines):
    """Draws one Fan over its whole area; lines that look as before are not repainted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "fan--history", "fan--median", "fan--band", "fan--alarm", "fan--axis", "fan--limit",
    }  # fmt: skip
    DEFAULT_CSS = """
    FanChart > .fan--history { color: $foreground; }
    FanChart > .fan--median { color: $accent; text-style: bold; }
    FanChart > .fan--band { color: $primary; }
    FanChart > .fan--alarm { color: $error; }
    FanChart > .fan--axis { color: $muted; }
    FanChart > .fan--limit { color: $error; }
    """

    def __init__(self, context: Context, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._given = context
        self._fan: Fan | None = None
        self._drawn: tuple[bytes, int, int] = (b"", 0, 0)
        self._rows: list[list[Cell]] = []
        self._styles: dict[tuple[str, int, int], Style] = {}
        self._tones: list[Color] = []

    def show(self, fan: Fan | None) -> None:
        """Take a new forecast and repaint the lines that differ."""
        self._fan = fan
        self._draw()

    def on_resize(self) -> None:
        """Draw again for the new size."""
        self._draw()

    def notify_style_update(self) -> None:
        """The theme changed: forget what was made from it."""
        self._styles, self._tones = {}, []
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One line of the chart, for Textual."""
        (segments,) = self.line_segments(range(y, y + 1), self.size.width)
        return Strip(segments)

    def line_segments(self, rows: range, width: int) -> Iterator[list[Segment]]:
        """Those lines of the chart."""
        for y in rows:
            if y >= len(self._rows):
                yield [Segment(" " * width, self._style("axis", 0, 0))]
                continue
            segments: list[Segment] = []
            run, of = "", self._rows[y][0]
            for cell in self._rows[y]:
                if cell is not of and (cell[2] != of[2] or cell[3] != of[3] or cell[1] != of[1]):
                    segments.append(Segment(run, self._style(*of[1:])))
                    run = ""
                run, of = run + cell.sign, cell
            segments.append(Segment(run, self._style(*of[1:])))
            yield segments

    def _draw(self) -> None:
        old, (width, height) = self._rows, self.size
        glyphs, patterns = self._given.glyphs, self._given.patterns
        what = (msgspec.msgpack.encode(self._fan), width, height)
        if what == self._drawn:
            return
        self._drawn = what
        if self._fan is None or not width or not height:
            self._rows = []
        else:
            self._rows = draw(self._fan, width, height, patterns=patterns, ascii_only=glyphs.ascii)
        if len(old) != len(self._rows):
            self.refresh()
            return
        if changed := [y for y, row in enumerate(self._rows) if row != old[y]]:
            self.refresh(*stripes(changed, width))

    def _style(self, ink: str, front: int, back: int) -> Style:
        key = (ink, front, back)
        style = self._styles.get(key)
        if style is None:
            tones = self._palette()
            if ink != "band":
                colour = self.get_component_styles(f"fan--{ink}").color
            elif self._given.patterns or self._given.glyphs.ascii:
                colour = self.get_component_styles("fan--alarm" if front >= ALARM else "fan--band").color
            else:
                colour = tones[front]
            style = Style(color=colour.rich_color, bgcolor=tones[back].rich_color, bold=ink == "median" or None)
            self._styles[key] = style
        return style

    def _palette(self) -> list[Color]:
        """The tones' colours: the background, three tints of the band, and the same of the alarm."""
        if not self._tones:
            ground = self.background_colors[1]
            band = self.get_component_styles("fan--band").color
            alarm = self.get_component_styles("fan--alarm").color
            self._tones = [ground.blend(band if t < ALARM else alarm, _ALPHA[t % ALARM]) for t in range(TONES)]
        return self._tones
