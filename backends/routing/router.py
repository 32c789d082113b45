"""The router as a library: the routing table, one gate per shard, and what is sent again.

It needs nobody to go on: with the daemon dead it serves by the table it has, which it
keeps in a file for its own restart.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from sidestep.backends.routing.balance import Balance, Sets
from sidestep.backends.routing.engine import OWNER
from sidestep.backends.routing.gate import Gate
from sidestep.backends.routing.meter import Meter
from sidestep.backends.routing.upstream import NotSent, Unanswered, Upstream
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.placement import Route, RoutingTable

__all__ = ["Reply", "RouterCore", "Unanswered"]

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.25
#: seconds for answers that are under way from where no shard is any more
_LAST_ANSWERS: Final = 2.0


class Reply(Struct, frozen=True):
    """A shard's answer: who gave it, under which token, and its further words."""

    shard: str
    token: int
    #: seconds that the request was held back or repeated before it was sent for good
    held: float
    words: tuple[str, ...]


class _Saved(Struct, frozen=True):
    table: bytes
    checksum: int
    sets: Sets = {}


class RouterCore:
    """Sends requests by the table. Not thread-safe: everything happens in one event loop."""

    def __init__(self, table: RoutingTable | None = None, *, file: Path | None = None) -> None:
        self.table = RoutingTable(0, ())
        #: set once there is a table to route by
        self.ready = asyncio.Event()
        #: requests, latencies and the newest calls, for whoever asks
        self.meter = Meter()
        #: endpoints besides the owners
        self.balance = Balance()
        self._saved = _Saved(b"", 0)
        self.counters = {"sent": 0, "retried": 0, "busy": 0, "double_owner": 0, "unanswered": 0, "tables": 0}
        self._file = file
        self._gates: dict[str, Gate] = {}
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._idents = (f"{os.getpid():x}-{n:x}" for n in count(1))
        self._closing: set[asyncio.Task[None]] = set()
        if table is not None:
            self._install(table)
        elif file is not None and file.exists():
            self._saved, table = self._read(file)
            self.balance.take(self._saved.sets)
            self._install(table)

    async def request(self, app: str, key: str, *, verb: str = "INC", ident: str = "") -> Reply:
        """Send ``verb`` for a key to its owner, as ``ident`` if that is given; held while its shard is held.

        Sent again only when it was provably not applied. Raises Unanswered when nobody can
        know, KeyError for an unknown app, SidestepError when the shard refuses the request.
        """
        loop = asyncio.get_running_loop()
        asked, pause = loop.time(), _FIRST_PAUSE
        while True:
            gate = self._gates[self.table.find(app, key).shard]
            await gate.enter()
            try:
                route = self.table.find(app, key)
                if self._gates[route.shard] is not gate:
                    continue  # the key went to another shard while we waited
                held = loop.time() - asked
                words = await self._send(route, verb, key, ident)
            except NotSent:
                words = []
            finally:
                gate.leave()
            if words:
                seconds = loop.time() - asked
                self.meter.answered(app, route.shard, time.time(), seconds, f"{verb} {key}", words)
                return self._reply(route, held, words)
            self.counters["retried"] += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def hold(self, shard: str, deadline: float, *, firm: bool = False) -> None:
        """Hold the shard's requests; returns when none is in flight. Held twice is held once.

        Raises SidestepError, with the shard open again, if they take longer than ``deadline`` seconds. Where
        ``firm`` it stays held, and what its owner has not answered is Unanswered, whatever that owner says later.
        """
        gate = self._gate(shard)
        if await gate.hold(deadline, firm=firm):
            return
        if firm:
            for owner in {(r.address, r.port) for r in self.table.routes if r.shard == shard} & self._upstreams.keys():
                await self._upstreams.pop(owner).aclose()
        else:
            raise SidestepError(
                f"shard {shard}: {gate.in_flight} requests still unanswered after {deadline:g} s; not held",
                hint="is the shard overloaded or stopped? Try again when it answers",
            )

    def release(self, shard: str) -> None:
        """Send what was held, in order, by the newest table."""
        self._gate(shard).release()

    def apply(self, table: bytes, checksum: int) -> int:
        """Take a table if it is newer; returns the generation in force.

        An older one changes nothing. Raises SidestepError for a damaged one, one with gaps or
        overlaps, and for one that contradicts the table of its own generation.
        """
        new = decode_table(table, checksum)
        if new.generation == self.table.generation and new != self.table:
            raise SidestepError(
                f"generation {new.generation} of the routing table is in force with other contents",
                hint="two daemons, or an old journal? Only one may own the fleet",
            )
        if new.generation > self.table.generation:
            named = {str(route.shard) for route in new.routes}
            sets = {shard: kept for shard, kept in self.balance.sets.items() if shard in named}
            self._persist(_Saved(table, checksum, _undrained(sets, self.table, new)))
            self._install(new)
            self.counters["tables"] += 1
        return self.table.generation

    def stats(self) -> dict[str, Any]:
        """Counters, and for every shard what waits, what is in flight and whether it is held."""
        shards = {
            name: {"in_flight": gate.in_flight, "waiting": gate.waiting, "held": gate.held}
            for name, gate in self._gates.items()
        }
        return {"generation": self.table.generation, **self.counters, "shards": shards}

    def known(self, shard: str) -> Route:
        """A route of that shard. Raises SidestepError for one that is not in the table."""
        self._gate(shard)
        return next(route for route in self.table.routes if route.shard == shard)

    def change(self, sets: Sets) -> None:
        """Go by these endpoints from now on, also after a restart."""
        self._persist(_Saved(self._saved.table, self._saved.checksum, sets))

    async def drain(self, shard: str, name: str, deadline: float) -> None:
        """Send nothing new to an endpoint; returns when nothing is in flight there.

        Raises SidestepError after ``deadline`` seconds; it stays draining then.
        """
        self.change(self.balance.drained(self.known(shard), name))
        try:
            async with asyncio.timeout(deadline):
                await self.balance.idle(shard, name)
        except TimeoutError:
            raise SidestepError(
                f"{name} of {shard}: requests still unanswered after {deadline:g} s; it stays draining",
                hint="wait longer, or stop what does not answer",
            ) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(u.aclose() for u in self._upstreams.values()), *self._closing)

    async def _send(self, route: Route, verb: str, key: str, ident: str) -> list[str]:
        """The answer's words; [] for BUSY. Raises NotSent or Unanswered."""
        chosen = self.balance.choose(route)
        endpoint, name = (chosen.address, chosen.port), str(chosen.name)
        upstream = self._upstreams.get(endpoint)
        if upstream is None:
            upstream = self._upstreams[endpoint] = Upstream(*endpoint)
        self.counters["sent"] += 1
        self.balance.begin(route.shard, name)
        words: list[str] = []
        try:
            words = await upstream.ask(verb, ident or next(self._idents), key)
        except Unanswered:
            self.counters["unanswered"] += 1
            self.meter.failed(route.shard)
            raise
        finally:
            self.balance.end(route.shard, name, answered=bool(words))
        if words[0] == "BUSY":
            self.counters["busy"] += 1
            return []
        if name != OWNER and words[0] == "OK":  # whoever added it vouches for it: tokens prove owners
            words[2:3] = [str(route.token)]
        return words

    def _reply(self, route: Route, held: float, words: list[str]) -> Reply:
        if words[0] != "OK" or len(words) < 3 or not words[2].isdecimal():
            raise SidestepError(f"shard {route.shard} refuses a request: {' '.join(words)}")
        token = int(words[2])
        if token != route.token:
            self.counters["double_owner"] += 1
        return Reply(route.shard, token, held, tuple(words[3:]))

    def _install(self, table: RoutingTable) -> None:
        self.table = table
        named = {str(route.shard) for route in table.routes}
        self.meter.keep(frozenset(named))
        for shard in named - self._gates.keys():
            self._gates[shard] = Gate()
        for shard in self._gates.keys() - named:
            self._gates.pop(shard).release()  # its waiting requests look for their new owners
        used = {(route.address, route.port) for route in table.routes}
        used |= {(k.endpoint.address, k.endpoint.port) for kept in self.balance.sets.values() for k in kept.values()}
        for endpoint in self._upstreams.keys() - used:  # who was lost answers nobody any more, and does not say so
            closing = asyncio.create_task(self._upstreams.pop(endpoint).retire(_LAST_ANSWERS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        if table.routes:
            self.ready.set()

    def _gate(self, shard: str) -> Gate:
        try:
            return self._gates[shard]
        except KeyError:
            raise SidestepError(
                f"the router knows no shard {shard}", hint="has a routing table been applied, and is it in it?"
            ) from None

    def _persist(self, saved: _Saved) -> None:
        """Keep it, then go by its endpoints."""
        if self._file is not None:
            self._write(self._file, saved)
        self._saved = saved
        self.balance.take(saved.sets)

    @staticmethod
    def _write(path: Path, saved: _Saved) -> None:
        new = path.with_name(f"{path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(saved))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    @staticmethod
    def _read(file: Path) -> tuple[_Saved, RoutingTable]:
        try:
            saved = msgspec.msgpack.decode(file.read_bytes(), type=_Saved)
            return saved, decode_table(saved.table, saved.checksum)
        except (msgspec.DecodeError, SidestepError) as error:
            raise SidestepError(
                f"{file}: the saved routing table is damaged: {error}", hint="remove it; the daemon will send the table"
            ) from error


def _undrained(sets: Sets, old: RoutingTable, new: RoutingTable) -> Sets:
    """An owner that went elsewhere is drained no longer; its weight stays."""
    at = {r.shard: (r.address, r.port) for r in old.routes}
    moved = {str(r.shard) for r in new.routes if at.get(r.shard) != (r.address, r.port)}
    return {
        shard: {n: msgspec.structs.replace(k, draining=k.draining and not (n == OWNER and shard in moved))
                for n, k in kept.items()}
        for shard, kept in sets.items()
    }  # fmt: skip


def decode_table(table: bytes, checksum: int) -> RoutingTable:
    """A table as it came. Raises SidestepError for one that is damaged, or has gaps or overlaps."""
    found = zlib.crc32(table)
    if found != checksum:
        raise SidestepError(
            f"the routing table was damaged on its way: CRC-32 is {found:08x}, announced was {checksum:08x}",
            hint="send it again",
        )
    try:
        new = msgspec.msgpack.decode(table, type=RoutingTable)
        new.check()
    except (msgspec.DecodeError, ValueError) as error:
        raise SidestepError(f"not a routing table: {error}", hint="are daemon and router of one version?") from error
    return new
