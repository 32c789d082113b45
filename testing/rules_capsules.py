"""Rules about capsules, for backends that declare ``replicate``."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from sidestep.backends.base import Replicator, SnapshotLimits, TakenCapsule
from sidestep.testing.case import OLD, Case, insist
from sidestep.testing.rules import rule

_LIMITS = SnapshotLimits(bytes=1 << 30, spare=1 << 20, still=5.0, seconds=20.0)


async def _taken(case: Case, seq: int) -> tuple[Replicator, TakenCapsule, bytes]:
    """Take a capsule of a shard that serves, and read its file."""
    await case.begin()
    backend = case.backend
    assert isinstance(backend, Replicator)
    taken = await backend.snapshot(case.source, case.shard, OLD, seq, _LIMITS)
    data = b"".join([part async for part in case.source.fetch(taken.path)])
    return backend, taken, data


@rule("capsule", "a capsule is whole, says its true digest and size, and the shard serves on", "replicate")
async def _capsule(case: Case) -> None:
    _, taken, data = await _taken(case, 1)
    insist(hashlib.sha256(data).hexdigest() == taken.digest, "its file has another SHA-256 than it says")
    insist(len(data) == taken.bytes, f"its file has {len(data)} bytes, and it says {taken.bytes}")
    await case.served_at_source("a capsule was taken")


@rule("capsule.owner", "a capsule is taken of the owner's process only", "replicate")
async def _capsule_owner(case: Case) -> None:
    await case.begin()
    backend = case.backend
    assert isinstance(backend, Replicator)
    await case.refused(
        backend.snapshot(case.source, case.shard, OLD + 1, 1, _LIMITS), f"a capsule of a process under {OLD + 1}"
    )
    await case.served_at_source("a capsule was refused")


@rule("capsule.copies", "copies are kept, found damaged when they are, lent unchanged, and dropped", "replicate")
async def _copies(case: Case) -> None:
    backend, taken, data = await _taken(case, 3)
    name, there = str(case.shard.name), case.destination

    async def chunks(of: bytes) -> AsyncIterator[bytes]:
        yield of

    place = await backend.keep(there, case.shard, 3, len(data), 1 << 20)
    await there.send(place.path, chunks(data))
    (copy,) = await backend.check(there, [(name, 3), (name, 4)], seconds=10.0)
    insist((copy.shard, copy.seq, copy.digest) == (name, 3, taken.digest), "a copy that is well is not told as such")
    lent = f"{place.path}.lent"
    await backend.lend(there, case.shard, 3, taken.digest, lent)
    insist(b"".join([part async for part in there.fetch(lent)]) == data, "what was lent is not the capsule")
    await there.send(place.path, chunks(data[:-1] + bytes([data[-1] ^ 1])))
    damaged = await backend.check(there, [(name, 3)], seconds=10.0)
    insist(not any(found.digest == taken.digest for found in damaged), "a damaged copy is told as well")
    await case.refused(backend.lend(there, case.shard, 3, taken.digest, lent), "lending a damaged copy")
    await backend.drop(there, case.shard, ())
    insist(not await backend.check(there, [(name, 3)], seconds=10.0), "a copy that was dropped is still there")
