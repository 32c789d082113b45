"""Capsules as the daemon makes them, shows them, and hears about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sidestep.autopilot.capsules.budget import SHARE, Budget
from sidestep.autopilot.capsules.carrying import Around
from sidestep.autopilot.capsules.keeper import CapsuleKeeper
from sidestep.autopilot.capsules.shelf import Shelf
from sidestep.autopilot.capsules.sites import Sites
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol import Done
from sidestep.autopilot.protocol_capsules import CapsuleList, CapsuleReply, CapsuleRow, GetCapsules, ScrubCapsules
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Backend, Replicator
from sidestep.backends.ssh.pace import Pace
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub


def capsule_keeper(
    fleet: FleetSpec, world: World, journal: Journal, backends: Mapping[str, Backend], log: Log, clock: Clock,
    *, busy: Callable[[], frozenset[str]], strain: Callable[[str], str], pace: Pace | None = None,
) -> CapsuleKeeper:  # fmt: skip
    """Made and not begun."""

    def replicator(spec: ShardSpec) -> Replicator | None:
        backend = backends.get(spec.backend)
        able = backend is not None and "replicate" in backend.capabilities and isinstance(backend, Replicator)
        return backend if able else None  # type: ignore[return-value] # a backend that says so

    def owner(shard: str) -> tuple[Label, int] | None:
        found = journal.placement().owners.get(Label(shard))
        return (found.host, found.token) if found is not None else None

    around = Around(
        fleet=fleet,
        shelf=Shelf(journal),
        sites=Sites(fleet.hosts),
        budget=Budget(lambda: around.fleet.policy.bandwidth * SHARE, clock),
        clock=clock,
        replicator=replicator,
        transport=world.transport,
        states=world.states,
        owner=owner,
        report=log.told("host"),
        parked=journal.waiting,
        pace=pace,
        rate=lambda: around.fleet.policy.bandwidth,
    )
    return CapsuleKeeper(around, busy=busy, strain=strain, held=lambda: journal.trouble)


class CapsuleDesk:
    """Answers the requests of ``protocol_capsules``. Raises UsageError for a shard that has none."""

    def __init__(self, keeper: CapsuleKeeper, log: Log) -> None:
        self._keeper, self._log = keeper, log

    def answer(self, request: GetCapsules | ScrubCapsules, actor: Label) -> CapsuleReply | Done:
        """One answer."""
        known = self._keeper.known()
        if request.shard and request.shard not in known:
            raise UsageError(f"no capsules are kept of {scrub(request.shard)}", hint="see: sidestep capsules")
        if isinstance(request, GetCapsules):
            return self._listed((request.shard,) if request.shard else known)
        if not known:
            raise SidestepError("no capsules are kept", hint="set replicas for the shards that need it")
        copies, hosts = self._keeper.scrub_now((request.shard,) if request.shard else ())
        said = f"reading {copies} copies on {hosts} hosts; what comes of it: sidestep capsules"
        self._log.act("scrub", said, actor=actor, subject=request.shard, reason=request.reason, always=True)
        return Done(scrub(said))

    def _listed(self, shards: tuple[str, ...]) -> CapsuleList:
        keeper = self._keeper
        at, found = keeper.scrubbed
        rows = sorted(map(self._row, shards), key=lambda row: (-_old(row), row.shard))
        return CapsuleList(
            rows=tuple(rows), scrubbed=at, read=found.read, bad=found.bad, missing=found.missing, unread=found.unread,
            repaired=keeper.around.repaired, carried=keeper.around.carried,
        )  # fmt: skip

    def _row(self, shard: str) -> CapsuleRow:
        keeper, around = self._keeper, self._keeper.around
        spec, owner = around.shards.get(shard), around.owner(shard)
        newest = around.shelf.newest(shard) or next((c for c in around.shelf.of(shard) if c.complete), None)
        every = spec.replicate_every if spec is not None else 0.0
        wanted = spec.replicas if spec is not None else 0
        trouble = keeper.told.of(shard) or keeper.told.of(f"{shard} copies")
        if not wanted:
            trouble = trouble or scrub("is not replicated any more" if spec else "is not in the fleet file")
        row = CapsuleRow(
            shard=scrub(shard), owner=owner[0] if owner is not None else Label(""), replicas=wanted, every=every,
            age=None, stale=shard in keeper.stale(), trouble=trouble,
        )  # fmt: skip
        if newest is None:
            return row
        return CapsuleRow(
            shard=row.shard, owner=row.owner, replicas=wanted, every=every, stale=row.stale, trouble=trouble,
            age=max(0.0, around.clock.wall() - newest.taken), seq=newest.seq, token=newest.token, bytes=newest.bytes,
            digest=newest.digest, paused=newest.paused, copies=newest.on("good"), bad=newest.on("bad"),
            lost=newest.on("lost"), checked=min((copy.checked for copy in newest.copies), default=0.0),
        )  # fmt: skip


def _old(row: CapsuleRow) -> float:
    """How old it is against what is wanted."""
    return math.inf if row.age is None else row.age / row.every if row.every else 0.0
