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
    clock,
    percent,
    span,
    until,
)
from sidestep.console.trusttext import Mark, marks
from sidestep.console.view import FleetView
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS, show_seconds

#: values of a host's line of recent use
TREND: Final = 12
#: how the daemon begins what it says of an oracle that serves another model
FALLBACK: Final = "fallback: "
#: a host's clock that is off by more is told (s)
SKEWED: Final = 2.0
_NO_DOUBT: Final = Span("  ")
#: what of samples is counted, as it is said
_COUNTED: Final = {
    "gaps": "{:.0f} lost",
    "restarts": "{:.0f} sampler restarts",
    "resets": "{:.0f} counter resets",
}


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


def doubt(view: FleetView, host: int, glyphs: Glyphs) -> Span:
    """One sign after the risk: why not to rely on the chance that is shown; a blank if there is nothing."""
    likeliest = view.figures.row(host).likeliest
    if likeliest < 0 or not view.frame.future_steps:
        return _NO_DOUBT
    if view.reactive(host, likeliest):
        return Span(f"{glyphs.trust['reactive']} ", "accent")
    unproven = view.trust and not view.proven(host, likeliest)
    return Span(f"{glyphs.trust['unproven']} ", "muted") if unproven else _NO_DOUBT


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


def fan_of(view: FleetView, host: int, dimension: int, cursor: float = 0.0) -> Fan:
    """The chart of one host and dimension: three nested bands from the five levels.

    The innermost is halfway between median and the 0.2 and 0.8 levels. A host that is down has no forecast.
    """
    gone = view.host_states[host] is HostState.DEAD  # what was predicted of it holds no longer
    low, mild, median, steep, high = (() if gone else view.quantile(host, dimension, level) for level in range(5))
    inner = (_halfway(mild, median), _halfway(steep, median))
    return Fan(
        history=view.history(host, dimension),
        median=median,
        bands=((low, high), (mild, steep), inner) if len(median) else (),
        threshold=view.threshold(dimension),
        past_step=view.frame.past_step,
        future_step=view.frame.future_step,
        cursor=cursor,
    )


def _halfway(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]
