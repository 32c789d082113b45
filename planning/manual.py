"""An operator's own plan: one shard to one host, refused if it would break something.

The same hard constraints as the planner's; that the move is worth it is the operator's
business, so no contention and no gain are needed.
"""

from __future__ import annotations

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Plan, Reason
from sidestep.fleet.resources import DIMENSIONS, MEMORY, show_size
from sidestep.fleet.snapshot import Snapshot, basis_for
from sidestep.planning import explain
from sidestep.planning.load import Load, persistence, read
from sidestep.planning.planner import involved, usable
from sidestep.planning.rules import WHY_HOST_NOT, WHY_SHARD_NOT, Rules
from sidestep.planning.solve import Solution
from sidestep.planning.transfer import DEFAULT_TRANSFER, TransferModel
from sidestep.planning.trial import Move, Trial


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
) -> Plan:
    """A plan of one move. Without a usable forecast the room is judged by present load.

    Raises UsageError for a shard or host that does not exist, SidestepError naming what
    blocks the move for everything else.
    """
    rules = Rules(snapshot, placement, fleet)
    move = _move(rules, shard, destination)
    if forecast is None or usable(snapshot, forecast) is not None:
        forecast = persistence(snapshot, policy)
    load = read(snapshot, forecast, policy)
    if not load.known[move.shard]:
        forecast = persistence(snapshot, policy)
        load = read(snapshot, forecast, policy)
    _check(load, rules, move)
    context = explain.Context(load=load, rules=rules, policy=policy, transfer=transfer, created=created)
    moves = (move,)
    said = f": {reason}" if reason else ""
    return Plan(
        number=number,
        fleet=fleet.name,
        created=created,
        expires=created + policy.expire,
        author=author,
        snapshot=snapshot.number,
        forecast=forecast.id,
        policy=policy,
        basis=basis_for(involved(rules, moves), snapshot.hosts, placement),
        actions=explain.actions(context, moves, Reason("OPERATOR", scrub(f"{author} asked for it{said}"))),
        outlook=explain.outlook(context, moves),
        without_forecast=explain.difference(rules, moves, Solution((), {})),
        summary=scrub(f"{explain.named(rules, moves)}, asked for by {author}{said}"),
    )


def _move(rules: Rules, shard: str, destination: str) -> Move:
    """The move by rows. Raises for what is unknown, or where the shard is already."""
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
    return Move(row, source, host, source)


def _check(load: Load, rules: Rules, move: Move) -> None:
    """Raise SidestepError for the first thing that blocks the move."""
    shard, source = rules.shard_names[move.shard], rules.host_names[move.source]
    to = rules.host_names[move.destination]
    if rules.kept[move.shard]:
        code = rules.kept[move.shard]
        raise SidestepError(f"shard {shard} cannot move: {code}: it {WHY_SHARD_NOT[code]}")
    if rules.gives(move.source):
        state = rules.snapshot.hosts.states[move.source]
        raise SidestepError(f"shard {shard} cannot leave {source}: the host is {state}", hint="wait until it is READY")
    if rules.received[move.destination]:
        code = rules.received[move.destination]
        state = rules.snapshot.hosts.states[move.destination]
        raise SidestepError(f"host {to} cannot take shards: {code}: it {WHY_HOST_NOT[code]} (state {state})")
    if not load.known[move.shard]:
        raise SidestepError(f"the demand of shard {shard} is not known yet", hint="wait for its first samples")
    trial = Trial(load, rules)
    others = [o for o in sorted(rules.conflicts(move.shard)) if rules.host[o] == move.destination]
    if others:
        names = ", ".join(rules.shard_names[o] for o in others[:4])
        raise SidestepError(f"shard {shard} must not share a host with {names}, which {to} holds")
    if not trial.fits(move.destination, move.shard):
        raise SidestepError(_no_room(load, trial, move, shard, to))


def _no_room(load: Load, trial: Trial, move: Move, shard: str, to: str) -> str:
    """What is missing, where, and that both ends hold the shard while it moves."""
    upper = trial.upper(move.destination, load.strict, [move.shard]).max(axis=1)
    limit = load.limit[move.destination]
    worst = int(((upper - limit) / load.capacity[move.destination]).argmax())
    lack = float(upper[worst] - limit[worst])
    amount = show_size(lack) if worst == MEMORY else f"{lack:.2f} cores"
    return (
        f"host {to} has no room for shard {shard}: {DIMENSIONS[worst]} would pass its limit by {amount} "
        f"at the {load.strict.level:.0%} quantile, counted from the start of the move because both hosts hold it then"
    )
