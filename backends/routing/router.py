"""The router as a library: requests by an immutable table, waiting while their shard moves.

It needs nobody: with the daemon dead it serves by its last table, which it also keeps in a
file. A request is sent again only when it certainly had no effect, so none is applied
twice; the token in every answer shows whether the owner that served is the table's.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from sidestep.backends.routing.exchange import Exchange, NotApplied
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.placement import Route, RoutingTable

RETRY_PAUSE: Final = 0.02


@dataclass
class _Gate:
    """Where a shard's requests pass: how many are in flight, and whether the rest wait."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    flying: int = 0

    def __post_init__(self) -> None:
        self.open.set()
        self.idle.set()

    def enter(self) -> None:
        self.flying += 1
        self.idle.clear()

    def leave(self) -> None:
        self.flying -= 1
        if self.flying == 0:
            self.idle.set()


class RouterCore:
    """Routes requests; ``store`` keeps the table over a restart of the router."""

    def __init__(self, store: Path | None = None, *, answer_deadline: float = 30.0) -> None:
        self._store, self._answer_deadline = store, answer_deadline
        self._exchange = Exchange()
        self._gates: dict[str, _Gate] = {}
        self.counts: Counter[str] = Counter()
        #: set once there is a table
        self.ready = asyncio.Event()
        self.table: RoutingTable | None = None
        if store is not None and store.exists():
            self._take(_decode(store.read_bytes()))

    @property
    def generation(self) -> int:
        """The generation in force; 0 without a table."""
        return self.table.generation if self.table else 0

    async def request(self, app: str, key: str, line: Callable[[], bytes]) -> tuple[Route, bytes]:
        """Send ``line()`` to the owner of ``key``; the route that served and the answer's text.

        Waits as long as the shard is held or cannot be reached. Raises AnswerLost when a request
        was sent and not answered, KeyError for an app without routes.
        """
        await self.ready.wait()
        while True:
            route = self._find(app, key)
            gate = self._gate(route.shard)
            if not gate.open.is_set():
                self.counts["waited"] += 1
                await gate.open.wait()
                continue
            gate.enter()
            try:
                token, text = await self._exchange.send(route.address, route.port, line(), self._answer_deadline)
            except NotApplied:
                self.counts["repeated"] += 1
                await asyncio.sleep(RETRY_PAUSE)
                continue
            finally:
                gate.leave()
            if token != route.token:
                self.counts["wrong_owner"] += 1
            return route, text

    async def hold(self, shard: str, deadline: float) -> None:
        """Keep the shard's requests waiting; returns when none is in flight.

        Raises SidestepError, and lets them go again, when some still are after ``deadline``
        seconds. Holding what is held changes nothing.
        """
        gate = self._gate(shard)
        gate.open.clear()
        try:
            async with asyncio.timeout(deadline):
                await gate.idle.wait()
        except TimeoutError:
            gate.open.set()
            raise SidestepError(
                f"{gate.flying} requests to {shard} were still in flight after {deadline:g} s",
                hint="is the shard stuck? its requests go on as before",
            ) from None

    def release(self, shard: str) -> None:
        """Let the shard's requests go; releasing what is not held changes nothing."""
        self._gate(shard).open.set()

    def apply(self, data: bytes, checksum: int) -> int:
        """Take a newer table; returns the generation in force, which an older table leaves as it is.

        Raises SidestepError for bytes that are damaged or no table, and for a table that is
        not total, has overlaps, or differs from one of the same generation.
        """
        if zlib.crc32(data) != checksum:
            raise SidestepError("the routing table was damaged on its way: its checksum is wrong", hint="send it again")
        table = _decode(data)
        if table.generation < self.generation:
            return self.generation
        if table.generation == self.generation and table != self.table:
            raise SidestepError(f"two different routing tables claim generation {table.generation}")
        if table != self.table:
            self._keep(data)
            self._take(table)
        return self.generation

    def _find(self, app: str, key: str) -> Route:
        assert self.table is not None
        return self.table.find(app, key)

    def _gate(self, shard: str) -> _Gate:
        return self._gates.setdefault(shard, _Gate())

    def _take(self, table: RoutingTable) -> None:
        self.table = table
        self.ready.set()

    def _keep(self, data: bytes) -> None:
        if self._store is None:
            return
        part = self._store.with_suffix(".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._store)


def _decode(data: bytes) -> RoutingTable:
    try:
        table = msgspec.msgpack.decode(data, type=RoutingTable)
        table.check()
    except (msgspec.DecodeError, ValueError) as error:
        raise SidestepError(f"not a usable routing table: {error}") from error
    return table
