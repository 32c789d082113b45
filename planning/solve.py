"""One planning run over arrays: which moves, in which order, and what is left undone and why.

Shared by the plan from the forecast and by the one from present load alone, so that the
difference between the two is the forecast's doing and nothing else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sidestep.fleet.plans import Plan
from sidestep.planning.build import CONTENTION, Built
from sidestep.planning.explain import Timed
from sidestep.planning.goals import Goal
from sidestep.planning.model import Budget, Duty, Left, Move, Outcome, Problem, State
from sidestep.planning.ordering import Caps, Schedule, schedule, verify
from sidestep.planning.places import places
from sidestep.planning.relief import relieve
from sidestep.planning.relief.goals import Tasks
from sidestep.planning.rows import DOMAINS
from sidestep.planning.transfer import TransferModel
from sidestep.planning.undone import waiting

Progress = Callable[[Outcome], None]

#: a plan already shown is kept while it carries at most this many times the bytes of another one
STICKY = 1.10


@dataclass(frozen=True, eq=False)
class Solution:
    """The moves of rows in an order that is safe, when each may run, and what stays undone."""

    built: Built
    outcome: Outcome
    moves: tuple[Move, ...] = ()
    times: tuple[Timed, ...] = ()
    left: tuple[Left, ...] = ()
    #: "" or what the replay of the finished plan found
    flaw: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a run is to be made: the same values make the same plan."""

    created: float
    transfer: TransferModel
    budget: Budget
    previous: tuple[Move, ...] = ()
    progress: Progress | None = None
    #: goals for destinations; none are the policy's own, without those of plugins
    places: tuple[Goal, ...] = ()


def solve(built: Built, asked: Asked) -> Solution:
    """Do as many duties as can be done, in their order, with the fewest moves, and put the moves in order.

    First so that hosts stay under their limits at the strict quantile; where that cannot be
    had, at lower ones, down to that at which they are no longer predicted contention. Where it can,
    of as many moves rather those that keep hosts under their limits at a higher quantile.
    """
    todo, held = waiting(built)
    problem = built.problem
    outcome = _kept_or_lighter(built, todo, asked)
    hopeless = _hopeless(built, outcome)
    for quantile in built.load.gentler if hopeless else ():
        gentler = built.gentler(problem, hopeless, quantile)
        second = _run(built, gentler, todo, replace(asked, previous=outcome.moves or asked.previous))
        if _undone(second) < _undone(outcome):
            problem, outcome = gentler, second
            hopeless = _hopeless(built, outcome, churn=True)
        if not hopeless:
            break
    if problem is built.problem:
        outcome = _roomier(built, todo, outcome, asked)
    built = replace(built, problem=problem)
    if not outcome.moves:
        return Solution(built, outcome, left=(*outcome.left, *held))
    return _ordered(built, outcome, held, asked)


def budget_of(built: Built, expired: Callable[[], bool] | None = None) -> Budget:
    """What the policy allows."""
    made = Budget(iterations=built.policy.iterations, seed=built.policy.seed)
    return replace(made, expired=expired) if expired is not None else made


def same_moves(built: Built, previous: Plan | None) -> tuple[Move, ...]:
    """The moves of a plan shown before that could still be made."""
    if previous is None:
        return ()
    rules, found = built.rules, dict[int, Move]()
    for action in previous.actions:
        shard, to = rules.shard_row.get(action.shard), rules.host_row.get(action.destination)
        owner = rules.placement.owners.get(action.shard)
        if action.kind not in ("migrate", "failover") or action.parked or shard is None or to is None or owner is None:
            continue
        row = int(built.rows.row_of[shard])
        source = int(built.problem.host[row])
        if owner.token != action.token or source < 0 or source == to or not built.problem.movable[row]:
            continue
        relieves = rules.host_row.get(action.evidence.host) if action.evidence else None
        found[row] = Move(row, source, to, source if relieves is None else relieves)
    return tuple(found.values())


def _kept_or_lighter(built: Built, todo: tuple[Duty, ...], asked: Asked) -> Outcome:
    """The best plan that keeps what was shown before; where bytes count, unless another carries far fewer."""
    outcome = _run(built, built.problem, todo, asked)
    if built.policy.prefer != "bytes" or not asked.previous:
        return outcome
    fresh = _run(built, built.problem, todo, replace(asked, previous=()))
    carried = [float(built.problem.bytes[[m.shard for m in one.moves]].sum()) for one in (fresh, outcome)]
    lighter = carried[0] * STICKY < carried[1] and _undone(fresh) <= _undone(outcome)
    return fresh if lighter or _undone(fresh) < _undone(outcome) else outcome


def _hopeless(built: Built, outcome: Outcome, *, churn: bool = False) -> frozenset[int]:
    """Hosts that stay in contention and may be judged at lower quantiles; where it is unlikely these would see none."""
    least = built.policy.min_probability
    return frozenset(
        one.duty.host
        for one in outcome.left
        if one.duty.level == CONTENTION
        and (churn or one.code != "CHURN")
        and any(c.measured or c.probability >= least for c in built.contentions[one.duty.host])
    )


def _roomier(built: Built, todo: tuple[Duty, ...], outcome: Outcome, asked: Asked) -> Outcome:
    """A plan that costs no more and leaves more room, at the highest quantile at which there is one; else this one.

    A host that is only just relieved at the policy's quantile is in contention again with the next forecast that is
    a little higher, and who gave it a shard moves another one. What is proven is proven of the policy's quantile.
    """
    problem, policy = built.problem, built.policy
    if outcome.left or not outcome.moves or problem.certain or outcome.cut:
        return outcome
    tasks = Tasks(problem, todo, asked.previous, policy.prefer)
    most = tasks.cost(outcome.moves)[0]
    spent = outcome.iterations
    for quantile in built.load.stricter:
        left = asked.budget.iterations - spent
        if left <= 0:
            break
        fewer = replace(asked, budget=replace(asked.budget, iterations=left), progress=None)
        found = _run(built, built.stricter(quantile), todo, fewer)
        spent += found.iterations
        cheap = not found.left and not found.cut and tasks.cost(found.moves)[0] <= most
        direct = all(move.source == move.relieves for move in found.moves)  # nobody makes way for room that is a bonus
        if cheap and direct and tasks.done(State(problem, found.moves)).all():
            return replace(outcome, moves=found.moves, iterations=spent)
    return outcome


def _run(built: Built, problem: Problem, todo: tuple[Duty, ...], asked: Asked) -> Outcome:
    last = Outcome(moves=())
    policy = built.policy
    for last in relieve(
        problem,
        todo,
        budget=asked.budget,
        max_moves=policy.max_moves,
        prefer=policy.prefer,
        places=asked.places or places(built),
        previous=asked.previous,
    ):
        if asked.progress is not None:
            asked.progress(last)
    return last


def _undone(outcome: Outcome) -> tuple[tuple[int, float], ...]:
    """By level how much is undone, and how soon that is."""
    levels = sorted({one.duty.level for one in outcome.left} | {CONTENTION})
    return tuple(
        (sum(one.duty.level == level for one in outcome.left),
         -sum(one.duty.lead for one in outcome.left if one.duty.level == level))
        for level in levels
    )  # fmt: skip


def _ordered(built: Built, outcome: Outcome, held: tuple[Left, ...], asked: Asked) -> Solution:
    problem = built.problem
    # of all shards: what is parked to make room may be none of the outcome's
    seconds = asked.transfer.seconds(problem.bytes)
    caps = _caps(built)
    deadlines = np.array([_deadline(built, move, asked.created) for move in outcome.moves]) - asked.created
    made = schedule(
        problem,
        outcome.moves,
        caps=caps,
        transfer_s=seconds,
        deadlines=deadlines,
        step=built.load.step,
    )
    flaw = verify(problem, made, caps)
    left = [*outcome.left, *held]
    dropped = {outcome.moves[one.move].relieves: one for one in made.cancelled}
    for duty in built.duties:
        one = dropped.get(duty.host)
        if one is not None and all(other.duty is not duty for other in left):
            lacks = tuple((lack.host, lack.column, lack.amount) for lack in (one.lack, *made.first_empty[:1]) if lack)
            left.append(Left(duty=duty, code="NO_ORDER", shard=outcome.moves[one.move].shard, lacks=lacks))
    return Solution(built, outcome, made.moves, _times(made, asked.created), tuple(left), flaw)


def _deadline(built: Built, move: Move, created: float) -> float:
    """When a move must have ended: before the contention that it is made for, less the margin."""
    contention = next(iter(built.contentions.get(move.relieves, ())), None)
    return contention.starts_at - built.policy.margin if contention else created + built.policy.expire


def _caps(built: Built) -> Caps:
    policy, apps = built.policy, built.rules.snapshot.shards.apps
    known: dict[str, int] = {}
    numbers = [known.setdefault(apps[part[0]], len(known)) for part in built.rows.shards]
    return Caps(
        host=policy.concurrent_per_host,
        domain=policy.concurrent_per_zone,
        kind=DOMAINS.index("zone"),
        app=policy.concurrent_per_app,
        fleet=policy.concurrent,
        apps=np.array(numbers, dtype=np.int32),
    )


def _times(made: Schedule, created: float) -> tuple[Timed, ...]:
    return tuple(
        Timed(
            after=tuple(made.waits(row).tolist()),
            wave=int(made.wave[row]),
            earliest=created + float(made.earliest[row]),
            latest=created + float(made.latest[row]),
            parked=bool(made.parks[row]),
        )
        for row in range(len(made))
    )
