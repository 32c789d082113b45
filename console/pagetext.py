"""What the pages of hosts, shards and apps and the trust account say: pure functions to lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sidestep.autopilot.protocol_levels import AutopilotView, ShadowRow
from sidestep.console.context import Picture
from sidestep.console.plantext import plan_when
from sidestep.console.text import Glyphs, Line, Span, clock, gauge, percent, plan_glyph, size, span, wrap
from sidestep.console.view import FleetView
from sidestep.fleet.machines import ShardState
from sidestep.fleet.resources import CPU, MEMORY, PLANNED, show_seconds


def plans_about(picture: Picture, name: str, glyphs: Glyphs) -> list[Line]:
    """The plans in which a host or a shard has a part, newest first, with what they do to it."""
    lines: list[Line] = []
    for item in picture.plans:
        for action in item.plan.actions:
            if name not in {action.shard, action.source, action.destination}:
                continue
            mark = plan_glyph(item.status.state, glyphs)
            head = f" {mark.text} #{item.plan.number} {item.status.state.lower()}"
            course = f"{action.source} {glyphs.arrow} {action.destination}"
            what = f"  {action.kind} {action.shard}  {action.course if action.applied is not None else course}"
            when = Span(f"  {plan_when(item, picture.now)}", "muted")
            lines.append((Span(head, mark.style), span(what), when))
    return lines or [(Span(" no plan has a part in it", "muted"),)]


def shard_lines(view: FleetView, row: int, glyphs: Glyphs) -> list[Line]:
    """State, place, demand and size of one shard."""
    words, state, at = view.shards[row], view.shard_states[row], view.shard_host[row]
    host = view.hosts[at].name if 0 <= at < len(view.hosts) else glyphs.none
    good = state is ShardState.RUNNING
    share = view.figures.shard_share[row]
    guess = Span("  predicted in proportion to its host", "muted") if view.ahead else Span("")
    return [
        (
            Span(f" {glyphs.running if good else glyphs.failed} {state.lower()}", "ok" if good else "warn"),
            span(f"  app {words.app}  on {host}"),
            Span(f"  priority {view.shard_priority[row]}", "muted"),
        ),
        (
            Span(" needs ", "muted"),
            Span(f"{view.shard_use[row * PLANNED + CPU]:.2f} cores, "),
            Span(size(view.shard_use[row * PLANNED + MEMORY], glyphs)),
            Span(f"  {percent(float(share[CPU]), glyphs)} and {percent(float(share[MEMORY]), glyphs)} of its host"),
            Span(f"  a move carries {size(view.shard_bytes[row], glyphs)}", "muted"),
            guess,
        ),
    ]  # fmt: skip


def app_lines(view: FleetView, name: str, rows: Sequence[int], glyphs: Glyphs) -> list[Line]:
    """An app as one thing: states, totals and where it is."""
    import numpy as np  # noqa: PLC0415 - not before the first paint

    use = view.figures.shard_use[np.asarray(rows)]
    states = Counter(view.shard_states[row] for row in rows)
    places = Counter(view.shard_host[row] for row in rows)
    counted: list[Span] = []
    for state, count in sorted(states.items()):
        good = state is ShardState.RUNNING
        sign = glyphs.running if good else glyphs.failed
        counted += [Span(f" {sign} {count} {state.lower()}", "ok" if good else "warn"), Span(" ")]
    most = ", ".join(
        f"{view.hosts[host].name} {count}" for host, count in places.most_common(6) if 0 <= host < len(view.hosts)
    )
    total, memory = float(np.nansum(use[:, CPU])), float(np.nansum(use[:, MEMORY]))
    return [
        (*counted, Span(f" {len(rows)} shards on {len(places)} hosts", "muted")),
        (Span(" needs ", "muted"), Span(f"{total:.2f} cores, {size(memory, glyphs)}"), span(f"  on {most}", "muted")),
    ]


def trust_lines(view: AutopilotView, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """The trust account: what holds and why, what trust rests on, what was set, and what shadow would have done."""
    lower = view.effective != view.level
    sign = glyphs.failed if lower else glyphs.done
    lines: list[Line] = [
        (
            Span(f" {sign} {view.effective.upper()} holds", "warn" if lower else "ok"),
            span(f"  set to {view.level}, trust allows {view.allowed}"),
            Span(f"  since {show_seconds(max(0.0, now - view.judged))}" if view.judged else "", "muted"),
        )
    ]
    for reason in view.reasons:
        first, *rest = wrap(span(f"{reason.code}: {reason.text}").text, width - 4)
        lines += [(Span(f"   {first}", "warn"),), *((Span(f"     {text}"),) for text in rest)]
    room = max(8, min(24, width - 60))
    steady = view.steady / view.steady_needed if view.steady_needed else 1.0
    lines += [(), (Span(" what trust rests on", "strong"),)]
    if view.offer:
        way = f"; allow it with: sidestep autopilot promote {view.offer} --reason TEXT"
        lines.append((span(f"   {glyphs.waiting} offered: {view.offer}", "accent"), span(way, "muted")))
    lines.append(
        (
            Span(f"   {gauge(steady, room, glyphs)} ", "accent"),
            Span(f"{view.steady} of {view.steady_needed} good judgements"),
        )
    )  # fmt: skip
    found = view.evidence
    skill = "not known" if found.skill is None else f"{found.skill:+.2f}"
    band = "not known" if found.coverage80 is None else percent(found.coverage80)
    lines += [
        (
            Span("   forecasts  ", "muted"),
            Span(f"{found.forecasts:,.0f} scored, skill {skill}, in the 80 % band {band}"),
        ),
        (
            Span("   plans      ", "muted"),
            Span(f"{found.succeeded} of the last {found.plans} succeeded"),
        ),
        (
            Span("   outcomes   ", "muted"),
            Span(_ratios(found.peak_over, found.freeze_ratio, found.bytes_ratio)),
        ),
        (),
        (Span(" levels", "strong"), Span("  the most cautious of all that concern an action holds", "muted")),
    ]
    for row in view.levels:
        whose = "fleet" if row.scope == "fleet" else f"{row.scope} {row.name}"
        who = f"set by {row.actor}" if row.actor else "as the fleet file says"
        lines.append(
            (span(f"   {whose:<20} {row.level:<8}"), span(f" {who}{f': {row.reason}' if row.reason else ''}", "muted"))
        )
    lines += [(), (Span(" what it would have done", "strong"), Span("  level shadow", "muted"))]
    lines += [_shade(row, glyphs) for row in view.shadow[:40]] or [(Span("   it has looked at no plan", "muted"),)]
    return lines


def _ratios(peak: float | None, freeze: float | None, carried: float | None) -> str:
    said = [f"peaks {peak:+.0%}"] if peak is not None else []
    said += [f"freezes {freeze:.2f} times"] if freeze is not None else []
    said += [f"bytes {carried:.2f} times"] if carried is not None else []
    return f"{', '.join(said)} what was said" if said else "nothing measured yet"


def _shade(row: ShadowRow, glyphs: Glyphs) -> Line:
    would = f"would have waited: {row.against}" if row.against else "would have been approved"
    ends = {"": "still watched", "acted": "people approved it", "lost": "the daemon ended first"}
    end = ends.get(row.end) or ("its contention came" if row.came else "its contention did not come")
    good = bool(row.came) == (not row.against)
    sign = glyphs.pending if row.end in ends else glyphs.done if good else glyphs.failed
    return (
        Span(f"   {sign} ", "muted" if row.end in ends else "ok" if good else "warn"),
        Span(f"{clock(row.at)} plan #{row.plan} "),
        span(would),
        span(f"; {end}", "muted"),
    )
