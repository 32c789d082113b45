"""What HAProxy should have, as one frozen value, and the files that say so. Pure.

Keys of an app are 16-bit slots; HAProxy makes the slot of a key itself (CRC-32, as ``fleet.placement`` does) and
looks up ``APP/SLOT`` in hexadecimal by its longest prefix. So a range of slots is a few prefixes, one map holds all
apps, and looking up costs the same for any number of shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from sidestep.backends.routing.engine import OWNER, USUAL, Endpoint, check_weight
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.placement import KEYS, RoutingTable

#: in the routes map, the generation and the checksum of the table; no app begins like that
GENERATION: Final = "!generation"
ROUTES: Final = "sidestep-routes.map"
HELD: Final = "sidestep-held.map"
OWNERS: Final = "sidestep-owners.map"
SERVERS: Final = "sidestep-servers.state"
STATE: Final = "sidestep-router.json"
#: where a server points that is not in use; nobody listens there, and it is in maintenance besides
NOWHERE: Final = ("127.0.0.1", 1)
_COLUMNS: Final = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state"
    " bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr"
    " srv_agent_addr srv_agent_port"
)
#: bits of srv_admin_state
MAINT: Final = 1
DRAIN: Final = 8


class Kept(Struct, frozen=True, kw_only=True):
    """An endpoint, the server of the shard's backend that it occupies, and whether it is being drained."""

    endpoint: Endpoint
    server: str
    draining: bool = False


class Server(Struct, frozen=True):
    """One server line of HAProxy, as it should be or as it was found."""

    address: str
    port: int
    weight: int
    #: MAINT, DRAIN or 0
    admin: int

    def __str__(self) -> str:
        how = {MAINT: "maint", DRAIN: "drain"}.get(self.admin, "ready")
        return f"{self.address}:{self.port} weight {self.weight} {how}"


UNUSED: Final = Server(*NOWHERE, 0, MAINT)


class Desired(Struct, frozen=True, kw_only=True):
    """A table, the endpoints of every shard in it, and which shards are held (seconds that a request waits at most)."""

    table: RoutingTable = RoutingTable(0, ())
    checksum: int = 0
    kept: dict[str, tuple[Kept, ...]] = {}
    held: dict[str, float] = {}

    def applied(self, table: RoutingTable, checksum: int) -> Desired:
        """With a newer table: owners go where it says, other endpoints of its shards stay."""
        kept: dict[str, tuple[Kept, ...]] = {}
        for route in table.routes:
            before = {k.endpoint.name: k for k in self.kept.get(route.shard, ())}
            old = before.get(OWNER)
            weight = old.endpoint.weight if old else USUAL
            owner = Endpoint(name=OWNER, address=route.address, port=route.port, weight=weight)
            moved = old is None or (old.endpoint.address, old.endpoint.port) != (route.address, route.port)
            mine = Kept(endpoint=owner, server=OWNER, draining=bool(old and old.draining and not moved))
            kept[route.shard] = (mine, *(k for name, k in before.items() if name != OWNER))
        held = {shard: seconds for shard, seconds in self.held.items() if shard in kept}
        return replace(self, table=table, checksum=checksum, kept=kept, held=held)

    def of(self, shard: str) -> tuple[Kept, ...]:
        """The shard's endpoints. Raises SidestepError for one that is not in the table."""
        try:
            return self.kept[shard]
        except KeyError:
            raise SidestepError(
                f"the router knows no shard {shard}", hint="has a routing table been applied, and is it in it?"
            ) from None

    def find(self, shard: str, name: str) -> Kept | None:
        """One endpoint of it. Raises SidestepError for an unknown shard."""
        return next((k for k in self.of(shard) if k.endpoint.name == name), None)

    def added(self, shard: str, endpoint: Endpoint, servers: int) -> Desired:
        """With one more endpoint, at a free server of ``servers``. Raises SidestepError if there is none."""
        if endpoint.name == OWNER:
            raise SidestepError(f"{OWNER} is the routing table's own endpoint", hint="give it another name")
        check_weight(endpoint.weight)
        others = tuple(k for k in self.of(shard) if k.endpoint.name != endpoint.name)
        old = self.find(shard, endpoint.name)
        taken = {k.server for k in others}
        free = next((f"e{n}" for n in range(1, servers + 1) if f"e{n}" not in taken), "")
        server = old.server if old else free
        if not server:
            raise SidestepError(
                f"shard {shard} has {servers} endpoints besides its owner already",
                hint="raise endpoints under [router], write the configuration anew with sidestep router config, reload",
            )
        return replace(self, kept={**self.kept, shard: (*others, Kept(endpoint=endpoint, server=server))})

    def weighed(self, shard: str, weights: dict[str, int]) -> Desired:
        """With new weights of those named. Raises SidestepError for names unknown, and if nobody would be left."""
        known = {str(k.endpoint.name) for k in self.of(shard)}
        for name, weight in weights.items():
            check_weight(weight)
            if name not in known:
                raise SidestepError(f"shard {shard} has no endpoint {name}", hint=f"it has {', '.join(sorted(known))}")
        return self._with(
            shard,
            tuple(
                replace(k, endpoint=replace(k.endpoint, weight=weights.get(k.endpoint.name, k.endpoint.weight)))
                for k in self.of(shard)
            ),
        )

    def drained(self, shard: str, name: str) -> Desired:
        """With that endpoint draining. Raises SidestepError if it is unknown, or the last that takes requests."""
        if self.find(shard, name) is None:
            raise SidestepError(f"shard {shard} has no endpoint {name}")
        kept = tuple(replace(k, draining=True) if k.endpoint.name == name else k for k in self.of(shard))
        return self._with(shard, kept)

    def removed(self, shard: str, name: str) -> Desired:
        """Without that endpoint. Raises SidestepError for the owner, and if nobody would be left."""
        if name == OWNER:
            raise SidestepError(f"the owner of {shard} is never removed", hint="give it weight 0")
        return self._with(shard, tuple(k for k in self.of(shard) if k.endpoint.name != name))

    def holding(self, shard: str, seconds: float | None) -> Desired:
        """With the shard held, or, for None, not. Raises SidestepError for an unknown shard."""
        self.of(shard)
        held = {name: s for name, s in self.held.items() if name != shard}
        return replace(self, held=held if seconds is None else {**held, shard: seconds})

    def _with(self, shard: str, kept: tuple[Kept, ...]) -> Desired:
        if not any(k.endpoint.weight and not k.draining for k in kept):
            raise SidestepError(
                f"no endpoint of {shard} would take requests any more", hint="give another one a weight first"
            )
        return replace(self, kept={**self.kept, shard: kept})

    # -- what HAProxy and its files have

    def routes(self) -> dict[str, str]:
        """The map of routes: prefixes of ``APP/SLOT`` to backends, and the generation."""
        found = {GENERATION: f"{self.table.generation}-{self.checksum:08x}"}
        for route in self.table.routes:
            for prefix in prefixes(route.lo, route.hi):
                found[f"{route.app}/{prefix}"] = str(route.shard)
        return found

    def holds(self) -> dict[str, str]:
        """The map of held shards."""
        return {shard: f"{seconds:g}" for shard, seconds in self.held.items()}

    def owners(self) -> dict[str, str]:
        """The map by which an old worker goes, whose servers nobody can change any more: shards to ``ADDRESS|PORT``."""
        found = {}
        for shard, kept in self.kept.items():
            best = max(kept, key=lambda k: 0 if k.draining else k.endpoint.weight).endpoint
            found[shard] = f"{best.address}|{best.port}"
        return found

    def servers(self, shard: str, count: int) -> dict[str, Server]:
        """Every server of that shard's backend, by name; those not in use are in maintenance."""
        found = dict.fromkeys((str(OWNER), *(f"e{n}" for n in range(1, count + 1))), UNUSED)
        for kept in self.kept.get(shard, ()):
            end = kept.endpoint
            found[kept.server] = Server(end.address, end.port, end.weight, DRAIN if kept.draining else 0)
        return found


def prefixes(lo: int, hi: int) -> Iterator[str]:
    """Hexadecimal prefixes of 4-digit slots that cover ``lo <= slot < hi`` exactly; "" for all slots."""
    while lo < hi:
        digits, size = 4, 1
        while digits and lo % (size * 16) == 0 and lo + size * 16 <= hi:
            digits, size = digits - 1, size * 16
        yield f"{lo:04X}"[:digits]
        lo += size
    assert hi <= KEYS


def map_file(values: dict[str, str], title: str) -> bytes:
    """A map file: a key and a value a line."""
    return "".join([f"# {title}; written by sidestep\n", *(f"{k} {v}\n" for k, v in values.items())]).encode()


def servers_file(desired: Desired, count: int) -> bytes:
    """HAProxy's server-state file, so that a reload or restart begins with these servers."""
    lines = ["1", f"# {_COLUMNS}"]
    for shard in desired.kept:
        for name, server in desired.servers(shard, count).items():
            up = 0 if server.admin & MAINT else 2
            lines.append(
                f"0 {shard} 0 {name} {server.address} {up} {server.admin} {server.weight} 0 0 1 0 0 0 0 0 0 -"
                f" {server.port} - 0 0 - - 0"
            )
    return ("\n".join(lines) + "\n").encode()


def read(data: bytes, source: str) -> Desired:
    """What an earlier run wrote down. Raises SidestepError."""
    try:
        return msgspec.json.decode(data, type=Desired)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SidestepError(
            f"{source}: is not what was written: {error}", hint="move it away; the daemon sends the table again"
        ) from error
