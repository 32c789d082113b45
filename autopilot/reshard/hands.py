"""Doing the steps of ``split`` and ``merge``: state goes by range of keys, routes change in one generation.

Nothing is asked of a backend but the steps of a move, in another order and of two shards. The commands of a shard
with ``drop`` heed LO and HI: ``save`` writes only keys in that range, ``load`` adds them to what is there, ``drop``
removes them. Until ``release`` the giver of keys still has them, and until the commit all is taken back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.steps import Hands, apply_routes, keys_of
from sidestep.backends.base import Backend, Move, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Part

Keys = tuple[int, int]


def within(shard: ShardSpec, keys: Keys) -> ShardSpec:
    """The shard, with commands for a range of its keys only; its ``resume`` stays."""
    lead = f"LO={keys[0]} HI={keys[1]}; export LO HI; "
    return replace(shard, save=lead + shard.save, load=lead + shard.load, drop=lead + shard.drop)


def dropping(shard: ShardSpec, keys: Keys) -> ShardSpec:
    """The shard, with a ``resume`` that first drops a range of its keys."""
    return replace(shard, resume=f"({within(shard, keys).drop}) && ({shard.resume or ':'})")


@dataclass(kw_only=True)
class ReshardHands:
    """``move`` is of the shard that stays (source: its host), ``part`` the spare with its host and its keys."""

    hands: Hands
    move: Move
    part: Part
    #: keys of the shard after the commit
    keeps: Keys
    journal: Journal
    digest: str
    action: int
    freeze_ms: float | None = None
    backend: Backend = field(init=False)
    home: Transport = field(init=False)
    away: Transport = field(init=False)

    def __post_init__(self) -> None:
        self.backend = self.hands.backend_for(self.move.shard)
        self.home = self.hands.transport_for(self.move.source)
        self.away = self.hands.transport_for(self.part.destination)
        self.spare = self.hands.fleet.shard(self.part.shard)
        assert self.part.keys is not None
        self.keys = self.part.keys
        self._held = True
        self.journal.begin_reshard(self.digest, self.action, self.part.shard)

    @property
    def requests_held(self) -> bool:
        """Whether the router may be holding requests."""
        return self.hands.router is not None and self._held

    def allowance(self, step: StepName) -> float:
        """Seconds that the step may take beyond the policy's deadline."""
        return self.move.observe if step is StepName.OBSERVE else 0.0

    async def connect(self) -> None:
        """Connect both hosts; one that refuses is reported by the step that needs it."""
        await asyncio.gather(self.connect_source(), _connected(self.away))

    async def connect_source(self) -> None:
        """Connect the host that has to serve first when the action is taken back."""
        await _connected(self.home)

    async def reach_destination(self) -> None:
        """Raise HostError unless both hosts answer."""
        for transport in (self.home, self.away):
            await transport.connect()
            await transport.run(":")

    def _check_keys(self, before: Keys) -> None:
        """Raise SidestepError unless the shard has just these keys now: somebody may have split it meanwhile."""
        found = keys_of(self.hands.fleet, self.journal.shard_keys()).get(self.move.shard.name)
        if found != before:
            raise SidestepError(
                f"{self.move.shard.name} has keys {found}, the plan was made for {before}", hint="make a new plan"
            )

    async def _step(
        self, name: StepName, move: Move, at: Transport, to: Transport, notes: dict[str, str]
    ) -> StepResult:
        return await self.backend.step(name, move, at, to, notes)

    def _of(self, shard: ShardSpec, host: Label, token: int, *, placed: bool = False) -> Move:
        """A move of one shard on one host only; ``placed`` is one that comes from nowhere."""
        return replace(
            self.move,
            shard=shard,
            source=Label("") if placed else host,
            destination=host,
            old_token=token,
            new_token=token,
            destination_address=self.hands.fleet.host(host).address,
        )

    async def _hold(self, shard: str, seconds: float) -> None:
        self._held = True
        if self.hands.router is not None:
            await self.hands.router.hold(shard, seconds)

    async def _let_go(self, *shards: str) -> None:
        if self.hands.router is None:
            return
        for shard in shards:
            await self.hands.router.release(shard)
        self._held = False

    async def _thaw(self, shard: ShardSpec, host: Label, token: int, at: Transport) -> None:
        """Let it serve, as taking back a freeze does; a state that was saved by range is never loaded for it."""
        await self.backend.abort(StepName.FREEZE, self._of(shard, host, token), at, at, {})


class SplitHands(ReshardHands):
    """The upper or lower keys of a shard go to a spare, which starts for them. The shard itself stays where it is."""

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:  # noqa: PLR0911 - one a step
        """Do one step (all but commit). Raises SidestepError."""
        giver, taker = self._giver(), self._taker()
        if step is StepName.PREPARE:
            self._check_keys((min(self.keeps[0], self.keys[0]), max(self.keeps[1], self.keys[1])))
        match step:
            case StepName.FREEZE:
                await self._hold(self.move.shard.name, deadline / 2)
                return await self._step(step, giver, self.home, self.home, notes)
            case StepName.CAPTURE:
                return await self._step(step, giver, self.home, self.home, notes)
            case StepName.TRANSFER:
                return await self._step(step, taker, self.home, self.away, notes)
            case StepName.RESUME:
                result = await self._step(step, taker, self.away, self.away, notes)
                await self._thaw(self.move.shard, self.move.source, self.move.old_token, self.home)
                return result
            case StepName.ROUTE:
                said = await apply_routes(self.hands, self.journal)
                await self._let_go(self.move.shard.name)
                return said
            case StepName.RELEASE:
                shard = dropping(self.move.shard, self.keys)
                await self._thaw(shard, self.move.source, self.move.old_token, self.home)
                return StepResult(
                    detail=scrub(f"{self.move.shard.name} has dropped keys {self.keys[0]}..{self.keys[1] - 1}")
                )
            case _:
                return await self._step(step, taker, self.away, self.away, notes)

    def commit(self) -> None:
        """The spare owns its keys from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_split(
            digest=self.digest, action=self.action, shard=self.move.shard.name, expected_token=self.move.old_token,
            keeps=self.keeps, part=self.part,
        )  # fmt: skip

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take back one step before the commit. The shard serves all of its keys, the spare none."""
        if step in (StepName.FREEZE, StepName.CAPTURE):
            await self._thaw(self.move.shard, self.move.source, self.move.old_token, self.home)
            await self._let_go(self.move.shard.name)
        elif step is not StepName.COMMIT:
            await self.backend.abort(step, self._taker(), self.away, self.away, notes)

    def _giver(self) -> Move:
        return self._of(within(self.move.shard, self.keys), self.move.source, self.move.old_token)

    def _taker(self) -> Move:
        return self._of(self.spare, self.part.destination, self.move.new_token, placed=True)


class MergeHands(ReshardHands):
    """A shard takes back the keys of a spare beside it, which ends."""

    #: of the spare, as it was when the action began
    spare_token: int = 0

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:  # noqa: PLR0911 - one a step
        """Do one step (all but commit). Raises SidestepError."""
        keeper, giver = self._keeper(), self._of(self.spare, self.part.destination, self.spare_token)
        match step:
            case StepName.PREPARE:
                lower = self.keys[0] == self.keeps[0]
                self._check_keys((self.keys[1], self.keeps[1]) if lower else (self.keeps[0], self.keys[0]))
                made = await self._step(step, keeper, self.home, self.home, notes)
                there = {"destination_capsule": made.notes["destination_capsule"]}
                return StepResult(detail=Label("room for the keys"), notes=there)
            case StepName.FREEZE:
                for shard in (self.part.shard, self.move.shard.name):
                    await self._hold(shard, deadline / 4)
                said = await self._step(step, giver, self.away, self.away, notes)
                await self._step(step, keeper, self.home, self.home, notes)
                return said
            case StepName.CAPTURE:
                return await self._step(step, giver, self.away, self.away, notes)
            case StepName.TRANSFER:
                return await self._step(step, keeper, self.away, self.home, notes)
            case StepName.RESUME:
                await self._thaw(self.move.shard, self.move.source, self.move.old_token, self.home)
                return StepResult(detail=scrub(f"{self.move.shard.name} serves with the keys of {self.part.shard}"))
            case StepName.ROUTE:
                said = await apply_routes(self.hands, self.journal)
                await self._let_go(self.move.shard.name)
                with suppress(SidestepError):  # a router forgets shards that are not in its table
                    await self._let_go(self.part.shard)
                return said
            case StepName.OBSERVE:
                whole = self._of(self.move.shard, self.move.source, self.move.old_token)
                return await self._step(step, whole, self.home, self.home, notes)
            case StepName.RELEASE:
                ended = replace(giver, new_token=self.move.new_token)
                return await self._step(step, ended, self.away, self.away, notes)
            case _:
                return await self._step(step, keeper, self.home, self.home, notes)

    def commit(self) -> None:
        """The shard has the spare's keys from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_merge(
            digest=self.digest, action=self.action, shard=self.move.shard.name, expected_token=self.move.old_token,
            keeps=self.keeps, part=self.part, spare_token=self.spare_token,
        )  # fmt: skip

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take back one step before the commit. Both serve what they had; the shard has dropped what it took."""
        if step in (StepName.FREEZE, StepName.CAPTURE):
            whole = dropping(self.move.shard, self.keys)
            await self._thaw(whole, self.move.source, self.move.old_token, self.home)
            await self._thaw(self.spare, self.part.destination, self.spare_token, self.away)
            await self._let_go(self.move.shard.name, self.part.shard)

    def _keeper(self) -> Move:
        return self._of(within(self.move.shard, self.keys), self.move.source, self.move.old_token)


async def _connected(transport: Transport) -> None:
    with suppress(HostError):
        await transport.connect()
