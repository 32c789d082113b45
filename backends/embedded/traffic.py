"""The load and its router, in one process: ``python -m sidestep.backends.embedded.traffic --dir DIR``.

Requests come when the scenario says, however slow the answers are (open loop), and wait
from their planned time. Load starts with the router's first table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from sidestep.backends.embedded.ledger import Ledger
from sidestep.backends.embedded.lifetime import until_told
from sidestep.backends.embedded.scenario import Scenario, scenario
from sidestep.backends.routing.control import ControlServer
from sidestep.backends.routing.router import RouterCore, Unanswered
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.placement import KEYS, Route, key_slot

__all__ = ["APP", "Scenario", "Traffic", "router_socket", "scenario"]

APP: Final = "counter"
#: seconds an audit waits for answers, and for every shard to say its total
DRAIN_SECONDS: Final = 30.0
TOTAL_SECONDS: Final = 15.0
_KEYS_PER_SHARD: Final = 16
_LEAST_RATE: Final = 0.2


def router_socket(folder: Path) -> Path:
    """Where the router of a demonstration listens. Raises SidestepError if the path is too long for a socket."""
    path = folder / "router.sock"
    if len(str(path)) > 100:
        raise SidestepError(f"{path}: too long for a unix socket", hint="choose a shorter --dir")
    return path


def key_range(index: int, shards: int) -> tuple[int, int]:
    """The half-open range of keys of the ``index``-th of ``shards``."""
    return KEYS * index // shards, KEYS * (index + 1) // shards


def keys_of(index: int, shards: int) -> tuple[str, ...]:
    """Some keys that belong to that shard."""
    lo, hi = key_range(index, shards)
    found: list[str] = []
    number = 0
    while len(found) < _KEYS_PER_SHARD:
        number += 1
        if lo <= key_slot(f"k{number}") < hi:
            found.append(f"k{number}")
    return tuple(found)


class Traffic:
    """Makes the requests of a scenario through a router, and keeps their ledger."""

    def __init__(self, core: RouterCore, plot: Scenario, *, endless: bool = False) -> None:
        self._core, self._plot, self._endless = core, plot, endless
        names = [load.name for load in plot.loads]
        self._keys = [cycle(keys_of(i, len(names))) for i in range(len(names))]
        self._gaps = [plot.gaps(i) for i in range(len(names))]
        self._surge = plot.first_surge()
        self._surges = 1
        self._ledger = Ledger(dict.fromkeys(names, 0))
        self._open: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._began: float | None = None
        self._account: dict[str, Any] | None = None

    async def run(self) -> None:
        """Make requests from the first table on, until an audit."""
        await self._core.ready.wait()
        totals = await self._totals()
        self._ledger = Ledger({shard: total or 0 for shard, total in totals.items()})
        began = self._began = asyncio.get_running_loop().time()
        due = [(self._after(i, 0.0), i) for i in range(len(self._keys))]
        heapq.heapify(due)
        while not self._stopped.is_set():
            time, shard = heapq.heappop(due)
            heapq.heappush(due, (self._after(shard, time), shard))
            await self._pause(began + time)
            if not self._stopped.is_set():
                self._turn(time)
                self._launch(shard, began + time)

    async def audit(self) -> dict[str, Any]:
        """Stop, wait for the answers, and reconcile with every shard. Asked again, it says the same."""
        self._stopped.set()
        if self._account is None:
            if self._open:
                await asyncio.wait(self._open, timeout=DRAIN_SECONDS)
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            self._account = self._ledger.close(await self._totals())
        return {**self._account, "double_owner": self._core.counters["double_owner"]}

    def stats(self) -> dict[str, Any]:
        """The router's counters, the ledger so far, and the load's age in seconds (-1 before its start)."""
        age = -1.0 if self._began is None else asyncio.get_running_loop().time() - self._began
        return {**self._core.stats(), **self._ledger.standing(), "load_age": age}

    def _after(self, shard: int, time: float) -> float:
        """When the shard's next request comes after one at ``time``."""
        demand = self._plot.demand(shard, time, self._surge, endless=self._endless)
        return time + next(self._gaps[shard]) / max(_LEAST_RATE, demand / self._plot.cost)

    async def _pause(self, until: float) -> None:
        delay = until - asyncio.get_running_loop().time()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), delay)

    def _turn(self, time: float) -> None:
        """In an endless demonstration, let the next surge begin, on whatever is where it is now."""
        if self._endless and time >= self._plot.ramp_start + self._surges * self._plot.cycle:
            self._surge = self._plot.later_surge(self._surges, self._placement(), self._surge.host)
            self._surges += 1

    def _placement(self) -> list[int]:
        at = {str(route.shard): route.address for route in self._core.table.routes}
        addresses = sorted(set(at.values()))
        return [addresses.index(at[load.name]) for load in self._plot.loads]

    def _launch(self, shard: int, planned: float) -> None:
        name, key = self._plot.loads[shard].name, next(self._keys[shard])
        task = asyncio.create_task(self._request(name, key, planned))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _request(self, shard: str, key: str, planned: float) -> None:
        self._ledger.sent(shard)
        try:
            reply = await self._core.request(APP, key)
            self._ledger.acked(reply.shard, int(reply.words[0]), asyncio.get_running_loop().time() - planned)
        except (Unanswered, SidestepError, asyncio.CancelledError):
            self._ledger.unanswered(shard)

    async def _totals(self) -> dict[str, int | None]:
        """What every shard says it has applied in all; None for one that does not answer."""
        routes = [r for r in self._core.table.routes if r.app == APP]
        answers = await asyncio.gather(*(_patiently(partial(_total, route)) for route in routes))
        return {str(route.shard): answer for route, answer in zip(routes, answers, strict=True)}


async def _total(route: Route) -> int:
    reader, writer = await asyncio.open_connection(route.address, route.port)
    try:
        writer.write(b"TOTAL\n")
        words = (await reader.readline()).split()
    finally:
        writer.close()
    if len(words) != 3 or words[0] != b"TOTAL":
        raise ConnectionError(f"{route.shard} says no total")
    return int(words[2])


async def _patiently(ask: Callable[[], Awaitable[int]]) -> int | None:
    """The answer of a shard that may be moving just now; None after TOTAL_SECONDS."""
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    return await ask()
                await asyncio.sleep(0.1)
    except TimeoutError:
        return None


async def perform(folder: Path, plot: Scenario, *, endless: bool) -> None:
    """Run router and load until standard input closes or a signal comes."""
    core = RouterCore(file=folder / "router.table")
    traffic = Traffic(core, plot, endless=endless)
    control = ControlServer(core, router_socket(folder), stats=traffic.stats, audit=traffic.audit)
    await control.start()
    print('{"ready": true}', flush=True)
    running = asyncio.create_task(traffic.run())
    told = asyncio.create_task(until_told())
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            await told
    finally:
        for task in (running, told):
            task.cancel()
        await asyncio.gather(running, told, return_exceptions=True)
        await control.aclose()
        await core.aclose()


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="sidestep.backends.embedded.traffic")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the fleet")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--endless", action="store_true", help="a surge after the other, for ever")
    given = parser.parse_args()
    try:
        plot = scenario(given.seed, given.hosts, given.shards)
        asyncio.run(perform(given.dir.resolve(), plot, endless=given.endless))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
