"""The columns of the table of what is predicted of hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidestep.console.hostcolumns import HOSTS
from sidestep.console.hosttext import trust_marks
from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Span, StyleName, chance, fit, percent
from sidestep.console.trusttext import sign
from sidestep.console.view import FleetView
from sidestep.fleet.resources import CPU, MEMORY

Cells = tuple[Span, ...]


def _chance(dimension: int) -> Callable[[FleetView, int, int, Glyphs], Cells]:
    def cells(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
        value = view.chance(host, dimension)
        style: StyleName = "error" if value >= 0.5 else "warn" if value >= view.WARMING else "text"
        return (Span(fit(chance(value, glyphs), width - 1, glyphs, right=True) + " ", style),)

    return cells


def _peak(dimension: int) -> Callable[[FleetView, int, int, Glyphs], Cells]:
    def cells(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
        peak = float(view.figures.peak[host, dimension])
        style: StyleName = "error" if peak > view.threshold(dimension) else "text"
        return (Span(fit(percent(peak, glyphs), width - 1, glyphs, right=True) + " ", style),)

    return cells


def _trust(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Cells:
    found = trust_marks(view, host, CPU) or trust_marks(view, host, MEMORY)
    if not found:
        known = view.frame.future_steps > 0
        return (Span(fit(f"{glyphs.done} proven" if known else "", width, glyphs), "ok"),)
    return (Span(fit(f"{sign(found[0], glyphs)} {found[0].word}", width, glyphs), found[0].style),)


def _words(view: FleetView) -> Words:
    import numpy as np  # noqa: PLC0415 - not before the first paint

    if not view.trust:
        return Words(("unknown",), np.zeros(len(view.hosts), dtype=int))
    marks = np.frombuffer(view.trust, dtype=np.uint8).reshape(len(view.hosts), -1)[:, CPU]
    return Words(("unproven", "proven", "reactive", "reactive"), marks & 3)


def _column(name: str, dimension: int) -> Callable[[FleetView], Any]:
    return lambda view: getattr(view.figures, name)[:, dimension].round(2)


FORECASTS: Sheet[FleetView] = Sheet(
    columns=(
        HOSTS.columns[0],
        HOSTS.column("hot"),
        Column(id="cpu", title="P(CPU)", width=7, cells=_chance(CPU), key=_column("risk", CPU), right=True),
        Column(id="mem", title="P(MEM)", width=7, cells=_chance(MEMORY), key=_column("risk", MEMORY), right=True),
        Column(id="peak", title="PEAK", width=6, cells=_peak(CPU), key=_column("peak", CPU), right=True),
        Column(id="full", title="MEM", width=6, cells=_peak(MEMORY), key=_column("peak", MEMORY), right=True, least=52),
        Column(id="trust", title="TRUST", width=15, cells=_trust, key=_words, high=False, least=48),
    ),
    names=lambda view: view.host_names,
    widest=20,
    first="hot",
    more={"state": lambda view: view.figures.host_states},
)
