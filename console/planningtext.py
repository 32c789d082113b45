"""What the planner's answers look like as text: pure functions to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_plans import Planning
from sidestep.console.plantext import action_lines, no_plan_lines, plan_lines
from sidestep.console.text import Glyphs, Line, Span, StyleName, columns, indent, percent, span, wrap
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import PlanStatus, Reason
from sidestep.fleet.questions import (
    BestHost,
    HostOutlook,
    PlanAnswer,
    PlanDifference,
    PolicyList,
    Preflight,
    RightSizes,
    Why,
    WhyNot,
)
from sidestep.fleet.resources import show_seconds, show_size

#: rows of a table of hosts
_HOSTS: Final = 20
#: cells of the progress bar
_BAR: Final = 24
_SIGNS: Final = {"kept": "=", "changed": "~", "new": "+", "dropped": "-"}


def bar(job: Planning, limit: float) -> str:
    """One line: how far a job is, the best plan so far, the bound, and the gap between them."""
    share = job.done / job.total if job.total else min(1.0, job.elapsed / limit) if limit > 0 else 0.0
    cells = round(min(1.0, share) * _BAR)
    parts = [f"[{'#' * cells}{'.' * (_BAR - cells)}]", f"{job.state} {show_seconds(job.elapsed)}"]
    if job.moves >= 0:
        parts.append(f"best {job.moves} moves")
    if job.bound >= 0:
        parts.append(f"at least {job.bound}")
        if job.moves > 0:
            parts.append(f"gap {max(0, job.moves - job.bound) / job.moves:.0%}")
    return "  ".join(parts)


def answer_lines(answer: PlanAnswer, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """A plan that was asked for, or why there is none, and what it does to every host that matters."""
    lines: list[Line] = []
    if answer.what_if:
        lines += _wrapped(f"what if: {'; '.join(answer.what_if)}  (only shown; nothing is proposed)", width, "strong")
        lines.append(())
    if answer.plan is not None:
        state = PlanState(answer.state) if answer.state else PlanState.DRAFT
        status = PlanStatus(digest=answer.digest, state=state, updated=answer.plan.created)
        lines += plan_lines(PlanView(answer.digest, answer.plan, status), now, width, glyphs)
        proof = answer.plan.proof
        if proof is not None:
            how = "no plan needs fewer" if proof.proven else f"no plan needs fewer than {proof.bound}"
            lines += [(), *_wrapped(f"{proof.moves} moves; {how}{'; cut short' if proof.cut else ''}", width)]
    elif answer.no_plan is not None:
        lines += no_plan_lines(answer.no_plan, width)
        if answer.no_plan.impossible:
            lines += _wrapped("proven: no migration plan exists", width)
    if answer.plan is not None and answer.blocks:
        lines += [(), (Span("stays undone", "strong"),), *_reasons(answer.blocks, width)]
    lines += advice_lines(answer, width)
    lines += [(), *contention_lines(answer, width)]
    lines += _hosts(answer.hosts, changed=bool(answer.what_if))
    if answer.without_forecast is not None:
        lines += [(), *difference_lines(answer.without_forecast, width, glyphs)]
    if answer.state == PlanState.PROPOSED and answer.plan is not None:
        text = f"to run it: sidestep plan approve {answer.plan.number} --digest {answer.digest[:12]}"
        lines += [(), (span(text, "accent"),)]
    return lines


def advice_lines(answer: PlanAnswer, width: int) -> Iterator[Line]:
    """What would help besides, and is done by hand."""
    source = answer.plan or answer.no_plan
    if source is None or not source.advice:
        return
    yield ()
    yield (Span("what would help", "strong"),)
    for action in source.advice:
        about = " ".join(word for word in (action.shard, "on" if action.shard and action.source else "", action.source,
                                           "to" if action.source and action.destination else "",
                                           action.destination) if word)  # fmt: skip
        yield from indent(_wrapped(f"{action.kind} {about}: {action.reason.text} [{action.reason.code}]", width - 2))


def contention_lines(answer: PlanAnswer, width: int) -> Iterator[Line]:
    """Contention that is predicted now, as asked, and after the plan."""
    parts = [("now", answer.now)] if answer.what_if else []
    parts += [("as asked" if answer.what_if else "predicted", answer.before), ("after the plan", answer.after)]
    for word, found in parts:
        head = f"contention {word}: "
        style: StyleName = "error" if found else "ok"
        for at, row in enumerate(wrap(head + span(_named(found)).text, width - 2)):
            first = (Span(head, "strong"), Span(row[len(head) :], style))
            yield (Span(f"  {row}", style),) if at else first


def _named(found: Sequence[Contention]) -> str:
    shown = [f"{c.host} {c.dimension} {percent(c.probability)} in {show_seconds(c.lead)}" for c in found[:6]]
    return (", ".join(shown) + (f" and {len(found) - 6} more" if len(found) > 6 else "")) or "none"


def _hosts(rows: Sequence[HostOutlook], *, changed: bool) -> Iterator[Line]:
    """The hosts that the question or the plan changes, and the fullest ones."""
    if not rows:
        return
    ranked = sorted(rows, key=lambda row: (row.peak_before == row.peak_after, -(row.peak_before or 0.0)))[:_HOSTS]
    head = ["HOST", "", *(["NOW"] if changed else []), "PEAK", "AFTER", *(["CHANCE NOW"] if changed else []), "CHANCE",
            "AFTER"]  # fmt: skip
    table = [head]
    for row in ranked:
        table.append(
            [
                row.host,
                row.dimension,
                *([_percent(row.peak_now)] if changed else []),
                _percent(row.peak_before),
                _percent(row.peak_after),
                *([_percent(row.chance_now)] if changed else []),
                _percent(row.chance_before),
                _percent(row.chance_after),
            ]
        )
    yield ()
    yield from _table(table, "ll" + "r" * 6)
    if len(rows) > len(ranked):
        yield (Span(f"and {len(rows) - len(ranked)} more rows; --json has all", "muted"),)


def difference_lines(difference: PlanDifference, width: int, glyphs: Glyphs) -> list[Line]:
    """Every action with what became of it, and what changed in the world."""
    counts = ", ".join(f"{difference.count(what)} {what}" for what in _SIGNS)
    lines: list[Line] = [(span(f"{difference.old} {glyphs.arrow} {difference.new}: {counts}", "strong"),)]
    for action in difference.actions:
        what = (
            f"{action.shard} {action.source} {glyphs.arrow} {action.destination}"
            if action.shard
            else action.destination
        )
        lines.append((span(f"  {_SIGNS.get(action.what, '?')} {action.what:<8}{action.kind} {what}"),))
        for how in action.how:
            lines += indent(_wrapped(how, width - 6, "muted"), 6)
    if difference.world:
        lines += [(), (Span("what changed in the world", "strong"),)]
        for each in difference.world:
            lines += indent(_wrapped(each, width - 2))
    return lines


def why_lines(why: Why, width: int, glyphs: Glyphs) -> list[Line]:
    """Why a shard moves, or why it does not, and what its alternatives are."""
    word = "moves" if why.moves else "stays"
    about = f"  plan #{why.plan} {why.digest[:12]}" if why.plan else "  in a plan made now" if why.moves else ""
    lines: list[Line] = [(span(f"{why.shard} {word}", "strong"), span(f"  on {why.host or 'no host'}{about}", "muted"))]
    if why.action is not None:
        lines += action_lines(why.action, None, 0.0, width, glyphs)
    else:
        lines += _reasons((why.reason,), width)
    if why.hosts:
        lines += [(), (Span("hosts that could be asked", "strong"),)]
        for each in why.hosts:
            lines += indent(_wrapped(f"{each.destination}: {each.reason.text} [{each.reason.code}], "
                                     f"peak {percent(each.peak)}", width - 2))  # fmt: skip
    return lines


def why_not_lines(answer: WhyNot, width: int) -> list[Line]:
    """Every reason why a shard does not go to a host."""
    head = (
        f"{answer.shard} {'goes' if answer.goes else 'does not go'} from {answer.source or 'nowhere'} to {answer.host}"
    )
    lines: list[Line] = [(span(head, "strong"),)]
    for number, each in enumerate(answer.obstacles, 1):
        lines += indent(_wrapped(f"{number}. {each.reason.code}: {each.reason.text}", width - 2))
    if answer.room is not None:
        text = f"least room that would stay there: {answer.room:.0%} of its capacity"
        if answer.chosen and answer.chosen_room is not None:
            text += f"; on {answer.chosen}, which was chosen: {answer.chosen_room:.0%}"
        lines += _wrapped(text, width, "muted")
    return lines


def best_host_lines(best: BestHost, width: int) -> list[Line]:
    """Hosts with room, the best first; or why there is none."""
    asked = f"{best.cpu:g} cores and {show_size(best.memory)}" + (f" for {best.app}" if best.app else "")
    if not best.offers:
        lines: list[Line] = [(span(f"no host has room for {asked}", "error"),)]
        for each in best.refusals:
            lines += indent(_wrapped(f"{each.host} {each.reason.code}: {each.reason.text}", width - 2))
        return [*lines, (Span(f"  and {best.more} more", "muted"),)] if best.more else lines
    rows = [["HOST", "ROOM LEFT", "CORES LEFT", "MEMORY LEFT", "ZONE", "COST"]]
    rows += [
        [o.host + (" (near)" if o.near else ""), f"{o.room:.0%}", f"{o.room_cpu:.2f}", show_size(o.room_memory), o.zone,
         f"{o.cost:g}"]
        for o in best.offers
    ]  # fmt: skip
    return list(_table(rows, "lrrrlr"))


def size_lines(sizes: RightSizes, width: int) -> list[Line]:
    """Sizes that would be right, and why."""
    if not sizes.sizes:
        return [(Span("every shard has what it needs, as far as limits and demand are known"),)]
    rows = [["SHARD", "APP", "CORES", "NOW", "MEMORY", "NOW", "WHY"]]
    for each in sizes.sizes:
        rows.append([each.shard, each.app, _cores(each.cpu), _cores(each.cpu_before), _size(each.memory),
                     _size(each.memory_before), f"{each.reason.code}: {each.reason.text}"])  # fmt: skip
    del width
    return list(_table(rows, "llrrrrl"))


def policy_lines(listed: PolicyList, width: int) -> list[Line]:
    """Policies by name, the fleet's own marked."""
    lines: list[Line] = []
    for row in listed.policies:
        mark = " (the fleet's own)" if row.used else ""
        lines.append((span(f"{row.name}{mark}", "strong"), span(f"  {row.summary}")))
        for each in row.differs:
            lines += indent(_wrapped(each, width - 4, "muted"), 4)
    return lines


def drain_lines(preflight: Preflight, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """Whether a host can be emptied, and what is in the way."""
    word = "can be emptied" if preflight.possible else "cannot be emptied"
    head = f"{preflight.host} {word}: {preflight.shards} shard{'s' if preflight.shards != 1 else ''}"
    lines: list[Line] = [(span(head, "ok" if preflight.possible else "error"),)]
    if preflight.blocks:
        lines += [(Span("what blocks", "strong"),), *_reasons(preflight.blocks, width)]
    if preflight.unblocks:
        lines.append((Span("what would unblock it", "strong"),))
        for each in preflight.unblocks:
            lines += indent(_wrapped(each, width - 2))
    return [*lines, (), *answer_lines(preflight.answer, now, width, glyphs)]


def _reasons(reasons: Iterable[Reason], width: int) -> list[Line]:
    return [line for reason in reasons for line in indent(_wrapped(f"{reason.code}: {reason.text}", width - 2))]


def _table(rows: Sequence[Sequence[str]], align: str) -> Iterator[Line]:
    for number, row in enumerate(columns(rows, align)):
        yield (span(row, "muted" if number == 0 else "text"),)


def _percent(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _cores(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _size(value: int | None) -> str:
    return "-" if value is None else show_size(value)


def _wrapped(text: str, width: int, style: StyleName = "text") -> list[Line]:
    rows = wrap(span(text).text, max(20, width))
    return [(Span(("  " if at else "") + row, style),) for at, row in enumerate(rows)]
