"""From a set of moves to an order of them: sequence, what waits for what, and when.

List scheduling: what has room starts; a circle of full hosts is broken through a temporary
host, and what still cannot be ordered is left out and named.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from itertools import chain

import numpy as np

from sidestep.planning.model import Move, Problem
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering import stuck, timing
from sidestep.planning.ordering.keys import full
from sidestep.planning.ordering.ledger import Demand, Room, total
from sidestep.planning.ordering.model import Cancelled, Caps, Lack, Schedule
from sidestep.planning.ordering.parking import Known, unblock
from sidestep.planning.ordering.sequence import Sequence
from sidestep.planning.ordering.waits import Sequenced, waits

#: orders that are tried while some parked shard could not go on, and from which on moves are left out for it
ATTEMPTS, DROPS = 10, 1


def schedule(
    problem: Problem, moves: Several[Move], *, caps: Caps, transfer_s: F64, deadlines: F64, step: float
) -> Schedule:
    """Order moves so that every prefix is feasible and no worse than the start.

    ``transfer_s`` (N,) is what moving each shard takes, ``deadlines`` (M,) when each move has to
    be over, both in seconds, from now; infinite for none. ``step`` is the seconds of a step of
    the horizon. Every shard moves at most once, from where it is.

    Raises ``ValueError`` for moves that are not of this problem.
    """
    shard, source, target, relieves = _columns(problem, moves, deadlines)
    left_out = _refused(problem, shard, source, target)
    run = np.flatnonzero(~left_out.any(axis=0))
    peak = _peak(problem, shard[run], source[run], target[run])
    sequence, pending, room = _sequence(problem, peak, shard[run], source[run], target[run],
                                        (deadlines - transfer_s[shard])[run])  # fmt: skip
    codes = ["IMMOVABLE", "CLOSED", "GROUP_FULL"]
    cancelled = [Cancelled(int(move), codes[int(np.argmax(left_out[:, move]))])
                 for move in np.flatnonzero(left_out.any(axis=0))]  # fmt: skip
    first_empty: tuple[Lack, ...] = ()
    if len(pending):
        named, first_empty = stuck.explain(sequence, pending)
        cancelled += [Cancelled(int(run[job]), code, lack) for job, code, lack in named]
    made = sequence.rows
    job = np.array(made.job, dtype=np.int64)
    parks = np.array(made.parks, dtype=np.bool_)
    rows = Sequenced(sequence.shard[job], np.array(made.source, dtype=np.int64),
                     np.array(made.destination, dtype=np.int64), np.array(made.wave, dtype=np.int64),
                     np.where(parks, 0, sequence.since[job]))  # fmt: skip
    number = np.where(job < len(run), run[np.minimum(job, max(len(run) - 1, 0))], -1) if len(run) else job
    # a shard that only makes room serves whom its room is for, not a duty of its own
    extra = (number < 0) | parks
    deadline = np.where(extra, np.inf, deadlines[np.maximum(number, 0)] if len(deadlines) else np.inf)
    return _timed(
        problem, room, rows, caps=caps, transfer=transfer_s[rows.shard], deadline=deadline, step=step,
        number=number, relieves=np.where(number >= 0, relieves[np.maximum(number, 0)] if len(relieves) else 0, -1),
        parks=extra, step_of=sequence.step_of, cancelled=tuple(sorted(cancelled)), first_empty=first_empty,
    )  # fmt: skip


def _columns(problem: Problem, moves: Several[Move], deadlines: F64) -> tuple[I64, I64, I64, I64]:
    table = np.fromiter(chain.from_iterable(moves), dtype=np.int64, count=4 * len(moves)).reshape(-1, 4)
    shard, source, target, relieves = table.T.copy()
    if len(deadlines) != len(table):
        raise ValueError(f"{len(table)} moves have {len(deadlines)} deadlines")
    if len(np.unique(shard)) != len(shard):
        raise ValueError("a shard is moved twice")
    if ((shard < 0) | (shard >= problem.shards) | (target < 0) | (target >= problem.hosts)).any():
        raise ValueError("a move names a shard or a host that is not there")
    if (problem.host[shard] != source).any() or (source == target).any():
        raise ValueError("a move does not begin where its shard is, or ends there")
    return shard, source, target, relieves


def _refused(problem: Problem, shard: I64, source: I64, target: I64) -> Mask:
    """(3, M) moves whose shard may not leave, whose destination does not receive it whatever is done, and
    those within a group that has no domain left to move to."""  # fmt: skip
    rules = problem.constraints
    stays = ~problem.movable[shard] | ((source >= 0) & ~problem.gives[np.maximum(source, 0)])
    closed = ~problem.accepts[target] | ~rules.masks[rules.mask[shard], target]
    return np.stack([stays, closed, full(problem, shard, source, target)])


def _peak(problem: Problem, shard: I64, source: I64, target: I64) -> float:
    """The greatest predicted share of a limit before or after all moves; after them no contention counts."""
    before = Room(problem, np.inf)
    parts = Demand(problem, shard).parts
    leaves = source >= 0
    gone = total(parts[:, leaves], source[leaves], problem.hosts)
    upper = before.upper(np.arange(problem.hosts), gone, total(parts, target, problem.hosts))
    return max(share(problem, before.start), min(share(problem, upper), 1.0))


def share(problem: Problem, upper: F64) -> float:
    """The greatest share of a limit in demand (H, D); columns without a known or finite limit do not count."""
    counts = np.isfinite(problem.limit) & (problem.limit > 0) & np.isfinite(upper)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.max(np.where(counts, upper / problem.limit, 0.0), initial=0.0))


def _sequence(
    problem: Problem, peak: float, shard: I64, source: I64, target: I64, latest: F64
) -> tuple[Sequence, I64, Room]:
    """A sequence, and the jobs that are left; without parking what could not go on from where it was parked.

    If that does not help, the moves that could not go on are left out from the beginning: their
    circle holds up nothing else then.
    """
    kept: frozenset[int] = frozenset()
    dropped = np.zeros(0, dtype=np.int64)
    for attempt in range(ATTEMPTS):
        room = Room(problem, peak)
        known: Known = {}
        sequence = Sequence(problem, room, shard, source, target, latest)
        pending = sequence.run(sequence.begin(dropped))
        while len(pending):
            changed = room.relax()
            if not changed and attempt < ATTEMPTS - 1:
                more = unblock(sequence, pending, kept, known)
                pending, changed = (pending, False) if more is None else (more, True)
            if not changed and not sequence.later(pending):
                break
            pending = sequence.run(pending)
        _without_detours(sequence, len(shard))
        strayed = sequence.parked.keys() & set(sequence.shard[pending].tolist())
        if not strayed:
            break
        kept |= strayed
        if attempt >= DROPS:
            dropped = np.union1d(dropped, pending[pending < len(shard)])
    return sequence, np.concatenate([pending, dropped]), room


def _without_detours(sequence: Sequence, jobs: int) -> None:
    """Drop what was parked and came back after the last move of the plan: it helped nothing."""
    rows = sequence.rows
    last = max((at for at, job in enumerate(rows.job) if job < jobs), default=-1)
    tail = rows.job[last + 1 :]
    if tail and all(tail.count(job) == 2 for job in tail):
        rows.cut(last + 1)


def _timed(
    problem: Problem, room: Room, rows: Sequenced, *, caps: Caps, transfer: F64, deadline: F64, step: float,
    number: I64, relieves: I64, parks: Mask, step_of: I64, cancelled: tuple[Cancelled, ...],
    first_empty: tuple[Lack, ...],
) -> Schedule:  # fmt: skip
    after = timing.Waits(*waits(problem, room, rows, step_of), rows.wave)
    hard = rows.since.astype(np.float64) * step
    latest = timing.latest_starts(after, deadline, transfer)
    slots = timing.Slots(problem, caps, rows.shard, rows.source, rows.destination)
    soon = timing.soonest(after, hard, transfer)
    rank = _places(np.lexsort((np.arange(len(latest)), latest)))
    begin = timing.troughs(problem, (rows.source, rows.destination), _spare(problem, room), soon, latest, transfer,
                           slots, step)  # fmt: skip
    start = timing.simulate(after, begin, transfer, rank, slots)
    if (start > latest + 1e-9).any() and (begin > soon).any():
        start = timing.simulate(after, hard, transfer, rank, slots)
    order = np.lexsort((np.arange(len(start)), rows.wave, start))
    wave = timing.waves(order, after, slots).astype(np.int32)
    place = _places(order)
    count = max(len(order), 1)
    pairs = np.sort(place[after.row] * count + place[after.other])
    ptr = np.searchsorted(pairs, np.arange(len(order) + 1) * count).astype(np.int64)
    made = Schedule(
        move=number[order],
        shard=rows.shard[order].astype(np.int32),
        source=rows.source[order].astype(np.int32),
        destination=rows.destination[order].astype(np.int32),
        relieves=relieves[order].astype(np.int32),
        parks=parks[order],
        wave=wave[order],
        earliest=hard[order],
        start=start[order],
        latest=latest[order],
        late=np.maximum(np.where(np.isfinite(latest), start - latest, 0.0), 0.0)[order],
        transfer=transfer[order],
        after=(ptr, (pairs % count).astype(np.int32)),
        cancelled=cancelled,
        first_empty=first_empty,
        ceiling=room.peak,
        step=step,
    )
    for value in (*vars(made).values(), *made.after):
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return made


def _places(order: I64) -> I64:
    """The inverse of a permutation."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def _spare(problem: Problem, room: Room) -> F64:
    """(H, T) the least share of capacity that each host has free at each step, as things stand."""
    count = problem.timed
    with np.errstate(invalid="ignore", divide="ignore"):
        free = (problem.room[:, :count] - room.start[:, :count]) / problem.capacity[:, :count]
    free = np.where(np.isnan(free), np.inf, free).reshape(problem.hosts, problem.dimensions, problem.steps)
    return np.asarray(free.min(axis=1, initial=np.inf), dtype=np.float64)
