"""One round of one shard: take a capsule, bring it to its hosts, let older ones go.

Done again after any interruption it comes to the same end: what was begun is in the catalogue, is taken up or
superseded by the next capsule, and then removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.capsules.carrying import SPARE, Around, Carrier, allowance
from sidestep.autopilot.capsules.catalogue import Capsule
from sidestep.backends.base import SnapshotLimits
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.queue import Waiting

#: bytes that a capsule may have, and seconds that a shard may stand still for one
LARGEST: Final = 64 << 30
STILL: Final = 2.0
#: bytes that a capsule is expected to have before the first one is known
UNKNOWN: Final = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round came to: the capsule that now stands for the shard, and why it has too few copies, or ""."""

    capsule: Capsule
    changed: bool
    lacks: str


class Taker:
    """Takes capsules; whoever calls it keeps rounds of one shard apart."""

    def __init__(self, around: Around, carrier: Carrier) -> None:
        self._around, self._carrier = around, carrier

    async def round(self, spec: ShardSpec) -> Round:
        """Take one capsule of the shard where it is now. Raises SidestepError: then nothing counts that did not."""
        around, replicator = self._around, self._around.replicator(spec)
        if replicator is None:
            raise SidestepError(
                f"{spec.name}: backend {spec.backend} takes no capsules",
                hint="set replicas = 0, or use another backend",
            )
        owner = around.owner(spec.name)
        if owner is None:
            raise SidestepError(f"{spec.name} has no owner")
        host, token = owner
        # of before the call: all that was acknowledged until now is in it
        now = around.clock.wall()
        seq, before = around.shelf.next_seq(spec.name, now), next(iter(around.shelf.of(spec.name)), None)
        size = before.bytes if before is not None else UNKNOWN
        limits = SnapshotLimits(bytes=LARGEST, spare=SPARE, still=STILL, seconds=allowance(2 * size))
        transport = around.transport(host)
        await transport.connect()
        taken = await replicator.snapshot(transport, spec, token, seq, limits)
        if around.owner(spec.name) != owner:
            await replicator.drop(transport, spec, self._seqs_on(spec, host))
            raise SidestepError(f"{spec.name} has moved while its capsule was taken")
        capsule = Capsule(
            shard=spec.name, seq=seq, token=token, digest=taken.digest, bytes=taken.bytes, taken=now,
            life=taken.life, paused=taken.paused,
        )  # fmt: skip
        before = next(iter(around.shelf.of(spec.name)), None)  # as it is by now
        if before is not None and before.token > token:
            raise SidestepError(f"{spec.name}: a capsule of token {before.token} is known already, this is of {token}")
        changed = before is None or before.digest != taken.digest
        if before is not None and not changed:
            capsule = replace(before, taken=now, token=token, life=taken.life, paused=taken.paused)
            around.shelf.refresh(capsule, now)
        else:
            around.shelf.put(capsule)
        capsule, lacks = await self._carrier.spread(capsule, host, (host, taken.path))
        await self.tidy(spec, host)
        return Round(capsule=capsule, changed=changed, lacks=lacks)

    async def parked(self, spec: ShardSpec, waiting: Waiting) -> Round:
        """Make copies of the capsule that the shard waits with in the queue. Raises SidestepError."""
        shelf, before = self._around.shelf, next(iter(self._around.shelf.of(spec.name)), None)
        changed = before is None or (before.token, before.digest) != (waiting.token, waiting.digest)
        if before is not None and not changed:
            capsule = before
        else:
            capsule = Capsule(
                shard=spec.name, seq=shelf.next_seq(spec.name, self._around.clock.wall()), token=waiting.token,
                digest=waiting.digest, bytes=waiting.bytes, taken=waiting.since,
            )  # fmt: skip
            shelf.put(capsule)
        capsule, lacks = await self._carrier.spread(capsule, waiting.host, (waiting.host, waiting.path))
        await self.tidy(spec)
        return Round(capsule=capsule, changed=changed, lacks=lacks)

    async def tidy(self, spec: ShardSpec, owner: str = "", *, everything: bool = False) -> None:
        """Remove what need not be kept any more from every host that has it, and what the owner wrote for the round.

        With ``everything`` no capsule of the shard needs to be kept.

        A host that does not answer is left for the next round; its rows stay. Raises JournalError.
        """
        around, replicator = self._around, self._around.replicator(spec)
        if replicator is None:
            return
        surplus = around.shelf.of(spec.name) if everything else around.shelf.surplus(spec.name)
        around.shelf.leave(surplus)
        hosts: dict[str, list[int]] = {owner: []} if owner else {}
        for capsule in surplus:
            for copy in capsule.copies:
                hosts.setdefault(copy.host, []).append(capsule.seq)
        states = around.counting()
        for host, seqs in hosts.items():
            if host not in states and host != owner:
                continue
            try:
                transport = around.transport(host)
                await transport.connect()
                await replicator.drop(transport, spec, [] if everything else self._seqs_on(spec, host))
            except HostError:
                continue  # it is said of the host already; the next round tries again
            around.shelf.gone(spec.name, host, seqs)
        around.shelf.forget(spec.name, [capsule.seq for capsule in surplus if not capsule.copies])

    def _seqs_on(self, spec: ShardSpec, host: Label | str) -> list[int]:
        """Those on that host that are kept."""
        return [capsule.seq for capsule in self._around.shelf.retained(spec.name) if capsule.copy(host) is not None]


__all__ = ["Round", "Taker"]
