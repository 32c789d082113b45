"""Doing one step of a move, and taking one back, through backend, hosts and router.

Nothing here is decided, and nothing but the commit is journaled: ``executor_action`` does that around it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from sidestep.autopilot.capsules.base import Capsules
from sidestep.autopilot.failover.base import Rescue
from sidestep.autopilot.fencing.base import Fencer
from sidestep.autopilot.journal import Journal
from sidestep.backends.base import Backend, Move, Router, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState, StepName
from sidestep.fleet.placement import Placement, Route, RoutingTable
from sidestep.fleet.plans import Action, Plan


def before_commit(steps: Sequence[StepName]) -> tuple[StepName, ...]:
    """Those of an action's steps that can be taken back."""
    return tuple(steps[: steps.index(StepName.COMMIT)])


def after_commit(steps: Sequence[StepName]) -> tuple[StepName, ...]:
    """Those after which there is only forward."""
    return tuple(steps[steps.index(StepName.COMMIT) + 1 :])


Endpoints = Mapping[Label, tuple[str, int]]


def keys_of(fleet: FleetSpec, changed: Mapping[Label, tuple[int, int]]) -> dict[Label, tuple[int, int]]:
    """The keys of every shard that has any: as declared, or as ``changed`` since by splits and merges."""
    declared = {shard.name: shard.keys for shard in fleet.shards if shard.keys is not None}
    return {**declared, **{shard.name: changed[shard.name] for shard in fleet.shards if shard.name in changed}}


def routing_table(
    fleet: FleetSpec, placement: Placement, endpoints: Endpoints, changed: Mapping[Label, tuple[int, int]] | None = None
) -> RoutingTable:
    """The table that this placement means: every shard with keys, at its owner's endpoint.

    A shard whose endpoint is not known is taken to listen on its host's address at its declared
    port. An app of which a shard waits in the queue is left out: its requests are refused as those
    of an app that nobody knows, until it is whole. Raises SidestepError if there is no table: an
    endpoint is unknown, or keys have a gap. ``changed`` are the keys that splits and merges have given since.
    """
    routes = []
    keys = keys_of(fleet, changed or {})
    partial = {shard.app for shard in fleet.shards if shard.name in keys and shard.name in placement.queued}
    for shard in fleet.shards:
        if shard.name not in keys or shard.app in partial:
            continue
        owner = placement.owners.get(shard.name)
        if owner is None:
            raise SidestepError(f"shard {shard.name} has keys and no owner", hint="start it, or wait until it is found")
        found = endpoints.get(shard.name)
        address, port = found or (fleet.host(owner.host).address, shard.port)
        if not port:
            raise SidestepError(f"shard {shard.name} on {owner.host}: its port is not known", hint="declare its port")
        routes.append(Route(shard.app, *keys[shard.name], shard.name, address, port, owner.token))
    table = RoutingTable(placement.generation, tuple(sorted(routes, key=lambda r: (r.app, r.lo))))
    try:
        table.check()
    except ValueError as error:
        raise SidestepError(f"no routing table: {error}", hint="correct the keys of that app's shards") from error
    return table


def move_of(fleet: FleetSpec, plan: Plan, action: Action, *, digest: str, old_token: int, new_token: int) -> Move:
    """What a backend is told about one action. Raises KeyError for a shard or host that is not declared.

    A failover has no source: of a lost host nothing is asked.
    """
    return Move(
        key=f"{digest}-{action.id}",
        shard=fleet.shard(action.shard),
        source=Label("") if action.kind == "failover" else action.source,
        destination=action.destination,
        old_token=old_token,
        new_token=new_token,
        destination_address=fleet.host(action.destination).address,
        observe=plan.policy.observe,
        deadline=plan.policy.step_deadline,
    )


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What steps act through: the fleet as declared, its backends, its hosts and its router."""

    fleet: FleetSpec
    backend_for: Callable[[ShardSpec], Backend]
    transport_for: Callable[[str], Transport]
    router: Router | None
    #: what failover needs besides
    fencer: Fencer | None = None
    capsules: Capsules | None = None
    rescue: Rescue | None = None

    def router_of(self, shard: ShardSpec) -> Router | None:
        """The router, if it knows this shard at all."""
        return self.router if shard.keys is not None or shard.spare else None


async def apply_routes(hands: Hands, journal: Journal) -> StepResult:
    """Give the router the table that the journal means now. Raises SidestepError if it does not take it."""
    if hands.router is None:
        return StepResult(detail=scrub("there is no router"))
    table = routing_table(hands.fleet, journal.placement(), journal.endpoints(), journal.shard_keys())
    in_force = await hands.router.apply(msgspec.msgpack.encode(table), table.checksum())
    if in_force < table.generation:
        raise SidestepError(
            f"the router is at generation {in_force} and did not take generation {table.generation}",
            hint="is the router of this fleet running, and of the same version?",
        )
    return StepResult(detail=scrub(f"router at generation {in_force}"))


@dataclass(kw_only=True)
class MoveHands:
    """The hands for one move, and how long its requests have been held."""

    hands: Hands
    move: Move
    journal: Journal
    #: of the plan, and the number of the action in it
    digest: str
    action: int
    #: time.monotonic() when requests were last held back, and how long they waited
    held_at: float | None = None
    freeze_ms: float | None = None
    backend: Backend = field(init=False)
    source: Transport = field(init=False)
    destination: Transport = field(init=False)

    def __post_init__(self) -> None:
        self.backend = self.hands.backend_for(self.move.shard)
        self.destination = self.hands.transport_for(self.move.destination)
        self.source = self.hands.transport_for(self.move.source) if self.move.source else self.destination
        self._router = self.hands.router_of(self.move.shard)
        self._refused: dict[str, HostError] = {}
        self._held = True  # until it is known: a predecessor may have asked for it

    @property
    def requests_held(self) -> bool:
        """Whether the router may be holding this shard's requests."""
        return self._router is not None and self._held

    def allowance(self, step: StepName) -> float:
        """Seconds that the step may take beyond the policy's deadline."""
        return self.move.observe if step is StepName.OBSERVE else 0.0

    async def connect(self) -> None:
        """Connect both hosts that are not connected; one that refuses is reported by the step that needs it."""
        self._refused.clear()
        await asyncio.gather(*(self._connect(t) for t in (self.source, self.destination)))

    async def connect_source(self) -> None:
        """Connect the source if it is not connected; a refusal is reported by the step that needs it."""
        self._refused.pop(self.source.host, None)
        await self._connect(self.source)

    async def reach_destination(self) -> None:
        """Raise HostError unless the destination answers: asked last before it becomes the owner.

        A connection says nothing: it may not have been noticed yet that the host is gone.
        """
        await self.destination.connect()
        await self.destination.run(":")

    async def do(self, step: StepName, notes: dict[str, str], deadline: float) -> StepResult:
        """Do one step (all but commit). Raises SidestepError."""
        if step is StepName.ROUTE:
            return await self._route()
        if step is StepName.FREEZE:
            self._hold_begins()
            if self._router is not None:
                await self._router.hold(self.move.shard.name, deadline / 2)
        try:
            result = await self.backend.step(step, self.move, self.source, self.destination, notes)
        except HostError as error:
            raise self._why(error) from error
        if step is StepName.RESUME:
            await self._release()
        return result

    def commit(self) -> None:
        """The shard belongs to the destination from now on. Raises PlacementConflict, JournalError."""
        self.journal.commit_move(
            digest=self.digest,
            action=self.action,
            shard=self.move.shard.name,
            to=self.move.destination,
            expected_token=self.move.old_token,
        )

    async def undo(self, step: StepName, notes: dict[str, str]) -> None:
        """Take one step back; the requests held for a freeze are let go once the source is thawed."""
        if step is not StepName.COMMIT:
            try:
                await self.backend.abort(step, self.move, self.source, self.destination, notes)
            except HostError as error:
                if step is StepName.FREEZE and await self._source_serves(error):
                    await self._release()
                raise self._why(error) from error
        if step is StepName.FREEZE:
            await self._release()

    async def _source_serves(self, error: HostError) -> bool:
        """Whether only the destination is in trouble, and the old owner was found running."""
        if error.host != self.move.destination:
            return False
        try:
            found = await self.backend.discover(self.source)
        except HostError:
            return False
        mine = (self.move.shard.name, ShardState.RUNNING, self.move.old_token)
        return any((seen.shard, seen.state, seen.token) == mine for seen in found)

    async def _connect(self, transport: Transport) -> None:
        try:
            await transport.connect()
        except HostError as error:
            self._refused[transport.host] = error

    def _why(self, error: HostError) -> HostError:
        """The error itself, or, for a host that could not be reached at all, why not."""
        refused = self._refused.get(error.host)
        if refused is None or not isinstance(error, HostUnreachable):
            return error
        return refused

    async def _route(self) -> StepResult:
        if self._router is None:
            return StepResult(detail=scrub("no router sends to this shard"))
        return await apply_routes(self.hands, self.journal)

    def _hold_begins(self) -> None:
        self.held_at, self._held = time.monotonic(), True

    async def _release(self) -> None:
        if self._router is not None:
            await self._router.release(self.move.shard.name)
            self._held = False
        if self.held_at is not None:
            self.freeze_ms = (time.monotonic() - self.held_at) * 1000.0
            self.held_at = None
