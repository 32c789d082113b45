"""The placement map: a line for each host, a cell for each shard on it, by predicted use. Pure.

A cell's figure is the shard's share of its host's capacity in steps of five percent, and so is
its colour; what a plan would bring has a sign behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sidestep.console.text import HEAT, Glyphs, Line, Span, StyleName, condition_style, fit, percent, span
from sidestep.console.view import FleetView
from sidestep.fleet.resources import CPU, DIMENSIONS

#: the share of a host that one step of the ramp is
STEP: Final = 0.05
_HEAD: Final = 24
CELL: Final = 2


def level(share: float) -> int:
    """The step of a share; the highest for everything above."""
    return 0 if math.isnan(share) else max(0, min(len(HEAT) - 1, int(share / STEP)))


def room(width: int) -> int:
    """Cells that a line has room for."""
    return max(1, (width - _HEAD - 5) // CELL)


def map_heading(width: int, glyphs: Glyphs, dimension: int = CPU) -> Line:
    """What the columns are."""
    title = fit(f"   {'HOST':<12} {DIMENSIONS[dimension].upper():>6}", _HEAD, glyphs)
    text = f"a cell is a shard: 0 to {len(HEAT) - 1}, its share of the host in steps of {percent(STEP)}"
    return (Span(title, "muted"), Span(fit(text, width - _HEAD, glyphs), "muted"))


def map_line(
    view: FleetView,
    host: int,
    width: int,
    glyphs: Glyphs,
    *,
    chosen: int = -1,
    comes: frozenset[int] = frozenset(),
    shown: frozenset[int] | None = None,
    dimension: int = CPU,
) -> Line:
    """One host: its condition and load, then its shards; ``shown`` are those that a filter lets through."""
    condition, load = view.condition(host), view.load(host, dimension)
    style = condition_style(condition)
    full: StyleName = style if load > view.threshold(dimension) else "text"
    parts = [
        Span(f" {glyphs.conditions[condition]} ", style),
        Span(fit(span(view.hosts[host].name).text, 12, glyphs) + " "),
        Span(fit(percent(load, glyphs), 5, glyphs, right=True) + "  ", full),
        Span(" "),
    ]  # fmt: skip
    shards, most = view.figures.shards_of(host), room(width)
    parts += _cells(view, shards[:most], dimension, glyphs, chosen, comes, shown)
    if len(shards) > most:
        parts.append(Span(f"+{len(shards) - most}", "muted"))
    return tuple(parts)


def _cells(
    view: FleetView,
    shards: Sequence[int],
    dimension: int,
    glyphs: Glyphs,
    chosen: int,
    comes: frozenset[int],
    shown: frozenset[int] | None,
) -> list[Span]:
    parts: list[Span] = []
    shares = view.figures.shard_share
    for shard in shards:
        step = level(float(shares[shard, dimension]))
        sign = str(step) if shown is None or shard in shown else glyphs.pending
        behind = glyphs.into if shard in comes else " "
        if shard == chosen:
            parts.append(Span(f"{sign}{behind}", "alert"))
        elif shown is not None and shard not in shown:
            parts.append(Span(f"{sign}{behind}", "muted"))
        else:
            parts += [Span(sign, HEAT[step]), Span(behind, "accent" if shard in comes else "text")]
    return parts


def shard_words(view: FleetView, shard: int, comes: frozenset[int], glyphs: Glyphs) -> Line:
    """The shard under the cursor in words."""
    words, at = view.shards[shard], view.shard_host[shard]
    host = view.hosts[at].name if 0 <= at < len(view.hosts) else "no host"
    share = float(view.figures.shard_share[shard, CPU])
    cores = view.figures.shard_use[shard, CPU]
    said = f" {words.name} of {words.app} on {host}: {cores:.2f} cores, {percent(share)} of it"
    more = "; the plan brings it here" if shard in comes else ""
    guess = "; predicted in proportion to its host" if view.ahead else ""
    return (span(said), Span(more, "accent"), Span(guess, "muted"))
