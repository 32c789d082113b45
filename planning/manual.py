"""An operator's own plan: one shard to one host, refused if it would break something.

The same hard constraints as the planner's; that the move is worth it is the operator's
business, so no contention and no gain are needed. Shards that must stay near it come along.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sidestep.fleet.errors import SidestepError, TooEarly, UsageError
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Plan
from sidestep.fleet.snapshot import Snapshot, basis_for
from sidestep.planning import explain
from sidestep.planning.build import Built, build
from sidestep.planning.constraints import ConstraintMaker
from sidestep.planning.curves import outlook
from sidestep.planning.load import persistence
from sidestep.planning.model import Move, State
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.operators import Asking
from sidestep.planning.planner import involved, usable
from sidestep.planning.rejected import lacking, why_blocked
from sidestep.planning.rules import WHY_HOST_NOT, WHY_SHARD_NOT
from sidestep.planning.transfer import DEFAULT_TRANSFER, TransferModel


def plan_move(
    snapshot: Snapshot,
    forecast: Forecast | None,
    policy: Policy,
    placement: Placement,
    *,
    fleet: FleetSpec,
    shard: str,
    destination: str,
    number: int,
    created: float,
    author: Label,
    reason: str,
    transfer: TransferModel = DEFAULT_TRANSFER,
    constraints: Mapping[str, ConstraintMaker] | None = None,
) -> Plan:
    """A plan of one move. Without a usable forecast the room is judged by present load.

    Raises UsageError for a shard or host that does not exist, SidestepError naming what
    blocks the move for everything else.
    """
    if forecast is None or usable(snapshot, forecast) is not None:
        forecast = persistence(snapshot, policy)
    built = build(snapshot, forecast, policy, placement, fleet, constraints=constraints)
    move = _move(built, shard, destination)
    if not built.load.known[built.rules.shard_row[shard]]:
        forecast = persistence(snapshot, policy)
        built = build(snapshot, forecast, policy, placement, fleet, constraints=built.judged)
    _check(built, move, shard)
    moves = (move,)
    asking = Asking(
        fleet=fleet.name, snapshot=snapshot, policy=policy, placement=placement, number=number, created=created,
        author=author, reason=reason,
    )  # fmt: skip
    seconds = transfer.estimate(float(built.problem.bytes[move.shard]))[0]
    contention = next(iter(built.contentions.get(move.source, ())), None)
    end = contention.starts_at - policy.margin if contention else created + policy.expire
    context = explain.Context(built=built, transfer=transfer, created=created)
    return Plan(
        number=number,
        fleet=fleet.name,
        created=created,
        expires=created + policy.expire,
        author=author,
        snapshot=snapshot.number,
        forecast=forecast.id,
        policy=policy,
        basis=basis_for(involved(built, moves), snapshot.hosts, placement),
        actions=explain.actions(context, moves, (explain.Timed(latest=end - seconds),), asking.why),
        outlook=outlook(built, State(built.problem, moves)),
        without_forecast=explain.difference(built, moves, (), {}),
        summary=asking.summary(explain.named(built, moves)),
    )


def _move(built: Built, shard: str, destination: str) -> Move:
    """The move by rows. Raises for what is unknown, or where the shard is already."""
    rules = built.rules
    row, host = rules.shard_row.get(shard), rules.host_row.get(destination)
    if row is None:
        raise UsageError(f"there is no shard {shard}", hint="sidestep status --json lists all shards")
    if host is None:
        known = ", ".join(rules.host_names[:8])
        raise UsageError(f"there is no host {destination}", hint=f"hosts are {known}")
    source = int(rules.host[row])
    owner = rules.placement.owners.get(rules.shard_names[row])
    if source < 0 or owner is None:
        raise SidestepError(f"shard {shard} runs on no host", hint="start it before moving it")
    if source == host:
        raise SidestepError(f"shard {shard} is on {destination} already")
    return Move(int(built.rows.row_of[row]), source, host, source)


def _check(built: Built, move: Move, name: str) -> None:
    """Raise SidestepError for the first thing that blocks the move."""
    rules, problem = built.rules, built.problem
    source, to = rules.host_names[move.source], rules.host_names[move.destination]
    for row in built.rows.shards[move.shard]:
        shard, code = rules.shard_names[row], rules.kept[row]
        if code:
            why = f": {rules.unable(shard, int(rules.host[row]))}" if code == "INCAPABLE" else ""
            raise SidestepError(f"shard {shard} cannot move: {code}: it {WHY_SHARD_NOT[code]}{why}")
        if not built.load.known[row]:
            raise TooEarly(f"the demand of shard {shard} is not known yet", hint="wait for its first samples")
    if rules.gives(move.source):
        state = rules.snapshot.hosts.states[move.source]
        raise SidestepError(f"shard {name} cannot leave {source}: the host is {state}", hint="wait until it is READY")
    if not problem.accepts[move.destination]:
        code = rules.received[move.destination] or "STANDBY"
        state = rules.snapshot.hosts.states[move.destination]
        raise SidestepError(f"host {to} cannot take shards: {code}: it {WHY_HOST_NOT[code]} (state {state})")
    state_now = State(problem)
    if problem.constraints.blocked(state_now.at, move.shard)[move.destination]:
        avoided = problem.constraints.avoided(move.shard)
        there = [o for o in avoided.tolist() if problem.host[o] == move.destination]
        names = ", ".join(rules.shard_names[built.rows.shards[o][0]] for o in there[:4])
        if names:
            raise SidestepError(f"shard {name} must not share a host with {names}, which {to} holds")
        code, why = why_blocked(built, state_now, move.shard, move.destination)
        raise SidestepError(f"shard {name} may not be on {to}: {code}: it {why}")
    if state_now.spare(move.shard, np.array([move.destination]))[0] < -TOLERANCE:
        raise SidestepError(_no_room(built, state_now, move, name))


def _no_room(built: Built, state: State, move: Move, shard: str) -> str:
    """What is missing, where, and that both ends hold the shard while it moves."""
    problem, to = built.problem, built.rules.host_names[move.destination]
    upper = state.arrivals(move.shard, np.array([move.destination]))[0]
    over = (upper - problem.room[move.destination]) / problem.capacity[move.destination]
    worst = int(np.nanargmax(over))
    amount = lacking(built, move.destination, worst, float(upper[worst] - problem.room[move.destination, worst]))
    missing, dimension = amount.split(" more ")[0], amount.split(" more ")[1].split(" ")[0]
    return (
        f"host {to} has no room for shard {shard}: {dimension} would pass its limit by {missing} "
        f"at the {built.load.strict.level:.0%} quantile, counted from the start of the move because both hosts hold it "
        f"then"
    )
