"""Words and evidence: why this action, what else was looked at, how hosts look before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.fleet.contention import at_quantile, exceedance, sustained, thresholds
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Action, Alternative, Evidence, Outlook, Reason
from sidestep.fleet.resources import DIMENSIONS, show_seconds, show_size
from sidestep.planning.load import Load
from sidestep.planning.order import waits
from sidestep.planning.rules import WHY_HOST_NOT, Rules
from sidestep.planning.solve import Solution, hot_hosts
from sidestep.planning.transfer import TransferModel
from sidestep.planning.trial import TOLERANCE, Move, Trial, arrivals, spare
from sidestep.planning.uncertainty import F64

#: points of a curve, and rejected alternatives, that an action carries
POINTS = 60
ALTERNATIVES = 3


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that an explanation looks at."""

    load: Load
    rules: Rules
    policy: Policy
    transfer: TransferModel
    created: float


def actions(context: Context, moves: tuple[Move, ...], reason: Reason | None = None) -> tuple[Action, ...]:
    """The moves as actions, in order; ``reason`` replaces the planner's own."""
    rules, load = context.rules, context.load
    hot, final = hot_hosts(load, rules), Trial(load, rules, moves)
    trial = Trial(load, rules)
    waiting = waits(load, rules, moves)
    latest = _latest_starts(context, moves, waiting, hot)
    made: list[Action] = []
    for at, move in enumerate(moves):
        contention = hot[move.relieves][0] if move.relieves in hot else None
        size = float(load.bytes[move.shard])
        seconds, freeze = context.transfer.estimate(size)
        source, shard = rules.host_names[move.source], rules.shard_names[move.shard]
        made.append(
            Action(
                id=at + 1,
                shard=shard,
                source=source,
                destination=rules.host_names[move.destination],
                token=rules.placement.owners[shard].token,
                priority=priority(contention, context.policy),
                reason=reason or _reason(rules, moves, at, contention),
                evidence=evidence(context, final, contention) if contention else None,
                alternatives=alternatives(trial, move, frozenset(hot)),
                bytes=int(size),
                transfer_s=seconds,
                freeze_ms=freeze,
                latest_start=latest[at],
                after=tuple(earlier + 1 for earlier in waiting[at]),
                undo=scrub(f"move {shard} back to {source}"),
            )
        )
        trial.push(move)
    return tuple(made)


def _latest_starts(
    context: Context,
    moves: tuple[Move, ...],
    waiting: tuple[tuple[int, ...], ...],
    hot: dict[int, list[Contention]],
) -> list[float]:
    """Contention less transfer less margin; what others wait for must be done before their latest start."""
    latest = [0.0] * len(moves)
    for at in reversed(range(len(moves))):
        move = moves[at]
        seconds = context.transfer.estimate(float(context.load.bytes[move.shard]))[0]
        contention = hot.get(move.relieves)
        end = contention[0].starts_at - context.policy.margin if contention else context.created + context.policy.expire
        ends = [latest[later] for later in range(at + 1, len(moves)) if at in waiting[later]]
        latest[at] = min([end, *ends]) - seconds
    return latest


def priority(contention: Contention | None, policy: Policy) -> int:
    """1 (nearly sure and soon) to 5; 3 for what no contention asks for."""
    if contention is None:
        return 3
    doubt = (contention.probability < 0.9) + (contention.probability < 0.7)
    time = (contention.lead > policy.horizon / 3) + (contention.lead > policy.horizon * 2 / 3)
    return 1 + doubt + time


def evidence(context: Context, final: Trial, contention: Contention) -> Evidence:
    """The forecast of the host that is relieved, before and after the whole plan."""
    load, policy = context.load, context.policy
    host, dimension = context.rules.host_row[contention.host], DIMENSIONS.index(contention.dimension)
    steps = load.median.shape[2]
    points = np.unique(np.linspace(0, steps - 1, min(steps, POINTS)).round().astype(np.int64))
    before = load.quantiles[host].astype(np.float64)

    def curve(values: F64) -> tuple[float, ...]:
        return tuple((values[dimension, points] / max(float(load.capacity[host, dimension]), 1e-9)).round(4).tolist())

    return Evidence(
        host=contention.host,
        dimension=contention.dimension,
        threshold=float(thresholds(policy)[dimension]),
        quantile=policy.quantile,
        probability=contention.probability,
        starts_at=contention.starts_at,
        lead=contention.starts_at - context.created,
        times=tuple((load.time + (points + 1) * load.step - context.created).round(3).tolist()),
        median=curve(load.median[host]),
        upper=curve(_level(before, policy)),
        upper_after=curve(_level(final.quantiles(host), policy)),
    )


def _level(quantiles: F64, policy: Policy) -> F64:
    return at_quantile(quantiles, policy.quantile)  # type: ignore[arg-type]


def outlook(context: Context, moves: tuple[Move, ...]) -> tuple[Outlook, ...]:
    """Every touched and every hot host, per planned dimension of known capacity, by name."""
    load, rules = context.load, context.rules
    trial = Trial(load, rules, moves)
    rows = set(hot_hosts(load, rules)) | {m.source for m in moves} | {m.destination for m in moves}
    made: list[Outlook] = []
    for row in sorted(rows, key=lambda r: rules.host_names[r]):
        before, after = load.quantiles[row].astype(np.float64), trial.quantiles(row)
        chances = [sustained(exceedance(q, load.limit[row]), load.duration) for q in (before, after)]  # type: ignore[arg-type]
        peaks = [_level(q, context.policy).max(axis=1) / load.capacity[row] for q in (before, after)]
        for dimension in np.flatnonzero(np.isfinite(load.capacity[row]) & np.isfinite(peaks[0])).tolist():
            made.append(
                Outlook(
                    host=rules.host_names[row],
                    dimension=DIMENSIONS[dimension],
                    capacity=float(load.capacity[row, dimension]),
                    peak_before=float(peaks[0][dimension]),
                    peak_after=float(peaks[1][dimension]),
                    probability_before=float(chances[0][dimension]),
                    probability_after=float(chances[1][dimension]),
                )
            )
    return tuple(made)


def alternatives(trial: Trial, move: Move, hot: frozenset[int]) -> tuple[Alternative, ...]:
    """The best destinations that were not taken, as things stood when the move was chosen."""
    load, rules = trial.load, trial.rules
    rows = np.arange(len(rules.host_names))
    upper = arrivals(load, move.shard)
    for row in set(trial.gone) | set(trial.come):
        upper[row] = trial.upper(row, load.strict, [move.shard], leaving=False)
    room = spare(load, rows, upper)
    with np.errstate(invalid="ignore", divide="ignore"):
        peak = (upper.max(axis=2) / load.capacity).max(axis=1)
    avoids = bool(rules.conflicts(move.shard))
    blocked = np.array([avoids and trial.avoided(move.shard, row) for row in rows.tolist()], dtype=np.bool_)
    closed = np.isin(rows, list(hot))
    grade = np.select([~rules.accepts, closed, blocked, room < -TOLERANCE], [4, 3, 2, 1], 0)
    usable = np.isfinite(peak) & (rows != move.source) & (rows != move.destination)
    order = np.lexsort((rules.rank, peak, grade))
    taken = room[move.destination]
    made: list[Alternative] = []
    for row in [r for r in order.tolist() if usable[r]][:ALTERNATIVES]:
        if grade[row] == 4:
            reason = Reason(rules.received[row], Label(WHY_HOST_NOT[rules.received[row]]))
        elif grade[row] == 3:
            reason = Reason("HOT", Label("is in predicted contention itself"))
        elif grade[row] == 2:
            reason = Reason("AVOID", Label("holds a shard that must not meet this one"))
        elif grade[row] == 1:
            reason = Reason("NO_ROOM", scrub(f"would lack {-room[row]:.0%} of its capacity"))
        elif room[row] <= taken:
            reason = Reason("HOTTER", scrub(f"would keep {room[row]:.0%} of its capacity free, not {taken:.0%}"))
        else:
            reason = Reason("RESERVED", Label("its room is needed by other moves of this plan"))
        made.append(Alternative(rules.host_names[row], reason, round(float(peak[row]), 4)))
    return tuple(made)


def _reason(rules: Rules, moves: tuple[Move, ...], at: int, contention: Contention | None) -> Reason:
    move = moves[at]
    if move.source != move.relieves:
        guest = next((m for m in moves[at:] if m.destination == move.source), move)
        text = f"makes room on {rules.host_names[move.source]} for {rules.shard_names[guest.shard]}"
        return Reason("MAKES_ROOM", scrub(text))
    if contention is None:
        return Reason("OPERATOR", Label("an operator asked for it"))
    text = f"takes {contention.host} out of {contention.dimension} contention predicted in "
    return Reason(
        "RELIEVES", scrub(text + f"{show_seconds(contention.lead)} (probability {contention.probability:.2f})")
    )


def summary(context: Context, solution: Solution) -> Label:
    """One line: what moves, for what, and what stays."""
    load, rules, moves = context.load, context.rules, solution.moves
    hot = hot_hosts(load, rules)
    size = show_size(sum(float(load.bytes[m.shard]) for m in moves))
    served = dict.fromkeys(m.relieves for m in moves)
    first = [hot[row][0] for row in served if row in hot]
    goals = [f"{c.host} {c.dimension} in {show_seconds(c.lead)}, probability {c.probability:.2f}" for c in first[:3]]
    text = f"{named(rules, moves)} ({size}) before predicted contention: {'; '.join(goals)}"
    if len(first) > 3:
        text += f" and {len(first) - 3} more"
    if solution.left:
        stays = [f"{rules.host_names[row]} {why.code}" for row, why in solution.left.items()]
        text += f"; stays hot: {', '.join(stays[:3])}" + (f" and {len(stays) - 3} more" if len(stays) > 3 else "")
    return scrub(text)


def named(rules: Rules, moves: tuple[Move, ...]) -> str:
    """The moves in words, the first two by name."""
    shown = [f"{rules.shard_names[m.shard]} to {rules.host_names[m.destination]}" for m in moves[:2]]
    more = f" and {len(moves) - 2} more" if len(moves) > 2 else ""
    return "moves " + ", ".join(shown) + more


def difference(rules: Rules, planned: tuple[Move, ...], present: Solution) -> Label:
    """One line: what would have been planned from present load alone."""
    if not present.moves:
        why = f" ({next(iter(present.left.values())).code})" if present.left else ""
        return Label(f"from present load alone: no move{why}")
    same = {(m.shard, m.destination) for m in planned} == {(m.shard, m.destination) for m in present.moves}
    return scrub("from present load alone: " + ("the same moves" if same else named(rules, present.moves)))
