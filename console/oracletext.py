"""What screens say of the oracle: which model serves, how right it was, and what is to come. Pure."""

from __future__ import annotations

import math
import struct

from sidestep.autopilot.protocol_oracle import ForecastView, OccasionList, OracleView, ScoreList
from sidestep.console.fandraw import Fan
from sidestep.console.text import Glyphs, Line, Span, clock, fit, percent, span, until
from sidestep.fleet.resources import show_seconds


def oracle_lines(view: OracleView, glyphs: Glyphs, width: int) -> list[Line]:
    """The models, how many hosts they are good for, and what the trainer does."""
    lines: list[Line] = [
        (Span("model ", "muted"), span(view.model, "strong"), span(f"  configured {view.configured}", "muted")),
        (
            Span(f"{glyphs.done} {view.proven} proven", "ok"),
            Span(f"  {glyphs.trust['reactive']} {view.reactive} reactive", "accent"),
            Span(f"  of {view.hosts} hosts", "muted"),
        ),
    ]
    if view.fallback:
        lines.append((Span(f"{glyphs.trust['fallback']} fallback ", "warn"), span(view.fallback)))
    if view.drifted:
        lines.append((Span(f"{glyphs.failed} drifted", "warn"), Span(": what is served has lost touch with the fleet")))
    if view.trainer:
        lines.append((span(fit(span(f"trainer: {view.trainer}").text, width, glyphs).rstrip(), "muted"),))
    for moment, text in view.changes[:3]:
        lines.append((Span(f"{clock(moment)} ", "muted"), span(text)))
    for work in view.coming[:4]:
        said = f"{glyphs.waiting} {work.name} may begin {clock(work.begins)}, chance {percent(work.chance)}"
        lines.append((span(said, "muted"),))
    return lines


def score_lines(scores: ScoreList, glyphs: Glyphs) -> list[Line]:
    """The board of accuracy, the worst first."""
    if not scores.rows:
        return [(Span("nothing was scored yet", "muted"),)]
    heading = f"{fit('WORST FIRST', 16, glyphs)} {'':8}{'AHEAD':>6}{'SKILL':>7}{'80 % BAND':>10}{'N':>7}"
    lines: list[Line] = [(Span(heading, "muted"),)]
    for row in scores.rows:
        skill = math.nan if row.skill is None else row.skill
        band = math.nan if row.coverage80 is None else row.coverage80
        word = f"  {glyphs.trust['reactive']} reactive" if row.reactive else ""
        lines.append(
            (
                Span(f"{fit(span(row.name).text, 16, glyphs)} {fit(span(row.metric).text, 8, glyphs)}"),
                Span(f"{show_seconds(row.horizon):>6}", "muted"),
                Span(f"{glyphs.none if math.isnan(skill) else f'{skill:+.2f}':>7}", "error" if skill < 0 else "ok"),
                Span(f"{percent(band, glyphs):>10}{row.n:>7,.0f}"),
                Span(word, "accent"),
            )
        )
    if scores.more:
        lines.append((Span(f"and {scores.more:,} more", "muted"),))
    return lines


def coming_lines(coming: OccasionList, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """Events that were announced and timers that were found, soonest first."""
    if not coming.occasions:
        return [(Span("no event is announced and no timer was found", "muted"),)]
    lines: list[Line] = [(Span("what is to come", "strong"),)]
    for row in coming.occasions[:8]:
        item = row.occasion
        effect = f" x{item.effect:g}" if item.effect is not None else ""
        said = f"{item.kind} {item.name}{effect} {until(item.begins - now)}, {clock(item.begins)}"
        lines.append((span(fit(span(said).text, width, glyphs).rstrip()),))
    return lines


def fan_of_series(view: ForecastView) -> Fan | None:
    """The chart of a forecast that was asked for; fractions of capacity, or of its own highest value."""
    count, wide = len(view.ahead) // 4, len(view.levels)
    if count < 2 or len(view.values) != count * wide * 4:
        return None
    ahead = struct.unpack(f"<{count}f", view.ahead)
    values = struct.unpack(f"<{count * wide}f", view.values)
    known = [v for v in values if not math.isnan(v)]
    limit = not math.isnan(view.allocatable) and view.allocatable > 0
    top = view.allocatable if limit else max([*known, view.now, 1e-9]) * 1.1

    def level(wanted: float) -> list[float]:
        at = min(range(wide), key=lambda k: abs(view.levels[k] - wanted))
        return [v / top for v in values[at::wide]]

    bands = tuple((level(low), level(1 - low)) for low in (0.05, 0.2, 0.3))
    step = (ahead[-1] - ahead[0]) / (count - 1)
    threshold = view.threshold if not math.isnan(view.threshold) else 9.0
    history = (view.now / top,) if not math.isnan(view.now) else (level(0.5)[0],)
    return Fan(history=history, median=level(0.5), bands=bands, threshold=threshold, future_step=step)
