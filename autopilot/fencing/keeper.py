"""Keeps the leases of all hosts that run something that may fail over, and proves that old owners are gone.

Nothing is sent to a host before it owns, or is about to start, a shard whose ``failover`` is not "wait"; a fleet
without such shards knows nothing of leases. Renewing costs a host two short lines each third of a lease, over one
channel beside the sampler's. A host that hangs holds nobody else up.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from typing import Final

from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.fencing.host import LeaseHost
from sidestep.autopilot.fencing.lease import bound
from sidestep.autopilot.fencing.proof import Proof
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Backend, Lease, Leased
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement

#: seconds between two looks at what is due
BEAT: Final = 0.25
#: seconds that the guard needs to see that the time has come, and to kill
GUARD: Final = 1.5
#: seconds that hosts have to hear that we end
FAREWELL: Final = 2.0
#: seconds for which samples of before may arrive after a host was declared off, and in which one that is on is heard
STALE: Final = 5.0


class LeaseKeeper:
    """Implements ``Fencer`` and the ``Leases`` of backends; ``run`` is its life.

    ``heard`` is our monotonic time at which a host's newest sample was taken, -inf for none.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        journal: Journal,
        backends: Mapping[str, Backend],
        transport: Callable[[str], Transport],
        log: Log,
        *,
        clock: Clock,
        heard: Callable[[str], float],
    ) -> None:
        self.fleet, self.journal, self.clock, self.heard = fleet, journal, clock, heard
        self.seconds = fleet.failover.lease
        self._log = log
        now = clock.monotonic()
        #: the longest lease that may still be on its way, of a daemon before us as well
        self._noted = journal.lease_seconds()
        self._lower_from = bound(now, self._noted)
        until = bound(now, max(self._noted, self.seconds))
        self._hosts = {
            str(h.name): LeaseHost(h.name, fleet.name, self, transport=transport, clock=clock, until=until)
            for h in fleet.hosts
        }
        self._may: frozenset[str] = _failing_over(fleet)
        #: the generation by which hosts were told what they own
        self._assigned = -1
        self._due: list[tuple[float, str]] = []
        self._active: set[str] = set()
        self._changed: set[str] = set()
        self._said: dict[str, str] = {}
        #: hosts that are declared off, and our time of that; -inf: before we began
        self.off = dict.fromkeys(journal.hosts_off(), -float("inf"))
        for name, shards in journal.leased().items():
            if (host := self._hosts.get(name)) is not None:
                host.known = shards
                host.forget(shards - self._may)
                if host.known != shards:
                    self._changed.add(name)
        self._flush()
        self._proof = Proof(self, backends, transport)
        for backend in backends.values():
            if isinstance(backend, Leased):
                backend.leases = self

    # -- what others ask

    async def hold(self, host: str, shard: str) -> Lease:
        """Have that shard leased there before it is started. Raises HostError (step ``lease``)."""
        self._note_seconds()
        found = self.host(host)
        self._resume(found, self.clock.monotonic())
        self._take(found)
        return await found.hold(shard)

    async def fence(self, host: str, shard: ShardSpec, token: int) -> Label:
        """Return once nothing of that shard under ``token`` or an older one can serve there, and say how."""
        return await self._proof.fence(host, shard, token)

    def remaining(self, host: str) -> float:
        """Seconds until that host has stopped its leased shards, or its fencing command has had its time."""
        return self._proof.remaining(host)

    def gone(self, host: str, shard: ShardSpec) -> float:
        """For how many seconds nothing of that shard can have served there."""
        return self._proof.gone(host, shard)

    def release(self, host: str) -> None:
        """Renew that host's lease again: its failovers are over or given up. Not while one still waits for proof."""
        found = self.host(host)
        if not found.fencing:
            found.stopped = False

    def declare_off(self, host: str, *, actor: str, reason: str) -> str:
        """A person says that the host is off; what was done. Raises UsageError for one that was heard just now."""
        if host not in self._hosts:
            raise UsageError(f"no host {scrub(host)} in fleet {self.fleet.name}", hint="sidestep hosts lists them")
        age = self.clock.monotonic() - self.heard(host)
        if age < STALE:
            raise UsageError(
                f"{host} is not off: it was heard {age:.0f} s ago", hint="switch it off, or stop its shards, first"
            )
        if not reason.strip():
            raise UsageError("a reason is needed", hint="say how it is known: --reason TEXT")
        self.journal.declare_off(host, actor=actor, how=reason)
        self.off[host] = self.clock.monotonic()
        self._log.mirror()
        return f"{host} is taken to be off until it is heard again; its shards may start elsewhere"

    def command_says_off(self, host: str) -> None:
        """The fencing command of that host has succeeded."""
        self.journal.declare_off(host, actor=AUTOPILOT, how="its fence command says so")
        self.off[host] = self.clock.monotonic()
        self._log.mirror()

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another fleet file: the same hosts and shards, some of which may fail over now, or no longer."""
        self.fleet = fleet
        if fleet.failover.lease < self.seconds:
            self._lower_from = bound(self.clock.monotonic(), self._noted)
        self.seconds = fleet.failover.lease
        if self._active:
            self._note_seconds()
        gone, self._may, self._assigned = self._may - _failing_over(fleet), _failing_over(fleet), -1
        for name, host in self._hosts.items():
            if host.known & gone:
                host.forget(gone)
                self._changed.add(name)
                self._take(host)
        self._flush()

    # -- what hosts ask

    def host(self, name: str, step: str = "lease") -> LeaseHost:
        """That host's lease. Raises HostError for one that is not declared."""
        try:
            return self._hosts[name]
        except KeyError:
            raise HostError(name, step, "is not declared in the fleet file") from None

    def leasable(self, shard: str) -> bool:
        """Whether that shard may fail over."""
        return shard in self._may

    def learned(self, host: LeaseHost) -> None:
        """What the host holds is not what it was: it is noted with the next look."""
        self._changed.add(host.name)

    def complain(self, host: str, text: str) -> None:
        """Say trouble once, until it changes."""
        if self._said.get(host) != text:
            self._said[host] = text
            self._log.say("error", f"{host}: {scrub(text, 500)}")

    # -- its life

    async def run(self) -> None:
        """Renew what is due until cancelled."""
        while True:
            try:
                self.look()
            except SidestepError as error:
                self.complain("leases", str(error))
            await self.clock.sleep(BEAT)

    def look(self) -> None:
        """Do what is due now; nothing here waits for a host."""
        now = self.clock.monotonic()
        if self._may or self._active:
            placement = self.journal.placement()
            if placement.generation != self._assigned:
                self._assign(placement)
        if self._active:
            self._note_seconds()
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            host = self._hosts[name]
            self._resume(host, now)
            if host.needed:
                heapq.heappush(self._due, (now + host.beat(), name))
            else:
                self._active.discard(name)
                host.close()
        self._flush()
        for name, since in tuple(self.off.items()):
            if self.heard(name) > since + STALE:
                self.journal.host_is_on(name, actor=AUTOPILOT, why="it is heard again")
                del self.off[name]

    async def end(self) -> None:
        """Say to hosts, as far as they answer, that what they run goes on without us."""
        told = [host for host in self._hosts.values() if host.known or host.residue]
        if not told:
            return
        for host in told:
            self._changed.add(host.name)
            host.residue, host.known = host.residue | host.known, frozenset()
        self._flush()
        self._may = frozenset()
        waiting = [host for host in told if host.unmark()]
        deadline = self.clock.monotonic() + FAREWELL
        while any(host.residue for host in waiting) and self.clock.monotonic() < deadline:
            await self.clock.sleep(0.05)

    async def aclose(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(host.aclose() for host in self._hosts.values()))

    # -- inside

    def _assign(self, placement: Placement) -> None:
        """Who owns what may fail over, and so is to be leased."""
        self._assigned = placement.generation
        wanted: dict[str, set[str]] = {}
        for shard in self._may:
            if (owner := placement.owners.get(Label(shard))) is not None:
                wanted.setdefault(owner.host, set()).add(shard)
        for name, host in self._hosts.items():
            host.wanted = frozenset(wanted.get(name, ()))
            if host.wanted or host.residue:
                self._take(host)

    def _take(self, host: LeaseHost) -> None:
        if host.name not in self._active:
            self._active.add(host.name)
            heapq.heappush(self._due, (self.clock.monotonic(), host.name))

    def _resume(self, host: LeaseHost, now: float) -> None:
        """A host that answers again, after its lease has run out: all that was leased is dead, and stays so."""
        if host.stopped and not host.fencing and host.connected and host.lease.over(now, self.margin):
            host.stopped = False

    @property
    def margin(self) -> float:
        """Seconds beyond the lease that we wait."""
        return max(self.fleet.failover.margin, GUARD)

    def _note_seconds(self) -> None:
        """Before a renewal: a daemon after us has to know how long a lease may be that is on its way."""
        shorter = self.seconds < self._noted and self.clock.monotonic() > self._lower_from
        if self.seconds > self._noted or shorter:
            self.journal.set_lease_seconds(self.seconds)
            self._noted = self.seconds

    def _flush(self) -> None:
        if self._changed:
            self.journal.set_leased({name: self._hosts[name].known for name in self._changed})
            self._changed.clear()


def _failing_over(fleet: FleetSpec) -> frozenset[str]:
    return frozenset(str(s.name) for s in fleet.shards if s.failover != "wait")
