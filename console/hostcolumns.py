"""The columns of tables of hosts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from sidestep.console.hosttext import TREND, doubt, hot_when
from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import UNKNOWN, Glyphs, Line, Span, condition_style, fit, span, sparks, whole
from sidestep.console.view import Condition, FleetView
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import CPU, MEMORY

Cells = tuple[Span, ...]


#: cells that are kept: what rows of a few windows say
_KEPT: Final = 4096


def _name(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    return _named(view.hosts[host].name, view.figures.row(host).condition, width, glyphs)


def _state(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    return _worded(view.word(host), view.figures.row(host).condition, width, glyphs)


def _risk(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    row = view.figures.row(host)
    return (_likely(row.percents[0], row.condition, width, glyphs), doubt(view, host, glyphs))


def _when(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    return _worded(hot_when(view, host, glyphs), view.figures.row(host).condition, width, glyphs)


def _cpu(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    row = view.figures.row(host)
    _, now, _, peak = row.percents
    if view.host_states[host] is HostState.DEAD:
        return _loads(now, UNKNOWN, False, width, glyphs)
    return _loads(now, peak, row.peak > view.threshold(CPU) and not view.learning, width, glyphs)


def _memory(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    row = view.figures.row(host)
    return _filled(row.percents[2], row.memory > view.threshold(MEMORY), width, glyphs)


def _trend(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    return _lately(view.figures.row(host).trend, glyphs)


def _shards(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    return _counted(view.figures.row(host).shards, width, glyphs)


# What the cells say, by what it depends on: from one picture to the next most of it is the same.


@lru_cache(_KEPT)
def _named(name: str, condition: Condition, width: int, glyphs: Glyphs) -> Cells:
    shown = fit(span(name).text, width, glyphs)
    return (Span(f" {glyphs.conditions[condition]} ", condition_style(condition)), Span(shown))


@lru_cache(_KEPT)
def _worded(word: str, condition: Condition, width: int, glyphs: Glyphs) -> Cells:
    return (Span(fit(word, width - 1, glyphs) + " ", condition_style(condition)),)


@lru_cache(_KEPT)
def _likely(chance: int, condition: Condition, width: int, glyphs: Glyphs) -> Span:
    known = "?" if chance == UNKNOWN else whole(chance, glyphs)
    return Span(fit(known, width - 2, glyphs, right=True), condition_style(condition))


@lru_cache(_KEPT)
def _loads(now: int, peak: int, steep: bool, width: int, glyphs: Glyphs) -> Cells:
    text = whole(now, glyphs)
    if peak != UNKNOWN:
        text = f"{text.rstrip('%')}{glyphs.arrow}{whole(peak, glyphs)}"
    return (Span(fit(text, width - 1, glyphs, right=True) + " ", "error" if steep else "text"),)


@lru_cache(_KEPT)
def _filled(used: int, full: bool, width: int, glyphs: Glyphs) -> Cells:
    return (Span(fit(whole(used, glyphs), width - 1, glyphs, right=True) + " ", "error" if full else "text"),)


@lru_cache(_KEPT)
def _lately(trend: bytes, glyphs: Glyphs) -> Cells:
    return (Span(sparks(trend, TREND, glyphs) + "  ", "muted"),)


@lru_cache(_KEPT)
def _counted(shards: int, width: int, glyphs: Glyphs) -> Cells:
    return (Span(fit(str(shards), width - 1, glyphs, right=True) + " ", "muted"),)


def _figure(name: str, column: int | None = None) -> Callable[[FleetView], Any]:
    def read(view: FleetView) -> Any:
        found = getattr(view.figures, name)
        return found if column is None else found[:, column]

    return read


def _zones(view: FleetView) -> Words:
    return Words(tuple(host.zone for host in view.hosts))


def _seconds_to(view: FleetView) -> Any:
    return view.figures.starts - view.time


def _rounded(name: str, column: int | None, digits: int) -> Callable[[FleetView], Any]:
    read = _figure(name, column)
    return lambda view: read(view).round(digits)


HOSTS: Sheet[FleetView] = Sheet(
    columns=(
        Column(id="host", title="HOST", width=0, cells=_name, key=lambda v: Words(v.host_names), high=False),
        Column(id="state", title="STATE", width=12, cells=_state, key=_figure("host_states"), high=False),
        Column(id="risk", title="RISK", width=6, cells=_risk, key=_rounded("chance", None, 2)),
        Column(id="hot", title="HOT IN", width=9, cells=_when, key=_figure("urgency"), high=False),
        Column(id="cpu", title="CPU→PEAK", width=10, cells=_cpu, key=_rounded("load", CPU, 2), right=True),
        Column(id="mem", title="MEM", width=6, cells=_memory, key=_rounded("load", MEMORY, 2), right=True, least=50),
        Column(id="trend", title="CPU TREND", width=TREND + 2, cells=_trend, key=_rounded("peak", CPU, 2), least=66),
        Column(id="shards", title="SHARDS", width=7, cells=_shards, key=_figure("shard_count"), right=True, least=74),
    ),
    names=lambda view: view.host_names,
    first="hot",
    ready=lambda view, rows: view.figures.ready(rows),
    more={"zone": _zones, "peak": _rounded("peak", CPU, 3), "lead": _seconds_to},
)


def host_line(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Line:
    """One host's row: glyph, word and colour for its condition, then what is predicted."""
    return HOSTS.line(view, host, width, glyphs)


def host_heading(width: int, glyphs: Glyphs) -> Line:
    """The heading of the host table."""
    return HOSTS.heading(width, glyphs)
