"""One shard on two hosts, and what rules do with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from msgspec.structs import replace

from sidestep.backends.base import Backend, Move, ShardObservation, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, StepName
from sidestep.testing.ground import Ground
from sidestep.testing.subject import Subject

#: what a backend does of a move
STEPS: Final = tuple(step for step in MOVE_STEPS if step not in {StepName.COMMIT, StepName.ROUTE})
#: and can take back
UNDOABLE: Final = STEPS[: STEPS.index(StepName.VERIFY) + 1]
#: tokens of the shard before and after a move
OLD, NEW = 7, 8
#: seconds that whatever has to happen may take
PATIENCE: Final = 20.0


class Broken(Exception):
    """A rule does not hold; the text says what was seen."""


def insist(holds: object, seen: str) -> None:
    """Raise Broken with what was seen, unless it holds."""
    if not holds:
        raise Broken(seen)


@dataclass(kw_only=True)
class Case:
    """A shard of its own, tried on the first two hosts; ``end`` leaves nothing of it."""

    ground: Ground
    subject: Subject
    number: int
    random: Random
    #: how many of a rule's steps are tried; all of them without
    sample: int = 0
    #: seconds after which a step is given up where nobody can answer
    deadline: float = 3.0
    backend: Backend = field(init=False)
    source: Transport = field(init=False)
    destination: Transport = field(init=False)
    notes: dict[str, str] = field(default_factory=dict)
    results: dict[StepName, StepResult] = field(default_factory=dict)
    written: int = 0

    def __post_init__(self) -> None:
        here, there = self.ground.hosts[:2]
        self.backend = self.subject.backend()
        self.source, self.destination = self.ground.transport(here), self.ground.transport(there)
        self.shard = self.subject.shard(self.number, Label(here))

    # -- the shard

    async def begin(self, writes: int = 2) -> ShardObservation:
        """Start the shard at the source, and have some writes acknowledged."""
        await asyncio.gather(self.source.connect(), self.destination.connect())
        seen = await self.start()
        for _ in range(writes):
            await self.add(seen.address, seen.port)
        return seen

    async def start(self, token: int = OLD) -> ShardObservation:
        """Ask the backend to start it at the source."""
        return await self.backend.start(self.source, self.shard, token, self.ground.address(self.source.host))

    async def add(self, address: str, port: int) -> None:
        """One more acknowledged write; none that was acknowledged before may be missing."""
        total = await self.subject.add(address, port)
        self.written += 1
        insist(total == self.written, f"{self.written} writes were acknowledged, and the shard has {total}")

    async def serves(self, address: str, port: int) -> bool:
        """Whether a write is acknowledged there."""
        try:
            await self.add(address, port)
        except OSError:
            return False
        return True

    async def served_at_source(self, why: str) -> None:
        """The source has one instance, which serves with all that was written; the destination has none."""
        seen = await self.found(self.source, why)
        insist(seen.token == OLD, f"{why}: the source runs under token {seen.token}, not {OLD}")
        insist(await self.serves(seen.address, seen.port), f"{why}: the source does not serve")
        await self.alone(self.source, self.destination, why)

    async def found(self, at: Transport, why: str) -> ShardObservation:
        """What the backend finds of the shard on a host: one, not more."""
        seen = [each for each in await self.backend.discover(at) if each.shard == self.shard.name]
        if len(seen) != 1:
            raise Broken(f"{why}: {at.host} finds {len(seen)} of its shard")
        return seen[0]

    async def alone(self, owner: Transport, other: Transport, why: str) -> None:
        """One instance at the owner's, none at the other's; what was told to end may take its moment."""
        ends = time.monotonic() + PATIENCE
        while (found := (self.count(owner), self.count(other))) != (1, 0):
            if time.monotonic() > ends:
                raise Broken(f"{why}: {found[0]} instances on {owner.host} and {found[1]} on {other.host}, not 1 and 0")
            await asyncio.sleep(0.05)

    def count(self, at: Transport) -> int:
        """Its instances on a host, counted by other means than the backend's."""
        return self.subject.instances(self.ground, at.host, self.number)

    def kill(self, at: Transport) -> None:
        """End its instances on a host at once."""
        self.subject.kill(self.ground, at.host, self.number)

    async def gone(self, at: Transport, why: str) -> None:
        """None lives there, now or in a moment."""
        ends = time.monotonic() + PATIENCE
        while self.count(at):
            insist(time.monotonic() < ends, f"{why}: {self.count(at)} instances live on {at.host}")
            await asyncio.sleep(0.05)

    # -- its move

    def move(self, **changes: object) -> Move:
        """A move from source to destination, with no time to look afterwards."""
        given = Move(
            key=f"kit-{self.number}-{self.random.randrange(1 << 30)}",
            shard=self.shard,
            source=Label(self.source.host),
            destination=Label(self.destination.host),
            old_token=OLD,
            new_token=NEW,
            destination_address=self.ground.address(self.destination.host),
            observe=0.0,
            deadline=PATIENCE,
        )
        return replace(given, **changes)

    async def step(self, name: StepName, move: Move) -> StepResult:
        """Do one step with the notes of those before, and keep what it noted."""
        result = await self.backend.step(name, move, self.source, self.destination, dict(self.notes))
        self.notes |= result.notes
        self.results[name] = result
        return result

    async def steps(self, names: Sequence[StepName], move: Move) -> None:
        """Do these."""
        for name in names:
            await self.step(name, move)

    async def abort(self, name: StepName, move: Move) -> None:
        """Take one back."""
        await self.backend.abort(name, move, self.source, self.destination, dict(self.notes))

    async def back(self, done: Sequence[StepName], move: Move) -> None:
        """Take these back as the executor does: service first, then the last first."""
        if StepName.FREEZE in done:
            await self.abort(StepName.FREEZE, move)
        for name in reversed(done):
            await self.abort(name, move)

    async def arrived(self, why: str) -> None:
        """After the whole move the destination alone has the shard, under the new token, with all that was written."""
        seen = await self.found(self.destination, why)
        insist(seen.token == NEW, f"{why}: the destination runs under token {seen.token}, not {NEW}")
        insist(await self.serves(seen.address, seen.port), f"{why}: the destination does not serve")
        await self.alone(self.destination, self.source, why)

    async def refused(self, doing: Awaitable[object], why: str) -> HostError:
        """It has to raise HostError."""
        try:
            await doing
        except HostError as error:
            return error
        raise Broken(f"{why} was not refused")

    def anew(self) -> None:
        """A new backend object, as after the end of the daemon: whatever the old one knew is gone."""
        self.backend = self.subject.backend()

    async def reconnect(self) -> None:
        """New connections to both hosts."""
        for at in (self.source, self.destination):
            with contextlib.suppress(HostError):
                await at.aclose()
        self.source = self.ground.transport(self.source.host)
        self.destination = self.ground.transport(self.destination.host)
        await asyncio.gather(self.source.connect(), self.destination.connect())

    def some(self, names: Sequence[StepName]) -> tuple[StepName, ...]:
        """Those of these steps that are tried."""
        if not self.sample or self.sample >= len(names):
            return tuple(names)
        return tuple(sorted(self.random.sample(list(names), self.sample), key=STEPS.index))

    async def each(self, names: Sequence[StepName], rule: Callable[[Case, StepName], Awaitable[None]]) -> None:
        """The rule for each of these steps, each with a shard of its own."""
        for place, name in enumerate(self.some(names)):
            case = Case(
                ground=self.ground, subject=self.subject, number=self.number + 1 + place, random=self.random,
                sample=self.sample, deadline=self.deadline,
            )  # fmt: skip
            try:
                await rule(case, name)
            except Broken as error:
                raise Broken(f"at {name}: {error}") from error
            finally:
                await case.end()

    async def end(self) -> None:
        """Leave nothing, whatever the backend does; its connections are closed."""
        for at in (self.source, self.destination):
            with contextlib.suppress(HostError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await at.connect()
                    await self.backend.stop(at, self.shard, 1 << 40)
            self.kill(at)
            with contextlib.suppress(HostError):
                await at.aclose()
