"""What actions of plugins run and hold shards to, in lines: whoever approves one sees every word of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidestep.autopilot.protocol_actions import ActionList
from sidestep.console.text import Line, Span, clock, span, wrap
from sidestep.fleet.actions import Applied
from sidestep.fleet.plans import Action
from sidestep.fleet.resources import show_size

#: the commands in the order in which they run, and of lift
_APPLY: Final = ("validate", "execute", "verify", "revert")
_LIFT: Final = ("revert", "verify", "execute")
_WHEN: Final = {
    "apply": {"validate": "before", "execute": "then", "verify": "in force?", "revert": "to undo"},
    "lift": {"revert": "then", "verify": "in force?", "execute": "to undo"},
}


def applied_line(action: Action, one: Applied) -> Line:
    """An action of a plugin as a sentence."""
    what = f"  {action.course}: {one.says}" if action.kind == "apply" else f"  {action.course}: takes it back"
    return (
        Span(f"{action.id}. {action.kind} ", "accent"),
        span(action.shard, "strong"),
        span(what),
        span(f"  in place{_held(one) if action.kind == 'apply' else ''}", "muted"),
    )


def _held(one: Applied) -> str:
    parts = [] if one.cpu is None else [f"at most {one.cpu:g} cores"]
    parts += [] if one.memory is None else [f"at most {show_size(one.memory)}"]
    parts.append(f"users lose {one.loss:.0%} of it" if one.loss else "users lose nothing")
    return "".join(f", {part}" for part in parts)


def command_lines(action: Action, width: int) -> Iterator[Line]:
    """Every command of it, word for word; nothing where it is no action of a plugin."""
    one, when = action.applied, _WHEN.get(action.kind, {})
    if one is None:
        return
    for name in _LIFT if action.kind == "lift" else _APPLY:
        head = f"{when[name]:<10} $ "
        for line in str(getattr(one, name)).split("\n"):
            for row in wrap(span(line).text, max(20, width - len(head))) or [""]:
                yield (Span(head, "muted"), Span(row))
                head = " " * len(head)


def action_rows(listed: ActionList) -> list[tuple[str, str, str, str]]:
    """What is declared, as a table."""
    rows = [("ACTION", "PLUGIN", "FOR", "STATE")]
    for one in listed.actions:
        those = [*(f"app {app}" for app in one.apps), *map(str, one.shards)]
        state = f"✗ CANNOT BE DONE: {one.problem}" if one.problem else "✓ ready"
        rows.append((str(one.name), str(one.plugin), ", ".join(those), state))
    return rows


def standing_rows(listed: ActionList) -> list[tuple[str, str, str, str]]:
    """What is in force, as a table."""
    rows = [("IN FORCE", "ON", "SINCE", "WHAT")]
    for one in listed.standing:
        rows.append((str(one.applied.name), str(one.shard), clock(one.since), str(one.applied.says)))
    return rows
