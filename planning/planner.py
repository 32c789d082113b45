"""The planner's entrance: a snapshot and a forecast in, a plan or a reasoned "no plan" out.

Pure and deterministic: no clock, no randomness without the policy's seed, no I/O; the same
arguments give the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import PLANNER, Action, Basis, NoPlan, Plan, Proof, Reason
from sidestep.fleet.policies import effective, least_priority
from sidestep.fleet.queue import Look, Waiting
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import Snapshot, basis_for
from sidestep.planning import explain, undone
from sidestep.planning.advice import Advice, advise
from sidestep.planning.applying import ActionMakers, applies, apply_first
from sidestep.planning.applying import hosts_of as applied_to
from sidestep.planning.applying import said as applied_said
from sidestep.planning.build import CONTENTION, Built, build
from sidestep.planning.constraints import ConstraintFault, ConstraintMaker
from sidestep.planning.curves import outlook
from sidestep.planning.goals import Maker
from sidestep.planning.lifting import lifts
from sidestep.planning.lifting import said as lifted
from sidestep.planning.load import Load, persistence
from sidestep.planning.model import Left, Move, Outcome, State
from sidestep.planning.places import places, silent
from sidestep.planning.queue import asking, fill
from sidestep.planning.queue.actions import Made, facts
from sidestep.planning.queue.actions import actions as queued
from sidestep.planning.queue.demand import NOBODY
from sidestep.planning.resizing import hosts_of, resize_first, resizes
from sidestep.planning.resizing import said as resized_said
from sidestep.planning.solve import Asked, Solution, budget_of, same_moves, solve
from sidestep.planning.transfer import DEFAULT_TRANSFER, TransferModel
from sidestep.planning.urgency import urgent

#: iterations for the plan from present load alone, which is only compared with
GLANCE = 1000
#: no advice
NOTHING = Advice()


def propose(
    snapshot: Snapshot,
    forecast: Forecast,
    policy: Policy,
    placement: Placement,
    *,
    fleet: FleetSpec,
    number: int,
    created: float,
    busy: frozenset[str] = frozenset(),
    settling: frozenset[str] = frozenset(),
    previous: Plan | None = None,
    transfer: TransferModel = DEFAULT_TRANSFER,
    author: Label = PLANNER,
    expired: Callable[[], bool] | None = None,
    progress: Callable[[Outcome], None] | None = None,
    prove: bool = False,
    goals: Mapping[str, Maker] | None = None,
    constraints: Mapping[str, ConstraintMaker] | None = None,
    queue: tuple[Waiting, ...] = (),
    expected: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    looked: Callable[[tuple[Look, ...]], None] | None = None,
    resizable: Container[str] = (),
    actions: ActionMakers | None = None,
) -> Plan | NoPlan:
    """Repair broken rules, then take hosts out of predicted contention, with the fewest moves.

    ``busy`` and ``settling`` name hosts and shards that are moving now or moved lately:
    they neither give, receive nor move. Actions of ``previous`` are kept while they still
    help, so that a plan that was read is not replaced for nothing. A plan may leave hosts
    hot; it says which and why. ``expired`` may end the search early (the plan then says so);
    ``progress`` is told of every better plan on the way; with ``prove`` small fleets are told
    whether any moves could do what is left. ``goals`` are those of plugins, by name, and so are ``constraints``:
    if one that the policy names cannot be judged there is no plan.

    ``queue`` is who waits for a host: who can be placed is, and for whom less important shards give way;
    ``looked`` is told why the others go on waiting. ``expected`` are the cores and bytes that one
    shard of an app is expected to need, where nobody declares it. ``resizable`` are the backends that can
    change limits in place: that comes before moves. ``actions`` are those of plugins by name, which come before
    moves, too; one that fails is left out, and named. What is in force of them is taken back in quiet times.
    """

    def none(*reasons: Reason, advice: Advice = NOTHING) -> NoPlan:
        return NoPlan(
            created=created,
            snapshot=snapshot.number,
            forecast=forecast.id,
            reasons=(*reasons, *advice.reasons),
            advice=advice.actions,
            impossible=advice.impossible,
        )

    def quiet(back: tuple[Action, ...]) -> Plan:
        return Plan(
            number=number, fleet=fleet.name, created=created, expires=created + policy.expire, author=author,
            snapshot=snapshot.number, forecast=forecast.id, policy=policy, actions=back, summary=lifted(back),
            basis=basis_for(frozenset(str(one.source) for one in back), snapshot.hosts, placement),
        )  # fmt: skip

    refusal = usable(snapshot, forecast)
    if refusal is not None:
        return none(refusal)
    acting = effective(policy)
    forecast, needs = asking(snapshot, forecast, fleet, queue, expected) if queue else (forecast, NOBODY)
    try:
        built = build(
            snapshot, forecast, acting, placement, fleet, busy=busy, settling=settling, constraints=constraints
        )
    except ConstraintFault as fault:
        return none(Reason("CONSTRAINT_FAILED", scrub(f"{scrub(str(fault.args[0]), 140)}; {fault.hint}")))
    built, spared = urgent(built, least_priority(policy))
    built = apply_first(resize_first(built, resizable), actions)
    if not built.duties and not needs.waiting and not built.resized and not built.applied:
        back = () if spared else lifts(built, created)
        return quiet(back) if back else none(*(spared.values() or (_nothing_to_do(built.load, snapshot, acting),)))
    budget = budget_of(built, expired)
    before = same_moves(built, previous)
    chosen_by = places(built, goals)
    asked = Asked(
        created=created, transfer=transfer, budget=budget, previous=before, progress=progress, places=chosen_by
    )
    solution = solve(built, asked) if built.duties else Solution(built, Outcome(moves=()))
    mute = (*silent(built, chosen_by), *built.muted)
    if solution.flaw:
        return none(Reason("NOT_VERIFIED", scrub(solution.flaw)))
    built, ends = solution.built, explain.moves_once(solution.moves)
    filled = fill(built, solution.moves, solution.left, needs, goals=chosen_by, now=created)
    if looked is not None and needs.waiting:
        looked(filled.looks)
    stuck = tuple(one for one in solution.left if all(one is not done for done in filled.relieved))
    left = {**undone.reasons(built, stuck, acting.max_moves), **spared}
    advice = advise(built, stuck, ends, prove=prove)
    if not solution.moves and not filled and not built.resized and not built.applied:
        idle = () if built.duties or spared else (_nothing_to_do(built.load, snapshot, acting),)
        return none(*left.values(), *idle, *filled.reasons, *mute, advice=advice)
    context = explain.Context(built=built, transfer=transfer, created=created, undone=tuple(one.duty for one in stuck))
    moved = explain.actions(context, solution.moves, solution.times)
    after = State(built.problem, ends)
    moved = applies(context, after, resizes(context, after, moved))
    made = queued(context, filled, needs, moved, ends)
    return Plan(
        number=number,
        fleet=fleet.name,
        created=created,
        expires=created + policy.expire,
        author=author,
        snapshot=snapshot.number,
        forecast=forecast.id,
        policy=policy,
        basis=basis_for(
            involved(built, solution.moves) | made.hosts | hosts_of(built) | applied_to(built),
            snapshot.hosts,
            placement,
            waiting=facts(context, filled, needs),
        ),
        actions=(*moved, *made.actions),
        outlook=outlook(built, made.after),
        without_forecast=_from_present(snapshot, placement, fleet, busy, settling, asked, built, ends, goals)
        if built.duties
        else Label(""),
        summary=_summary(context, solution, left, made),
        proof=_proof(solution, ends, stuck, impossible=advice.impossible) if solution.moves else None,
        left=(*left.values(), *advice.reasons, *mute),
        advice=advice.actions,
    )


def _summary(context: explain.Context, solution: Solution, left: dict[str, Reason], made: Made) -> Label:
    """The moves in a line, and what becomes of the queue."""
    said = "; ".join(filter(None, (applied_said(context.built), resized_said(context.built), made.said)))
    if not solution.moves:
        stays = "; ".join(f"stays hot: {name} {why.code}" for name, why in list(left.items())[:3])
        return scrub("; ".join(filter(None, (said, stays))))
    moves = explain.summary(context, solution.moves, left)
    return scrub("; ".join(filter(None, (said, str(moves)))))


def _from_present(
    snapshot: Snapshot,
    placement: Placement,
    fleet: FleetSpec,
    busy: frozenset[str],
    settling: frozenset[str],
    asked: Asked,
    built: Built,
    ends: tuple[Move, ...],
    goals: Mapping[str, Maker] | None,
) -> Label:
    """What would have been planned from present load alone, in a line."""
    policy = built.policy
    now = build(
        snapshot, persistence(snapshot, policy), policy, placement, fleet, busy=busy, settling=settling,
        constraints=built.judged,
    )  # fmt: skip
    budget = replace(asked.budget, iterations=min(GLANCE, asked.budget.iterations))
    quiet = Asked(created=asked.created, transfer=asked.transfer, budget=budget, places=places(now, goals))
    found = solve(now, quiet)
    reasons = undone.reasons(now, found.left, policy.max_moves)
    return explain.difference(built, ends, explain.moves_once(found.moves), reasons)


def _proof(solution: Solution, ends: tuple[Move, ...], stuck: tuple[Left, ...], *, impossible: bool) -> Proof:
    outcome = solution.outcome
    return Proof(
        moves=int(solution.built.problem.count[[m.shard for m in ends]].sum()),
        bound=outcome.bound,
        proven=outcome.proven,
        left=sum(one.duty.level == CONTENTION for one in stuck),
        impossible=impossible,
        iterations=outcome.iterations,
        cut=outcome.cut,
    )


def basis_now(plan: Plan, snapshot: Snapshot, placement: Placement) -> Basis:
    """The facts that the plan was decided on, as they are now; compare with ``plan.basis``."""
    hosts = frozenset(fact.host for fact in plan.basis.hosts)
    return basis_for(hosts, snapshot.hosts, placement, waiting=plan.basis.waiting)


def involved(built: Built, moves: tuple[Move, ...]) -> frozenset[str]:
    """The hosts that any move leaves or enters, and those for whose sake it is made."""
    rows = {row for move in moves for row in (move.source, move.destination, move.relieves)}
    return frozenset(built.rules.host_names[row] for row in rows if row >= 0)


def usable(snapshot: Snapshot, forecast: Forecast) -> Reason | None:
    """Why nothing can be planned on this forecast, or None."""
    if forecast.confidence != "ok":
        return Reason(
            "INSUFFICIENT", scrub(f"the forecast is not confident yet: {forecast.fallback or 'too few samples'}")
        )
    rows = (len(snapshot.hosts.names), len(snapshot.shards.names))
    if (forecast.hosts.shape[0], forecast.shard_mean.shape[0]) != rows or forecast.steps == 0:
        said = f"{forecast.hosts.shape[0]} hosts and {forecast.shard_mean.shape[0]} shards"
        return Reason("OUTDATED", scrub(f"the forecast is of {said}, the fleet has {rows[0]} and {rows[1]}"))
    return None


def _nothing_to_do(load: Load, snapshot: Snapshot, policy: Policy) -> Reason:
    """NO_CONTENTION, with the host that comes nearest."""
    upper = (load.median + load.strict.deviation).max(axis=2, initial=-np.inf) / load.capacity
    upper = np.where(np.isfinite(upper), upper, -1.0)
    text = f"no host reaches {policy.min_probability:.0%} within {policy.horizon:g}s"
    if upper.size and upper.max() >= 0:
        host, dimension = np.unravel_index(int(upper.argmax()), upper.shape)
        near = f"{snapshot.hosts.names[host]} with {DIMENSIONS[dimension]} at {upper[host, dimension]:.0%}"
        text += f"; nearest is {near}"
    return Reason("NO_CONTENTION", scrub(text))
