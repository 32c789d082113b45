"""What is asked about the locks of apps on the daemon's socket, and the answers; part of ``protocol``.

Apps themselves never get this socket: they have one of their own (``sidestep.locks.wire``).
"""

from __future__ import annotations

from msgspec import Struct

from sidestep.autopilot.protocol_control import ControlReply, ControlRequest
from sidestep.autopilot.protocol_instance import GetInstance, InstanceView
from sidestep.autopilot.protocol_queue import QueueReply, QueueRequest
from sidestep.fleet.labels import Label


class ListLocks(Struct, frozen=True, tag="list-locks"):
    """Who holds which lock. Answered by LocksView."""


class BreakLock(Struct, frozen=True, tag="break-lock"):
    """Take a lock from its holder; what it still writes has an older token. Answered by Done."""

    name: str
    reason: str = ""


LockRequest = ListLocks | BreakLock


class LockRow(Struct, frozen=True, kw_only=True):
    """A lock that is held. Seconds: ``left`` until it ends unless it is renewed, ``granted`` since 1970."""

    name: Label
    token: int
    holder: Label
    note: Label
    ttl: float
    left: float
    waiting: int
    granted: float


class LocksView(Struct, frozen=True, tag="app-locks", kw_only=True):
    """Locks by name; ``more``: there are others. ``socket`` is where apps ask for them."""

    socket: str
    locks: tuple[LockRow, ...]
    more: bool = False


LockReply = LocksView

#: what is done with plans that run, with the hold, with locks, with the queue, and with apps
OperatorRequest = ControlRequest | LockRequest | QueueRequest | GetInstance
OperatorReply = ControlReply | LockReply | QueueReply | InstanceView
