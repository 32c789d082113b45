"""What if: the changes that are asked about, and what the planner's answer says of every host. Pure.

The texts are those of ``--what-if`` (planning.md); the daemon reads them and says what is wrong with one.
Nothing of it is ever proposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from sidestep.console.planningtext import advice_lines, contention_lines
from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Line, Span, StyleName, chance, fit, percent, span, wrap
from sidestep.console.view import FleetView
from sidestep.fleet.labels import Label
from sidestep.fleet.questions import HostOutlook, PlanAnswer
from sidestep.fleet.resources import DIMENSIONS, show_seconds, show_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: how a host fares, the worst first
FARES: Final = ("hot", "lost", "draining", "eased", "new", "ok")
#: more growth than this of one question is not asked by keys
MORE: Final = 30
Fare = Literal["hot", "lost", "draining", "eased", "new", "ok"]
_STYLES: Final[dict[str, StyleName]] = {
    "hot": "error", "lost": "error", "draining": "muted", "eased": "ok", "new": "accent", "ok": "text",
}  # fmt: skip
_SIGNS: Final = {"hot": "hot", "lost": "down", "draining": "held", "ok": "ok"}
Cells = tuple[Span, ...]


def grown(changes: Sequence[str]) -> tuple[str, ...]:
    """The changes with thirty percent more load: another time is another thirty percent of what is forecast."""
    old = next(
        (each for each in changes if each.startswith("load=+") and each.removeprefix("load=+")[:-1].isdigit()), ""
    )
    percents = int(old.removeprefix("load=+")[:-1]) if old else 0
    text = f"load=+{percents + MORE}%"
    return tuple(text if each == old else each for each in changes) if old else (*changes, text)


def joined(changes: Sequence[str], verb: str, hosts: Sequence[str]) -> tuple[str, ...]:
    """The changes with these hosts drained or lost; no host is named twice."""
    named = {name for each in changes for name in _named(each, verb)}
    fresh = [host for host in hosts if host not in named]
    return (*changes, f"{verb}={','.join(fresh)}") if fresh else tuple(changes)


def _named(text: str, verb: str) -> tuple[str, ...]:
    head, _, value = text.partition("=")
    return tuple(part.strip() for part in value.split(",")) if head.strip() == verb else ()


def added(changes: Sequence[str], like: str) -> tuple[str, ...]:
    """The changes with one more host like that one."""
    for at, each in enumerate(changes):
        count, _, model = each.removeprefix("add=").partition(":like:")
        if each.startswith("add=") and model == like and count.isdigit():
            return (*changes[:at], f"add={int(count) + 1}:like:{like}", *changes[at + 1 :])
    return (*changes, f"add=1:like:{like}")


class Asked:
    """What was asked and what came of it, for one dimension: the rows of the table."""

    def __init__(self, answer: PlanAnswer, view: FleetView, dimension: int) -> None:
        self.answer, self.dimension, self.limit = answer, DIMENSIONS[dimension], view.threshold(dimension)
        found = tuple(row for row in answer.hosts if row.dimension == self.dimension)
        #: every host, also where nothing can be predicted yet: changes are made by hosts
        self.rows: tuple[HostOutlook, ...] = found or tuple(_unknown(host.name, self.dimension) for host in view.hosts)
        zones = dict(zip(view.host_names, (host.zone for host in view.hosts), strict=True))
        wanted = {verb: [n for text in answer.what_if for n in _named(text, verb)] for verb in ("lose", "drain")}
        self.lost, self.drained = (
            frozenset(row.host for row in self.rows if _meant(row.host, zones.get(row.host, ""), wanted[verb]))
            for verb in ("lose", "drain")
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The hosts by row."""
        return tuple(row.host for row in self.rows)

    def fare(self, row: int) -> Fare:
        """How a host fares in the end."""
        host = self.rows[row]
        if host.host in self.lost:
            return "lost"
        if (host.peak_after or 0.0) > self.limit:
            return "hot"
        if host.host in self.drained:
            return "draining"
        if (host.peak_before or 0.0) > self.limit:
            return "eased"
        return "new" if host.peak_now is None else "ok"

    def column(self, name: str) -> NDArray[np.float64]:
        """One of the outlook's numbers by row; NaN unknown."""
        import numpy as np  # noqa: PLC0415 - not before the first paint

        found = [getattr(row, name) for row in self.rows]
        return np.array([math.nan if value is None else value for value in found], dtype=np.float64)

    @cached_property
    def fares(self) -> Words:
        """How every host fares."""
        import numpy as np  # noqa: PLC0415 - likewise

        return Words(FARES, np.array([FARES.index(self.fare(row)) for row in range(len(self.rows))], dtype=np.intp))

    def over(self, name: str) -> int:
        """How many hosts have that peak above the threshold."""
        return int((self.column(name) > self.limit).sum())


def _unknown(host: Label, dimension: str) -> HostOutlook:
    return HostOutlook(
        host=host, dimension=dimension, peak_now=math.nan, peak_before=None, peak_after=None, chance_now=None,
        chance_before=None, chance_after=None,
    )  # fmt: skip


def _meant(host: str, zone: str, wanted: Sequence[str]) -> bool:
    zones = [each.removeprefix("zone:") for each in wanted if each.startswith("zone:")]
    return any(fnmatchcase(host, each) for each in wanted) or any(fnmatchcase(zone, each) for each in zones)


def _host(asked: Asked, row: int, width: int, glyphs: Glyphs) -> Cells:
    fare = asked.fare(row)
    sign = glyphs.conditions[_SIGNS[fare]] if fare in _SIGNS else glyphs.done if fare == "eased" else glyphs.mark
    return (Span(f" {sign} ", _STYLES[fare]), Span(fit(span(asked.rows[row].host).text, width, glyphs)))


def _fare(asked: Asked, row: int, width: int, glyphs: Glyphs) -> Cells:
    fare = asked.fare(row)
    return (Span(fit(fare, width, glyphs), _STYLES[fare]),)


def _peak(name: str) -> Any:
    def cells(asked: Asked, row: int, width: int, glyphs: Glyphs) -> Cells:
        value = getattr(asked.rows[row], name)
        text = glyphs.none if value is None else percent(value, glyphs)
        hot = value is not None and value > asked.limit
        return (Span(fit(text, width - 1, glyphs, right=True) + " ", "error" if hot else "text"),)

    return cells


def _chance(name: str) -> Any:
    def cells(asked: Asked, row: int, width: int, glyphs: Glyphs) -> Cells:
        value = getattr(asked.rows[row], name)
        text = glyphs.none if value is None else chance(value, glyphs)
        return (Span(fit(text, width - 1, glyphs, right=True) + " ", "muted"),)

    return cells


def _bar(asked: Asked, row: int, width: int, glyphs: Glyphs) -> Cells:
    """Full up to the peak with the plan, half up to the one without it, on a scale to 120 %."""
    host, room = asked.rows[row], width - 1
    ends = [min(1.2, max(0.0, value or 0.0)) / 1.2 for value in (host.peak_after, host.peak_before)]
    after, before = (round(end * room) for end in ends)
    style: StyleName = "error" if (host.peak_after or 0.0) > asked.limit else "accent"
    taken = max(0, before - after)
    more = glyphs.bar[1] if not glyphs.ascii else "="
    return (
        Span(" "), Span(glyphs.bar[0] * after, style), Span(more * taken, "muted"), Span(" " * (room - after - taken)),
    )  # fmt: skip


def _key(name: str) -> Any:
    return lambda asked: asked.column(name).round(3)


OUTLOOK: Sheet[Asked] = Sheet(
    columns=(
        Column(id="host", title="HOST", width=0, cells=_host, key=lambda a: Words(a.names), high=False),
        Column(id="fares", title="FARES", width=9, cells=_fare, key=lambda a: a.fares, high=False),
        Column(id="now", title="NOW", width=6, cells=_peak("peak_now"), key=_key("peak_now"), right=True),
        Column(id="asked", title="IF", width=6, cells=_peak("peak_before"), key=_key("peak_before"), right=True),
        Column(id="plan", title="+PLAN", width=7, cells=_peak("peak_after"), key=_key("peak_after"), right=True),
        Column(
            id="risk", title="RISK", width=6, cells=_chance("chance_before"), key=_key("chance_before"), right=True,
            least=90,
        ),
        Column(
            id="eased", title="+PLAN", width=7, cells=_chance("chance_after"), key=_key("chance_after"), right=True,
            least=90,
        ),
        Column(id="bar", title=" PEAK", width=22, cells=_bar, key=_key("peak_before"), least=62),
    ),
    names=lambda asked: asked.names,
    first="asked",
)  # fmt: skip


def said(asked: Asked, width: int, glyphs: Glyphs) -> list[Line]:
    """The answer in words: contention now, as asked and with the plan; what would move; what stays undone."""
    answer = asked.answer
    lines: list[Line] = list(contention_lines(answer, max(20, width - 2)))
    if answer.plan is not None:
        actions = answer.plan.actions
        total = show_size(sum(action.bytes for action in actions))
        lines += [
            (),
            (Span(f"{len(actions)} action{'s' if len(actions) != 1 else ''}, {total}, would ease it", "strong"),),
        ]
        for action in actions:
            what = span(action.shard or action.destination, "strong")
            where = span(f"  {action.source or glyphs.none} {glyphs.arrow} {action.destination or glyphs.none}")
            lines.append((Span(f"  {action.kind} ", "accent"), what, where))
    elif answer.no_plan is not None:
        lines += [(), (Span("no plan", "strong"),)]
        for reason in answer.no_plan.reasons:
            lines += [(span(f"  {text}"),) for text in wrap(span(f"{reason.code}: {reason.text}").text, width - 2)]
        if answer.no_plan.impossible:
            lines.append((Span("  proven: no plan of moves exists", "warn"),))
    if answer.plan is not None and answer.blocks:
        lines += [(), (Span("stays undone", "strong"),)]
        for reason in answer.blocks:
            lines += [
                (span(f"  {text}", "warn"),) for text in wrap(span(f"{reason.code}: {reason.text}").text, width - 2)
            ]
    lines += advice_lines(answer, width)
    return lines


def summary(asked: Asked, asked_for: float) -> Line:
    """One line: how many hosts are above the threshold now, as asked and with the plan."""
    counts = [asked.over(name) for name in ("peak_now", "peak_before", "peak_after")]
    moves = len(asked.answer.plan.actions) if asked.answer.plan is not None else 0
    return (
        span(f" peaks above {percent(asked.limit)} of {asked.dimension}: ", "muted"),
        Span(f"now {counts[0]}, "),
        Span(f"if {counts[1]}, ", "error" if counts[1] > counts[0] else "text"),
        Span(f"with the plan {counts[2]}", "error" if counts[2] else "ok"),
        Span(f"  {moves} action{'s' if moves != 1 else ''}, planned in {show_seconds(asked.answer.seconds)}", "muted"),
        Span(f", {show_seconds(asked_for)} ago" if asked_for >= 1 else "", "muted"),
    )
