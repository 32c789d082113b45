"""Cells, glyphs and units: everything that a screen writes goes through here.

A ``Line`` is plain data (text and a style's name), so that what a screen shows can be made
and tested without a terminal. ``span`` scrubs: no control character gets past it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from sidestep.fleet.labels import scrub
from sidestep.fleet.machines import ActionState, PlanState, StepState
from sidestep.fleet.resources import show_seconds, show_size

#: ``danger`` is the hold, ``ahead`` a picture that is predicted; ``heat0`` to ``heat9`` are steps of the ramp
StyleName = Literal[
    "text", "muted", "strong", "accent", "ok", "warn", "error", "bar", "alert", "danger", "ahead",
    "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7", "heat8", "heat9",
]  # fmt: skip
HEAT: Final[tuple[StyleName, ...]] = (
    "heat0", "heat1", "heat2", "heat3", "heat4", "heat5", "heat6", "heat7", "heat8", "heat9",
)  # fmt: skip


#: signs of ours that take one column, beside those of ASCII
_NARROW: Final = frozenset({*map(chr, range(32, 127)), *"▁▂▃▄▅▆▇█░▀·—…→▸△▲●▶◆■◇◌"})


class Span(NamedTuple):
    """A piece of a line in one style."""

    text: str
    style: StyleName = "text"


Line = tuple[Span, ...]


class Glyphs(Struct, frozen=True, kw_only=True, eq=False):
    """Every sign that a screen uses; a state is always a glyph and a word and a colour. Each set is its own key."""

    conditions: dict[str, str]
    #: how far a forecast may be trusted
    trust: dict[str, str]
    waiting: str
    running: str
    done: str
    failed: str
    pending: str
    undone: str
    arrow: str
    into: str
    spark: str
    none: str
    cut: str
    mark: str
    hold: str
    bar: str
    border: str
    ascii: bool = False


UNICODE: Final = Glyphs(
    conditions={"hot": "▲", "warming": "△", "ok": "·", "stale": "?", "down": "x", "held": "‖"},
    trust={"insufficient": "◌", "fallback": "↧", "reactive": "↯", "unproven": "◇"},
    waiting="●",
    running="▶",
    done="✓",
    failed="✗",
    pending="·",
    undone="↶",
    arrow="→",
    into="▸",
    spark="▁▂▃▄▅▆▇█",
    none="—",
    cut="…",
    mark="◆",
    hold="■",
    bar="█░",
    border="round",
)
ASCII: Final = Glyphs(
    conditions={"hot": "^", "warming": "~", "ok": ".", "stale": "?", "down": "x", "held": "="},
    trust={"insufficient": "o", "fallback": "v", "reactive": "%", "unproven": "?"},
    waiting="*",
    running=">",
    done="+",
    failed="!",
    pending=".",
    undone="<",
    arrow="->",
    into=">",
    spark="_.-:=+*#",
    none="-",
    cut="~",
    mark="*",
    hold="#",
    bar="#.",
    border="ascii",
    ascii=True,
)

#: the highest fraction that is written as percent, and whole percent of what is not known
MOST: Final = 9.99
UNKNOWN: Final = -1_000_000
#: steps of a row of blocks, and the step of what is unknown
UNSEEN: Final = len(UNICODE.spark)
_SPARKS: Final = {glyphs.ascii: dict(enumerate(f"{glyphs.spark} ")) for glyphs in (UNICODE, ASCII)}
_CONDITION_STYLES: Final[dict[str, StyleName]] = {
    "hot": "error",
    "warming": "warn",
    "ok": "ok",
    "stale": "muted",
    "down": "error",
    "held": "muted",
}


def span(text: str, style: StyleName = "text") -> Span:
    """A span of foreign or own text with nothing in it that a terminal would act on."""
    return Span(text if text.isprintable() else str(scrub(text, len(text) * 8)), style)


def line(*parts: str | Span) -> Line:
    """A line of spans and plain texts, each scrubbed."""
    return tuple(span(part.text, part.style) if isinstance(part, Span) else span(part) for part in parts)


def plain(content: Line) -> str:
    """The text of a line."""
    return "".join(part.text for part in content)


def width_of(text: str) -> int:
    """Terminal columns that a text takes."""
    if text.isascii() or _NARROW.issuperset(text):
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - 30 ms that plain commands need not pay

    return cell_len(text)


def fit(text: str, width: int, glyphs: Glyphs = UNICODE, *, right: bool = False) -> str:
    """The text in exactly ``width`` columns, cut with the cut sign or padded."""
    if width <= 0:
        return ""
    used = width_of(text)
    if used > width:
        text = _cut(text, width - 1) + glyphs.cut
        used = width_of(text)
    pad = " " * (width - used)
    return pad + text if right else text + pad


def _cut(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    used = 0
    for at, char in enumerate(text):
        used += width_of(char)
        if used > width:
            return text[:at]
    return text


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` columns, broken at spaces where there are any."""
    lines: list[str] = []
    rest = text
    while width_of(rest) > max(width, 1):
        head = _cut(rest, max(width, 1)) or rest[:1]
        space = head.rfind(" ")
        if rest[len(head) : len(head) + 1] != " " and space > 0:
            head = head[:space]
        lines.append(head.rstrip())
        rest = rest[len(head) :].lstrip()
    return [*lines, rest]


def columns(rows: Sequence[Sequence[str]], align: str = "") -> Iterator[str]:
    """Rows as aligned text for pipes and plain terminals; ``align`` has an ``r`` for right-hand columns."""
    if not rows:
        return
    safe = [[span(cell).text for cell in row] for row in rows]
    widths = [max(width_of(row[at]) for row in safe) for at in range(len(safe[0]))]
    for row in safe:
        cells = (
            fit(cell, widths[at], right=align[at : at + 1] == "r") if widths[at] else "" for at, cell in enumerate(row)
        )
        yield "  ".join(cells).rstrip()


def percent(fraction: float, glyphs: Glyphs = UNICODE) -> str:
    """A fraction as whole percent in at most four columns; unknown is the none sign."""
    return glyphs.none if math.isnan(fraction) else f"{min(fraction, MOST) * 100:.0f}%"


def whole(percents: int, glyphs: Glyphs = UNICODE) -> str:
    """``percent`` of a fraction that has been rounded already; ``UNKNOWN`` is the none sign."""
    return glyphs.none if percents == UNKNOWN else f"{percents}%"


def chance(fraction: float, glyphs: Glyphs = UNICODE) -> str:
    """A chance as whole percent; one that nobody knows is a question mark, never a zero."""
    return "?" if math.isnan(fraction) else percent(fraction, glyphs)


def clock(time: float) -> str:
    """A unix time as local hours, minutes and seconds."""
    if not math.isfinite(time) or not 0 < time < 1e11:
        return "--:--:--"
    return f"{datetime.fromtimestamp(time):%H:%M:%S}"


def until(seconds: float) -> str:
    """How far ahead or back something is: ``in 31s``, ``now``, ``12s ago``."""
    if abs(seconds) < 0.5:
        return "now"
    return f"in {show_seconds(seconds)}" if seconds >= 0 else f"{show_seconds(-seconds)} ago"


def size(value: float, glyphs: Glyphs = UNICODE) -> str:
    """Bytes in at most six columns; unknown is the none sign."""
    return glyphs.none if math.isnan(value) else show_size(value)


def trend(values: Sequence[float], width: int, glyphs: Glyphs) -> str:
    """The newest ``width`` values, 0 to 1, as one row of blocks; unknown is a blank."""
    return sparks(steps(values[-width:]), width, glyphs)


def steps(values: Sequence[float]) -> bytes:
    """Values, 0 to 1, as steps of ``sparks``; unknown is ``UNSEEN``."""
    return bytes(UNSEEN if math.isnan(v) else max(0, min(UNSEEN - 1, round(v * (UNSEEN - 1)))) for v in values)


def sparks(found: bytes, width: int, glyphs: Glyphs) -> str:
    """Steps as one row of blocks, as ``trend`` draws their values."""
    return found.decode("latin-1").translate(_SPARKS[glyphs.ascii]).rjust(width)


def thin(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` values that cover all of them: each the highest of its share."""
    n = len(values)
    if n <= width:
        return list(values)
    ends = [n * at // width for at in range(width + 1)]
    shares = ([v for v in values[a:b] if not math.isnan(v)] for a, b in pairwise(ends))
    return [max(share, default=math.nan) for share in shares]


def condition_style(condition: str) -> StyleName:
    """The style of a host's condition."""
    return _CONDITION_STYLES[condition]


def plan_glyph(state: PlanState, glyphs: Glyphs) -> Span:
    """The sign of a plan's state, in its colour."""
    if state == PlanState.PROPOSED:
        return Span(glyphs.waiting, "accent")
    if state in {PlanState.APPROVED, PlanState.SCHEDULED, PlanState.RUNNING, PlanState.PAUSED}:
        return Span(glyphs.running, "accent")
    if state == PlanState.SUCCEEDED:
        return Span(glyphs.done, "ok")
    if state in {PlanState.FAILED, PlanState.PARTIAL, PlanState.STALE}:
        return Span(glyphs.failed, "error")
    if state in {PlanState.UNDOING, PlanState.UNDONE, PlanState.CANCELLING, PlanState.CANCELLED}:
        return Span(glyphs.undone, "warn")
    return Span(glyphs.pending, "muted")


def step_glyph(state: StepState, glyphs: Glyphs) -> Span:
    """The sign of a step's state, in its colour."""
    return {
        StepState.DONE: Span(glyphs.done, "ok"),
        StepState.RUNNING: Span(glyphs.running, "accent"),
        StepState.FAILED: Span(glyphs.failed, "error"),
        StepState.UNDONE: Span(glyphs.undone, "warn"),
        StepState.PENDING: Span(glyphs.pending, "muted"),
    }[state]


def action_style(state: ActionState) -> StyleName:
    """The colour of an action's state."""
    if state in {ActionState.DONE, ActionState.COMMITTED}:
        return "ok"
    if state in {ActionState.RUNNING, ActionState.PENDING}:
        return "accent" if state == ActionState.RUNNING else "muted"
    return "error" if state in {ActionState.FAILED_NEEDS_HUMAN, ActionState.TIMED_OUT} else "warn"


def gauge(share: float, width: int, glyphs: Glyphs) -> str:
    """A progress bar of ``width`` columns; unknown is empty."""
    full = 0 if math.isnan(share) else max(0, min(width, round(share * width)))
    return glyphs.bar[0] * full + glyphs.bar[1] * (width - full)


def indent(lines: Iterable[Line], by: int = 2) -> list[Line]:
    """The lines, moved to the right."""
    return [(Span(" " * by), *content) for content in lines]
