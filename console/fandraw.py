"""The fan chart as a grid of cells: pure, so that what is drawn can be tested without a terminal.

A cell says which sign stands in it and which colours it is made of, by role. The part of
the band above the threshold has roles (and, with patterns, signs) of its own: predicted
contention is literally that area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from sidestep.fleet.resources import show_seconds

Floats = Sequence[float]
Ink = Literal["axis", "history", "median", "limit", "band"]

GUTTER: Final = 6
#: tones: 0 is the background, 1 to 3 the bands from outside in, 5 to 7 the same above the threshold
ALARM: Final = 4
TONES: Final = 8
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
#: signs of the tones where colour cannot tell them apart
PATTERNS: Final = (" ", "░", "▒", "▓", " ", "╱", "╳", "╬")
ASCII_PATTERNS: Final = (" ", ".", ":", ";", " ", "!", "X", "#")


class Fan(Struct, frozen=True, kw_only=True):
    """What to draw, as fractions of capacity; ``bands`` are (lower, upper), outermost first."""

    history: Floats
    median: Floats = ()
    bands: tuple[tuple[Floats, Floats], ...] = ()
    threshold: float
    past_step: float = 1.0
    future_step: float = 1.0


class Cell(NamedTuple):
    """One place on the grid: the sign, what it is drawn with, and its two tones (lower, upper)."""

    sign: str
    ink: Ink = "axis"
    front: int = 0
    back: int = 0


class _Scale(NamedTuple):
    """How time and value map to the grid: ``w`` by ``h`` cells after the gutter."""

    w: int
    h: int
    past: float
    future: float
    top: float

    def time(self, half: int) -> float:
        """Seconds from now of a half column."""
        return -self.past + (half + 0.5) / (self.w * 2) * (self.past + self.future)

    def eighth(self, value: float) -> int:
        """The height of a value in eighths of a cell from the bottom."""
        return max(0, min(self.h * 8, round(value / self.top * self.h * 8)))


def draw(fan: Fan, width: int, height: int, *, patterns: bool = False, ascii_only: bool = False) -> list[list[Cell]]:
    """The chart as ``height`` rows of ``width`` cells, the time axis last; blank if there is no room."""
    w, h = width - GUTTER, height - 1
    if w < 12 or h < 3:
        return [[Cell(" ")] * width for _ in range(height)]
    scale = _scale(fan, w, h)
    grid = [[Cell(" ")] * w for _ in range(h)]
    _bands(grid, fan, scale, patterns=patterns or ascii_only, signs=ASCII_PATTERNS if ascii_only else PATTERNS)
    _rules(grid, fan, scale, ascii_only)
    for ink, series, dashed in (("history", _past(fan, scale), False), ("median", _ahead(fan, scale), True)):
        _stroke(grid, series, scale, ink, dashed, ascii_only)  # type: ignore[arg-type]
    labels = _labels(fan, scale)
    rows = [[*labels[y], *grid[y]] for y in range(h)]
    return [*rows, _axis(scale, width)]


def _scale(fan: Fan, w: int, h: int) -> _Scale:
    future = len(fan.median) * fan.future_step
    past = max(1, len(fan.history) - 1) * fan.past_step
    if future:
        past = min(past, future * 1.5)
    seen = fan.history[-(math.ceil(past / fan.past_step) + 1) :]
    highest = max((v for part in (seen, *(up for _, up in fan.bands)) for v in part if not math.isnan(v)), default=0.0)
    return _Scale(w, h, past, future, max(1.0, math.ceil(min(highest, 4.0) * 5 + 0.01) / 5))


def _at(series: Floats, first: float, step: float, time: float) -> float:
    """A regular series at a time, by linear interpolation; NaN outside it."""
    place = (time - first) / step
    if not -1e-9 <= place <= len(series) - 1 + 1e-9:
        return math.nan
    low = max(0, min(len(series) - 1, math.floor(place)))
    high = min(low + 1, len(series) - 1)
    return series[low] + (series[high] - series[low]) * (place - low)


def _past(fan: Fan, scale: _Scale) -> list[float]:
    first = -(len(fan.history) - 1) * fan.past_step
    return [_at(fan.history, first, fan.past_step, scale.time(half)) for half in range(scale.w * 2)]


def _from_now(fan: Fan, series: Floats) -> list[float]:
    """A forecast series with the last known value in front, so that the fan opens from it."""
    last = next((v for v in reversed(fan.history) if not math.isnan(v)), math.nan)
    return [series[0] if math.isnan(last) else last, *series]


def _ahead(fan: Fan, scale: _Scale) -> list[float]:
    if not fan.median:
        return []
    series = _from_now(fan, fan.median)
    return [_at(series, 0.0, fan.future_step, scale.time(half)) for half in range(scale.w * 2)]


def _bands(grid: list[list[Cell]], fan: Fan, scale: _Scale, *, patterns: bool, signs: tuple[str, ...]) -> None:
    limit = scale.eighth(fan.threshold)
    edges = [(_from_now(fan, low), _from_now(fan, high)) for low, high in fan.bands if low]
    for x in range(scale.w):
        time = (scale.time(x * 2) + scale.time(x * 2 + 1)) / 2
        if time < 0 or not edges:
            continue
        tones = [0] * (scale.h * 8)
        for tone, (low, high) in enumerate(edges, 1):
            a, b = _at(low, 0.0, fan.future_step, time), _at(high, 0.0, fan.future_step, time)
            if not math.isnan(a + b):
                bottom, top = scale.eighth(a), scale.eighth(b)
                top = max(top, bottom + 1)
                tones[bottom:top] = [tone] * len(tones[bottom:top])
        tones[limit:] = [tone + ALARM if tone else 0 for tone in tones[limit:]]
        for y in range(scale.h):
            base = (scale.h - 1 - y) * 8
            front, back, filled = _split(tuple(tones[base : base + 8]))
            if patterns:
                tone = front if filled >= 4 else back
                grid[y][x] = Cell(signs[tone], "band", tone, 0)
            else:
                grid[y][x] = Cell(_BLOCKS[filled], "band", front, back)


@lru_cache(4096)
def _split(tones: tuple[int, ...]) -> tuple[int, int, int]:
    """The two tones that show eight eighths best: lower, upper, and how many are lower."""
    if tones.count(tones[0]) == len(tones):
        return tones[0], tones[0], 0
    best = (len(tones) + 1, 0, 0, 0)
    for at in range(1, len(tones)):
        low, high = tones[:at], tones[at:]
        a, b = max(low, key=low.count), max(high, key=high.count)
        best = min(best, (len(tones) - low.count(a) - high.count(b), at, a, b))
    return best[2], best[3], best[1]


def _rules(grid: list[list[Cell]], fan: Fan, scale: _Scale, ascii_only: bool) -> None:
    """The threshold and "now", where no band is."""
    y = scale.h - 1 - min(scale.h - 1, scale.eighth(fan.threshold) // 8)
    if scale.future:
        now = min(scale.w - 1, int(scale.past / (scale.past + scale.future) * scale.w))
        for row in grid:
            row[now] = row[now]._replace(sign="|" if ascii_only else "│", ink="axis")
    if fan.threshold <= scale.top:
        for x, cell in enumerate(grid[y]):
            if not cell.front and not cell.back:
                grid[y][x] = Cell("=" if ascii_only else "╌", "limit")


def _stroke(grid: list[list[Cell]], series: Floats, scale: _Scale, ink: Ink, dashed: bool, ascii_only: bool) -> None:
    """A line through the values: braille dots, or one sign a cell in ASCII."""
    dots: dict[tuple[int, int], int] = {}
    before: int | None = None
    for half, value in enumerate(series):
        if math.isnan(value):
            before = None
            continue
        level = min(scale.h * 4 - 1, max(0, round((1 - value / scale.top) * (scale.h * 4 - 1))))
        start = level if before is None else before + (1 if level > before else -1 if level < before else 0)
        if not (dashed and half % 6 >= 4):
            for spot in range(min(start, level), max(start, level) + 1):
                key = (spot // 4, half // 2)
                dots[key] = dots.get(key, 0) | _DOTS[spot % 4][half % 2]
        before = level
    for (y, x), mask in dots.items():
        cell = grid[y][x]
        tone = cell.back if cell.sign in " │" or not cell.front else max(cell.front, cell.back)
        sign = ("*" if ink == "history" else "o") if ascii_only else chr(0x2800 + mask)
        grid[y][x] = Cell(sign, ink, tone, tone)


def _labels(fan: Fan, scale: _Scale) -> list[list[Cell]]:
    """The gutter: the threshold by its own colour, and round values that are not too near to it."""
    at_limit = scale.h - 1 - min(scale.h - 1, scale.eighth(fan.threshold) // 8)
    texts: dict[int, tuple[str, Ink]] = {}
    every = 0.2 if scale.h >= 10 else 0.5
    for k in range(round(scale.top / every) + 1):
        row = scale.h - 1 - min(scale.h - 1, scale.eighth(k * every) // 8)
        if abs(row - at_limit) > 1:
            texts[row] = (f"{k * every:.0%}", "axis")
    texts[at_limit] = (f"{fan.threshold:.0%}", "limit")
    blank: tuple[str, Ink] = ("", "axis")
    return [
        [Cell(char, texts.get(y, blank)[1]) for char in texts.get(y, blank)[0].rjust(GUTTER - 1) + " "]
        for y in range(scale.h)
    ]


def _axis(scale: _Scale, width: int) -> list[Cell]:
    """Times from now under the chart; what has no room is left out."""
    row = [" "] * width
    span = scale.past + scale.future
    marks = [(0.0, f"-{show_seconds(scale.past)}"), (1.0, f"+{show_seconds(scale.future)}" if scale.future else "now")]
    if scale.future:
        marks.insert(1, (scale.past / span, "now"))
    free = 0
    for share, text in marks:
        at = GUTTER + max(0, min(scale.w - len(text), round(share * scale.w - len(text) / 2)))
        if at >= free:
            row[at : at + len(text)] = text
            free = at + len(text) + 1
    return [Cell(char) for char in row]
