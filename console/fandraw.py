"""The fan chart as a grid of cells: pure, so that what is drawn can be tested without a terminal.

A cell says which sign stands in it and which colours it is made of, by role. The part of
the band above the threshold has roles (and, with patterns, signs) of its own: predicted
contention is literally that area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from msgspec import Struct

from sidestep.fleet.resources import show_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

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
    #: seconds from now at which the timeline's cursor stands; 0 for none
    cursor: float = 0.0


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

    def times(self) -> Array:
        """Seconds from now of all half columns."""
        import numpy as np  # noqa: PLC0415 - not before the first paint

        return -self.past + (np.arange(self.w * 2) + 0.5) / (self.w * 2) * (self.past + self.future)

    def eighths(self, values: Array) -> NDArray[np.intp]:
        """As ``eighth``, of many values."""
        import numpy as np  # noqa: PLC0415 - likewise

        return np.clip(np.rint(values / self.top * self.h * 8), 0, self.h * 8).astype(np.intp)

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
    _bands(grid, fan, scale, ASCII_PATTERNS if ascii_only else PATTERNS if patterns else None)
    _rules(grid, fan, scale, ascii_only)
    for ink, series, dashed in (("history", _past(fan, scale), False), ("median", _ahead(fan, scale), True)):
        _stroke(grid, series, scale, ink, dashed, ascii_only)  # type: ignore[arg-type]
    labels = _labels(fan, scale)
    rows = [[*labels[y], *grid[y]] for y in range(h)]
    return [*rows, _axis(scale, width, fan.cursor)]


def _scale(fan: Fan, w: int, h: int) -> _Scale:
    future = len(fan.median) * fan.future_step
    past = max(1, len(fan.history) - 1) * fan.past_step
    if future:
        past = min(past, future * 1.5)
    seen = fan.history[-(math.ceil(past / fan.past_step) + 1) :]
    highest = max((v for part in (seen, *(up for _, up in fan.bands)) for v in part if not math.isnan(v)), default=0.0)
    return _Scale(w, h, past, future, max(1.0, math.ceil(min(highest, 4.0) * 5 + 0.01) / 5))


def _at(series: Floats, first: float, step: float, times: Array) -> Array:
    """A regular series at many times, by linear interpolation; NaN outside it."""
    import numpy as np  # noqa: PLC0415 - not before the first paint

    known = np.asarray(series, dtype=np.float64)
    place = (times - first) / step
    low = np.clip(np.floor(place), 0, len(known) - 1).astype(np.intp)
    high = np.minimum(low + 1, len(known) - 1)
    found = known[low] + (known[high] - known[low]) * (place - low)
    return np.where((place >= -1e-9) & (place <= len(known) - 1 + 1e-9), found, np.nan)


def _past(fan: Fan, scale: _Scale) -> list[float]:
    first = -(len(fan.history) - 1) * fan.past_step
    return [float(v) for v in _at(fan.history, first, fan.past_step, scale.times())]


def _from_now(fan: Fan, series: Floats) -> list[float]:
    """A forecast series with the last known value in front, so that the fan opens from it."""
    last = next((v for v in reversed(fan.history) if not math.isnan(v)), math.nan)
    return [series[0] if math.isnan(last) else last, *series]


def _ahead(fan: Fan, scale: _Scale) -> list[float]:
    if not fan.median:
        return []
    return [float(v) for v in _at(_from_now(fan, fan.median), 0.0, fan.future_step, scale.times())]


def _bands(grid: list[list[Cell]], fan: Fan, scale: _Scale, signs: Sequence[str] | None) -> None:
    """The bands in all columns ahead of now; with ``signs``, each tone is drawn as its own."""
    import numpy as np  # noqa: PLC0415 - likewise

    edges = [(_from_now(fan, low), _from_now(fan, high)) for low, high in fan.bands if low]
    halves = scale.times()
    times = (halves[0::2] + halves[1::2]) / 2
    first = int(np.searchsorted(times, 0.0))
    if not edges or first >= scale.w:
        return
    eighths = np.arange(scale.h * 8)
    tones = np.zeros((scale.w - first, scale.h * 8), dtype=np.int64)
    for tone, (low, high) in enumerate(edges, 1):
        a, b = (_at(edge, 0.0, fan.future_step, times[first:]) for edge in (low, high))
        known = ~np.isnan(a + b)
        bottom, top = (scale.eighths(np.where(known, edge, 0.0)) for edge in (a, b))
        top = np.where(known, np.maximum(top, bottom + 1), 0)
        tones[(eighths >= bottom[:, None]) & (eighths < top[:, None])] = tone
    limit = scale.eighth(fan.threshold)
    tones[:, limit:] += np.where(tones[:, limit:] > 0, ALARM, 0)
    packed = tones.reshape(len(tones), scale.h, 8) @ (TONES ** np.arange(8))
    lines = packed.T[::-1].tolist()
    cells = {code: _band(code, signs) for code in set().union(*lines)}
    for row, codes in zip(grid, lines, strict=True):
        row[first:] = map(cells.__getitem__, codes)


@lru_cache(8192)
def _band(packed: int, signs: Sequence[str] | None) -> Cell:
    """The cell of eight tones, the lowest in the lowest bits."""
    front, back, filled = _split(tuple(packed // TONES**k % TONES for k in range(8)))
    if signs is None:
        return Cell(_BLOCKS[filled], "band", front, back)
    tone = front if filled >= 4 else back
    return Cell(signs[tone], "band", tone, 0)


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
        if 0 < fan.cursor <= scale.future:
            at = min(scale.w - 1, int((scale.past + fan.cursor) / (scale.past + scale.future) * scale.w))
            for row in grid:
                row[at] = row[at]._replace(sign="|" if ascii_only else "┃", ink="median")
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
        if abs(row - at_limit) > 1 or fan.threshold > scale.top:
            texts[row] = (f"{k * every:.0%}", "axis")
    if fan.threshold <= scale.top:  # what has none is drawn without
        texts[at_limit] = (f"{fan.threshold:.0%}", "limit")
    blank: tuple[str, Ink] = ("", "axis")
    return [[_lettered(char, ink) for char in text.rjust(GUTTER - 1) + " "]
            for text, ink in (texts.get(y, blank) for y in range(scale.h))]  # fmt: skip


def _axis(scale: _Scale, width: int, cursor: float = 0.0) -> list[Cell]:
    """Times from now under the chart; what has no room is left out."""
    row = [" "] * width
    span = scale.past + scale.future
    marks = [(0.0, f"-{show_seconds(scale.past)}"), (1.0, f"+{show_seconds(scale.future)}" if scale.future else "now")]
    if scale.future:
        marks.insert(1, (scale.past / span, "now"))
        if 0 < cursor <= scale.future:
            marks.insert(2, ((scale.past + cursor) / span, f"+{show_seconds(cursor)}"))
    free = 0
    for share, text in marks:
        at = GUTTER + max(0, min(scale.w - len(text), round(share * scale.w - len(text) / 2)))
        if at >= free:
            row[at : at + len(text)] = text
            free = at + len(text) + 1
    return [_lettered(char, "axis") for char in row]


@lru_cache(256)
def _lettered(char: str, ink: Ink) -> Cell:
    """The cell of a letter beside or under the chart."""
    return Cell(char, ink)
