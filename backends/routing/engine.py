"""What every router engine does, whatever makes it: endpoints with weights, draining, blue and green.

``Router`` (backends.base) is what a move needs: hold, release, and tables by generation. An engine does more:
behind the owner of a shard, which the table names, a shard may have further endpoints, such as the instances of
a pool. They stay over tables until they are removed, or the shard leaves the table, and over restarts of the router.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from sidestep.backends.base import Router
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label

#: the name of the endpoint that the routing table gives a shard; it is added, moved and removed by tables only
OWNER: Final = Label("owner")
#: weights are 0 (gets nothing new) to this
HEAVIEST: Final = 256
#: weight of an endpoint that nobody has weighed
USUAL: Final = 100

State = Literal["ready", "draining", "down"]


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where requests of a shard may go. ``name`` is unique within the shard; ``group`` is "blue" or "green", or ""."""

    name: Label
    address: str
    port: int
    weight: int = USUAL
    group: Label = Label("")


class EndpointLoad(Struct, frozen=True, kw_only=True):
    """An endpoint and what it has to do: requests that it has not answered yet, and those it ever answered."""

    endpoint: Endpoint
    state: State
    in_flight: int
    answered: int


@runtime_checkable
class RouterEngine(Router, Protocol):
    """A router whose shards may have many endpoints. Every call may be repeated. Raises SidestepError."""

    async def endpoints(self, shard: str) -> tuple[EndpointLoad, ...]:
        """The owner and all others, with what is in flight at each."""
        ...

    async def add(self, shard: str, endpoint: Endpoint) -> None:
        """Send to one more endpoint, by its weight; one of that name changes into it, and is drained no longer."""
        ...

    async def weigh(self, shard: str, weights: Mapping[str, int]) -> None:
        """Give these endpoints new weights (0 to ``HEAVIEST``), all or none; others keep theirs."""
        ...

    async def shift(self, shard: str, shares: Mapping[str, int]) -> None:
        """Give groups shares (0 to ``HEAVIEST``) of the shard's requests, evenly over their endpoints, all or none.

        ``{"blue": 90, "green": 10}``, then ``{"blue": 0, "green": 100}``; whoever is in no group named keeps its
        weight, also the owner, whose group is "".
        """
        ...

    async def drain(self, shard: str, name: str, deadline: float) -> None:
        """Send nothing new to it; returns when nothing is in flight there. It stays, drained, until ``remove``.

        Raises SidestepError if that takes more than ``deadline`` seconds; it stays draining then.
        """
        ...

    async def remove(self, shard: str, name: str) -> None:
        """Forget an endpoint; one that is not there is none. Refused while requests are in flight there, and for OWNER.

        A shard is never left without any endpoint: its owner stays.
        """
        ...

    async def differences(self) -> tuple[str, ...]:
        """What of the router is not as it was told to be, a line each; nothing if all is well."""
        ...

    async def repair(self) -> tuple[str, ...]:
        """Make it so, and say what was different."""
        ...

    async def report(self, after: int) -> dict[str, Any]:
        """Totals of every shard, and the calls after that number, as ``meter.Meter.report`` has them."""
        ...

    async def stats(self) -> dict[str, Any]:
        """``generation``, and ``shards``: of each ``in_flight``, ``waiting`` and ``held``; counters besides."""
        ...


def check_weight(weight: int) -> int:
    """The weight. Raises SidestepError for one that is none."""
    if not 0 <= weight <= HEAVIEST:
        raise SidestepError(f"weight {weight} is not between 0 and {HEAVIEST}", hint=f"{USUAL} is the usual one")
    return weight


def shared(endpoints: Mapping[str, Endpoint], shares: Mapping[str, int]) -> dict[str, int]:
    """The weight of every endpoint in these groups, so that groups get their shares; a pure function.

    Shares are kept to within the rounding of weights; a group with a share above 0 gets at least 1 for each of
    its endpoints. Raises SidestepError for a group that has no endpoint.
    """
    members = {group: [n for n, e in endpoints.items() if e.group == group] for group in shares}
    for group, names in members.items():
        check_weight(shares[group])
        if not names:
            raise SidestepError(f"no endpoint is in group {group}", hint="add endpoints with that group first")
    each = {group: shares[group] / len(names) for group, names in members.items()}
    most = max(each.values(), default=0.0)
    if most <= 0:
        return {name: 0 for names in members.values() for name in names}
    scale = HEAVIEST / most if len(members) > 1 else 1.0
    return {
        name: (max(1, round(each[group] * scale)) if shares[group] else 0)
        for group, names in members.items()
        for name in names
    }
