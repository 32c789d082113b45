"""Worlds for what-if questions: what tests of queries share."""

from __future__ import annotations

from typing import Any

from small_fleets import NOW, Small

from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning.queries.ask import propose_on
from sidestep.planning.queries.whatif import World
from sidestep.planning.queries.whatif_text import parse


def world_of(small: Small) -> World:
    return World(
        snapshot=small.snapshot(),
        forecast=small.forecast(),
        fleet=small.spec(),
        placement=small.placement(),
        policy=small.policy,
    )


def changed(small: Small, *texts: str) -> World:
    return parse(texts).apply(world_of(small))


def planned(world: World, **more: Any) -> Plan | NoPlan:
    return propose_on(world, number=1, created=NOW + 1, **more)
