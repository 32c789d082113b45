"""The planner's entrance: a snapshot and a forecast in, a plan or a reasoned "no plan" out.

Pure and deterministic: no clock, no randomness without the policy's seed, no I/O; the same
arguments give the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import PLANNER, Basis, NoPlan, Plan, Proof, Reason
from sidestep.fleet.policies import effective, least_priority
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import Snapshot, basis_for
from sidestep.planning import explain, undone
from sidestep.planning.advice import Advice, advise
from sidestep.planning.build import CONTENTION, Built, build
from sidestep.planning.curves import outlook
from sidestep.planning.goals import Maker
from sidestep.planning.load import Load, persistence
from sidestep.planning.model import Move, Outcome, State
from sidestep.planning.places import places, silent
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
) -> Plan | NoPlan:
    """Repair broken rules, then take hosts out of predicted contention, with the fewest moves.

    ``busy`` and ``settling`` name hosts and shards that are moving now or moved lately:
    they neither give, receive nor move. Actions of ``previous`` are kept while they still
    help, so that a plan that was read is not replaced for nothing. A plan may leave hosts
    hot; it says which and why. ``expired`` may end the search early (the plan then says so);
    ``progress`` is told of every better plan on the way; with ``prove`` small fleets are told
    whether any moves could do what is left. ``goals`` are those of plugins, by name.
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

    refusal = usable(snapshot, forecast)
    if refusal is not None:
        return none(refusal)
    acting = effective(policy)
    built = build(snapshot, forecast, acting, placement, fleet, busy=busy, settling=settling)
    built, spared = urgent(built, least_priority(policy))
    if not built.duties:
        return none(*(spared.values() or (_nothing_to_do(built.load, snapshot, acting),)))
    budget = budget_of(built, expired)
    before = same_moves(built, previous)
    chosen_by = places(built, goals)
    asked = Asked(
        created=created, transfer=transfer, budget=budget, previous=before, progress=progress, places=chosen_by
    )
    solution = solve(built, asked)
    left = {**undone.reasons(built, solution.left, acting.max_moves), **spared}
    mute = silent(built, chosen_by)
    if solution.flaw:
        return none(Reason("NOT_VERIFIED", scrub(solution.flaw)))
    built, ends = solution.built, explain.moves_once(solution.moves)
    advice = advise(built, solution.left, ends, prove=prove)
    if not solution.moves:
        return none(*left.values(), *mute, advice=advice)
    undone_duties = tuple(one.duty for one in solution.left)
    context = explain.Context(built=built, transfer=transfer, created=created, undone=undone_duties)
    return Plan(
        number=number,
        fleet=fleet.name,
        created=created,
        expires=created + policy.expire,
        author=author,
        snapshot=snapshot.number,
        forecast=forecast.id,
        policy=policy,
        basis=basis_for(involved(built, solution.moves), snapshot.hosts, placement),
        actions=explain.actions(context, solution.moves, solution.times),
        outlook=outlook(built, State(built.problem, ends)),
        without_forecast=_from_present(snapshot, placement, fleet, busy, settling, asked, built, ends, goals),
        summary=explain.summary(context, solution.moves, left),
        proof=_proof(solution, ends, impossible=advice.impossible),
        left=(*left.values(), *advice.reasons, *mute),
        advice=advice.actions,
    )


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
    now = build(snapshot, persistence(snapshot, policy), policy, placement, fleet, busy=busy, settling=settling)
    budget = replace(asked.budget, iterations=min(GLANCE, asked.budget.iterations))
    quiet = Asked(created=asked.created, transfer=asked.transfer, budget=budget, places=places(now, goals))
    found = solve(now, quiet)
    reasons = undone.reasons(now, found.left, policy.max_moves)
    return explain.difference(built, ends, explain.moves_once(found.moves), reasons)


def _proof(solution: Solution, ends: tuple[Move, ...], *, impossible: bool) -> Proof:
    outcome = solution.outcome
    return Proof(
        moves=int(solution.built.problem.count[[m.shard for m in ends]].sum()),
        bound=outcome.bound,
        proven=outcome.proven,
        left=sum(one.duty.level == CONTENTION for one in solution.left),
        impossible=impossible,
        iterations=outcome.iterations,
        cut=outcome.cut,
    )


def basis_now(plan: Plan, snapshot: Snapshot, placement: Placement) -> Basis:
    """The facts that the plan was decided on, as they are now; compare with ``plan.basis``."""
    hosts = frozenset(fact.host for fact in plan.basis.hosts)
    return basis_for(hosts, snapshot.hosts, placement)


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
