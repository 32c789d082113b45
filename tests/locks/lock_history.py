"""A checker of lock histories: what clients saw, by one clock that all of them share, and what the storage took.

Tokens must be unique and rise with real time; nobody may be sure of a lock after somebody else
got it; the storage's tokens never fall, and no update is lost. Every rule says what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grant:
    """A lock that was asked for at ``asked`` and handed to the app at ``got``."""

    client: str
    name: str
    token: int
    asked: float
    got: float


@dataclass(frozen=True)
class Check:
    """``check()`` ran between two moments and passed, or raised."""

    client: str
    name: str
    token: int
    ok: bool
    began: float
    ended: float


@dataclass(frozen=True)
class Write:
    """What the storage took, in its own order: a counter that was read as ``before`` became ``after``."""

    client: str
    name: str
    token: int
    before: int
    after: int


def violations(
    grants: Sequence[Grant], checks: Sequence[Check], writes: Sequence[Write], *, bound: float = 0.0
) -> list[str]:
    """Everything that must not be; ``bound`` are seconds for which two may be sure of one lock."""
    return [*tokens(grants), *sure_of_one_lock(grants, checks, bound), *storage(writes), *unknown(grants, checks)]


def tokens(grants: Sequence[Grant]) -> list[str]:
    """No token twice, and a grant that began after another had been handed out has a higher one."""
    found = [f"token {token} was granted {times} times" for token, times in twice([g.token for g in grants])]
    for name in {grant.name for grant in grants}:
        newest = (0, 0.0)
        ours = [grant for grant in grants if grant.name == name]
        ended = sorted(ours, key=lambda grant: grant.got)
        at = 0
        for grant in sorted(ours, key=lambda grant: grant.asked):
            while at < len(ended) and ended[at].got < grant.asked:
                newest = max(newest, (ended[at].token, ended[at].got))
                at += 1
            if grant.token <= newest[0]:
                found.append(f"{name}: token {grant.token} was asked for after {newest[0]} had been granted")
    return found


def sure_of_one_lock(grants: Sequence[Grant], checks: Sequence[Check], bound: float) -> list[str]:
    """No check of a token that *began* after a newer token had been handed out passes."""
    found = []
    for name in {grant.name for grant in grants}:
        ours = [grant for grant in grants if grant.name == name]
        for check in (check for check in checks if check.ok and check.name == name):
            late = [g for g in ours if g.token > check.token and check.began > g.got + bound]
            found += [
                f"{name}: {check.client} was sure of token {check.token} {check.began - g.got:.3f} s after"
                f" {g.client} got token {g.token}"
                for g in late[:1]
            ]
    return found


def storage(writes: Sequence[Write]) -> list[str]:
    """Tokens of accepted writes never fall, and each write saw the one before it."""
    found = []
    seen: dict[str, tuple[int, int]] = {}
    for write in writes:
        token, value = seen.get(write.name, (0, 0))
        if write.token < token:
            found.append(f"{write.name}: the storage took token {write.token} after {token}")
        if write.before != value:
            found.append(f"{write.name}: {write.client} made {write.before} to {write.after}, but it was {value}")
        seen[write.name] = write.token, write.after
    return found


def unknown(grants: Sequence[Grant], checks: Sequence[Check]) -> list[str]:
    """A check passes only for what was granted to that client."""
    known = {(grant.client, grant.name, grant.token) for grant in grants}
    return [f"{c.client} was sure of token {c.token}, which it never got" for c in checks if c.ok and (
        c.client, c.name, c.token) not in known]  # fmt: skip


def twice(values: Sequence[int]) -> list[tuple[int, int]]:
    return [(value, times) for value, times in Counter(values).items() if times > 1]
