"""What can go wrong with a lock; apps catch LockError, or one of these."""

from __future__ import annotations


class LockError(Exception):
    """The base of all."""


class LockRefused(LockError):
    """The request itself is wrong, or the service will not serve us; trying again does not help."""


class LockBusy(LockError):
    """Somebody else had the lock for as long as we were ready to wait."""


class LockUnavailable(LockError):
    """The service could not be reached, or could not write, for as long as we were ready to wait."""


class LockLost(LockError):
    """It is not sure any more that we hold the lock: stop touching what it protects."""


class Fenced(LockError):
    """A write with an older token than the storage has seen; ``seen`` is that token."""

    def __init__(self, message: str, seen: int) -> None:
        super().__init__(message)
        self.seen = seen
