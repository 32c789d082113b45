"""What there is to be had of a shard's capsules, and having it brought: ``Capsules`` for failover and the queue."""

from __future__ import annotations

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.capsules.carrying import COUNTING, Around, Carrier
from sidestep.autopilot.capsules.catalogue import Capsule
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label


class CapsuleSource:
    """Implements ``Capsules``."""

    def __init__(self, around: Around, carrier: Carrier) -> None:
        self.around, self._carrier = around, carrier

    def newest(self, shard: str) -> CapsuleRef | None:
        """The newest capsule with a quorum of copies; None if there is none, or it lies on lost hosts only."""
        capsule = self.around.shelf.newest(shard)
        return _ref(capsule) if capsule is not None else None

    def lost(self, shard: str) -> CapsuleRef | None:
        """The newest complete capsule, if it lies on lost hosts only."""
        capsule = self.around.shelf.out_of_reach(shard)
        return _ref(capsule) if capsule is not None else None

    async def bring(self, ref: CapsuleRef, destination: Transport, path: str) -> str:
        """Put the capsule's bytes at ``path`` on that host, from whichever copy answers; says which way.

        Raises HostError (step ``transfer``) if no copy can be had.
        """
        around, capsule = self.around, self.around.shelf.get(ref.shard, ref.seq)
        if capsule is None or capsule.digest != ref.digest:
            raise HostError(destination.host, "transfer", f"capsule {ref.seq} of {ref.shard} is not kept any more")
        spec = around.shards.get(ref.shard)
        replicator = around.replicator(spec) if spec is not None else None
        if spec is not None and replicator is not None and capsule.copy(destination.host) is not None:
            try:
                await replicator.lend(destination, spec, ref.seq, ref.digest, path)
                return "a copy was there"
            except HostError as error:
                around.report(str(error.args[0]))
        states = around.states()
        known = [copy for copy in capsule.copies if copy.state in ("good", "lost")]
        known.sort(key=lambda copy: (copy.state != "good", states.get(copy.host) not in COUNTING))
        host, done = await self._carrier.carry(
            capsule, [(c.host, c.path) for c in known], destination, path, urgent=True
        )
        return f"from {host} {'from host to host' if done.way == 'direct' else 'through the controller'}"

    def forget_host(self, host: str) -> None:
        """Copies on that host count no longer, until they are seen again."""
        if lost := self.around.shelf.lose(host, self.around.clock.wall()):
            self.around.report(f"{host}: {lost} copies of capsules are lost with it for now")

    def hosts_of(self, shard: str) -> tuple[Label, ...]:
        """Hosts that have a good copy of its newest capsule."""
        capsule = self.around.shelf.newest(shard)
        return capsule.on("good") if capsule is not None else ()


def _ref(capsule: Capsule) -> CapsuleRef:
    return CapsuleRef(
        shard=capsule.shard, seq=capsule.seq, token=capsule.token, digest=capsule.digest, bytes=capsule.bytes,
        taken=capsule.taken, hosts=capsule.on("good"),
    )  # fmt: skip
