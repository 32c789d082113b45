"""How far a plan is and how far it reaches: progress, time left, blast radius, skipping. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from sidestep.autopilot.approval_rules import dependents
from sidestep.autopilot.protocol import PlanView
from sidestep.console.text import Glyphs, Line, Span, StyleName, fit, gauge, span
from sidestep.fleet.machines import ActionState, PlanState, StepName, StepState, steps_of
from sidestep.fleet.plans import Action, ActionStatus, Plan
from sidestep.fleet.resources import show_seconds, show_size

#: seconds that an action takes besides its transfer and its freeze, until one was measured
_AROUND: Final = 1.0
_ENDED: Final = frozenset({
    ActionState.DONE, ActionState.SKIPPED, ActionState.ABORTED, ActionState.CANCELLED, ActionState.FAILED_NEEDS_HUMAN,
})  # fmt: skip
MOVING: Final = frozenset({PlanState.RUNNING, PlanState.PAUSED, PlanState.CANCELLING, PlanState.UNDOING})
#: states in which steps or their results are worth showing
STARTED: Final = MOVING | {
    PlanState.APPROVED, PlanState.SCHEDULED, PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED,
    PlanState.CANCELLED, PlanState.UNDONE,
}  # fmt: skip


class Reach(NamedTuple):
    """What a plan touches."""

    shards: int
    hosts: int
    bytes: int


def reach(plan: Plan, skip: Collection[int] = ()) -> Reach:
    """Shards, hosts and bytes of what is left of the plan without the skipped actions."""
    actions = [a for a in plan.actions if a.id not in skip]
    hosts = {host for a in actions for host in (a.source, a.destination) if host}
    return Reach(len({a.shard for a in actions if a.shard}), len(hosts), sum(a.bytes for a in actions))


def wants_number(plan: Plan, skip: Collection[int], *, free_shards: int, free_hosts: int) -> bool:
    """Whether approving it is confirmed by typing its number."""
    touched = reach(plan, skip)
    return touched.shards > free_shards or touched.hosts > free_hosts


def left_over(plan: Plan, skip: Collection[int]) -> list[str]:
    """What no longer holds together if these actions are skipped, a sentence each; empty if it does."""
    if not skip:
        return []
    if {action.id for action in plan.actions} <= set(skip):
        return ["that skips everything; reject the plan instead"]
    return [f"action {a} waits for action {b}, which is skipped" for a, b in dependents(plan, tuple(skip))]


#: of what is expected of a step, how much counts as done at most before it is
_ALMOST: Final = 0.95


class Running(NamedTuple):
    """The step of an action that runs: how long already, and how long it should by the plan (0: not said)."""

    step: StepName
    ran: float
    expected: float

    @property
    def part(self) -> float:
        """How much of the step is taken to be done: by the clock, since nobody counts its bytes."""
        return min(_ALMOST, self.ran / self.expected) if self.expected > 0 else 0.0

    def __str__(self) -> str:
        """How long it runs already, of how long it should."""
        about = f" of about {show_seconds(self.expected)}" if self.expected > 0 else ""
        return f"{show_seconds(self.ran)}{about}" if self.ran >= 1 or about else ""


Live = Mapping[int, Running]
_NONE: Final[Live] = MappingProxyType({})


class Watch:
    """When steps of plans were first seen to run. A status does not say when its steps began."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, StepName], float] = {}

    def look(self, item: PlanView, now: float) -> Live:
        """The running step of each action that has one."""
        actions = {action.id: action for action in item.plan.actions}
        found: dict[int, Running] = {}
        for entry in item.status.actions:
            step = next((step.name for step in entry.steps if step.state is StepState.RUNNING), None)
            if step is not None and entry.id in actions:
                began = self._seen.setdefault((item.digest, entry.id, step), now)
                wanted = expected(actions[entry.id], step, item.plan.policy.observe)
                found[entry.id] = Running(step, max(0.0, now - began), wanted)
        kept = {(item.digest, id, running.step) for id, running in found.items()}
        self._seen = {key: at for key, at in self._seen.items() if key in kept or key[0] != item.digest}
        return found


def expected(action: Action, step: StepName, observe: float) -> float:
    """Seconds that a step should take by the plan; 0 where the plan says nothing."""
    known = {
        StepName.PRECOPY: action.transfer_s, StepName.TRANSFER: action.transfer_s,
        StepName.FREEZE: action.freeze_ms / 1e3, StepName.OBSERVE: observe,
    }  # fmt: skip
    return known.get(step, 0.0)


def share(action: Action, status: ActionStatus | None, live: Running | None = None) -> float:
    """How much of an action is done, 0 to 1, by its steps."""
    if status is None or status.state is ActionState.PENDING:
        return 0.0
    if status.state in _ENDED and status.state is not ActionState.CANCELLED:
        return 1.0
    total = max(len(steps_of(action.kind)), len(status.steps))
    done = sum(step.state is StepState.DONE for step in status.steps) + (live.part if live is not None else 0.0)
    return done / total if total else 0.0


def seconds_left(item: PlanView, live: Live = _NONE) -> float:
    """How long the plan still runs, from its own estimates scaled by how long finished actions really took."""
    done = {entry.id: entry for entry in item.status.actions}
    said = took = rest = 0.0
    for action in item.plan.actions:
        status, guess = done.get(action.id), action.transfer_s + action.freeze_ms / 1e3 + _AROUND
        if status is not None and status.state is ActionState.DONE:
            said, took = said + guess, took + sum(step.ms for step in status.steps) / 1e3
        elif status is None or status.state not in _ENDED:
            rest += guess * (1 - share(action, status, live.get(action.id)))
    scale = min(10.0, max(0.1, took / said)) if said and took else 1.0
    return rest * scale


def progress_line(item: PlanView, width: int, glyphs: Glyphs, live: Live = _NONE) -> Line:
    """The whole plan's bar, how many actions are done, and the time left; nothing for one that has not begun."""
    if item.status.state not in STARTED or not item.plan.actions:
        return ()
    done = {entry.id: entry for entry in item.status.actions}
    part = sum(share(a, done.get(a.id), live.get(a.id)) for a in item.plan.actions) / len(item.plan.actions)
    ended = sum(1 for entry in item.status.actions if entry.state in _ENDED)
    eta = f"  about {show_seconds(seconds_left(item, live))} left" if item.status.state in MOVING else ""
    room = max(8, min(40, width - 44))
    return (
        Span(f" {gauge(part, room, glyphs)} ", "accent"),
        Span(f"{part * 100:.0f} %  {ended} of {len(item.plan.actions)} actions"),
        Span(eta, "muted"),
    )


_SIGNS: Final[dict[ActionState, tuple[str, StyleName]]] = {
    ActionState.DONE: ("done", "ok"),
    ActionState.COMMITTED: ("done", "ok"),
    ActionState.RUNNING: ("running", "accent"),
    ActionState.PENDING: ("pending", "muted"),
    ActionState.BLOCKED: ("waiting", "muted"),
    ActionState.SKIPPED: ("none", "muted"),
    ActionState.FAILED_NEEDS_HUMAN: ("failed", "error"),
    ActionState.TIMED_OUT: ("failed", "error"),
}


def action_heading(width: int, glyphs: Glyphs) -> Line:
    """The heading of the table of actions."""
    cells = [(" ", 3), ("#", 3), ("STATE", 11), ("WHAT", 9), ("SHARD", 12), ("FROM", 17), ("BYTES", 6), ("FREEZE", 8)]
    text = "".join(fit(title, wide, glyphs) for title, wide in cells) + "PROGRESS"
    return (Span(fit(text, width, glyphs), "muted"),)


def action_row(
    action: Action,
    status: ActionStatus | None,
    skipped: bool,
    broken: bool,
    width: int,
    glyphs: Glyphs,
    live: Running | None = None,
) -> Line:
    """One action: state by glyph, word and colour; what moves where; its cost; how far it is."""
    state = status.state if status is not None else ActionState.PENDING
    sign, style = _SIGNS.get(state, ("undone", "warn"))
    word: str = state.lower().replace("_", " ")
    if skipped:
        sign, style, word = "none", "warn", "skip"
    elif broken:
        sign, style, word = "failed", "error", "broken"
    froze = status is not None and status.freeze_ms > 0
    freeze = status.freeze_ms if status is not None and froze else action.freeze_ms
    stood = f"{freeze:.0f} ms" if freeze < 1e4 else f"{freeze / 1e3:.0f} s"
    where = f"{action.source or glyphs.none} {glyphs.arrow} {action.destination or glyphs.none}"
    carried = status.bytes if status is not None and status.bytes else action.bytes
    room = max(0, width - 69 - 6)
    part = share(action, status, live)
    bar = f"{gauge(part, min(20, room), glyphs)} {part * 100:3.0f}%" if room >= 4 else f"{part * 100:3.0f}%"
    return (
        Span(f" {getattr(glyphs, sign)} ", style),
        Span(fit(str(action.id), 3, glyphs)),
        Span(fit(word, 11, glyphs), style),
        Span(fit(action.kind, 8, glyphs) + " ", "accent"),
        Span(fit(span(action.shard or glyphs.none).text, 12, glyphs), "strong"),
        Span(fit(span(where).text, 17, glyphs)),
        Span(fit(show_size(carried), 6, glyphs), "muted"),
        Span(fit(f"{'' if froze else '~'}{stood}", 8, glyphs), "muted"),
        Span(bar, style),
    )
