"""Taking back what plugins have done to shards, once nothing is in its way: no contention is predicted without it.

Only in quiet times, one shard of a host at a time, and not before a horizon has passed since it was done: what the
shard will need then is what it was predicted to need before, which nobody can measure meanwhile.
"""

from __future__ import annotations

import numpy as np

from sidestep.fleet.actions import Standing
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Reason
from sidestep.fleet.resources import CPU, MEMORY
from sidestep.planning.applying import target_of
from sidestep.planning.build import Built


def lifts(built: Built, created: float) -> tuple[Action, ...]:
    """What can be taken back now, what has been in force longest first."""
    if "apply" not in built.policy.kinds:
        return ()
    made: list[Action] = []
    hosts = set[str]()
    for one in sorted(built.rules.fleet.standing, key=lambda each: (each.since, each.shard, each.applied.name)):
        owner = built.rules.placement.owners.get(one.shard)
        if owner is None or owner.token != one.token or owner.host in hosts or len(made) >= built.policy.max_moves:
            continue
        if created - one.since >= max(built.policy.horizon, built.policy.settle) and _fits(built, one):
            hosts.add(owner.host)
            made.append(_action(one, owner.host, len(made) + 1))
    return tuple(made)


def _fits(built: Built, one: Standing) -> bool:
    """Whether its host would keep room, and the least gain besides, if the shard needed as much as before."""
    rules, problem = built.rules, built.problem
    row = rules.shard_row.get(one.shard)
    spec = next((spec for spec in rules.fleet.shards if spec.name == one.shard), None)
    if row is None or spec is None or rules.kept[row] in ("BUSY", "SETTLING", "DISPUTED") or not built.load.known[row]:
        return False
    host = int(rules.host[row])
    if host < 0 or rules.gives(host):
        return False
    now, more = target_of(built, row, spec), np.zeros(problem.limit.shape[1])
    was = one.applied
    for dimension, before, needs in ((CPU, was.cpu_before, now.cpu), (MEMORY, was.memory_before, now.memory)):
        span = slice(dimension * problem.steps, (dimension + 1) * problem.steps)
        more[span] = max(0.0, before - needs) + built.policy.min_gain * problem.capacity[host, span]
    upper = problem.median[host] + np.maximum(problem.away[host], 0.0) + more
    return not bool(problem.held(upper, problem.limit[host]))


def _action(one: Standing, host: Label, number: int) -> Action:
    name = one.applied.name
    text = f"{host} has room for {one.shard} without {name}: no contention is predicted"
    return Action(
        id=number,
        kind="lift",
        shard=one.shard,
        source=host,
        destination=host,
        token=one.token,
        priority=3,
        reason=Reason("LIFTS", scrub(text)),
        transfer_s=one.applied.seconds,
        undo=scrub(f"do {name} to {one.shard} again"),
        applied=one.applied,
    )


def said(actions: tuple[Action, ...]) -> Label:
    """Them in a line."""
    names = [f"{a.applied.name} from {a.shard}" for a in actions if a.applied is not None]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return scrub(f"takes back {', '.join(names[:3])}{more}: no contention is predicted without")
