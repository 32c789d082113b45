"""Asking the planner, shortly: what tests of proposals share."""

from __future__ import annotations

from small_fleets import NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.planning import propose


def answer(small: Small, **more: object) -> Plan | NoPlan:
    return propose(
        small.snapshot(),
        small.forecast(),
        small.policy,
        small.placement(),
        fleet=small.spec(),
        number=3,
        created=NOW + 1,
        **more,  # type: ignore[arg-type]
    )


def plan(small: Small, **more: object) -> Plan:
    made = answer(small, **more)
    assert isinstance(made, Plan), made
    return made


def refusal(small: Small, **more: object) -> NoPlan:
    made = answer(small, **more)
    assert isinstance(made, NoPlan), made.summary
    return made


def codes(made: NoPlan) -> list[str]:
    return [reason.code for reason in made.reasons]


def moves(made: Plan) -> list[tuple[str, str, str]]:
    return [(a.shard, a.source, a.destination) for a in made.actions]


def rising(*hosts: HostIn, policy: Policy | None = None, **shard: object) -> Small:
    """h1 grows from 1.5 to 3.7 of 4 cores: kv-1 is the small one, kv-2 the big one."""
    return Small(
        [HostIn("h1"), *(hosts or (HostIn("h2"), HostIn("h3", own_cpu=1.0)))],
        [
            ShardIn("kv-1", "h1", (0.5, 1.7), state=10e6, **shard),  # type: ignore[arg-type]
            ShardIn("kv-2", "h1", (1.0, 2.0), state=90e6),
        ],
        policy or Policy(),
    )
