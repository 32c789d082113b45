"""Actions of plugins without a screen: which there are, and an operator's own."""

from __future__ import annotations

from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_actions import ActionList, ListActions, ProposeAction
from sidestep.console.actiontext import action_rows, standing_rows
from sidestep.console.headless import output, proposed
from sidestep.console.headless.patience import patiently

_WIDTH = 100


def show(socket: Path, *, as_json: bool) -> int:
    """Print what is declared and what is in force; exit code 1 if an action cannot be done at all."""
    with Client.connect(socket) as client:
        listed = client.call(ListActions())
    assert isinstance(listed, ActionList)
    if as_json:
        output.dump(listed)
    else:
        if not listed.actions:
            output.say("no action is declared: [action.NAME] in the fleet file (docs/plugins.md)")
        else:
            output.table(action_rows(listed), "llll")
        if listed.actions and not listed.planned:
            output.say("the planner proposes none of them: the policy's kinds do not name apply")
        if listed.standing:
            output.say("")
            output.table(standing_rows(listed), "llll")
    return 1 if any(one.problem for one in listed.actions) else 0


def propose(socket: Path, name: str, shard: str, reason: str, *, lift: bool, as_json: bool) -> None:
    """Propose it and show the plan, every command with it."""
    with Client.connect(socket) as client:
        item = patiently(client, ProposeAction(name, shard, lift, reason))
    proposed.show(item, as_json=as_json)
