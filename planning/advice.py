"""What would help where moves do not: standby hosts, splits, resizes, preemptions; and the proof that moves cannot.

No backend runs these actions yet, so they are advice that a plan carries beside its own
actions: what to do by hand, and the moves that become possible by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import Action, Limits, Part, Reason
from sidestep.planning.build import Built
from sidestep.planning.exact import Limits as Effort
from sidestep.planning.exact import Missing, what_is_missing
from sidestep.planning.ladder import Allowed, Climbed, Relieve, Remedy, climb
from sidestep.planning.model import Budget, Duty, Left, Move, Outcome, Problem
from sidestep.planning.relief import final
from sidestep.planning.resizing import limits_of

#: fleets up to this many hosts and shards are small enough for a proof
PROVABLE = (40, 800)
#: nodes of the proof's search
NODES = 3000

_STUCK = frozenset({"NO_ROOM", "IMMOVABLE", "NO_ORDER", "MIN_GAIN"})


@dataclass(frozen=True)
class Advice:
    """Actions for people, and what is proven."""

    actions: tuple[Action, ...] = ()
    #: no moves alone can do all that must be done
    impossible: bool = False
    reasons: tuple[Reason, ...] = ()


def advise(built: Built, left: tuple[Left, ...], moves: tuple[Move, ...], *, prove: bool = False) -> Advice:
    """What would help with the duties that moves could not do; with ``prove``, whether moves ever could."""
    stuck = tuple(one.duty for one in left if one.code in _STUCK)
    if not stuck:
        return Advice()
    allowed = _resizable(built, _allowed(built))
    served = tuple(duty for duty in built.duties if all(duty is not one.duty for one in left))
    actions: tuple[Action, ...] = ()
    splittable = np.flatnonzero(allowed.splits) if allowed.splits is not None else np.zeros(0, dtype=np.int64)
    if allowed.standby or len(splittable) or allowed.max_preempted or allowed.limits is not None:
        actions = _actions(built, climb(built.problem, (*served, *stuck), allowed, _relieve(built)), moves)
    small = built.problem.hosts <= PROVABLE[0] and built.problem.shards <= PROVABLE[1]
    if not (prove and small):
        return Advice(actions)
    effort = Effort(nodes=NODES)
    missing = what_is_missing(
        built.problem,
        stuck,
        like=allowed.standby[0] if allowed.standby else None,
        splittable=tuple(splittable[:12].tolist()),
        limits=effort,
    )
    return Advice(actions, missing.proven, _said(built, missing))


def _relieve(built: Built) -> Relieve:
    policy = built.policy

    def run(problem: Problem, duties: tuple[Duty, ...], budget: Budget) -> Outcome:
        return final(problem, duties, budget=budget, max_moves=policy.max_moves, prefer=policy.prefer)

    return run


def _allowed(built: Built) -> Allowed:
    """What the fleet has besides moves: standby hosts, shards with keys, limits, lower priorities."""
    rules, problem, policy = built.rules, built.problem, built.policy
    hosts = {spec.name: spec for spec in rules.fleet.hosts}
    shards = {spec.name: spec for spec in rules.fleet.shards}
    ready = [state is HostState.READY for state in rules.snapshot.hosts.states]
    standby = tuple(
        row for row, name in enumerate(rules.host_names) if name in hosts and hosts[name].standby and ready[row]
    )
    splits = np.zeros(problem.shards, dtype=np.bool_)
    guaranteed = np.zeros(problem.shards, dtype=np.bool_)
    for row, part in enumerate(built.rows.shards):
        spec = shards.get(rules.shard_names[part[0]])
        if spec is None:
            continue
        splits[row] = len(part) == 1 and spec.splittable and spec.keys is not None and spec.keys[1] - spec.keys[0] > 1
        guaranteed[row] = bool(spec.guarantee_cpu or spec.guarantee_memory)
    return Allowed(
        splits=splits & problem.movable if splits.any() else None,
        standby=standby,
        guaranteed=guaranteed,
        max_preempted=2 if "preempt" in policy.kinds else 0,
    )


def _resizable(built: Built, allowed: Allowed) -> Allowed:
    """With limits now and guarantees (N, R), and quanta (R,); NaN where a shard has no limit."""
    if "resize" not in built.policy.kinds:
        return allowed
    now, least = limits_of(built)
    now[[one.shard for one in built.resized]] = np.nan  # that is in the plan already
    if np.isnan(now).all():
        return allowed
    quanta = np.array([built.policy.quantum_cpu, built.policy.quantum_memory], dtype=np.float64)
    return replace(allowed, limits=now, least=least, quanta=quanta)


def _actions(built: Built, climbed: Climbed, planned: tuple[Move, ...]) -> tuple[Action, ...]:
    """The remedies, and the moves that they make possible."""
    if not climbed.remedies:
        return ()
    rows = _names(built, climbed)
    made: list[Action] = [_remedy(built, remedy, at + 1, rows, climbed) for at, remedy in enumerate(climbed.remedies)]
    known = {(m.shard, m.destination) for m in planned}
    before = tuple(action.id for action in made)
    for move in climbed.outcome.moves:
        if (move.shard, move.destination) in known:
            continue
        made.append(
            Action(
                id=len(made) + 1,
                shard=rows[move.shard],
                source=built.rules.host_names[move.source],
                destination=built.rules.host_names[move.destination],
                token=0,
                priority=3,
                reason=Reason("POSSIBLE_THEN", Label("becomes possible by the actions before it")),
                bytes=int(climbed.problem.bytes[move.shard]),
                after=before,
            )
        )
    return tuple(made)


def _names(built: Built, climbed: Climbed) -> dict[int, Label]:
    """The shard of every row of the changed problem; parts that a split makes have the shard's name and a number."""
    names = {row: built.rules.shard_names[part[0]] for row, part in enumerate(built.rows.shards)}
    for remedy in climbed.remedies:
        if remedy.kind == "split":
            base = names[remedy.shard]
            for number, row in enumerate(remedy.parts):
                names[row] = scrub(f"{base}/{number + 1}")
    return names


def _remedy(built: Built, remedy: Remedy, number: int, rows: dict[int, Label], climbed: Climbed) -> Action:
    hosts = built.rules.host_names
    host = hosts[remedy.host] if remedy.host >= 0 else Label("")
    shard = built.rules.shard_names[built.rows.shards[remedy.shard][0]] if remedy.shard >= 0 else Label("")
    action = Action(
        id=number,
        kind="migrate",
        shard=shard,
        source=host,
        destination=host,
        token=0,
        priority=2,
        reason=_why(remedy, host, shard),
    )
    if remedy.kind == "split":
        moved = {m.shard: m.destination for m in climbed.outcome.moves}
        parts = tuple(Part(rows[row], hosts[moved.get(row, remedy.host)]) for row in remedy.parts)
        return _of_kind(action, "split", parts=parts)
    if remedy.kind == "resize":
        cpu, memory = remedy.amounts[:2]
        size = 0 if np.isnan(memory) else int(memory)
        return _of_kind(action, "resize", limits=Limits(cpu=0.0 if np.isnan(cpu) else float(cpu), memory=size))
    return _of_kind(action, "preempt" if remedy.kind == "queue" else remedy.kind)


def _of_kind(action: Action, kind: str, **more: object) -> Action:
    return msgspec.structs.replace(action, kind=kind, **more)


def _why(remedy: Remedy, host: str, shard: str) -> Reason:
    code, text = {
        "activate": ("ACTIVATE", f"no host in use has room: {host} is on standby"),
        "split": ("SPLIT", f"no host has room for the whole of {shard}"),
        "resize": ("RESIZE", f"{shard} needs less than its limit on {host}"),
        "preempt": ("PREEMPT", f"{shard} has a lower priority than what needs its room on {host}"),
    }.get(remedy.kind, ("QUEUE", f"no host has room for {shard} now"))
    return Reason(code, scrub(text))


def _said(built: Built, missing: Missing) -> tuple[Reason, ...]:
    """The proof in words."""
    if not missing.proven:
        return ()
    ways: list[str] = []
    if missing.hosts:
        least = "" if missing.fewest else "at most "
        ways.append(f"{least}{missing.hosts} more like {built.rules.host_names[missing.like]} would do")
    if missing.splits:
        names = [built.rules.shard_names[built.rows.shards[row][0]] for row in missing.splits]
        ways.append(f"splitting {' and '.join(names)} would do")
    text = "it is proven that no moves do it" + (": " + ", or ".join(ways) if ways else "")
    return (Reason("IMPOSSIBLE", scrub(text)),)
