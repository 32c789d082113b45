"""What else than moves a plan may hold, by rows, and what a fleet allows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sidestep.planning.model import Budget, Duty, Outcome, Problem
from sidestep.planning.model.problem import F64, Mask

RemedyKind = Literal["resize", "split", "merge", "activate", "deactivate", "preempt", "failover", "queue"]
#: any optimiser of moves
Relieve = Callable[[Problem, tuple[Duty, ...], Budget], Outcome]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One action that is no move. Remedies come before the moves of their plan, in the order given.

    ``resize``: the shard's new limits are ``amounts`` (R,). ``split``: into the rows ``parts``, whose
    shares are ``amounts``. ``merge``: the rows ``parts`` become ``shard``. ``activate`` and
    ``deactivate``: ``host``, whose cost is in ``amounts``. ``preempt``: the shard leaves ``host`` and
    is queued, for the sake of ``sake``. ``queue``: the shard waits for room. ``code`` says why.
    """

    kind: RemedyKind
    shard: int = -1
    host: int = -1
    parts: tuple[int, ...] = ()
    amounts: tuple[float, ...] = ()
    sake: int = -1
    code: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Allowed:
    """What the ladder may do beyond moving; nothing by default."""

    #: (N, R) limits now, lowest limits (what is guaranteed); NaN: that shard has none and is not resized
    limits: F64 | None = None
    least: F64 | None = None
    #: (R,) amounts come in whole multiples of these
    quanta: F64 | None = None
    #: (N,) shards that have long been over their threshold and can be split
    splits: Mask | None = None
    max_splits: int = 8
    #: standby hosts, by row
    standby: tuple[int, ...] = ()
    #: (N,) shards that must not be preempted, whatever their priority; how many others may be
    guaranteed: Mask | None = None
    max_preempted: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Climbed:
    """A plan with remedies. ``outcome`` is of ``problem``, in which all remedies are done."""

    problem: Problem
    remedies: tuple[Remedy, ...]
    outcome: Outcome
    #: what each rung left undone, in order: (rung, duties left, moves)
    log: tuple[tuple[str, int, int], ...] = field(default=())

    @property
    def left(self) -> int:
        """Duties that stay undone."""
        return len(self.outcome.left)


def moves_of(problem: Problem, outcome: Outcome) -> int:
    """How many moves an outcome counts."""
    return int(problem.count[np.array([m.shard for m in outcome.moves], dtype=np.int64)].sum())
