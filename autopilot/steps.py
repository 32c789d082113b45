"""Doing one step of a move, and taking one back, through backend, hosts and router.

Nothing here is journaled and nothing is decided: ``executor_action`` does that around it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sidestep.backends.base import Backend, Move, Router, StepResult
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import MOVE_STEPS, ShardState, StepName
from sidestep.fleet.placement import Placement, Route, RoutingTable
from sidestep.fleet.plans import Action, Plan

_COMMIT_AT: Final = MOVE_STEPS.index(StepName.COMMIT)
#: everything here can be taken back, nothing in the second can
BEFORE_COMMIT: Final = MOVE_STEPS[:_COMMIT_AT]
AFTER_COMMIT: Final = MOVE_STEPS[_COMMIT_AT + 1 :]

Endpoints = Mapping[Label, tuple[str, int]]


def routing_table(fleet: FleetSpec, placement: Placement, endpoints: Endpoints) -> RoutingTable:
    """The table that this placement means: every shard with keys, at its owner's endpoint.

    A shard whose endpoint is not known is taken to listen on its host's address at its declared
    port. Raises SidestepError if there is no table: an endpoint is unknown, or keys have a gap.
    """
    routes = []
    for shard in fleet.shards:
        if shard.keys is None:
            continue
        owner = placement.owners.get(shard.name)
        if owner is None:
            raise SidestepError(f"shard {shard.name} has keys and no owner", hint="start it, or wait until it is found")
        found = endpoints.get(shard.name)
        address, port = found or (fleet.host(owner.host).address, shard.port)
        if not port:
            raise SidestepError(f"shard {shard.name} on {owner.host}: its port is not known", hint="declare its port")
        routes.append(Route(shard.app, *shard.keys, shard.name, address, port, owner.token))
    table = RoutingTable(placement.generation, tuple(sorted(routes, key=lambda r: (r.app, r.lo))))
    try:
        table.check()
    except ValueError as error:
        raise SidestepError(f"no routing table: {error}", hint="correct the keys of that app's shards") from error
    return table


def move_of(fleet: FleetSpec, plan: Plan, action: Action, *, digest: str, old_token: int, new_token: int) -> Move:
    """What a backend is told about one action. Raises KeyError for a shard or host that is not declared."""
    return Move(
        key=f"{digest}-{action.id}",
        shard=fleet.shard(action.shard),
        source=action.source,
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

    def router_of(self, shard: ShardSpec) -> Router | None:
        """The router, if it knows this shard at all."""
        return self.router if shard.keys is not None else None


@dataclass(kw_only=True)
class MoveHands:
    """The hands for one move, and how long its requests have been held."""

    hands: Hands
    move: Move
    placement: Callable[[], Placement]
    endpoints: Callable[[], Endpoints]
    #: time.monotonic() when requests were last held back, and how long they waited
    held_at: float | None = None
    freeze_ms: float | None = None
    backend: Backend = field(init=False)
    source: Transport = field(init=False)
    destination: Transport = field(init=False)

    def __post_init__(self) -> None:
        self.backend = self.hands.backend_for(self.move.shard)
        self.source = self.hands.transport_for(self.move.source)
        self.destination = self.hands.transport_for(self.move.destination)
        self._router = self.hands.router_of(self.move.shard)
        self._refused: dict[str, HostError] = {}
        self._held = True  # until it is known: a predecessor may have asked for it

    @property
    def requests_held(self) -> bool:
        """Whether the router may be holding this shard's requests."""
        return self._router is not None and self._held

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
            self.held_at, self._held = time.monotonic(), True
            if self._router is not None:
                await self._router.hold(self.move.shard.name, deadline / 2)
        try:
            result = await self.backend.step(step, self.move, self.source, self.destination, notes)
        except HostError as error:
            raise self._why(error) from error
        if step is StepName.RESUME:
            await self._release()
        return result

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
        table = routing_table(self.hands.fleet, self.placement(), self.endpoints())
        in_force = await self._router.apply(msgspec.msgpack.encode(table), table.checksum())
        if in_force < table.generation:
            raise SidestepError(
                f"the router is at generation {in_force} and did not take generation {table.generation}",
                hint="is the router of this fleet running, and of the same version?",
            )
        return StepResult(detail=scrub(f"router at generation {in_force}"))

    async def _release(self) -> None:
        if self._router is not None:
            await self._router.release(self.move.shard.name)
            self._held = False
        if self.held_at is not None:
            self.freeze_ms = (time.monotonic() - self.held_at) * 1000.0
            self.held_at = None
