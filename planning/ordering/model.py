"""What an order may use, and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sidestep.planning.model import Move
from sidestep.planning.model.problem import F64, I32, I64, Mask

#: rounding that a limit forgives, as a fraction of it
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Caps:
    """How many moves may run at one time; 0 is as many as there are.

    A move counts once for each host and failure domain that it touches. ``kind`` says of which
    kind the domains are that ``domain`` limits (a row of ``Constraints.domains``: zones, say,
    not racks as well). ``apps`` (N,) numbers the app of every shard and is needed for ``app``.
    """

    host: int = 2
    domain: int = 0
    kind: int = 1
    app: int = 0
    fleet: int = 0
    apps: I32 = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


class Lack(NamedTuple):
    """What is missing for an order to exist: ``amount`` of ``column`` must leave ``host`` first.

    ``column`` is -1 where a rule, not room, is in the way; then ``amount`` counts shards.
    """

    host: int
    column: int
    amount: float


class Cancelled(NamedTuple):
    """A move that the order leaves out, by its place among the moves given.

    Codes: IMMOVABLE (it may not leave), CLOSED (its destination does not receive it), GROUP_FULL
    (its group fills every domain, so that none of it can be at two hosts for a while), NO_ROOM
    and RULE (not even with all other moves done), NO_ORDER (it waits for moves that wait for it).
    """

    move: int
    code: str
    lack: Lack | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Schedule:
    """An order by rows: K rows, each one move of one shard, sorted so that what is waited for is earlier.

    Whatever order the rows are run in, if each starts after those in ``after`` have ended and not
    before ``earliest``, no rule is broken or worsened and no host lacks room, with every shard
    held at both its hosts while it moves. Seconds count from the time of planning.
    """

    #: (K,) place among the moves given, -1 for moves that only make room
    move: I64
    shard: I32
    source: I32
    destination: I32
    #: (K,) the host for whose sake it is made
    relieves: I32
    #: (K,) moves that are not in the plan: to a temporary host, and back from it
    parks: Mask
    #: (K,) rows of one wave fit into the caps together; each wave waits for the one before only
    wave: I32
    #: (K,) seconds: room exists from ``earliest`` on; ``start`` is when it is expected to start
    earliest: F64
    start: F64
    #: (K,) seconds after which it would end too late; infinite without a deadline
    latest: F64
    #: (K,) seconds by which it ends too late, 0 if it does not
    late: F64
    transfer: F64
    #: CSR: row k waits for ``after[1][after[0][k]:after[0][k + 1]]``
    after: tuple[I64, I32]
    cancelled: tuple[Cancelled, ...] = ()
    #: which host must be emptied first, soonest served first; empty if nothing waits in a circle
    first_empty: tuple[Lack, ...] = ()
    #: no prefix has a higher predicted peak (greatest share of a limit): that before or after the
    #: plan, the higher one; or 1, no contention, where no order stays below that
    ceiling: float = 0.0
    #: seconds of a step of the horizon
    step: float = 1.0

    def __len__(self) -> int:
        return len(self.shard)

    def waits(self, row: int) -> I32:
        """The rows that must have ended before this one starts."""
        ptr, idx = self.after
        return idx[ptr[row] : ptr[row + 1]]

    @property
    def moves(self) -> tuple[Move, ...]:
        """The rows as moves, in order."""
        columns = (self.shard.tolist(), self.source.tolist(), self.destination.tolist(), self.relieves.tolist())
        return tuple(Move(*row) for row in zip(*columns, strict=True))
