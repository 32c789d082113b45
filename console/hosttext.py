"""What the screens and the commands say about hosts and shards: pure functions to lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sidestep.console.fandraw import Fan
from sidestep.console.text import (
    Glyphs,
    Line,
    Span,
    StyleName,
    chance,
    clock,
    condition_style,
    fit,
    percent,
    size,
    span,
    thin,
    trend,
    until,
)
from sidestep.console.trusttext import Mark, marks, sign
from sidestep.console.view import MEDIAN, FleetView
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED, show_seconds

TREND: Final = 12
#: how the daemon begins what it says of an oracle that serves another model
FALLBACK: Final = "fallback: "
#: a host's clock that is off by more is told (s)
SKEWED: Final = 2.0
#: what of samples is counted, as it is said
_COUNTED: Final = {
    "gaps": "{:.0f} lost",
    "restarts": "{:.0f} sampler restarts",
    "resets": "{:.0f} counter resets",
}
#: columns after the name: title, width, from which width of the table on it is shown
_COLUMNS: Final = (
    ("STATE", 11, 0),
    ("RISK", 6, 0),
    ("HOT IN", 9, 0),
    ("CPU→PEAK", 10, 0),
    ("MEM", 6, 50),
    ("CPU TREND", TREND + 2, 66),
    ("SHARDS", 7, 74),
)
#: the same for the cells of a row, in which the sign after the risk is one of its own
_LEAST: Final = tuple(least for title, _, least in _COLUMNS for _ in range(2 if title == "RISK" else 1))


def _name_width(width: int) -> int:
    return max(6, min(28, width - 3 - sum(size for _, size, least in _COLUMNS if width >= least)))


def host_heading(width: int, glyphs: Glyphs) -> Line:
    """The heading of the host table."""
    right = {"CPU→PEAK", "MEM", "SHARDS"}
    titles = [
        fit(title.replace("→", glyphs.arrow), columns - 1, glyphs, right=title in right) + " "
        for title, columns, least in _COLUMNS
        if width >= least
    ]
    return (Span("   " + fit("HOST", _name_width(width), glyphs) + "".join(titles), "muted"),)


def host_line(view: FleetView, host: int, width: int, glyphs: Glyphs) -> Line:
    """One host's row: glyph, word and colour for its condition, then what is predicted."""
    condition = view.condition(host)
    style = condition_style(condition)
    now, peak = view.load(host, CPU), view.peak(host, CPU)
    steep: StyleName = "error" if peak > view.threshold(CPU) and not view.learning else "text"
    loads = percent(now) if math.isnan(peak) else f"{percent(now).rstrip('%')}{glyphs.arrow}{percent(peak)}"
    full: StyleName = "error" if view.load(host, MEMORY) > view.threshold(MEMORY) else "text"
    cells = (
        Span(fit(view.word(host), 10, glyphs) + " ", style),
        Span(fit(chance(view.chance(host), glyphs), 4, glyphs, right=True), style),
        _doubt(view, host, glyphs),
        Span(fit(hot_when(view, host, glyphs), 8, glyphs) + " ", style),
        Span(fit(loads, 9, glyphs, right=True) + " ", steep),
        Span(fit(percent(view.load(host, MEMORY), glyphs), 5, glyphs, right=True) + " ", full),
        Span(trend(thin(view.history(host, CPU), TREND), TREND, glyphs) + "  ", "muted"),
        Span(fit(str(len(view.shards_by_host.get(host, ()))), 6, glyphs, right=True) + " ", "muted"),
    )
    shown = [cell for cell, least in zip(cells, _LEAST, strict=True) if width >= least]
    name = fit(span(view.hosts[host].name).text, _name_width(width), glyphs)
    return (Span(f" {glyphs.conditions[condition]} ", style), Span(name), *shown)


def trust_marks(view: FleetView, host: int, dimension: int) -> tuple[Mark, ...]:
    """What there is to know before acting on the forecast of one host and dimension."""
    if not view.frame.future_steps:
        return ()
    fallback = view.frame.oracle if view.frame.oracle.startswith(FALLBACK) else ""
    known = not math.isnan(view.chance(host, dimension))
    return marks(
        confidence=view.frame.confidence,
        model=view.frame.model,
        fallback=fallback.removeprefix(FALLBACK).removeprefix(f"{view.frame.model}: "),
        reactive=view.reactive(host, dimension),
        proven=view.proven(host, dimension) or not known or not view.trust,
    )


def _doubt(view: FleetView, host: int, glyphs: Glyphs) -> Span:
    """One sign after the risk: why not to rely on the chance that is shown; a blank if there is nothing."""
    chances = [(view.chance(host, d), d) for d in range(PLANNED) if not math.isnan(view.chance(host, d))]
    found = trust_marks(view, host, max(chances)[1]) if chances else ()
    mark = next((mark for mark in found if mark.word in {"reactive", "unproven"}), None)
    return Span(f"{sign(mark, glyphs)} ", mark.style) if mark else Span("  ")


def hot_when(view: FleetView, host: int, glyphs: Glyphs) -> str:
    """How soon contention starts: ``31s``, ``now``, ``learning`` before anything can be said, or the none sign."""
    contention = view.contentions.get(view.hosts[host].name)
    if contention is None:
        condition = view.condition(host)
        return "now" if condition == "hot" else "learning" if view.learning and condition == "ok" else glyphs.none
    ahead = contention.starts_at - view.time
    return show_seconds(ahead) if ahead > 0 else "now"


def forecast_sentence(view: FleetView, host: int, dimension: int) -> Line:
    """The chart in words, for narrow screens and for eyes that do not see its colours."""
    words, state, reason = view.hosts[host], view.host_states[host], view.reason(host)
    if state is not HostState.READY:
        return (span(f"{words.name} is {state}", "warn"), span(f": {reason}" if reason else ""))
    if view.learning:
        return (Span("learning", "warn"), Span(": too few samples yet to say how likely contention is"))
    if not view.frame.future_steps or math.isnan(view.chance(host, dimension)):
        return (Span("no forecast yet", "muted"), span(f" ({view.frame.confidence})" if view.frame.confidence else ""))
    risk, limit = view.chance(host, dimension), f"{view.threshold(dimension) * 100:.0f} %"
    head = Span(f"P({DIMENSIONS[dimension]} > {limit}) = {risk:.2f}", "error" if risk >= 0.5 else "strong")
    contention = next(
        (c for c in view.frame.contention if c.host == words.name and c.dimension == DIMENSIONS[dimension]), None
    )
    if contention is not None:
        ahead = contention.starts_at - view.time
        return (head, Span(f", from {clock(contention.starts_at)} ({until(ahead)})"))
    reach = show_seconds(view.frame.future_steps * view.frame.future_step)
    return (head, Span(f" within {reach}, peak {percent(view.peak(host, dimension))}"))


def account_sentence(view: FleetView) -> Line:
    """How good the served model was so far: the trust meter."""
    served = next((a for a in view.frame.accounts if a.model == view.frame.model), None)
    if served is None or not served.scored:
        return (span(f"model {view.frame.model}: nothing scored yet", "muted"),)
    return (
        span(
            f"{served.model}: skill {served.skill:+.2f}, "
            f"80 % band held {percent(served.coverage)} of {served.scored:,}",
            "muted",
        ),
    )


def samples_sentence(view: FleetView, host: int) -> Line:
    """What is wrong with a host's samples since the daemon began; empty when nothing is."""
    seen = view.quality(host)
    said = [text.format(seen[name]) for name, text in _COUNTED.items() if seen[name] > 0]
    skew = seen["skew"]
    if abs(skew) > SKEWED:
        said.append(f"its clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours")
    return (Span("samples: ", "warn"), span(", ".join(said))) if said else ()


def fan_of(view: FleetView, host: int, dimension: int) -> Fan:
    """The chart of one host and dimension: three nested bands from the five levels.

    The innermost is halfway between median and the 0.2 and 0.8 levels.
    """
    low, mild, median, steep, high = (view.quantile(host, dimension, level) for level in range(5))
    inner = (_halfway(mild, median), _halfway(steep, median))
    return Fan(
        history=view.history(host, dimension),
        median=view.quantile(host, dimension, MEDIAN),
        bands=((low, high), (mild, steep), inner) if len(median) else (),
        threshold=view.threshold(dimension),
        past_step=view.frame.past_step,
        future_step=view.frame.future_step,
    )


def _halfway(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def shard_heading(width: int, glyphs: Glyphs) -> Line:
    """The heading of the table of shards."""
    name = max(8, min(24, width - 47))
    title = f"   {fit('SHARD', name, glyphs)} {fit('APP', 10, glyphs)} {fit('STATE', 10, glyphs)}"
    return (Span(f"{title} {'CORES':>6} {'MEM':>6} {'MOVES':>6}", "muted"),)


def shard_line(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Line:
    """One shard's row; ``MOVES`` is the state that a move would carry."""
    words, state = view.shards[shard], view.shard_states[shard]
    name = max(8, min(24, width - 47))
    at = shard * PLANNED
    style: StyleName = "ok" if state is ShardState.RUNNING else "warn"
    cores, memory = view.shard_use[at + CPU], view.shard_use[at + MEMORY]
    shown = glyphs.none if math.isnan(cores) else f"{cores:.2f}"
    return (
        Span(f"   {fit(span(words.name).text, name, glyphs)} {fit(span(words.app).text, 10, glyphs)} "),
        Span(fit(state.lower(), 10, glyphs), style),
        Span(f" {shown:>6} {size(memory, glyphs):>6} {size(view.shard_bytes[shard], glyphs):>6}"),
    )
