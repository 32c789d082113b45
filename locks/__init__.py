"""Distributed locks for the apps that run as shards: leases with fencing tokens, granted by the fleet's daemon.

Apps import this and nothing else of ours; it needs the standard library and msgspec.

    with Locks().hold("orders", ttl=10) as lock:
        while work:
            lock.check()                       # raises LockLost as soon as it is not sure any more
            fence.admit("orders", lock.token)  # the storage refuses what is older than what it has seen
"""

from sidestep.locks.aio import AsyncLock, AsyncLocks
from sidestep.locks.client import Lock, Locks
from sidestep.locks.errors import Fenced, LockBusy, LockError, LockLost, LockRefused, LockUnavailable
from sidestep.locks.fence import Fence, FileFence
from sidestep.locks.lease import boottime
from sidestep.locks.wire import HeldLock

__all__ = [
    "AsyncLock",
    "AsyncLocks",
    "Fence",
    "Fenced",
    "FileFence",
    "HeldLock",
    "Lock",
    "LockBusy",
    "LockError",
    "LockLost",
    "LockRefused",
    "LockUnavailable",
    "Locks",
    "boottime",
]
