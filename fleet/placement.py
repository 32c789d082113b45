"""Placement and routing: who owns a shard, and where requests for its keys go.

Both are immutable and carry a generation, which rises with every change. A change of
owner is a compare-and-swap on the shard's fencing token, and gives it a newer one: an
owner with an older token is no owner (S2.8, S2.27, S1.14).
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from itertools import pairwise

import msgspec
from msgspec import Struct

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label

KEYS = 65536


class PlacementConflict(SidestepError):
    """A compare-and-swap lost: somebody else changed the placement first."""


class Owner(Struct, frozen=True):
    """The host that owns a shard, and the fencing token that proves it."""

    host: Label
    token: int


class Placement(Struct, frozen=True):
    """Complete mapping of shards to owners; ``generation`` rises with every change.

    A shard has one owner, or none and is ``queued``: then with the token below which its processes are
    fenced, 0 if it never ran. It is never both.
    """

    generation: int
    owners: dict[Label, Owner]
    queued: dict[Label, int] = {}

    def move(self, shard: Label, to: Label, *, expected_token: int, token: int = 0) -> Placement:
        """A new placement with ``shard`` owned by ``to``, in a higher generation.

        ``token`` was promised to the new owner; 0 gives it the new generation. No token is ever above
        the generation. Raises PlacementConflict if the shard's token is not ``expected_token``, or if
        the promised one is not newer than it.
        """
        owner = self.owners.get(shard)
        if owner is None:
            raise PlacementConflict(f"shard {shard} is not placed")
        if owner.token != expected_token:
            raise PlacementConflict(
                f"shard {shard} has token {owner.token} on {owner.host}, expected token {expected_token}"
            )
        if token and token <= owner.token:
            raise PlacementConflict(f"shard {shard}: token {token} for {to} is not newer than token {owner.token}")
        generation = max(self.generation + 1, token)
        return Placement(generation, {**self.owners, shard: Owner(to, token or generation)}, self.queued)

    def enqueue(self, shard: Label, *, expected_token: int, token: int) -> Placement:
        """A new placement in which ``shard`` has no owner, and whatever is older than ``token`` is fenced.

        Raises PlacementConflict as ``move`` does.
        """
        after = self.move(shard, Label(""), expected_token=expected_token, token=token)
        owners = {name: owner for name, owner in after.owners.items() if name != shard}
        return Placement(after.generation, owners, {**self.queued, shard: token})

    def place(self, shard: Label, to: Label, *, expected_token: int, token: int) -> Placement:
        """A new placement in which ``shard`` has left the queue and belongs to ``to``.

        Raises PlacementConflict if it is not queued with ``expected_token``, or ``token`` is not newer.
        """
        if shard in self.owners or self.queued.get(shard) != expected_token:
            raise PlacementConflict(f"shard {shard} is not in the queue with token {expected_token}")
        if token <= expected_token:
            raise PlacementConflict(f"shard {shard}: token {token} for {to} is not newer than {expected_token}")
        queued = {name: at for name, at in self.queued.items() if name != shard}
        return Placement(max(self.generation + 1, token), {**self.owners, shard: Owner(to, token)}, queued)


class Route(Struct, frozen=True):
    """Keys ``lo <= key < hi`` of an app go to ``address:port``, which must hold ``token``."""

    app: Label
    lo: int
    hi: int
    shard: Label
    address: str
    port: int
    token: int


class RoutingTable(Struct, frozen=True):
    """Key ranges to endpoints, sorted by app and lower key; total and without overlap."""

    generation: int
    routes: tuple[Route, ...]

    def check(self) -> None:
        """Raise ValueError unless every app's ranges cover 0..65535 exactly once, in order of apps."""
        at: dict[str, int] = {}
        for before, after in pairwise(self.routes):
            if after.app < before.app:
                raise ValueError(f"app {after.app} stands after {before.app}: find() needs the order of apps")
        for route in self.routes:
            expected = at.get(route.app, 0)
            if route.lo != expected:
                kind = "overlap" if route.lo < expected else "gap"
                raise ValueError(f"app {route.app}: {kind} at key {min(route.lo, expected)} before {route.shard}")
            if route.hi <= route.lo:
                raise ValueError(f"shard {route.shard}: empty key range {route.lo}..{route.hi}")
            at[route.app] = route.hi
        for app, end in at.items():
            if end != KEYS:
                raise ValueError(f"app {app}: keys {end}..{KEYS - 1} belong to no shard")

    def find(self, app: str, key: str) -> Route:
        """The route of a key. Raises KeyError for an app that is not in the table."""
        spot = key_slot(key)
        index = bisect_right(self.routes, (app, spot), key=lambda r: (r.app, r.lo)) - 1
        if index < 0 or self.routes[index].app != app:
            raise KeyError(app)
        return self.routes[index]

    def checksum(self) -> int:
        """CRC-32 of the table's bytes, sent with it and checked on arrival."""
        return zlib.crc32(msgspec.msgpack.encode(self))


def key_slot(key: str) -> int:
    """The 16-bit slot of a key: CRC-32 folded, the same in every process and version."""
    return zlib.crc32(key.encode()) & (KEYS - 1)
