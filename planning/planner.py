"""The planner's entrance: a snapshot and a forecast in, a plan or a reasoned "no plan" out.

Pure and deterministic: no clock, no randomness, no I/O; the same arguments give the same
digest.
"""

from __future__ import annotations

import numpy as np

from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import PLANNER, Basis, NoPlan, Plan, Reason
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import Snapshot, basis_for
from sidestep.planning import explain
from sidestep.planning.load import Load, persistence, read
from sidestep.planning.rules import Rules
from sidestep.planning.solve import keep_previous, solve
from sidestep.planning.transfer import DEFAULT_TRANSFER, TransferModel
from sidestep.planning.trial import Move


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
) -> Plan | NoPlan:
    """Take hosts out of predicted contention with the fewest bytes moved.

    ``busy`` and ``settling`` name hosts and shards that are moving now or moved lately:
    they neither give, receive nor move. ``previous`` is kept, action by action, while it
    still solves the problem at nearly the cost of a new plan. A plan may leave hosts hot;
    its summary says which and why.
    """

    def none(*reasons: Reason) -> NoPlan:
        return NoPlan(created=created, snapshot=snapshot.number, forecast=forecast.id, reasons=reasons)

    refusal = usable(snapshot, forecast)
    if refusal is not None:
        return none(refusal)
    load = read(snapshot, forecast, policy)
    if not load.contentions:
        return none(_nothing_to_do(load, snapshot, policy))
    rules = Rules(snapshot, placement, fleet, busy, settling)
    solution = solve(load, rules, policy)
    if previous is not None and solution.moves:
        solution = keep_previous(load, rules, previous, solution) or solution
    if not solution.moves:
        return none(*solution.left.values())
    context = explain.Context(load=load, rules=rules, policy=policy, transfer=transfer, created=created)
    present = solve(read(snapshot, persistence(snapshot, policy), policy), rules, policy)
    return Plan(
        number=number,
        fleet=fleet.name,
        created=created,
        expires=created + policy.expire,
        author=author,
        snapshot=snapshot.number,
        forecast=forecast.id,
        policy=policy,
        basis=basis_for(involved(rules, solution.moves), snapshot.hosts, placement),
        actions=explain.actions(context, solution.moves),
        outlook=explain.outlook(context, solution.moves),
        without_forecast=explain.difference(rules, solution.moves, present),
        summary=explain.summary(context, solution),
    )


def basis_now(plan: Plan, snapshot: Snapshot, placement: Placement) -> Basis:
    """The facts that the plan was decided on, as they are now; compare with ``plan.basis``."""
    hosts = frozenset(fact.host for fact in plan.basis.hosts)
    return basis_for(hosts, snapshot.hosts, placement)


def involved(rules: Rules, moves: tuple[Move, ...]) -> frozenset[str]:
    """The hosts that any move leaves or enters, and those for whose sake it is made."""
    rows = {row for move in moves for row in (move.source, move.destination, move.relieves)}
    return frozenset(rules.host_names[row] for row in rows)


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
