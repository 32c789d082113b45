"""Capsules of blocks, in the one format that there is (``sharding.capsules``): headers travel apart from chunks.

The conductor sees headers only. Chunks lie in a worker's store as the packed records that the
format has, and travel as such; whoever takes one from elsewhere checks it against its name.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidestep.fleet.capsules import CapsuleHeader, Sealed, parse
from sidestep.fleet.errors import SidestepError
from sidestep.sharding.capsules import BadChunk, Chain, ChunkStore, Expected, Gate, HostKey, Origin, Rejected, state_of
from sidestep.sharding.capsules.chunks import records, unpacked
from sidestep.sharding.capsules.platform import fingerprint
from sidestep.sharding.codec import Encoded

#: where a capture stands: the innermost function, its line, the position's number
Where = tuple[str, int, int]
#: bytes of chunks that may travel with a header
FEW: Final = 512 << 10
#: a record's own bytes beside the packed chunk
_EXTRA: Final = 20
_parts: Final = itertools.count()


class Refused(SidestepError):
    """A capsule, or a chunk of one, that is not what it has to be; says in which way."""


class Store(ChunkStore):
    """The chunks of a worker. They end with it, so that nothing is forced to the disk."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        #: chunks in memory that were found to be what their names say
        self._known: dict[bytes, bytes] = {}

    def learn(self, given: Mapping[bytes, bytes]) -> None:
        """Have the chunks of these records in memory, and no others, once all are checked. Raises Refused."""
        self._known = {name: self._check(name, record) for name, record in given.items()}

    def get(self, name: bytes) -> bytes:
        """A chunk. Raises BadChunk if it is damaged, KeyError if it is not there."""
        found = self._known.get(name)
        return found if found is not None else super().get(name)

    def have(self, names: Iterable[bytes]) -> list[bytes]:
        """Those that are here."""
        return [name for name in names if name in self]

    def records(self, names: Sequence[bytes]) -> list[bytes]:
        """Chunks as packed records, in order. Raises Refused naming the first that is missing."""
        found = []
        for name in names:
            try:
                found.append(self._path(name).read_bytes())
            except FileNotFoundError:
                raise Refused(f"chunk {name.hex()} is not here") from None
        return found

    def take(self, given: Mapping[bytes, bytes]) -> int:
        """Store records that others sent, once all are checked; bytes that were new. Raises Refused."""
        for name, record in given.items():
            self._check(name, record)
        fresh = 0
        for name, record in given.items():
            if name not in self:
                self._write(self._path(name), record)
                fresh += len(record)
        return fresh

    def prove(self, name: bytes) -> None:
        """Read a chunk that is here against its name. Raises Refused."""
        self._check(name, self.records([name])[0])

    @staticmethod
    def _check(name: bytes, record: bytes) -> bytes:
        """The chunk of a record."""
        try:
            ((said, packed, plain),) = records(memoryview(record))
            chunk = unpacked(name, packed, plain=plain)
        except (BadChunk, ValueError) as error:
            raise Refused(f"chunk {name.hex()}: {error}: refused") from None
        if said != name:
            raise Refused(f"chunk {name.hex()} calls itself {said.hex()}: refused")
        return chunk

    def _write(self, path: Path, record: bytes) -> None:
        # As few calls as can be: at each, a thread that computes may take the interpreter for a millisecond or more.
        part = f"{self._root}/part-{os.getpid()}-{next(_parts)}"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                left = memoryview(record)
                while left:
                    left = left[os.write(handle, left) :]
            finally:
                os.close(handle)
            try:
                os.replace(part, path)  # noqa: PTH105 - strings at hand
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(part, path)  # noqa: PTH105
        except OSError:  # on a full disk what was half written would be in the way of what is written next
            os.unlink(part)  # noqa: PTH108
            raise


@dataclass(frozen=True)
class Kept:
    """A capsule in the store: its signed header, bytes that were new there, and the new records if they are few."""

    header: CapsuleHeader
    sealed: bytes
    fresh: int
    delta: dict[bytes, bytes]


class Keeper:
    """Keeps the capsules of one execution of a block."""

    def __init__(self, store: Store, signing: bytes, origin: Origin, sequence: int) -> None:
        self._store, self._origin = store, origin
        key = HostKey(Ed25519PrivateKey.from_private_bytes(signing))
        # Chunks outlive links here, so that no link is ever needed to go on.
        self._chain = Chain(key, longest=None, sequence=sequence)

    def keep(self, captured: Encoded, where: Where = ("", 0, 0), *, last: bool = False) -> Kept:
        """Cut, sign and store a capture; of the last one, new chunks that are few are left to the worker to store."""
        block, line, position = where
        made = self._chain.make(captured, replace(self._origin, block=block, line=line, position=position))
        start = len(made.data) - made.header.payload
        payload = memoryview(made.data)[start:]
        new: dict[bytes, bytes] = {}
        at = 0
        for name, packed, _ in records(payload):
            size = _EXTRA + len(packed)
            new[name] = bytes(payload[at : at + size])
            at += size
        few = new if made.header.payload <= FEW else {}
        fresh = 0
        for name, record in new.items():
            if not (last and few) and name not in self._store:
                self._store._write(self._store._path(name), record)
                fresh += len(record)
        return Kept(made.header, made.data[:start], fresh, few)


def opened(sealed: bytes, gate: Gate, *, block: str, program: bytes = b"", here: bool = False) -> Sealed:
    """A header by a known host, of the block and program named. Raises Refused.

    ``here`` asks also that the state would go on bit by bit on this machine.
    """
    try:
        found = parse(sealed)
        gate.check(found, Expected(block, program, fingerprint() if here else None))
    except (Rejected, SidestepError) as error:
        raise Refused(f"a capsule was refused: {error}") from None
    return found


def restored(header: CapsuleHeader, store: Store) -> Encoded:
    """What was captured, from chunks that are here. Raises Refused."""
    try:
        return state_of(header, store)
    except Rejected as error:
        raise Refused(f"a capsule was refused: {error}") from None
