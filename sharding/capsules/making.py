"""Making capsules: full ones, and chains of what changed since, with an end to each chain.

A chain is cut (a full capsule is made) when it has grown to ``longest`` links, or when its links together weigh as much
as a full one: then restoring from the links would cost more than the state is large.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from sidestep.fleet.capsules import CapsuleHeader, Fingerprint, Live, encoded, framed, ident
from sidestep.sharding.capsules.chunks import Packer, name_of, split
from sidestep.sharding.capsules.keys import HostKey
from sidestep.sharding.capsules.platform import fingerprint
from sidestep.sharding.codec import Encoded

#: links of a chain
LONGEST: Final = 16


@dataclass(frozen=True, slots=True)
class Origin:
    """What a capsule is of: everything of its header that the state itself does not tell."""

    host: str
    shard: str
    token: int
    kind: str = "function"
    program: bytes = b""
    function: str = ""
    block: str = ""
    line: int = 0
    position: int = 0
    live: tuple[Live, ...] = ()
    fingerprint: Fingerprint = field(default_factory=fingerprint)


@dataclass(frozen=True, slots=True)
class Made:
    """A capsule: its id, its header, and the file's bytes."""

    id: bytes
    header: CapsuleHeader
    data: bytes


class Chain:
    """Capsules of one shard, one after the other.

    Invariant: whoever has all capsules since the last full one has every chunk of the newest. With ``longest`` None no
    chain ends: for chunks that are kept apart from the links that brought them.
    """

    def __init__(self, key: HostKey, *, longest: int | None = LONGEST, sequence: int = 0) -> None:
        self._key, self._longest = key, longest
        self._packer = Packer()
        self._sequence = sequence
        self._parent, self._depth, self._weight = b"", 0, 0
        self._known: set[bytes] = set()

    def make(self, state: Encoded, origin: Origin, *, full: bool = False) -> Made:
        """The next capsule; it has only chunks that earlier ones of the chain have not, unless it must be full."""
        parts = [memoryview(state.stream), *(one.data.cast("B") for one in state.buffers)]
        chunks = [(name_of(chunk), chunk) for part in parts for chunk in split(part)]
        names = [name for name, _ in chunks]
        full = full or not self._parent or self._ends(state)
        fresh = {name: chunk for name, chunk in chunks if full or name not in self._known}
        payload = b"".join(self._packer.record(name, chunk) for name, chunk in fresh.items())
        made = _sealed(
            self._key,
            origin,
            CapsuleHeader(
                sequence=self._sequence + 1,
                parent=b"" if full else self._parent,
                depth=0 if full else self._depth + 1,
                parts=tuple(part.nbytes for part in parts),
                chunks=b"".join(names),
                carried=len(fresh),
                payload=len(payload),
            ),
            payload,
        )
        self._sequence += 1
        self._known = set(names) if full else self._known | set(names)
        self._parent, self._depth = made.id, made.header.depth
        self._weight = 0 if full else self._weight + len(payload)
        return made

    def _ends(self, state: Encoded) -> bool:
        if self._longest is None:
            return False
        return self._depth + 1 >= self._longest or self._weight > state.nbytes


def whole(key: HostKey, data: bytes, origin: Origin, sequence: int) -> Made:
    """A full capsule of bytes that some backend captured: the same file, signed and checked chunk by chunk."""
    return Chain(key, sequence=sequence - 1).make(Encoded(data), origin, full=True)


def _sealed(key: HostKey, origin: Origin, header: CapsuleHeader, payload: bytes) -> Made:
    told = replace(
        header,
        **{name: getattr(origin, name) for name in Origin.__slots__},
        made=time.time(),
    )
    raw = encoded(told)
    return Made(ident(raw), told, framed(raw, key.sign(raw)) + payload)


def live_of(values: Iterable[tuple[str, Any]]) -> tuple[Live, ...]:
    """Names, types and sizes, for a header; sizes of containers are of their own slots."""
    return tuple(
        Live(name, type(value).__name__, int(getattr(value, "nbytes", None) or value.__sizeof__()))
        for name, value in values
    )
