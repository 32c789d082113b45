"""Putting copies of a capsule on hosts: which ones, over which way, and what is written down when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestep.autopilot.capsules.budget import Budget
from sidestep.autopilot.capsules.catalogue import Capsule, Copy
from sidestep.autopilot.capsules.shelf import Shelf
from sidestep.autopilot.capsules.sites import Sites
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Replicator
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.direct import Carried, transfer
from sidestep.backends.ssh.pace import Pace
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.queue import Waiting

#: hosts that may be given a copy, and hosts whose copies count towards ``replicas``
TAKING: Final = frozenset({HostState.READY})
COUNTING: Final = frozenset({HostState.READY, HostState.SUSPECT, HostState.CORDONED})
#: hosts that capsules are taken on and copies read from: also those that are being emptied
HOMES: Final = COUNTING | {HostState.DRAINING, HostState.DRAINED}
_AWAY: Final = frozenset({HostState.DEAD, HostState.UNKNOWN})
#: seconds that a host may be away before its copies are made anew elsewhere
LOST_AFTER: Final = 60.0
#: bytes that a copy leaves free on a host's disk
SPARE: Final = 256 << 20
#: bytes a second that a capsule is carried or read with at least, before it is given up; and seconds on top
SLOWEST: Final = 4 << 20
PATIENCE: Final = 60.0
#: transfers that may have the line beside one of ours
_SHARED: Final = 16


def allowance(size: int, rate: float = 0.0) -> float:
    """Seconds that so many bytes may take, on a line that allows ``rate`` and is shared with others (0: no limit)."""
    return PATIENCE + size / SLOWEST + (_SHARED * size / rate if rate else 0.0)


@dataclass(kw_only=True)
class Around:
    """What capsules are kept with; ``fleet`` is switched by a reload, all else stays."""

    fleet: FleetSpec
    shelf: Shelf
    sites: Sites
    budget: Budget
    clock: Clock
    replicator: Callable[[ShardSpec], Replicator | None]
    transport: Callable[[str], Transport]
    states: Callable[[], Mapping[str, HostState]]
    #: the present owner of a shard and its token; None if it has none
    owner: Callable[[str], tuple[Label, int] | None]
    #: says trouble
    report: Callable[[str], None]
    #: what a shard without an owner waits with in the queue; None if it does not wait
    parked: Callable[[str], Waiting | None] = lambda shard: None
    transfer: Callable[..., Awaitable[Carried]] = transfer
    #: the line that all moves take turns on, and bytes a second that it allows (0: no limit)
    pace: Pace | None = None
    rate: Callable[[], float] = lambda: 0.0
    #: seconds for which the states of hosts are remembered
    fresh: float = 0.5
    shards: dict[str, ShardSpec] = field(init=False)
    #: hosts that are away, and the unix time at which that was noticed
    away: dict[str, float] = field(default_factory=dict, init=False)
    #: bytes that were carried, and copies that were made anew since they were bad or lost
    carried: int = field(default=0, init=False)
    repaired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._known: tuple[float, frozenset[str], frozenset[str]] | None = None
        self.switch(self.fleet)

    def switch(self, fleet: FleetSpec) -> None:
        """Go by this fleet file."""
        self.fleet, self.sites = fleet, Sites(fleet.hosts)
        self.shards = {str(shard.name): shard for shard in fleet.shards}
        self._standby = frozenset(str(host.name) for host in fleet.hosts if host.standby)

    def taking(self) -> frozenset[str]:
        """Hosts that may be given a copy now."""
        return self._hosts()[0]

    def counting(self) -> frozenset[str]:
        """Hosts whose copies count; those that are away do so for a while."""
        return self._hosts()[1]

    def _hosts(self) -> tuple[frozenset[str], frozenset[str]]:
        now = self.clock.monotonic()
        if self._known is None or now - self._known[0] >= self.fresh:
            states, wall = self.states(), self.clock.wall()
            taking = frozenset(host for host, state in states.items() if state in TAKING) - self._standby
            brief = {host for host, since in self.away.items() if wall - since < LOST_AFTER}
            counting = frozenset(brief | {host for host, state in states.items() if state in COUNTING})
            self._known = now, taking, counting
        return self._known[1], self._known[2]

    def home(self, shard: str) -> str:
        """The host that needs no copy: that of the owner, or the one on which the shard left its capsule; else ""."""
        owner = self.owner(shard)
        if owner is not None:
            return owner[0]
        waiting = self.parked(shard)
        return waiting.host if waiting is not None else ""

    def look(self) -> None:
        """Note which hosts are away, and since when."""
        now = self.clock.wall()
        gone = [host for host, state in self.states().items() if state in _AWAY]
        self.away = {host: self.away.get(host, now) for host in gone}

    def lacking(self, capsule: Capsule, owner: str) -> int:
        """Good copies that are missing on hosts that count and are not the owner."""
        counting = self.counting()
        have = sum(1 for host in capsule.on("good") if host != owner and host in counting)
        return self.shards[capsule.shard].replicas - have


class Carrier:
    """Makes copies. What fails on one host is tried on the next best; nothing here raises for a host."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def spread(self, capsule: Capsule, owner: str, source: tuple[str, str] | None = None) -> tuple[Capsule, str]:
        """Bring the capsule to as many hosts as its shard wants; the capsule then, and why it has not enough, or "".

        ``source`` is a host and a path beside the copies themselves. Raises JournalError.
        """
        around, spec = self._around, self._around.shards[capsule.shard]
        failed: dict[str, str] = {}
        while True:
            counting = around.counting()
            have = [host for host in capsule.on("good") if host in counting and host != owner]
            missing = spec.replicas - len(have)
            if missing <= 0:
                return capsule, ""
            sources = ([source] if source else []) + [(c.host, c.path) for c in capsule.copies if c.state == "good"]
            if not sources:
                return capsule, "no good copy is left to make others from"
            may = around.sites.mask(around.taking() - failed.keys())
            chosen = around.sites.choose(capsule.shard, missing, may=may, owner=owner, have=have)
            if not chosen:
                return capsule, self._why(missing, spec, failed)
            capsule = await self._copy_to(capsule, spec, chosen, sources, failed)

    async def _copy_to(
        self, capsule: Capsule, spec: ShardSpec, chosen: tuple[Label, ...],
        sources: list[tuple[str, str]], failed: dict[str, str],
    ) -> Capsule:  # fmt: skip
        around, now = self._around, self._around.clock.wall()
        # written down before any byte is
        around.shelf.expect(capsule, (Copy(host=host, path="", state="coming", checked=now) for host in chosen))

        async def one(host: Label) -> None:
            try:
                path = await self._place(capsule, spec, host, sources)
            except HostError as error:
                failed[host] = str(error.args[0])
                return
            now = around.clock.wall()
            around.shelf.mark(capsule.shard, capsule.seq, host, "good", now, path=path, wanted=spec.replicas)

        await asyncio.gather(*map(one, chosen))
        return around.shelf.get(capsule.shard, capsule.seq) or capsule

    async def _place(self, capsule: Capsule, spec: ShardSpec, host: Label, sources: list[tuple[str, str]]) -> str:
        """Put one copy there, from whichever source has the right bytes. Raises HostError."""
        around, replicator = self._around, self._around.replicator(spec)
        if replicator is None:
            raise HostError(host, "keep", f"backend {spec.backend} keeps no copies")
        there = await _connected(around.transport(host))
        place = await replicator.keep(there, spec, capsule.seq, capsule.bytes, SPARE)
        if place.digest == capsule.digest:
            return place.path
        await self.carry(capsule, sources, there, place.path)
        return place.path

    async def carry(
        self, capsule: Capsule, sources: list[tuple[str, str]], there: Transport, path: str, *, urgent: bool = False
    ) -> tuple[str, Carried]:
        """Carry the capsule's bytes to ``path``, from the first source that has them; which, and how.

        What is urgent does not wait for the budget. Raises HostError (step ``transfer``) if no source has them.
        """
        around = self._around
        trouble: HostError | None = None
        for host, here in sources:
            if host == there.host:
                continue
            try:
                if not urgent:
                    await around.budget.take(capsule.bytes)
                start = await _connected(around.transport(host))
                seconds = allowance(capsule.bytes, around.rate())
                done = await around.transfer(
                    start, here, there, path, timeout=seconds, size=capsule.bytes, pace=around.pace
                )
            except HostError as error:
                trouble = error
                continue
            around.carried += capsule.bytes
            if done.digest == capsule.digest:
                return host, done
            trouble = HostError(host, "transfer", f"capsule {capsule.seq} of {capsule.shard} there is not what it was")
            if around.shelf.mark(capsule.shard, capsule.seq, host, "bad", around.clock.wall()):
                around.report(str(trouble.args[0]))
        raise trouble or HostError(there.host, "transfer", f"no copy of capsule {capsule.seq} of {capsule.shard}")

    @staticmethod
    def _why(missing: int, spec: ShardSpec, failed: Mapping[str, str]) -> str:
        said = f"{missing} of {spec.replicas} copies have no host"
        return f"{said}: {'; '.join(failed.values())}" if failed else f"{said} that may take one"


async def _connected(transport: Transport) -> Transport:
    await transport.connect()
    return transport


__all__ = ["COUNTING", "HOMES", "TAKING", "Around", "Carrier", "allowance"]
