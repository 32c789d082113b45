"""What could not be ordered, and which host must be emptied first for an order to exist."""

from __future__ import annotations

import numpy as np

from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering.model import Lack
from sidestep.planning.ordering.parking import hopeful
from sidestep.planning.ordering.sequence import Sequence

#: hosts that are tried to be emptied, and that are named
TRIED, NAMED = 16, 5


def explain(sequence: Sequence, pending: I64) -> tuple[list[tuple[int, str, Lack | None]], tuple[Lack, ...]]:
    """Every pending job with code and lack; the hosts to be emptied, the one that frees most first."""
    waits = set(hopeful(sequence, pending).tolist())
    over = sequence.over(pending)
    named: list[tuple[int, str, Lack | None]] = []
    for place, job in enumerate(pending.tolist()):
        code = "NO_ORDER" if job in waits else "NO_ROOM" if over[place].any() else "RULE"
        named.append((job, code, _lack(sequence, job, over[place])))
    circle = pending[[job in waits for job in pending.tolist()]]
    before = len(sequence.rows.job)
    ceiling = sequence.room.ceiling.copy()
    found = _to_empty(sequence, circle)
    sequence.room.ceiling = ceiling
    sequence.rows.cut(before)
    return named, found


def _lack(sequence: Sequence, job: int, over: Mask) -> Lack:
    host = int(sequence.target[job])
    if not over.any():
        return Lack(host, -1, 1.0)
    missing = _missing(sequence, job)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(over, missing / sequence.problem.capacity[host], -np.inf)
    part = np.nan_to_num(part, nan=np.inf)
    column = int(np.argmax(part))
    return Lack(host, column, float(missing[column]))


def _missing(sequence: Sequence, job: int) -> F64:
    """(D,) by how much the job's destination is too full for it."""
    parts, asks = sequence.load(np.array([job]))
    host = sequence.target[[job]]
    upper = sequence.room.upper(host, sequence.ledger.gone[:, host], sequence.ledger.come[:, host] + parts)
    missing = np.where(asks[0], upper[0] - sequence.room.ceiling[host[0]], 0.0)
    return np.asarray(np.maximum(missing, 0.0), dtype=np.float64)


def _to_empty(sequence: Sequence, circle: I64) -> tuple[Lack, ...]:
    """Hosts which, emptied by what is lacking, let jobs go on; each tried on the sequence itself."""
    found: list[Lack] = []
    while len(circle) and len(found) < NAMED:
        ways: dict[int, tuple[float, int]] = {}
        for job in circle.tolist():
            missing, host = _missing(sequence, job), int(sequence.target[job])
            with np.errstate(invalid="ignore", divide="ignore"):
                part = np.nan_to_num(missing / sequence.problem.capacity[host], nan=np.inf).max(initial=0.0)
            if part > 0:
                ways[host] = min(ways.get(host, (np.inf, job)), (float(part), job))
        best: tuple[int, float, int] | None = None
        for host, (part, job) in sorted(ways.items(), key=lambda item: (item[1][0], item[0]))[:TRIED]:
            left = len(_emptied(sequence, circle, host, _missing(sequence, job), keep=False))
            if best is None or (left, part) < best[:2]:
                best = (left, part, job)
            if not left:
                break
        if best is None or best[0] == len(circle):
            break
        job, host = best[2], int(sequence.target[best[2]])
        found.append(_lack(sequence, job, sequence.over(np.array([job]))[0]))
        circle = _emptied(sequence, circle, host, _missing(sequence, job), keep=True)
    return tuple(found)


def _emptied(sequence: Sequence, circle: I64, host: int, missing: F64, *, keep: bool) -> I64:
    """The jobs that are still stuck if a host had so much more room; what was tried is undone unless kept."""
    ledger, at, source = sequence.ledger, sequence.at.copy(), sequence.source.copy()
    ceiling, keys, rows = sequence.room.ceiling.copy(), sequence.keys, len(sequence.rows.job)
    wave = sequence.wave
    sequence.ledger = ledger.copy()
    sequence.room.ceiling[host] += missing * (1 + 1e-9) + 1e-12
    sequence.recount(circle)
    left = sequence.run(circle)
    if not keep:
        sequence.ledger, sequence.at, sequence.source = ledger, at, source
        sequence.room.ceiling, sequence.keys, sequence.wave = ceiling, keys, wave
        sequence.rows.cut(rows)
    return left
