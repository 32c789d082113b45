"""Actions of plugins before moves: what is offered for shards of a hot host is taken where it alone relieves the host.

A plugin is asked for words and for what the shard would need then; whether that helps, who has to give way for whom,
and in which order is decided here, as for limits (``resizing``). One that fails is named, and done without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from sidestep.fleet.actions import ActionMaker, ActionSpec, Applied, Target, applied
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Reason
from sidestep.fleet.resources import CPU, MEMORY, show_seconds, show_size
from sidestep.planning.build import Built, Taken
from sidestep.planning.curves import evidence
from sidestep.planning.exact.changes import resized
from sidestep.planning.exact.check import done
from sidestep.planning.explain import Context, priority
from sidestep.planning.ladder.resize import factor
from sidestep.planning.model import Duty, Problem, State
from sidestep.planning.model.problem import F64
from sidestep.planning.resizing import ahead

__all__ = ["ActionMakers", "OfferFault", "applies", "apply_first", "hosts_of", "needs", "offered", "said", "target_of"]

#: shards of a hot host that plugins are asked about, the least important first
MOST_ASKED: Final = 64
ActionMakers = Mapping[str, ActionMaker]


class OfferFault(Exception):
    """An action could not be asked, or offers what cannot be planned; the text says what."""


def offered(spec: ActionSpec, target: Target, makers: ActionMakers | None) -> Applied | None:
    """What an action would do to a shard, fit for a plan; None where it has nothing to offer. Raises OfferFault."""
    if makers is None or spec.plugin not in makers:
        raise OfferFault(f"no plugin that could be loaded is called {spec.plugin}")
    try:
        offer: Any = makers[spec.plugin](json.loads(spec.params)).offer(target)
        return None if offer is None else applied(spec, target, offer)
    except Exception as error:  # a plugin may raise anything
        kind = "" if type(error) in (ValueError, TypeError) else f"{type(error).__name__}: "
        raise OfferFault(f"{kind}{error}") from error


def apply_first(built: Built, makers: ActionMakers | None) -> Built:
    """The problem with what actions of plugins do for predicted contention done, and the duties that are left."""
    fleet = built.rules.fleet
    if "apply" not in built.policy.kinds or not fleet.actions:
        return built
    claimed = {row for duty in built.duties for row in duty.shards}
    work = _Work(built, makers, claimed | {one.shard for one in built.resized})
    problem, left, taken = built.problem, list[Duty](), list[Taken]()
    for duty in built.duties:
        # the least gain of a move is measured against the problem that it is made in, which is the changed one here
        found = work.relieve(problem, replace(duty, gain=0.0), built.policy.max_moves - len(taken))
        if found is None:
            left.append(duty)
            continue
        problem, more = found
        taken += more
    muted = tuple(Reason("ACTION_FAILED", scrub(text)) for text in work.faults.values())
    if not taken:
        return replace(built, muted=muted)
    movable = problem.movable.copy()
    movable[[one.shard for one in taken]] = False  # what is done to a shard ends when it moves
    return replace(
        built, problem=replace(problem, movable=movable), duties=tuple(left), applied=tuple(taken), muted=muted
    )


@dataclass(frozen=True, eq=False)
class _One:
    """One offer for one shard, as it bears on the problem."""

    taken: Taken
    #: (R,)
    most: F64


class _Work:
    """The offers of one planning, each asked for once; ``spared`` are rows that something else is done to."""

    def __init__(self, built: Built, makers: ActionMakers | None, spared: set[int]) -> None:
        self._built, self._makers, self._spared = built, makers, set(spared)
        fleet = built.rules.fleet
        self._specs = {str(spec.name): spec for spec in fleet.shards}
        self._standing = {(each.shard, each.applied.name) for each in fleet.standing}
        #: what is wrong with each action, by name
        self.faults: dict[str, str] = {}

    def relieve(self, problem: Problem, duty: Duty, most: int) -> tuple[Problem, list[Taken]] | None:
        """The problem with the duty done by as few offers as can be, and these. All or nothing: half is none."""
        if duty.kind != "contention" or most <= 0:
            return None
        chosen: list[_One] = []
        for one in self._offers(problem, duty):
            if _changes(problem, one):
                chosen.append(one)
            if chosen and done(_with(problem, chosen), duty, ()):
                break
        else:
            return None
        for one in chosen[:-1]:  # whoever can be spared is
            rest = [other for other in chosen if other is not one]
            if done(_with(problem, rest), duty, ()):
                chosen = rest
        if len(chosen) > most:
            return None
        self._spared |= {one.taken.shard for one in chosen}
        return _with(problem, chosen), [one.taken for one in chosen]

    def _offers(self, problem: Problem, duty: Duty) -> Iterator[_One]:
        """Offers for shards of the duty's host: the least important shard first, and of it the one that costs least."""
        p, rules = problem, self._built.rules
        rows = p.on(duty.host)
        if not len(rows):
            return
        # nobody is throttled for the sake of those who matter no more
        rows = rows[p.priority[rows] > p.priority[rows].min()]
        rows = rows[np.lexsort((rows, -p.mean[rows].sum(axis=1), -p.priority[rows]))]
        for row in rows.tolist()[:MOST_ASKED]:
            part = self._built.rows.shards[row]
            spec = self._specs.get(rules.shard_names[part[0]])
            busy = rules.kept[part[0]] in ("BUSY", "SETTLING", "DISPUTED")
            if spec is None or len(part) != 1 or busy or row in self._spared or not self._built.load.known[part[0]]:
                continue
            best = min(self._of(p, row, spec, duty.host), key=lambda one: one.taken.applied.loss, default=None)
            if best is not None:
                yield best

    def _of(self, problem: Problem, row: int, spec: ShardSpec, host: int) -> Iterator[_One]:
        built = self._built
        for action in built.rules.fleet.actions:
            if not action.covers(spec.name, spec.app) or (spec.name, action.name) in self._standing:
                continue
            if action.name in self.faults:
                continue
            try:
                found = offered(action, target_of(built, built.rows.shards[row][0], spec), self._makers)
            except OfferFault as fault:
                self.faults[action.name] = f"action {action.name} is left out: {fault}"
                continue
            if found is None or below_guarantee(found, spec):
                continue
            most = np.full(problem.dimensions, np.inf)
            most[CPU] = np.inf if found.cpu is None else found.cpu
            most[MEMORY] = np.inf if found.memory is None else found.memory
            yield _One(Taken(shard=row, host=host, applied=found), most)


def target_of(built: Built, shard: int, spec: ShardSpec) -> Target:
    """What a plugin is told of a shard."""
    rules, load = built.rules, built.load
    host = rules.host_names[int(rules.host[shard])]
    labels = next((each.labels for each in rules.fleet.hosts if each.name == host), ())
    peak = load.shard_mean[shard].astype(np.float64) + max(load.strict.z, 0.0) * load.shard_sd[shard]
    need = np.nan_to_num(peak).max(axis=1)
    return Target(
        fleet=rules.fleet.name, shard=spec.name, app=spec.app, backend=spec.backend, host=Label(host), labels=labels,
        priority=int(rules.snapshot.shards.priority[shard]), cpu=round(float(need[CPU]), 4),
        memory=float(np.round(need[MEMORY])), seconds=built.policy.step_deadline,
    )  # fmt: skip


def below_guarantee(found: Applied, spec: ShardSpec) -> bool:
    """Whether it would take from the shard what nobody may."""
    short = found.cpu is not None and found.cpu < spec.guarantee_cpu
    return short or (found.memory is not None and found.memory < spec.guarantee_memory)


def _changes(problem: Problem, one: _One) -> bool:
    return bool((factor(problem, one.taken.shard, one.most) < 1.0).any())


def _with(problem: Problem, chosen: Sequence[_One]) -> Problem:
    for one in chosen:
        problem = resized(problem, one.taken.shard, factor(problem, one.taken.shard, one.most))
    return problem


def applies(context: Context, after: State, others: tuple[Action, ...]) -> tuple[Action, ...]:
    """The plan's actions of plugins, and after them the others: those from or to a host wait until it is relieved."""
    made = tuple(_action(context, one, after, at) for at, one in enumerate(context.built.applied, 1))
    return ahead(made, others) if made else others


def said(built: Built) -> str:
    """The actions of plugins in a line."""
    names = [f"{one.applied.name} to {_name(built, one)}" for one in built.applied]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"applies {', '.join(names[:3])}{more}" if names else ""


def hosts_of(built: Built) -> frozenset[str]:
    """The hosts to whose shards something is done."""
    return frozenset(str(built.rules.host_names[one.host]) for one in built.applied)


def needs(found: Applied) -> str:
    """What an action holds a shard to, in words."""
    parts = []
    if found.cpu is not None:
        parts.append(f"{found.cpu:g} cores instead of {found.cpu_before:.2g}")
    if found.memory is not None:
        parts.append(f"{show_size(found.memory)} instead of {show_size(found.memory_before)}")
    return " and ".join(parts) or "as much as before"


def _name(built: Built, one: Taken) -> Label:
    return built.rules.shard_names[built.rows.shards[one.shard][0]]


def _action(context: Context, one: Taken, after: State, number: int) -> Action:
    built = context.built
    name, host, found = _name(built, one), built.rules.host_names[one.host], one.applied
    contention = built.contentions[one.host][0]
    text = (
        f"{found.name} holds {name} to {needs(found)}: {host} {contention.dimension} contention in"
        f" {show_seconds(contention.lead)}, and no move is needed"
    )
    return Action(
        id=number,
        kind="apply",
        shard=name,
        source=host,
        destination=host,
        token=built.rules.placement.owners[name].token,
        priority=priority(contention, built.policy),
        reason=Reason("APPLIES", scrub(text)),
        evidence=evidence(built, after, contention, context.created),
        latest_start=contention.starts_at - built.policy.margin - found.seconds,
        transfer_s=found.seconds,
        undo=scrub(f"take {found.name} back from {name} on {host}"),
        applied=found,
    )
