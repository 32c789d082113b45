"""The heat strip: the chance of contention of every host at once, from four hosts to thousands.

Hosts keep their place (the inventory's order), so a picture can be remembered. Few hosts
are tiles with name and chance; many are half a character cell each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.color import Color
from textual.events import Click
from textual.message import Message
from textual.strip import Strip

from sidestep.console.compositing import DirectLines
from sidestep.console.context import Context
from sidestep.console.text import chance as chance_text
from sidestep.console.text import fit, width_of
from sidestep.console.view import FleetView
from sidestep.console.widgets.lines import stripes
from sidestep.console.widgets.linetable import list_bindings

LEVELS: Final = 16
_SIGNS: Final = " .:-=+*#%@"
#: columns of a tile with the blank behind it: at most, and at least
_TILE: Final = 16
_LEAST: Final = 10
UNKNOWN: Final = -1


class Heat(Struct, frozen=True):
    """One row of signs with two levels a place (upper, lower); ``selected`` are underlined."""

    text: str
    upper: int
    lower: int
    selected: bool = False


def level(chance: float) -> int:
    """The step of the ramp for a chance; ``UNKNOWN`` for NaN."""
    return UNKNOWN if math.isnan(chance) else max(0, min(LEVELS - 1, int(chance * LEVELS)))


class Layout(NamedTuple):
    """How hosts are laid out: ``tile`` columns each, or 0 for cells ``wide`` columns wide and half a line high."""

    tile: int
    across: int
    wide: int


def layout(n: int, width: int, height: int, *, ascii_only: bool) -> Layout:
    """Tiles with name and chance if all hosts fit as such, half cells otherwise."""
    tile = min(_TILE, width // max(1, math.ceil(n / max(1, height))))
    if n and tile >= _LEAST:
        return Layout(tile, max(1, width // tile), 0)
    per_cell = 1 if ascii_only else 2
    across = max(1, min(width, math.ceil(n / max(1, height * per_cell))), min(width, 24))
    return Layout(0, across, max(1, width // across))


def lay_out(view: FleetView, selected: int, width: int, height: int, *, ascii_only: bool) -> list[list[Heat]]:
    """The strip's rows."""
    found = layout(len(view.hosts), width, height, ascii_only=ascii_only)
    levels = _levels(view)
    if found.tile:
        return _tiles(view, levels, selected, found)
    return _cells(levels, selected, found.across, found.wide, ascii_only)


def _levels(view: FleetView) -> list[int]:
    """The step of the ramp for every host, all at once."""
    import numpy as np  # noqa: PLC0415 - not before the first paint

    chance = view.figures.chance
    found = np.clip(np.nan_to_num(chance * LEVELS, nan=0.0), 0, LEVELS - 1).astype(int)
    steps: list[int] = np.where(np.isnan(chance), UNKNOWN, found).tolist()
    return steps


def place_at(view: FleetView, x: int, y: int, width: int, height: int, *, ascii_only: bool) -> int:
    """The host that is drawn at a cell; -1 for none."""
    n = len(view.hosts)
    tile, across, wide = layout(n, width, height, ascii_only=ascii_only)
    lines, column = (1 if tile or ascii_only else 2), x // (tile or wide)
    found = y * across * lines + column if column < across else -1
    return found if 0 <= found < n else -1


def _tiles(view: FleetView, levels: Sequence[int], selected: int, found: Layout) -> list[list[Heat]]:
    rows: list[list[Heat]] = []
    for host, words in enumerate(view.hosts):
        if host % found.across == 0:
            rows.append([])
        chance = chance_text(view.chance(host))
        text = f" {fit(words.name, found.tile - 6)}{chance:>4}"
        rows[-1] += [Heat(text, levels[host], levels[host], host == selected), Heat(" ", 0, 0)]
    return rows


def _cells(levels: Sequence[int], selected: int, across: int, wide: int, ascii_only: bool) -> list[list[Heat]]:
    rows: list[list[Heat]] = []
    step = across if ascii_only else across * 2
    for base in range(0, len(levels), step):
        row = []
        for x in range(across):
            upper, lower = base + x, base + x + across
            if upper >= len(levels):
                break
            a = levels[upper]
            b = a if ascii_only else levels[lower] if lower < len(levels) else UNKNOWN - 1
            sign = _SIGNS[max(0, a) * (len(_SIGNS) - 1) // (LEVELS - 1)] if ascii_only else "▀"
            row.append(_cell(sign * wide, a, b, selected == upper or (not ascii_only and selected == lower)))
        rows.append(row)
    return rows


_cell = lru_cache(4096)(Heat)


class HeatStrip(DirectLines):
    """Paints the strip; rows that did not change are left alone."""

    DEFAULT_CSS = "HeatStrip { color: $foreground; }"

    def __init__(self, context: Context, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._given = context
        self._rows: list[list[Heat]] = []
        self._input: tuple[FleetView, int] | None = None
        self._ramp: list[Color] = []
        self._styles: dict[tuple[int, int, bool, bool], Style] = {}

    def show(self, view: FleetView, selected: int) -> None:
        """Take a new picture and the row of the host under the cursor."""
        self._input = (view, selected)
        self._lay()

    def on_resize(self) -> None:
        """Lay out again for the new size."""
        self._lay()

    def notify_style_update(self) -> None:
        """The theme changed: forget its colours."""
        self._ramp, self._styles = [], {}
        super().notify_style_update()

    def _lay(self) -> None:
        if self._input is None or not self.size.width or not self.size.height:
            return
        ascii_only = self._given.glyphs.ascii
        old, self._rows = self._rows, lay_out(*self._input, *self.size, ascii_only=ascii_only)
        if len(old) != len(self._rows):
            self.refresh()
            return
        if changed := [y for y, row in enumerate(self._rows) if row != old[y]]:
            self.refresh(*stripes(changed, self.size.width))

    def render_line(self, y: int) -> Strip:
        """One line of the strip, for Textual."""
        (segments,) = self.line_segments(range(y, y + 1), self.size.width)
        return Strip(segments)

    def line_segments(self, rows: range, width: int) -> Iterator[list[Segment]]:
        """Those lines of the strip."""
        blank = self.rich_style
        for y in rows:
            segments: list[Segment] = []
            run, style, used = "", blank, 0
            for heat in self._rows[y] if y < len(self._rows) else ():
                look = blank if heat.text == " " else self._style(heat)
                if look is not style and run:
                    segments.append(Segment(run, style))
                    run = ""
                run, style = run + heat.text, look
                used += width_of(heat.text)
            if run:
                segments.append(Segment(run, style))
            yield [*segments, Segment(" " * (width - used), blank)] if used < width else segments

    def _style(self, heat: Heat) -> Style:
        key = (heat.upper, heat.lower, heat.selected, heat.text[0] == "▀")
        if key not in self._styles:
            self._styles[key] = self._made(heat)
        return self._styles[key]

    def _made(self, heat: Heat) -> Style:
        upper, lower = self._colour(heat.upper), self._colour(heat.lower)
        if heat.text[0] == "▀":
            mark = Color.parse(self.app.theme_variables["accent"])
            if heat.selected:
                upper = mark
            return Style(color=upper.rich_color, bgcolor=lower.rich_color)
        ink = upper.get_contrast_text(1.0)
        return Style(color=ink.rich_color, bgcolor=upper.rich_color, bold=heat.selected, underline=heat.selected)

    def _colour(self, step: int) -> Color:
        if step < UNKNOWN:
            return self.background_colors[1]
        variables = self.app.theme_variables
        if step == UNKNOWN:
            return Color.parse(variables["panel"])
        if not self._ramp:
            stops = [Color.parse(variables[f"ramp-{k}"]) for k in range(5)]
            for k in range(LEVELS):
                place = k / (LEVELS - 1) * 4
                low = min(3, int(place))
                self._ramp.append(stops[low].blend(stops[low + 1], place - low))
        return self._ramp[step]


class HeatMap(HeatStrip, can_focus=True):
    """The strip over a whole screen, with a cursor: the keys of lists, and clicks, choose a host."""

    BINDINGS: ClassVar[list[BindingType]] = list_bindings()

    class Chosen(Message):
        """Another host was chosen: ``by`` steps from the present one, or the one in that row."""

        def __init__(self, to: str, row: int = -1) -> None:
            super().__init__()
            self.to, self.row = to, row

    def action_move(self, to: str) -> None:
        """Ask for another host."""
        self.post_message(self.Chosen(to))

    def on_click(self, event: Click) -> None:
        """A click chooses the host that is drawn there."""
        inside = event.get_content_offset(self)
        if inside is None or self._input is None:
            return
        row = place_at(self._input[0], inside.x, inside.y, *self.size, ascii_only=self._given.glyphs.ascii)
        if row >= 0:
            self.post_message(self.Chosen("", row))
