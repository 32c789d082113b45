"""What the screens and the commands say about plans: pure functions to lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sidestep.autopilot.executor_graph import too_late
from sidestep.autopilot.protocol import PlanView
from sidestep.console.actiontext import applied_line, command_lines
from sidestep.console.text import (
    Glyphs,
    Line,
    Span,
    action_style,
    clock,
    fit,
    indent,
    percent,
    plan_glyph,
    span,
    step_glyph,
    trend,
    until,
    wrap,
)
from sidestep.fleet.machines import PlanState, StepState
from sidestep.fleet.plans import Action, ActionStatus, Evidence, Limits, NoPlan, Outlook, Plan
from sidestep.fleet.resources import show_seconds, show_size

#: digits of a digest that are shown
PREFIX = 12


def plan_line(item: PlanView, now: float, width: int, glyphs: Glyphs) -> Line:
    """One plan's row."""
    mark = plan_glyph(item.status.state, glyphs)
    head = f"{fit(f'#{item.plan.number}', 6, glyphs)} {fit(item.status.state, 10, glyphs)} "
    when = fit(plan_when(item, now), 14, glyphs)
    rest = max(0, width - 36)
    return (
        Span(f" {mark.text} ", mark.style),
        Span(head, mark.style),
        Span(f"{when} ", "muted"),
        Span(fit(span(item.plan.summary).text, rest, glyphs)),
    )


def plan_when(item: PlanView, now: float) -> str:
    """Until when a proposal holds, or how long ago it was decided."""
    if item.status.state == PlanState.PROPOSED:
        if item.plan.actions and len(late(item.plan, now)) == len(item.plan.actions):
            return "too late"
        left = item.plan.expires - now
        return f"{show_seconds(left)} left" if left > 0 else "expired"
    return until(min(0.0, (item.status.updated or item.plan.created) - now))


def late(plan: Plan, now: float) -> dict[int, str]:
    """The actions that the daemon would not begin any more, and why: approving them runs nothing."""
    return {action.id: why for action in plan.actions if (why := too_late(plan, action, now))}


def short_line(item: PlanView, now: float, glyphs: Glyphs) -> Line:
    """The newest plan on one line, for narrow screens."""
    mark = plan_glyph(item.status.state, glyphs)
    text = f" plan #{item.plan.number} {item.status.state}"
    return (
        Span(f" {mark.text}", mark.style),
        Span(text, mark.style),
        span(f"  {plan_when(item, now)}  {item.plan.summary}"),
    )


def no_plan_lines(answer: NoPlan, width: int) -> list[Line]:
    """ "No plan" with its reasons."""
    lines: list[Line] = [(Span("no plan", "strong"), Span(f"  decided {clock(answer.created)}", "muted"))]
    for reason in answer.reasons:
        lines += _wrapped(f"{reason.code}: {reason.text}", width - 2)
    return lines


def plan_lines(item: PlanView, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """Everything about a plan, ``width`` columns wide."""
    plan, status = item.plan, item.status
    mark = plan_glyph(status.state, glyphs)
    lines: list[Line] = [
        (
            Span(f"{mark.text} plan #{plan.number} {status.state}", mark.style),
            Span(f"  {plan_when(item, now)}", "muted"),
        ),
        (
            Span(f"digest {item.digest[:PREFIX]}", "muted"),
            span(f"  by {plan.author} {clock(plan.created)}  expires {clock(plan.expires)}", "muted"),
        ),
    ]
    lines += [(part,) for text in wrap(plan.summary, width) for part in (span(text, "strong"),)]
    lines += decision_lines(item, width)
    lines += outcome_lines(item, glyphs)
    done = {entry.id: entry for entry in status.actions}
    for action in plan.actions:
        lines += [(), *action_lines(action, done.get(action.id), plan.created, width, glyphs)]
    lines += _outlook(plan.outlook, glyphs)
    if plan.without_forecast:
        lines += [(), (Span("without the forecast", "strong"),), *_wrapped(plan.without_forecast, width - 2)]
    return lines


def decision_lines(item: PlanView, width: int) -> Iterator[Line]:
    """Who decided what about it, and why."""
    status = item.status
    if status.approved_by:
        yield (Span("approved by ", "muted"), span(status.approved_by))
    for name, text in (("reason", status.reason), ("note", status.note)):
        if text:
            yield from _wrapped(f"{name}: {text}", width - 2)


def outcome_lines(item: PlanView, glyphs: Glyphs) -> Iterator[Line]:
    """Predicted against measured, once there is something measured."""
    if not item.status.outcome:
        return
    yield ()
    yield (Span("predicted and measured peaks", "strong"),)
    yield (Span(f"  {fit('HOST', 16, glyphs)} {'':7}{'WITHOUT':>9}{'PREDICTED':>11}{'MEASURED':>10}", "muted"),)
    for row in item.status.outcome:
        hot = row.measured > row.predicted_with + 0.1
        yield (
            Span(f"  {fit(span(row.host).text, 16, glyphs)} {fit(row.dimension, 7, glyphs)}"),
            Span(f"{percent(row.predicted_without):>9}{percent(row.predicted_with):>11}"),
            Span(f"{percent(row.measured):>10}", "warn" if hot else "ok"),
        )


def what_runs(action: Action, glyphs: Glyphs) -> Line:
    """An action as a sentence: what moves from where to where, and what it costs."""
    if action.kind == "resize" and action.limits is not None:
        return (
            Span(f"{action.id}. resize ", "accent"),
            span(action.shard, "strong"),
            span(f"  {action.course}: {new_limits(action.limits, glyphs)}"),
            Span("  in place", "muted"),
        )
    if action.applied is not None:
        return applied_line(action, action.applied)
    return (
        Span(f"{action.id}. {action.kind} ", "accent"),
        span(action.shard, "strong"),
        span(f"  {action.source} {glyphs.arrow} {action.destination}"),
        Span(f"  {show_size(action.bytes)}, freeze ~{action.freeze_ms:.0f} ms", "muted"),
    )


def new_limits(limits: Limits, glyphs: Glyphs) -> str:
    """What a resize changes, before and after."""

    def cores(amount: float) -> str:
        return f"{amount:g} cores" if amount else "no limit"

    def memory(size: int) -> str:
        return show_size(size) if size else "no limit"

    def rate(size: int) -> str:
        return f"{show_size(size)}/s" if size else "no limit"

    parts = []
    if limits.cpu != limits.cpu_before:
        parts.append(f"cpu {cores(limits.cpu_before)} {glyphs.arrow} {cores(limits.cpu)}")
    if limits.memory != limits.memory_before:
        parts.append(f"memory {memory(limits.memory_before)} {glyphs.arrow} {memory(limits.memory)}")
    disk = (("reads", limits.read_before, limits.read), ("writes", limits.write_before, limits.write))
    parts += [f"{what} {rate(old)} {glyphs.arrow} {rate(new)}" for what, old, new in disk if old != new]
    return ", ".join(parts) or "as before"


def action_lines(
    action: Action, status: ActionStatus | None, created: float, width: int, glyphs: Glyphs, running: str = ""
) -> Iterator[Line]:
    """One action: what runs, why, what was looked at instead, and how far it is.

    ``running`` is how long the step that runs does already, and how long it should.
    """
    yield what_runs(action, glyphs)
    wide = width - 4
    yield from indent(_wrapped(f"why: {action.reason.text} [{action.reason.code}]", wide))
    if action.evidence is not None:
        yield from indent(_evidence(action.evidence, wide, glyphs))
    for other in action.alternatives:
        text = f"not {other.destination}: {other.reason.text} [{other.reason.code}], peak {percent(other.peak)}"
        yield from indent(_wrapped(text, wide, "muted"))
    behind = ", which was over when it was planned" if action.latest_start <= created else ""
    late = f"start before {clock(action.latest_start)}{behind}; " if action.latest_start else ""
    yield from indent(
        _wrapped(f"{late}transfer {show_seconds(action.transfer_s)}; undo: {action.undo or 'move it back'}", wide)
    )
    yield from indent(command_lines(action, wide))
    if action.after:
        yield from indent(_wrapped(f"after {', '.join(f'action {n}' for n in action.after)}", wide, "muted"))
    if status is not None:
        yield from indent(step_lines(status, wide, glyphs, running))


def _evidence(evidence: Evidence, width: int, glyphs: Glyphs) -> Iterator[Line]:
    room = max(8, min(30, width - 46))
    before, after = max(evidence.upper, default=0.0), max(evidence.upper_after, default=0.0)
    limit, level = percent(evidence.threshold), f"{evidence.quantile * 100:.0f} %"
    text = f"  {evidence.host} {evidence.dimension}: P(> {limit}) = {evidence.probability:.2f} "
    later = f"{show_seconds(evidence.lead)} after planning" if evidence.lead >= 1 else "when it was planned"
    yield from _wrapped(f"{text.strip()} from {clock(evidence.starts_at)}, {later}", width)
    for word, curve, peak in (("before", evidence.upper, before), ("after", evidence.upper_after, after)):
        hot = peak > evidence.threshold
        yield (
            Span(f"  {word:<7}{level} peak {percent(peak):>4} ", "error" if hot else "ok"),
            Span(trend([v / max(1.0, before, after) for v in _spread(curve, room)], room, glyphs), "muted"),
        )


def _spread(curve: tuple[float, ...], width: int) -> list[float]:
    """The curve in exactly ``width`` values."""
    return [curve[at * len(curve) // width] for at in range(width)] if curve else []


def step_lines(status: ActionStatus, width: int, glyphs: Glyphs, running: str = "") -> Iterator[Line]:
    """How far an action is, step by step with milliseconds."""
    measured = (
        f"  froze {status.freeze_ms:.0f} ms, {show_size(status.bytes)}" if status.freeze_ms or status.bytes else ""
    )
    yield (Span(status.state, action_style(status.state)), Span(measured, "muted"))
    for step in status.steps:
        mark = step_glyph(step.state, glyphs)
        told = step.detail or (running if step.state is StepState.RUNNING else "")
        time = f"{step.ms:7.0f} ms" if step.ms else " " * 10
        yield (
            Span(f"  {mark.text} {step.name:<9}", mark.style),
            Span(time, "text"),
            Span("  " + fit(span(told).text, max(0, width - 26), glyphs).rstrip(), "muted"),
        )
    if status.note:
        yield from _wrapped(status.note, width, "warn")


def _outlook(outlook: tuple[Outlook, ...], glyphs: Glyphs) -> Iterator[Line]:
    if not outlook:
        return
    yield ()
    yield (Span("outlook of the hosts", "strong"), Span("  peak and chance of contention", "muted"))
    for row in outlook:
        worse = row.probability_after >= 0.5
        yield (
            Span(f"  {fit(span(row.host).text, 16, glyphs)} {fit(row.dimension, 7, glyphs)}"),
            Span(f"{percent(row.peak_before):>5} {glyphs.arrow} "),
            Span(f"{percent(row.peak_after):<5}", "error" if worse else "ok"),
            Span(f"  P {row.probability_before:.2f} {glyphs.arrow} {row.probability_after:.2f}", "muted"),
        )


Curves = Mapping[tuple[str, str], tuple[Sequence[float], Sequence[float]]]


def host_lines(item: PlanView, curves: Curves, width: int, glyphs: Glyphs) -> Iterator[Line]:
    """Every host that the plan touches over the horizon: peak and chance, before and after.

    ``curves`` are the forecasts without and with the plan by (host, dimension), where there are any.
    """
    if not item.plan.outlook:
        return
    arrow = len(glyphs.arrow)
    titles = f"{fit('HOST', 14, glyphs)} {'':7}{'PEAK':>{9 + arrow}}{'CHANCE':>{14 + arrow}}"
    room = max(0, min(24, (width - len(titles) - 4) // 2))
    sparks = f"   {fit('WITHOUT', room, glyphs)} {fit('WITH PLAN', room, glyphs)}" if room >= 8 else ""
    yield (Span(f"{titles}{sparks}", "muted"),)
    for row in item.plan.outlook:
        worse = row.probability_after >= 0.5
        parts = [
            Span(f"{fit(span(row.host).text, 14, glyphs)} {fit(row.dimension, 7, glyphs)}"),
            Span(f"{percent(row.peak_before):>5} {glyphs.arrow} "),
            Span(f"{percent(row.peak_after):<5}", "error" if worse else "ok"),
            Span(f" {row.probability_before:.2f} {glyphs.arrow} {row.probability_after:.2f}", "muted"),
        ]
        before, after = curves.get((row.host, row.dimension), ((), ()))
        if room >= 8 and before:
            top = max(1.0, *before, *after)
            shapes = [trend([v / top for v in _spread(tuple(c), room)], room, glyphs) for c in (before, after)]
            parts += [Span(f"   {shapes[0]} ", "muted"), Span(shapes[1], "accent")]
        yield tuple(parts)


def approval_lines(item: PlanView, now: float, width: int, glyphs: Glyphs, skip: tuple[int, ...] = ()) -> list[Line]:
    """Exactly what will run if this plan is approved without the skipped actions."""
    plan = item.plan
    runs = [action for action in plan.actions if action.id not in skip]
    lines: list[Line] = [
        (
            Span(f"plan #{plan.number}", "strong"),
            Span(f"  digest {item.digest[:PREFIX]}", "accent"),
            Span(f"  {plan_when(item, now)}", "muted"),
        ),
        *((span(text),) for text in wrap(plan.summary, width)),
        (),
    ]
    missed = late(plan, now)
    for action in plan.actions:
        if action.id in skip:
            lines.append((Span(f"{action.id}. left out: ", "warn"), span(f"{action.kind} {action.shard}", "muted")))
            continue
        lines.append(what_runs(action, glyphs))
        lines += indent(command_lines(action, width - 4), 3)
        if why := missed.get(action.id):
            lines += indent(_wrapped(f"will not begin, {why}", width - 4, "warn"), 3)
        if action.undo:
            lines += indent(_wrapped(f"undo: {action.undo}", width - 4, "muted"), 3)
    count, total = len(runs), sum(action.bytes for action in runs)
    together = f"{count} action{'s' if count != 1 else ''}, {show_size(total)} in all"
    return [*lines, (), (Span(f"{together}; checked again before it starts", "muted"),)]


def _wrapped(text: str, width: int, style: str = "text") -> list[Line]:
    rows = wrap(span(text).text, max(20, width))
    return [(Span(("  " if at else "") + row, style),) for at, row in enumerate(rows)]  # type: ignore[arg-type]
