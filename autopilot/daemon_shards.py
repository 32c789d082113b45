"""What runs where, when the daemon begins and when a host comes back.

The journal says who owns a shard. A process that holds the owner's token is kept; one with
an older token is stopped and fenced, as is the copy of a move that was given up before its
commit. A declared shard that runs nowhere is started, or made from the newest state that there is of
it: what a committed move carried that never brought it up, or its newest capsule (``daemon_revival``).
Every step can be repeated, and a host that does not answer is settled when it does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from sidestep.autopilot.capsules.base import Capsules
from sidestep.autopilot.daemon_backward import Backward
from sidestep.autopilot.daemon_forward import finish
from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.daemon_revival import Revival, StillComing
from sidestep.autopilot.foreign import Foreign
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.backends.base import Backend, ShardObservation
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner, Placement

#: hosts that are looked at, or put right, at a time
AT_ONCE: Final = 64

Found = Mapping[str, ShardObservation]
Result = TypeVar("Result")


def _nobody(journal: Journal, spec: ShardSpec, seen: ShardObservation | None, placement: Placement) -> Owner:
    """No host, and the token below which processes are ended: the shard waits, or its keys were merged away."""
    if spec.spare and seen is not None and journal.retired(spec.name, seen.token):
        return Owner(Label(""), placement.generation)
    return Owner(Label(""), placement.queued.get(spec.name, 0))


class Settlement:
    """Brings hosts and journal to one opinion; ``settled`` names the hosts that are done."""

    def __init__(
        self,
        fleet: FleetSpec,
        journal: Journal,
        backends: Mapping[str, Backend],
        transport: Callable[[str], Transport],
        log: Log,
        *,
        busy: Callable[[], frozenset[str]] = frozenset,
        poisoned: Callable[[], frozenset[str]] = frozenset,
        capsules: Capsules | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._fleet, self._journal, self._backends = fleet, journal, backends
        self._transport, self._log, self._busy, self._poisoned = transport, log, busy, poisoned
        self._backward = Backward(fleet, journal, backends, transport, log, busy)
        self.revival = Revival(capsules, transport, log, wall)
        self._shards = {str(s.name): s for s in fleet.shards}
        self.settled: set[str] = set()
        #: shards whose processes have newer tokens than the journal
        self.disputed: set[str] = set()
        #: newest process of every shard, as far as hosts have answered
        self._newest: dict[str, ShardObservation] = {}
        self._doubted, self._serving = set[str](), set[str]()
        #: owners that were found serving: a shard that is gone since, with its pid file, was taken away
        self._served: dict[str, Owner] = {}
        self._complaints: dict[tuple[str, str], str] = {}
        #: what runs as nobody here put it
        self.foreign = Foreign(log.say)

    async def settle(self, hosts: tuple[str, ...]) -> frozenset[str]:
        """Look at these hosts and put right what is theirs; the shards that serve there now.

        Shards that ``busy`` names are left alone; what ``poisoned`` names is not started.
        """
        self._serving.clear()
        self._doubted -= set(hosts)
        some = asyncio.Semaphore(AT_ONCE)
        answers = await asyncio.gather(*(_one_of(some, self._discover(host)) for host in hosts))
        found = {host: answer for host, answer in zip(hosts, answers, strict=True) if answer is not None}
        self._forget(found)
        for observation in (o for answer in found.values() for o in answer):
            self._note(observation)
        self._adopt()
        placement = self._journal.placement()
        for host, answer in found.items():
            self.foreign.found(host, answer, placement.owners, self._busy())
        owned: dict[str, list[ShardSpec]] = {}
        for spec in self._fleet.shards:
            if spec.name in placement.owners:
                owned.setdefault(placement.owners[spec.name].host, []).append(spec)
        work = [self._put_right(host, answer, owned.get(host, [])) for host, answer in found.items()]
        done = await asyncio.gather(*(_one_of(some, one) for one in work))
        fine = {host for host, fine in zip(found, done, strict=True) if fine} - await self._backward.clear(found)
        self.settled |= fine - self._doubted
        return frozenset(self._serving)

    def lost(self, hosts: Collection[str]) -> None:
        """These hosts are gone: whatever is missing there when they are back is missing because of that."""
        self.settled -= set(hosts)
        self._served = {shard: at for shard, at in self._served.items() if at.host not in hosts}

    def doubt(self, hosts: Collection[str], *, moved: bool = True) -> None:
        """Look at these hosts again: something of a move may be left there, or have been ended there by it."""
        if moved:
            self.lost(hosts)
        self.settled -= set(hosts)
        self._doubted |= set(hosts)  # what is being looked at just now was perhaps seen too early

    async def _discover(self, host: str) -> tuple[ShardObservation, ...] | None:
        try:
            transport = self._transport(host)
            await transport.connect()
            found: list[ShardObservation] = []
            for backend in self._backends.values():
                if "discover" in backend.capabilities:
                    found += await backend.discover(transport)
            return tuple(found)
        except HostError as error:
            self._log.say("host", str(error))
            return None

    def _forget(self, found: Mapping[str, tuple[ShardObservation, ...]]) -> None:
        """Whatever ran on these hosts and does no longer is not disputed any more."""
        here = {(host, str(seen.shard)) for host, answer in found.items() for seen in answer}
        for shard, seen in tuple(self._newest.items()):
            if seen.host in found and (str(seen.host), shard) not in here:
                del self._newest[shard]
                self.disputed.discard(shard)
                self.foreign.ahead.pop(shard, None)

    def _note(self, seen: ShardObservation) -> None:
        if seen.shard not in self._shards:
            self._log.say("host", f"{seen.host}: {seen.shard} runs there and is not in the fleet file; left alone")
            return
        newest = self._newest.get(seen.shard)
        if seen.state is ShardState.RUNNING and (newest is None or seen.token >= newest.token):
            self._newest[seen.shard] = seen

    def _adopt(self) -> None:
        """Give every shard without an owner one: the newest process that was found, else as declared.

        What is declared to begin in the queue does, unless it is found running.
        """
        placement = self._journal.placement()
        new: dict[Label, Owner] = {}
        waits: dict[Label, str] = {}
        for spec in self._fleet.shards:
            owner, newest = placement.owners.get(spec.name), self._newest.get(spec.name)
            if owner is None and spec.spare:
                continue  # only a split gives it an owner; what an aborted one left is ended below
            if owner is None and spec.name in placement.queued:
                self._look_at_queued(spec, placement.queued[spec.name], newest)
            elif owner is None and spec.queued and (newest is None or newest.token <= 0):
                waits[spec.name] = f"file:{spec.name}"
            elif owner is None:
                found = newest is not None and newest.token > 0
                new[spec.name] = (
                    Owner(newest.host, newest.token)
                    if found and newest is not None
                    else Owner(spec.host, placement.generation + 1)
                )
            elif newest is not None and newest.token > owner.token and self._strange(newest):
                self._dispute(spec, owner, newest)
        if new:
            self._journal.adopt(new, Label(AUTOPILOT))
        if waits:
            self._journal.submit(waits, Label(AUTOPILOT))

    def _look_at_queued(self, spec: ShardSpec, token: int, newest: ShardObservation | None) -> None:
        """A shard that waits runs somewhere: if it never ran for us, that host has it; else the journal is old."""
        if newest is None or newest.token <= token or not self._strange(newest):
            return
        if token:
            self._dispute(spec, Owner(Label("the queue"), token), newest)
        else:
            self._journal.take_in(spec.name, newest.host, newest.token, Label(AUTOPILOT))

    def _strange(self, seen: ShardObservation) -> bool:
        """Whether a token newer than the owner's is none that a move of ours was promised."""
        return seen.shard not in self._busy() and not self._journal.abandoned(seen.shard, seen.token)

    def _dispute(self, spec: ShardSpec, owner: Owner, newest: ShardObservation) -> None:
        """The world is ahead of the journal: an older journal was put in place. Nobody is stopped for that."""
        if spec.name not in self.disputed:
            self.disputed.add(spec.name)
            said = (
                f"{spec.name} runs on {newest.host} with token {newest.token}, but the journal has {owner.host} with "
                f"token {owner.token}: is this an old journal? The shard is left alone"
            )
            self.foreign.ahead[str(spec.name)] = said
            self._log.say("error", said)

    async def _put_right(self, host: str, found: tuple[ShardObservation, ...], owned: Sequence[ShardSpec]) -> bool:
        """Stop what is not the owner's, start what is missing; False if something has to be tried again.

        ``owned`` is what the host owned when the look began; the placement of now decides.
        """
        placement = self._journal.placement()
        fine = True
        by_shard = {str(o.shard): o for o in sorted(found, key=lambda o: o.token)}
        strays = by_shard.keys() & self._shards.keys() - {str(spec.name) for spec in owned}
        for spec in (*owned, *(self._shards[name] for name in sorted(strays))):
            if spec.name in self._busy() or spec.name in self.disputed:
                continue
            if spec.name in self.foreign.twins:  # looked at again, until somebody has stopped one
                fine = fine and host not in self.foreign.twins[spec.name]
                continue
            seen = by_shard.get(spec.name)
            owner = placement.owners.get(spec.name) or _nobody(self._journal, spec, seen, placement)
            try:
                if owner.host == host:
                    await self._keep_or_start(spec, seen, owner)
                elif seen is not None and (seen.state is not ShardState.FAILED or 0 < seen.token < owner.token):
                    await self._end_copy(spec, seen, owner)
                self._complaints.pop((host, spec.name), None)
            except StillComing:
                fine = False
            except SidestepError as error:
                fine = False
                self._complain(host, spec.name, str(error))
        return fine

    async def _end_copy(self, spec: ShardSpec, seen: ShardObservation, owner: Owner) -> None:
        """Stop and fence a process on a host that does not own the shard, if it is known to be left over.

        One that died there is fenced as well: a host that comes back must not take a late order to start it.
        The old owner is kept until the new one serves: it is the last that has the state in memory. That of a
        shard that waits in the queue (no host owns it) is not: its capsule is kept.
        """
        backend, transport = self._backends[spec.backend], self._transport(seen.host)
        if owner.host and seen.token < owner.token and self._journal.unresumed(spec.name, owner.token):
            return
        if seen.token < owner.token:
            await backend.stop(transport, spec, owner.token)
            done = "fenced" if seen.state is ShardState.FAILED else "stopped"
            self._log.say("host", f"{seen.host}: {done} {spec.name}: token {seen.token} is older than {owner.token}")
        elif self._journal.abandoned(spec.name, seen.token):
            await backend.stop(transport, spec, seen.token)
            self._log.say("host", f"{seen.host}: stopped the copy of {spec.name} that a move left, token {seen.token}")

    async def _keep_or_start(self, spec: ShardSpec, seen: ShardObservation | None, owner: Owner) -> None:
        backend, transport = self._backends[spec.backend], self._transport(owner.host)
        if seen is None and self._served.get(spec.name) == owner:
            raise self.foreign.taken_away(spec.name, owner.host)
        if seen is not None and seen.token < owner.token:
            await backend.stop(transport, spec, owner.token)
            seen = None
        left = self._journal.unresumed(spec.name, owner.token)
        runs = seen is not None and seen.token == owner.token and seen.state is ShardState.RUNNING
        if not runs and spec.name in self._poisoned():
            raise SidestepError("is poisoned, and not started", hint=f"sidestep clear-poison {spec.name} --reason TEXT")
        if left is not None:
            await self._bring_up(spec, owner, *left)
        elif seen is None or seen.token != owner.token or seen.state is not ShardState.RUNNING:
            seen = await self._start(spec, owner, gone=seen is None or seen.state is ShardState.FAILED)
        if seen is not None and seen.port:
            self._journal.set_endpoint(spec.name, seen.address, seen.port)
        self._serving.add(spec.name)
        self._served[spec.name] = owner

    async def _start(self, spec: ShardSpec, owner: Owner, *, gone: bool) -> ShardObservation:
        """Have it serve; what was only in memory is gone with its process, and then its newest capsule comes first."""
        backend, address = self._backends[spec.backend], self._fleet.host(owner.host).address
        self._served.pop(spec.name, None)  # what does not come up leaves nothing there
        with suppress(JournalError):  # a full disk keeps no shard from being started
            for name in self._journal.fell(spec.name) if gone else ():
                self._log.say("host", f"{owner.host}: {name} of {spec.name} has ended with its process")
        if gone and (seen := await self.revival.bring_back(backend, spec, owner, address)) is not None:
            return seen
        seen = await backend.start(self._transport(owner.host), spec, owner.token, address)
        self._log.say("host", f"{owner.host}: started {spec.name} with token {owner.token}, port {seen.port}")
        return seen

    async def _bring_up(self, spec: ShardSpec, owner: Owner, digest: str, number: int) -> None:
        """Do what a committed move could not: its state is there, and a new start would forget it."""
        backend = self._backends[spec.backend]
        plan, action = await finish(self._fleet, self._journal, backend, self._transport, owner, digest, number)
        self._log.say("host", f"{owner.host}: brought up {spec.name}, as plan {plan.number} had committed")
        self.doubt({action.source})

    def _complain(self, host: str, shard: str, text: str) -> None:
        """Say trouble that is tried again and again once, until it changes."""
        if self._complaints.get((host, shard)) != text:
            self._complaints[host, shard] = text
            self._log.say("error", f"{shard} on {host}: {text}")


async def _one_of(some: asyncio.Semaphore, work: Coroutine[Any, Any, Result]) -> Result:
    async with some:
        return await work
