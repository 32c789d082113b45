"""The lease of a host on the wire: how its keeper is started there, what it is told and what it answers.

``lease.sh`` has the lines. It goes over standard input of one long-lived command, so nothing is left on the
host but what the state folder of the fleet holds, and a guard (``guard.sh``) that ends with what it guards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from shlex import quote
from typing import Final, Literal

from msgspec import Struct

from sidestep.backends.process.scripts import LIBRARY, is_name, library, source

COMMAND: Final = "exec /bin/sh -c 'exec /bin/sh -s'"
HELLO: Final = b"hello"
_ACK: Final = re.compile(rb"ack (\d{1,15}) ([0-9a-f-]{1,64}) (\d{1,15}) (\d{1,15}) (\d{1,15})((?: [^ ]+)*)")
_HELD: Final = re.compile(rb"([A-Za-z0-9_][A-Za-z0-9._-]{0,99}):(\d{1,18}):(running|dead|none|damaged)")

How = Literal["running", "dead", "none", "damaged"]


class Held(Struct, frozen=True):
    """One leased shard as its host has it: the token of its process and how that is."""

    token: int
    how: How


class Ack(Struct, frozen=True, kw_only=True):
    """A host's answer: its clock (uptime in whole seconds of that boot), the lease in force, the guard, the shards."""

    seq: int
    boot: str
    uptime: int
    until: int
    #: pid; 0 is none
    guard: int
    held: dict[str, Held]


@cache
def payload(fleet: str) -> bytes:
    """What the started command reads first; lines may follow once it has said ``HELLO``."""
    if not is_name(fleet):
        raise ValueError(f"{fleet!r} cannot name a folder on a host")
    given = f"fleet={quote(fleet)}\nshard=''\n"
    shared = library(LIBRARY)
    guard = f"{given}{shared}{source('guard')}main </dev/null\n"
    return f"{given}guard_program={quote(guard)}\n{shared}{source('lease')}main\n".encode()


def line(seq: int, boot: str, until: int, *, mark: Iterable[str] = (), unmark: Iterable[str] = ()) -> bytes:
    """Ask (``until`` 0) or renew until that uptime; and lease these shards there, and those no longer."""
    words = [str(seq), boot or "-", str(until)]
    words += [f"+{name}" for name in mark if is_name(name)] + [f"-{name}" for name in unmark if is_name(name)]
    return " ".join(words).encode() + b"\n"


def parse(text: bytes) -> Ack:
    """An answer. Raises ValueError for anything else."""
    found = _ACK.fullmatch(text)
    if found is None:
        raise ValueError(f"not an answer about a lease: {text[:80]!r}")
    held = {}
    for word in found[6].split():
        one = _HELD.fullmatch(word)
        if one is None:
            raise ValueError(f"not a leased shard: {word[:80]!r}")
        how: How = one[3].decode()  # type: ignore[assignment]
        held[one[1].decode()] = Held(int(one[2]), how)
    return Ack(
        seq=int(found[1]),
        boot=found[2].decode(),
        uptime=int(found[3]),
        until=int(found[4]),
        guard=int(found[5]),
        held=held,
    )
