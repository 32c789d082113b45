"""The heat strip: the chance of contention of every host at once, from four hosts to thousands.

Hosts keep their place (the inventory's order), so a picture can be remembered. Few hosts
are tiles with name and chance; many are half a character cell each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from sidestep.console.context import Context
from sidestep.console.text import chance as chance_text
from sidestep.console.text import fit
from sidestep.console.view import FleetView

LEVELS: Final = 16
_SIGNS: Final = " .:-=+*#%@"
_TILE: Final = 14
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


def lay_out(view: FleetView, selected: int, width: int, height: int, *, ascii_only: bool) -> list[list[Heat]]:
    """The strip's rows: tiles if all hosts fit as tiles, half cells otherwise."""
    n = len(view.hosts)
    across = max(1, width // _TILE)
    if n and math.ceil(n / across) <= height:
        return _tiles(view, selected, across)
    levels = [level(view.chance(host)) for host in range(n)]
    per_cell = 1 if ascii_only else 2
    across = max(1, min(width, math.ceil(n / max(1, height * per_cell))), min(width, 24))
    return _cells(levels, selected, across, max(1, width // across), ascii_only)


def _tiles(view: FleetView, selected: int, across: int) -> list[list[Heat]]:
    rows: list[list[Heat]] = []
    for host, words in enumerate(view.hosts):
        if host % across == 0:
            rows.append([])
        chance = view.chance(host)
        text = f" {fit(words.name, _TILE - 7)} {chance_text(chance):>4}"
        rows[-1] += [Heat(text, level(chance), level(chance), host == selected), Heat(" ", 0, 0)]
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
            row.append(Heat(sign * wide, a, b, selected == upper or (not ascii_only and selected == lower)))
        rows.append(row)
    return rows


class HeatStrip(Widget):
    """Paints the strip; rows that did not change are left alone."""

    DEFAULT_CSS = "HeatStrip { color: $foreground; }"

    def __init__(self, context: Context, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._given = context
        self._rows: list[list[Heat]] = []
        self._input: tuple[FleetView, int] | None = None
        self._ramp: list[Color] = []

    def show(self, view: FleetView, selected: int) -> None:
        """Take a new picture and the row of the host under the cursor."""
        self._input = (view, selected)
        self._lay()

    def on_resize(self) -> None:
        """Lay out again for the new size."""
        self._lay()

    def notify_style_update(self) -> None:
        """The theme changed: forget its colours."""
        self._ramp = []
        super().notify_style_update()

    def _lay(self) -> None:
        if self._input is None or not self.size.width or not self.size.height:
            return
        ascii_only = self._given.glyphs.ascii
        old, self._rows = self._rows, lay_out(*self._input, *self.size, ascii_only=ascii_only)
        if len(old) != len(self._rows):
            self.refresh()
            return
        for y, row in enumerate(self._rows):
            if row != old[y]:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One line of the strip, for Textual."""
        blank = self.rich_style
        if y >= len(self._rows):
            return Strip.blank(self.size.width, blank)
        segments = [Segment(heat.text, blank if heat.text == " " else self._style(heat)) for heat in self._rows[y]]
        return Strip(segments).simplify().adjust_cell_length(self.size.width, blank)

    def _style(self, heat: Heat) -> Style:
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
