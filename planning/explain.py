"""Words and evidence: why this action, what stays undone and why, and a plan in one line."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Reason
from sidestep.fleet.resources import show_seconds, show_size
from sidestep.planning.build import Built
from sidestep.planning.curves import evidence
from sidestep.planning.model import Duty, Move, State
from sidestep.planning.rejected import alternatives
from sidestep.planning.transfer import TransferModel


@dataclass(frozen=True, kw_only=True)
class Timed:
    """When a move may run: the positions of the moves it waits for, and unix times."""

    after: tuple[int, ...] = ()
    wave: int = 0
    earliest: float = 0.0
    latest: float = 0.0
    parked: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that an explanation looks at."""

    built: Built
    transfer: TransferModel
    created: float
    #: duties that the plan does not do
    undone: tuple[Duty, ...] = ()


def actions(
    context: Context, moves: tuple[Move, ...], times: tuple[Timed, ...], reason: Reason | None = None
) -> tuple[Action, ...]:
    """The moves of rows as actions of shards, in order; ``reason`` replaces the planner's own."""
    built, rules = context.built, context.built.rules
    final, state = State(built.problem, moves_once(moves)), State(built.problem)
    hot = {duty.host for duty in context.undone if duty.kind == "contention"}
    made: list[Action] = []
    first: list[int] = []
    for at, (move, time) in enumerate(zip(moves, times, strict=True)):
        contention = None if move.relieves in hot else next(iter(built.contentions.get(move.relieves, ())), None)
        rejected = alternatives(built, state, move, final)
        why = reason or _reason(context, moves, times, at, contention)
        first.append(len(made) + 1)
        for part in built.shards(move):
            shard, source = rules.shard_names[part.shard], rules.host_names[part.source]
            size = float(built.load.bytes[part.shard])
            seconds, freeze = context.transfer.estimate(size)
            saves = why.code == "FAILS_OVER"
            made.append(
                Action(
                    id=len(made) + 1,
                    kind="failover" if saves else "migrate",
                    shard=shard,
                    source=source,
                    destination=rules.host_names[part.destination],
                    token=rules.placement.owners[shard].token,
                    priority=1 if saves else priority(contention, built.policy),
                    reason=why,
                    evidence=evidence(built, final, contention, context.created) if contention else None,
                    alternatives=rejected,
                    bytes=int(size),
                    transfer_s=seconds,
                    freeze_ms=0.0 if saves else freeze,
                    # nobody serves it now: it is never too late, and waits for nothing but what must come before
                    latest_start=0.0 if saves else time.latest,
                    earliest=0.0 if saves else time.earliest,
                    wave=time.wave,
                    parked=time.parked,
                    after=tuple(first[earlier] for earlier in time.after),
                    undo=scrub(f"move {shard} back to {source}" + (" once that is READY" if saves else "")),
                )
            )
        _made(state, move)
    return tuple(made)


def moves_once(moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """The same end with every shard moved once: what was only parked on the way left out."""
    ends: dict[int, Move] = {}
    for move in moves:
        begun = ends.get(move.shard)
        ends[move.shard] = move._replace(source=begun.source) if begun else move
    return tuple(move for move in ends.values() if move.source != move.destination)


def _made(state: State, move: Move) -> None:
    """One more move on a trial, also of a shard that moved before."""
    before = next((m for m in state.moves if m.shard == move.shard), None)
    if before is not None:
        state.take(move.shard)
        move = move._replace(source=before.source)
    if move.source != move.destination:
        state.push(move)


def priority(contention: Contention | None, policy: Policy) -> int:
    """1 (nearly sure and soon) to 5 (unlikely, or doubtful and late); 3 for what no contention asks for."""
    if contention is None:
        return 3
    doubt = (contention.probability < 0.9) + (contention.probability < 0.7)
    unlikely = contention.probability < policy.min_probability and not contention.measured
    time = (contention.lead > policy.horizon / 3) + (contention.lead > policy.horizon * 2 / 3)
    return min(5, 1 + doubt + unlikely + time)


def duty_of(context: Context, move: Move, earlier: tuple[Move, ...] = ()) -> Duty | None:
    """The duty that a move serves directly: the one about its shard, else the one about its host.

    A broken rule that ``earlier`` moves have repaired already is no reason any more.
    """
    undone, gone = {id(duty) for duty in context.undone}, {one.shard for one in earlier}
    served = [d for d in context.built.duties if id(d) not in undone]
    served = [d for d in served if d.kind != "rule" or len(gone & set(d.shards)) < d.least]
    served = [d for d in served if d.host == move.relieves or move.shard in d.shards]
    about = [d for d in served if move.shard in d.shards]
    return next(iter(about or [d for d in served if d.kind == "contention" and d.host == move.source]), None)


def _reason(
    context: Context, moves: tuple[Move, ...], times: tuple[Timed, ...], at: int, contention: Contention | None
) -> Reason:
    built, move, rules = context.built, moves[at], context.built.rules
    if times[at].parked:
        return Reason("PARKS", Label("steps aside, so that a circle of full hosts can be undone"))
    duty = duty_of(context, move, moves[:at])
    name, source = rules.shard_names[built.rows.shards[move.shard][0]], rules.host_names[move.source]
    known = {
        "rule": Reason("REPAIRS", scrub(f"{name} must not be on {source}: {_broken(built, move)}")),
        "drain": Reason("DRAINS", scrub(f"{source} is being drained")),
        "failover": Reason("FAILS_OVER", scrub(f"{source} is lost")),
    }
    if duty is not None and duty.kind in known:
        return known[duty.kind]
    if move.source == move.relieves and contention is not None:
        text = f"takes {contention.host} out of {contention.dimension} contention predicted in "
        return Reason(
            "RELIEVES", scrub(text + f"{show_seconds(contention.lead)} (probability {contention.probability:.2f})")
        )
    guest = next((m for m in moves[at + 1 :] if m.destination == move.source), None)
    if guest is None:
        return Reason("MAKES_ROOM", scrub(f"makes room on {source}, which the plan needs"))
    to = rules.shard_names[built.rows.shards[guest.shard][0]]
    return Reason("MAKES_ROOM", scrub(f"makes room on {source} for {to}"))


def _broken(built: Built, move: Move) -> str:
    forbids = built.judged.against(built.rows.shards[move.shard], move.source)
    return f"constraint {forbids[0]} forbids" if forbids else "a rule is broken there"


def summary(context: Context, moves: tuple[Move, ...], left: dict[str, Reason]) -> Label:
    """One line: what moves, for what, and what stays (``left`` by host or rule)."""
    built = context.built
    ends = moves_once(moves)
    size = show_size(float(built.problem.bytes[[m.shard for m in ends]].sum()) if ends else 0.0)
    served = dict.fromkeys(m.relieves for m in moves)
    goals: list[str] = []
    for row in served:
        if row in built.contentions:
            c = built.contentions[row][0]
            goals.append(f"{c.host} {c.dimension} in {show_seconds(c.lead)}, probability {c.probability:.2f}")
    text = f"{named(built, ends)} ({size})"
    if goals:
        text += f" before predicted contention: {'; '.join(goals[:3])}"
        text += f" and {len(goals) - 3} more" if len(goals) > 3 else ""
    else:
        text += ": " + "; ".join(dict.fromkeys(_purpose(context, move) for move in ends))
    if left:
        stays = [f"{name} {why.code}" for name, why in left.items()]
        text += f"; stays hot: {', '.join(stays[:3])}" + (f" and {len(stays) - 3} more" if len(stays) > 3 else "")
    return scrub(text)


def _purpose(context: Context, move: Move) -> str:
    duty = duty_of(context, move)
    return {"rule": "repairs a broken rule", "drain": "drains a host", "failover": "fails over"}.get(
        duty.kind if duty else "", "as asked"
    )


def named(built: Built, moves: tuple[Move, ...]) -> str:
    """The moves in words, the first two by name."""
    rules = built.rules
    parts = [part for move in moves for part in built.shards(move)]
    shown = [f"{rules.shard_names[m.shard]} to {rules.host_names[m.destination]}" for m in parts[:2]]
    more = f" and {len(parts) - 2} more" if len(parts) > 2 else ""
    return "moves " + ", ".join(shown) + more


def difference(built: Built, planned: tuple[Move, ...], present: tuple[Move, ...], left: dict[str, Reason]) -> Label:
    """One line: what would have been planned from present load alone."""
    if not present:
        why = f" ({next(iter(left.values())).code})" if left else ""
        return Label(f"from present load alone: no move{why}")
    same = {(m.shard, m.destination) for m in planned} == {(m.shard, m.destination) for m in present}
    return scrub("from present load alone: " + ("the same moves" if same else named(built, present)))
