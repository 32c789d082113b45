"""What is asked about the queue on the daemon's socket, and the answer; part of ``protocol``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Reason
from sidestep.fleet.questions import HostRefusal


class ListQueue(Struct, frozen=True, tag="list-queue"):
    """Who waits for a host, and why. Answered by QueueView."""


QueueRequest = ListQueue


class QueueRow(Struct, frozen=True, kw_only=True):
    """One shard that waits. Times are unix times, ``waited`` seconds; ``benefit`` decides the order.

    ``host`` has its capsule of ``bytes`` bytes if it gave way. ``reasons``: why each host does not take it, as
    seen at ``looked`` (0: nobody has looked yet).
    """

    shard: Label
    app: Label
    priority: int
    cause: str
    deployment: Label
    since: float
    waited: float
    benefit: float
    host: Label
    bytes: int
    digest: str
    cpu: float
    memory: int
    reason: Reason
    reasons: tuple[HostRefusal, ...]
    looked: float


class QueueView(Struct, frozen=True, tag="queue", kw_only=True):
    """The queue, who comes next first."""

    rows: tuple[QueueRow, ...]


QueueReply = QueueView
