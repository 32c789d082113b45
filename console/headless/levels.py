"""``level`` and ``autopilot status|promote``: how far the autopilot may go, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import Done, SetLevel
from sidestep.autopilot.protocol_levels import AutopilotView, GetAutopilot, Promote, ShadowRow
from sidestep.console.headless import output
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import show_seconds


def wanted(words: Sequence[str], *, app: str, shard: str, host: str, reason: str) -> SetLevel | None:
    """What the command line asks to be set; None to print. Raises UsageError."""
    scopes = {scope: name for scope, name in (("app", app), ("shard", shard), ("host", host)) if name}
    if len(scopes) > 1:
        raise UsageError(f"one of {', '.join(f'--{scope}' for scope in scopes)} at a time")
    scope, name = next(iter(scopes.items()), ("fleet", ""))
    said = list(words)
    if said and said[0] == "set":
        said = said[1:]
        if not said:
            raise UsageError("level set: which one?", hint="off, shadow, advise, semi or full")
    elif said == ["clear"]:
        return SetLevel("", reason, scope, name)
    if len(said) > 1:
        raise UsageError(f"too many words: {' '.join(words)}", hint="sidestep level set full --app kv --reason TEXT")
    if not said and name:
        raise UsageError("which level?", hint=f"sidestep level set LEVEL --{scope} {name}, or see: sidestep level")
    return SetLevel(said[0], reason, scope, name) if said else None


def level(socket: Path, request: SetLevel | None, *, as_json: bool) -> None:
    """Print the automation level in force, or set one."""
    with Client.connect(socket) as client:
        if request is None:
            assert client.welcome is not None
            now = text = client.welcome.level
        else:
            answer = client.call(request)
            now = request.level
            text = answer.text if isinstance(answer, Done) and answer.text else f"level is {request.level}"
    if as_json:
        output.dump({"level": now})
    else:
        output.say(text)


def promote(socket: Path, wanted_level: str, reason: str, *, as_json: bool) -> None:
    """Take what trust offers."""
    with Client.connect(socket) as client:
        answer = client.call(Promote(wanted_level, reason))
    output.result(answer, as_json=as_json)


def status(socket: Path, *, as_json: bool) -> None:
    """Everything about the level in force."""
    with Client.connect(socket) as client:
        view = client.call(GetAutopilot())
    assert isinstance(view, AutopilotView)
    if as_json:
        output.dump(view)
        return
    for line in status_lines(view, time.time()):
        output.say(line)


def status_lines(view: AutopilotView, now: float) -> list[str]:
    """The view in plain words."""
    lines = [f"level {view.effective} holds: set to {view.level}, trust allows {view.allowed}"]
    lines += [f"  {reason.code}: {reason.text}" for reason in view.reasons]
    if view.judged:
        lines.append(f"  since {show_seconds(max(0.0, now - view.judged))} ago")
    if view.offer:
        lines.append(f"offered: {view.offer}; to allow it: sidestep autopilot promote {view.offer} --reason TEXT")
    elif view.allowed != "full":
        lines.append(f"offered: nothing yet; {view.steady} of {view.steady_needed} good judgements in a row")
    found = view.evidence
    lines.append(f"forecasts: {found.forecasts:.0f} scored, skill {_shown(found.skill)}, "
                 f"inside the 80 % band {_shown(found.coverage80, '.0%')}")  # fmt: skip
    lines.append(
        f"plans: {found.succeeded} of the last {found.plans} succeeded; peaks above prediction "
        f"{_shown(found.peak_over, '.0%')}, freeze {_shown(found.freeze_ratio)} and bytes "
        f"{_shown(found.bytes_ratio)} times what was said"
    )
    for row in view.levels:
        whose = "fleet" if row.scope == "fleet" else f"{row.scope} {row.name}"
        why = f": {row.reason}" if row.reason else ""
        lines.append(f"{whose}: {row.level}, {f'set by {row.actor}{why}' if row.actor else 'as the fleet file says'}")
    for shade in view.shadow[:10]:
        would = f"would have waited: {shade.against}" if shade.against else "would have been approved"
        lines.append(f"shadow: plan #{shade.plan} {would}; {_came(shade)}")
    return lines


def _came(row: ShadowRow) -> str:
    ends = {"": "it is still watched", "acted": "people approved it", "lost": "the daemon ended before it was measured"}
    if row.end in ends:
        return ends[row.end]
    return "its contention came" if row.came else "its contention did not come"


def _shown(value: float | None, form: str = ".2f") -> str:
    return "not known" if value is None else format(value, form)
