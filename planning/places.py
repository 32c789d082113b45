"""The goals of a policy on one problem, and which of them have no say."""

from __future__ import annotations

from collections.abc import Mapping

from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Reason
from sidestep.planning.build import Built
from sidestep.planning.goals import BUILT_IN, About, Goal, Guarded, Maker, make


def places(built: Built, plugins: Mapping[str, Maker] | None = None) -> tuple[Goal, ...]:
    """The policy's goals for destinations; ``plugins`` are goals that are not ours, by name."""
    shards = built.rules.snapshot.shards
    about = About(
        fleet=built.rules.fleet,
        hosts=built.rules.host_names,
        names=shards.names,
        apps=shards.apps,
        shards=built.rows.shards,
        domains=built.problem.constraints.domains,
    )
    return make(built.policy.goals, about, plugins)


def silent(built: Built, goals: tuple[Goal, ...]) -> tuple[Reason, ...]:
    """Why goals of the policy had no say: nobody has them, or they failed."""
    found = {goal.name: str(goal.fault) for goal in goals if isinstance(goal, Guarded) and goal.fault}
    there = {*BUILT_IN, *(goal.name for goal in goals)}
    for name in built.policy.goals:
        if name not in there:
            found[name] = f"goal {name} has no say: no plugin that could be loaded has it"
    return tuple(Reason("GOAL_FAILED", scrub(text)) for text in found.values())
