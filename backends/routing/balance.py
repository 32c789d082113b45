"""Which endpoint of a shard gets the next request: by weight, evenly over time, and what is in flight at each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from sidestep.backends.routing.engine import OWNER, USUAL, Endpoint, EndpointLoad, check_weight, shared
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.placement import Route


class Kept(Struct, frozen=True):
    """An endpoint besides the owner, or how the owner is weighed; and whether it is being drained."""

    endpoint: Endpoint
    draining: bool = False


#: by shard, endpoints by name; the owner's address is the table's
Sets = dict[str, dict[str, Kept]]


class Balance:
    """Smooth weighted round robin: in any run of requests each endpoint gets its share, as evenly as can be.

    ``sets`` is what has to be kept; the changes give a new one, and ``take`` goes by it.
    """

    def __init__(self) -> None:
        self.sets: Sets = {}
        self._credit: dict[tuple[str, str], float] = {}
        self._in_flight: dict[tuple[str, str], int] = {}
        self._answered: dict[tuple[str, str], int] = {}
        self._idle: dict[tuple[str, str], asyncio.Event] = {}

    def take(self, sets: Sets) -> None:
        """Go by these sets from now on; credits of what is gone are forgotten."""
        self.sets = sets
        known = {(shard, name) for shard, kept in sets.items() for name in (*kept, OWNER)}
        self._credit = {key: value for key, value in self._credit.items() if key in known}

    def choose(self, route: Route) -> Endpoint:
        """Where the next request of the route's shard goes."""
        kept = self.sets.get(route.shard)
        if not kept:
            return _owner(route, None)
        ends = [_owner(route, kept.get(OWNER)), *(k.endpoint for name, k in kept.items() if name != OWNER)]
        able = [e for e in ends if e.weight and not (e.name in kept and kept[e.name].draining)] or ends[:1]
        total = 0
        for end in able:
            key = (str(route.shard), str(end.name))
            self._credit[key] = self._credit.get(key, 0.0) + end.weight
            total += end.weight
        best = max(able, key=lambda end: self._credit[str(route.shard), str(end.name)])
        self._credit[str(route.shard), str(best.name)] -= total
        return best

    def begin(self, shard: str, name: str) -> None:
        """A request goes there."""
        self._in_flight[shard, name] = self._in_flight.get((shard, name), 0) + 1

    def end(self, shard: str, name: str, *, answered: bool) -> None:
        """It is no longer in flight there."""
        self._in_flight[shard, name] -= 1
        if not self._in_flight[shard, name] and (idle := self._idle.pop((shard, name), None)) is not None:
            idle.set()
        self._answered[shard, name] = self._answered.get((shard, name), 0) + answered

    def in_flight(self, shard: str, name: str) -> int:
        """Requests that an endpoint has not answered."""
        return self._in_flight.get((shard, name), 0)

    async def idle(self, shard: str, name: str) -> None:
        """Return once nothing is in flight there."""
        while self.in_flight(shard, name):
            await self._idle.setdefault((shard, name), asyncio.Event()).wait()

    def endpoints(self, route: Route) -> tuple[EndpointLoad, ...]:
        """All endpoints of the route's shard, the owner first."""
        kept = self.sets.get(route.shard, {})
        ends = [_owner(route, kept.get(OWNER)), *(k.endpoint for name, k in kept.items() if name != OWNER)]
        return tuple(
            EndpointLoad(
                endpoint=end,
                state="draining" if end.name in kept and kept[end.name].draining else "ready",
                in_flight=self.in_flight(route.shard, end.name),
                answered=self._answered.get((route.shard, end.name), 0),
            )
            for end in ends
        )

    # -- changes

    def added(self, route: Route, endpoint: Endpoint) -> Sets:
        """With one more endpoint. Raises SidestepError for the owner's name and a bad weight."""
        if endpoint.name == OWNER:
            raise SidestepError(f"{OWNER} is the routing table's own endpoint", hint="give it another name")
        check_weight(endpoint.weight)
        return self._with(route, {**self.sets.get(route.shard, {}), str(endpoint.name): Kept(endpoint)})

    def weighed(self, route: Route, weights: Mapping[str, int]) -> Sets:
        """With new weights of those named. Raises SidestepError for names unknown, and if nobody would be left."""
        kept = dict(self.sets.get(route.shard, {}))
        ends = {str(load.endpoint.name): load.endpoint for load in self.endpoints(route)}
        for name, weight in weights.items():
            check_weight(weight)
            if name not in ends:
                known = ", ".join(sorted(ends))
                raise SidestepError(f"shard {route.shard} has no endpoint {name}", hint=f"it has {known}")
            old = kept.get(name, Kept(ends[name]))
            kept[name] = replace(old, endpoint=replace(old.endpoint, weight=weight))
        return self._with(route, kept)

    def shifted(self, route: Route, shares: Mapping[str, int]) -> Sets:
        """With groups that have these shares."""
        ends = {str(load.endpoint.name): load.endpoint for load in self.endpoints(route)}
        return self.weighed(route, shared(ends, shares))

    def drained(self, route: Route, name: str) -> Sets:
        """With that endpoint draining."""
        ends = {str(load.endpoint.name): load.endpoint for load in self.endpoints(route)}
        if name not in ends:
            raise SidestepError(f"shard {route.shard} has no endpoint {name}")
        kept = self.sets.get(route.shard, {})
        return self._with(route, {**kept, name: replace(kept.get(name, Kept(ends[name])), draining=True)})

    def removed(self, route: Route, name: str) -> Sets:
        """Without that endpoint."""
        if name == OWNER:
            raise SidestepError(f"the owner of {route.shard} is never removed", hint="give it weight 0")
        if busy := self.in_flight(route.shard, name):
            raise SidestepError(f"{name} of {route.shard}: {busy} requests are in flight", hint="drain it first")
        kept = {key: value for key, value in self.sets.get(route.shard, {}).items() if key != name}
        return self._with(route, kept)

    def _with(self, route: Route, kept: dict[str, Kept]) -> Sets:
        owner = kept.get(OWNER, Kept(_owner(route, None)))
        if not any(k.endpoint.weight and not k.draining for k in (owner, *kept.values())):
            raise SidestepError(
                f"no endpoint of {route.shard} would take requests any more", hint="give another one a weight first"
            )
        return {**self.sets, str(route.shard): kept}


def _owner(route: Route, kept: Kept | None) -> Endpoint:
    weight = kept.endpoint.weight if kept else USUAL
    return Endpoint(name=OWNER, address=route.address, port=route.port, weight=weight)
