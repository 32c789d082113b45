"""Capsules of process groups that serve on, and copies of them on any host: ``Replicator`` in shell operations.

Driver ``hook``: ``save`` writes the state while the app serves; with ``replicate_quiet`` it is quiesced for as long.
Driver ``restart``: the group is stopped while its files are packed. A pause is bounded, ends also when
its maker is killed, and never lets a shard go on that a move has frozen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Final

from sidestep.backends.base import CapsuleCopy, CapsulePlace, SnapshotLimits, TakenCapsule
from sidestep.backends.process.scripts import is_name, perform
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import scrub

#: seconds that a pause may last beside what is asked for: a move waits for the shard's lock no longer than 10
LONGEST_PAUSE: Final = 5.0


class ProcessCapsules(ABC):
    """The half of the process backend that keeps capsules."""

    _timeout: float

    @abstractmethod
    def _values(self, transport: Transport, step: str, shard: ShardSpec, **more: str | int) -> dict[str, str | int]:
        """What every operation on a shard is told. Raises HostError for what no shell can be told."""

    @property
    @abstractmethod
    def fleet(self) -> str:
        """The name of the fleet."""

    async def snapshot(
        self, transport: Transport, shard: ShardSpec, token: int, seq: int, limits: SnapshotLimits
    ) -> TakenCapsule:
        """Take a capsule of a shard that serves on. Raises HostError; the shard serves then, too."""
        values = self._values(
            transport,
            "snapshot",
            shard,
            token=token,
            seq=seq,
            most=limits.bytes,
            spare=limits.spare,
            still=round(100 * min(limits.still, LONGEST_PAUSE)),
            quiet="yes" if shard.replicate_quiet and shard.quiesce else "",
        )
        said = dict(await perform(transport, "snapshot", "snapshot", values, timeout=limits.seconds))
        try:
            return TakenCapsule(
                path=said["capsule"],
                digest=said["digest"],
                bytes=int(said["bytes"]),
                paused=int(said["paused"]) / 1e3,
                life=scrub(said["life"]),
            )
        except (KeyError, ValueError) as error:
            raise HostError(transport.host, "snapshot", "unexpected answer", tail=str(said)) from error

    async def keep(self, transport: Transport, shard: ShardSpec, seq: int, size: int, spare: int) -> CapsulePlace:
        """Make a place for a copy. Raises HostError if there is no room."""
        values = self._values(transport, "keep", shard, seq=seq, bytes=size, spare=spare)
        said = dict(await perform(transport, "keep", "keep", values, timeout=self._timeout))
        if not (path := said.get("capsule", "")):
            raise HostError(transport.host, "keep", "unexpected answer", tail=str(said))
        return CapsulePlace(path=path, digest=said.get("digest", ""))

    async def check(
        self, transport: Transport, copies: Sequence[tuple[str, int]], *, seconds: float
    ) -> tuple[CapsuleCopy, ...]:
        """Read copies on a host. Raises HostError."""
        for name in {self.fleet, *(shard for shard, _ in copies)}:
            if not is_name(name):
                raise HostError(transport.host, "check", f"{name!r} cannot name a folder on a host")
        wanted = "\n".join(f"{shard}/{seq}" for shard, seq in copies)
        values: dict[str, str | int] = {"fleet": self.fleet, "shard": "", "copies": wanted}
        said = await perform(transport, "check", "check", values, timeout=seconds)
        return tuple(_copy(transport, value) for key, value in said if key == "copy")

    async def lend(self, transport: Transport, shard: ShardSpec, seq: int, digest: str, path: str) -> None:
        """Put the copy that is there at ``path``. Raises HostError."""
        values = self._values(transport, "lend", shard, seq=seq, digest=digest, target=path)
        await perform(transport, "lend", "lend", values, timeout=self._timeout)

    async def drop(self, transport: Transport, shard: ShardSpec, keep: Collection[int]) -> None:
        """Remove all copies but these. Raises HostError."""
        values = self._values(transport, "drop", shard, keep=" ".join(map(str, sorted(keep))))
        await perform(transport, "drop", "drop", values, timeout=self._timeout)


def _copy(transport: Transport, line: str) -> CapsuleCopy:
    try:
        name, size, digest = line.split(" ")
        shard, _, seq = name.rpartition("/")
        return CapsuleCopy(shard=scrub(shard), seq=int(seq), digest=digest, bytes=int(size))
    except ValueError as error:
        raise HostError(transport.host, "check", "unexpected answer", tail=line) from error
