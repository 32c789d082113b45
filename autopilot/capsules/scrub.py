"""Whether copies still are what they were, and making those anew that are not."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from sidestep.autopilot.capsules.carrying import Around, Carrier, allowance
from sidestep.autopilot.capsules.catalogue import Capsule, Copy
from sidestep.backends.base import CapsuleCopy, Replicator
from sidestep.fleet.errors import HostError


class Scrubbed(Struct, frozen=True, kw_only=True):
    """What a scrub of some hosts found."""

    read: int = 0
    bad: int = 0
    missing: int = 0
    #: copies that are right again after they had been given up
    back: int = 0
    unread: int = 0


class Scrubber:
    """Reads copies where they lie, and repairs from those that are good."""

    def __init__(self, around: Around, carrier: Carrier) -> None:
        self._around, self._carrier = around, carrier

    async def host(self, host: str, shards: Collection[str] = ()) -> Scrubbed:
        """Read that host's copies (of these shards; empty: of all), and note what they are.

        What is wrong is told. A host that does not answer has copies that were not read. Raises JournalError.
        """
        around, total = self._around, Scrubbed()
        by_backend: dict[str, list[tuple[Capsule, Copy]]] = {}
        for capsule, copy in around.shelf.on_host(host, "good", "bad", "lost"):
            spec = around.shards.get(capsule.shard)
            if spec is not None and (not shards or capsule.shard in shards):
                by_backend.setdefault(spec.backend, []).append((capsule, copy))
        for listed in by_backend.values():
            replicator = around.replicator(around.shards[listed[0][0].shard])
            if replicator is None:
                continue
            try:
                found = await self._read(replicator, host, [capsule for capsule, _ in listed])
            except HostError as error:
                total = added(total, Scrubbed(unread=len(listed)))
                around.report(f"{host}: its copies of capsules cannot be checked: {error.args[0]}")
                continue
            for capsule, copy in listed:
                total = added(total, self._judge(capsule, copy, found.get((capsule.shard, capsule.seq))))
        return total

    async def mend(self, shard: str) -> str:
        """Have every kept complete capsule of the shard on as many hosts as it wants; why it has not, or "".

        Raises JournalError.
        """
        around, lacks = self._around, ""
        host = around.home(shard)
        for capsule in around.shelf.retained(shard):
            if not capsule.complete or around.lacking(capsule, host) <= 0:
                continue
            before = len(capsule.on("good"))
            changed, why = await self._carrier.spread(capsule, host)
            if (made := len(changed.on("good")) - before) > 0:
                around.repaired += made
                around.report(f"{shard}: made {made} copies of capsule {capsule.seq} anew")
            lacks = lacks or why
        return lacks

    async def _read(
        self, replicator: Replicator, host: str, capsules: list[Capsule]
    ) -> dict[tuple[str, int], CapsuleCopy]:
        transport = self._around.transport(host)
        await transport.connect()
        seconds = allowance(sum(capsule.bytes for capsule in capsules))
        found = await replicator.check(transport, [(c.shard, c.seq) for c in capsules], seconds=seconds)
        return {(copy.shard, copy.seq): copy for copy in found}

    def _judge(self, capsule: Capsule, copy: Copy, found: CapsuleCopy | None) -> Scrubbed:
        around, now = self._around, self._around.clock.wall()
        good = found is not None and found.digest == capsule.digest
        if good and copy.state == "good":
            around.shelf.seen(capsule.shard, capsule.seq, copy.host, now)
        else:
            around.shelf.mark(capsule.shard, capsule.seq, copy.host, "good" if good else "bad", now)
        if good:
            return Scrubbed(read=1, back=int(copy.state != "good"))
        if copy.state != "bad":
            what = "is gone" if found is None else "is damaged"
            around.report(f"{copy.host}: the copy of capsule {capsule.seq} of {capsule.shard} {what}")
        return Scrubbed(read=1, missing=int(found is None), bad=int(found is not None))


def added(first: Scrubbed, second: Scrubbed) -> Scrubbed:
    """Both together."""
    return Scrubbed(**{name: getattr(first, name) + getattr(second, name) for name in Scrubbed.__struct_fields__})
