"""What is asked of an optimiser, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

DutyKind = Literal["rule", "failover", "drain", "contention"]


class Move(NamedTuple):
    """One move by rows; ``relieves`` is the host for whose sake it is made."""

    shard: int
    source: int
    destination: int
    relieves: int


@dataclass(frozen=True, kw_only=True)
class Duty:
    """Something that must change, and when it is done.

    ``contention``: demand of ``host`` no longer stays above its limit. ``rule``: at least
    ``least`` of ``shards`` have left their failure domain or host. ``drain`` and ``failover``:
    all of ``shards`` have left ``host``. Duties are served in the order given (soonest first
    within a level); ``level`` 0 is done before anything of level 1.
    """

    kind: DutyKind
    host: int
    level: int = 0
    #: seconds until it begins
    lead: float = 0.0
    shards: tuple[int, ...] = ()
    least: int = 1
    #: rule: the group that is broken, -1 for a pair or a host that is not allowed
    group: int = -1
    #: columns of the problem that are in contention, and by what fraction of capacity their peak must fall
    columns: tuple[int, ...] = ()
    gain: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Left:
    """A duty that stays undone, and why.

    Codes: IMMOVABLE (nothing that may move would do), MIN_GAIN, NO_ROOM (``shard`` is the one
    that is hardest to place, ``lacks`` (host, column, amount) where least is missing), CHURN
    (the budget of moves is spent), BUDGET (the search ended first).
    """

    duty: Duty
    code: str
    shard: int = -1
    lacks: tuple[tuple[int, int, float], ...] = ()
    needs: int = 0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to search: iterations decide, so that a plan can be made again bit for bit.

    ``expired`` is only a cap for the impatient: a plan that it cut short says so.
    """

    iterations: int = 20_000
    seed: int = 1
    expired: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A whole plan by rows: ``moves`` in an order of which every prefix is feasible.

    ``bound`` is a number of moves (by ``Problem.count``) that no plan doing the same duties can
    go below; ``proven`` says that this plan needs no more.
    """

    moves: tuple[Move, ...]
    left: tuple[Left, ...] = ()
    bound: int = 0
    proven: bool = False
    iterations: int = 0
    #: whether ``Budget.expired`` ended the search
    cut: bool = False
