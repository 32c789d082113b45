"""What the daemon answers about actions of plugins: which there are, and an operator's own plans."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.planner import ACTIONS, plan_action
from sidestep.autopilot.protocol_actions import ActionList, DeclaredAction, ProposeAction
from sidestep.fleet.actions import ActionSpec, Standing
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Plan


def listed(fleet: FleetSpec, standing: Sequence[Standing]) -> ActionList:
    """What is declared, each tried as far as that goes without a shard, and what is in force."""
    rows = tuple(
        DeclaredAction(
            name=one.name, plugin=scrub(one.plugin), apps=one.apps, shards=one.shards, problem=scrub(_problem(one))
        )
        for one in fleet.actions
    )
    return ActionList(rows, tuple(standing), "apply" in fleet.policy.kinds)


def proposed(
    fleet: FleetSpec, picture: Picture, placement: Placement, request: ProposeAction, *, busy: frozenset[str],
    created: float, author: Label,
) -> Plan:  # fmt: skip
    """An operator's own plan, as yet without its number. Raises SidestepError."""
    return plan_action(
        request.name, picture.snapshot, picture.forecast, fleet.policy, placement, fleet=fleet, shard=request.shard,
        lift=request.lift, busy=busy, number=0, created=created, author=author, reason=str(scrub(request.reason)),
    )  # fmt: skip


def _problem(spec: ActionSpec) -> str:
    try:
        ACTIONS[spec.plugin](json.loads(spec.params))
    except KeyError:
        return f"no plugin for actions is called {spec.plugin} here"
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and the others are listed all the same
        return f"{type(error).__name__}: {error}"
    return ""
