"""Who may commit a block: tokens that only rise, and one result. Pure.

A token is given for every execution of a block. Giving one voids those before it, unless it is
given *beside* them, for a block that is critical and runs more than once. One result is taken, of a
token that is not void; what comes later is compared and dropped.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Verdict(enum.Enum):
    """What becomes of a result."""

    TAKEN = "taken"
    #: another execution was first, with the same result
    REPEATED = "repeated"
    #: another execution was first, with another result: the function is not deterministic, or a host lies
    DIFFERS = "differs"
    #: the token is void: its host was given up
    STALE = "stale"


@dataclass
class _Entry:
    last: int = 0
    #: tokens that may commit, and where they run
    valid: dict[int, str] = field(default_factory=dict)
    committed: tuple[int, bytes] | None = None


class Ledger:
    """The tokens of one job's blocks."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def give(self, block: str, host: str, *, beside: bool = False) -> int:
        """The token of a new execution; those before are void unless this one runs beside them."""
        entry = self._entries.setdefault(block, _Entry())
        if not beside:
            entry.valid.clear()
        entry.last += 1
        entry.valid[entry.last] = host
        return entry.last

    def void(self, block: str, token: int) -> None:
        """An execution is given up: whatever it still says is refused."""
        self._entries.setdefault(block, _Entry()).valid.pop(token, None)

    def valid(self, block: str, token: int) -> bool:
        """Whether an execution may still commit."""
        return token in self._entries.get(block, _Entry()).valid

    def commit(self, block: str, token: int, digest: bytes) -> Verdict:
        """Take a result, if it is the first of a token that is not void."""
        entry = self._entries.setdefault(block, _Entry())
        if token not in entry.valid:
            return Verdict.STALE
        if entry.committed is None:
            entry.committed = (token, digest)
            return Verdict.TAKEN
        return Verdict.REPEATED if entry.committed[1] == digest else Verdict.DIFFERS
