"""The top line: where you are, who may act, how the hosts are, and whether the picture is fresh.

What must never be missed (a lost daemon, the autopilot, a frozen picture, that the fleet is
not a real one) is never dropped for lack of room.
"""

from __future__ import annotations

from sidestep.console.context import Context, Picture
from sidestep.console.text import Glyphs, Line, Span, span, width_of
from sidestep.console.widgets.lines import LinePane
from sidestep.fleet.resources import show_seconds

_STATES = ("READY", "SUSPECT", "DEAD")
_GAP = "  "
#: levels in which something may run that nobody has approved
ACTS = frozenset({"semi", "full"})


def top_line(picture: Picture, crumbs: tuple[str, ...], width: int, glyphs: Glyphs) -> Line:
    """The line, cut to ``width``: parts with the highest number go first when there is no room."""
    parts = [part for part in _parts(picture, crumbs, glyphs) if part[1].text]
    while len(parts) > 1 and sum(width_of(part.text) + len(_GAP) for _, part in parts) > width:
        worst = max(range(len(parts)), key=lambda at: (parts[at][0], at))
        if parts[worst][0] == 0:
            break
        del parts[worst]
    line: list[Span] = [Span(" ")]
    for _, part in parts:
        line += [part, Span(_GAP)]
    return tuple(line)


def _parts(picture: Picture, crumbs: tuple[str, ...], glyphs: Glyphs) -> list[tuple[int, Span]]:
    welcome, view = picture.welcome, picture.view
    names = ((welcome.fleet,) if welcome is not None else ()) + crumbs
    return [
        (3, Span("sidestep", "strong")),
        (1, span(f" {glyphs.into} ".join(names), "text")),
        (0, _line_state(picture)),
        (0, span(f" {picture.replay} ", "danger") if picture.replay else Span("")),
        (0, Span(" FROZEN ", "alert") if picture.frozen else Span("")),
        *_ahead(picture),
        *_alerts(picture, glyphs),
        *_level(picture),
        (0, Span("READ-ONLY" if picture.read_only else "", "strong")),
        *((2 if state != "READY" else 3, part) for state, part in _hosts(picture)),
        (4, Span("" if view is None else f"lag {view.frame.lag:.1f} s", "muted")),
        (1, span(welcome.banner if welcome is not None else "", "warn")),
        (5, span(welcome.notice if welcome is not None else "", "muted")),
        (3, Span(picture.note, "muted")),
        *_oracle(picture, glyphs),
    ]


def _ahead(picture: Picture) -> list[tuple[int, Span]]:
    """That the picture is a predicted one, in words and in its own colour."""
    item = picture.chosen
    plan = f" WITH PLAN #{item.plan.number}" if picture.with_plan and item is not None else ""
    if picture.ahead:
        return [(0, span(f" PREDICTED +{show_seconds(picture.ahead)}{plan} ", "ahead"))]
    return [(0, span(f" PREDICTED{plan} ", "ahead"))] if plan else []


def _alerts(picture: Picture, glyphs: Glyphs) -> list[tuple[int, Span]]:
    """What the daemon has to say on every screen: the words are never dropped, why goes when there is no room."""
    parts: list[tuple[int, Span]] = []
    if held := picture.held:
        who, _, why = held.partition(": ")
        parts += [(0, Span(f" {glyphs.hold} HOLD ", "danger")), (1, span(who, "error")), (2, span(why, "error"))]
    for alert in picture.view.frame.alerts if picture.view is not None else ():
        if alert != held:
            word, _, why = alert.partition(": ")
            parts += [(0, span(f" {word} ", "alert")), (2, span(why, "error"))]
    return parts


def _oracle(picture: Picture, glyphs: Glyphs) -> list[tuple[int, Span]]:
    """What is wrong with forecasts: the word is never dropped, the reason goes when there is no room."""
    view = picture.view
    if view is None:
        return []
    parts: list[tuple[int, Span]] = []
    if view.learning:
        parts.append((0, span(f"{glyphs.trust['insufficient']} insufficient", "warn")))
    word, _, why = view.frame.oracle.partition(": ")
    if word:
        parts += [(0, span(f"{glyphs.trust['fallback']} {word}", "warn")), (2, span(why, "warn"))]
    return parts


def _line_state(picture: Picture) -> Span:
    status = picture.status
    if status.kind == "gone":
        last = f", last picture {show_seconds(picture.age)} old" if picture.view is not None else ""
        return Span(f" daemon gone{last} ", "alert")
    if status.kind == "failed":
        return Span(" failed ", "alert")
    if status.kind == "live" and status.text:
        return span(f" {status.text} ", "alert")
    if picture.overdue:
        return Span(f" picture {show_seconds(picture.age)} old ", "alert")
    return Span("starting" if picture.view is None else "", "accent")


def _level(picture: Picture) -> list[tuple[int, Span]]:
    """How far the autopilot may go, unmistakably where it acts by itself; and how far trust has come."""
    level = picture.view.frame.level if picture.view is not None else ""
    if not level:
        return []
    parts: list[tuple[int, Span]] = [(0, span(f" AUTOPILOT {level.upper()} ", "alert"))] if level in ACTS else []
    parts = parts or [(0, span(f"autopilot {level.upper()}", "strong"))]
    if picture.trust:
        parts.append((1, span(f"trust {picture.trust}", "muted")))
    return parts


def _hosts(picture: Picture) -> list[tuple[str, Span]]:
    if picture.view is None:
        return []
    counts = picture.view.states
    known = [state for state in _STATES if counts[state]] + sorted(set(counts) - set(_STATES))
    style = {"READY": "ok", "SUSPECT": "warn", "DEAD": "error"}
    return [(state, span(f"{counts[state]} {state.lower()}", style.get(state, "muted"))) for state in known]  # type: ignore[arg-type]


class TopBar(LinePane):
    """One line on the panel's background."""

    DEFAULT_CSS = "TopBar { height: 1; background: $panel; overflow-y: hidden; }"

    def __init__(self, context: Context) -> None:
        super().__init__(id="top")
        self._glyphs = context.glyphs
        self._input: tuple[Picture, tuple[str, ...]] | None = None

    def show(self, picture: Picture, *crumbs: str) -> None:
        """Take a new picture and the place that the operator is at."""
        self._input = (picture, crumbs)
        self.relay()

    def relay(self) -> None:
        """Make the line for the present width."""
        if self._input is not None:
            self.show_lines([top_line(*self._input, self.size.width, self._glyphs)])
