"""``RouterEngine`` over HAProxy: what it should have is written down first, then it is told.

The daemon's word is kept beside HAProxy in one file of state, and from it come HAProxy's own files (maps and
server state), each replaced whole before the runtime API is touched. So whoever is killed in between, HAProxy
starts with the new state, and the next look brings what runs to it: ``differences`` names, ``repair`` does it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from sidestep.backends.haproxy import desired as d
from sidestep.backends.haproxy.config import LATE
from sidestep.backends.haproxy.keeping import LINES, Keeping
from sidestep.backends.haproxy.runtime import Load, changed
from sidestep.backends.routing.engine import OWNER, Endpoint, EndpointLoad, shared
from sidestep.backends.routing.router import decode_table
from sidestep.fleet.errors import SidestepError

#: seconds between two looks at what is in flight
LOOK: Final = 0.004
#: looks in a row at which nothing may be in flight
QUIET: Final = 2


class HaproxyRouter(Keeping):
    """One HAProxy, here or on a host. One daemon tells it; calls are made one after the other."""

    # -- Router

    async def hold(self, shard: str, deadline: float, *, firm: bool = False) -> None:
        """Keep the shard's requests waiting; returns when none is in flight. Held twice is held once.

        Raises SidestepError, with the shard let go again, if that takes longer than ``deadline`` seconds. Where
        ``firm`` it stays held, and the connections to its owner are closed.
        """
        try:
            async with asyncio.timeout(deadline):
                async with self._turn:
                    await self._set((await self._wanted()).holding(shard, self.spec.wait))
                    await self._runtime_holds(shard, held=True)
                await self._idle(shard)
        except TimeoutError:
            if firm:
                async with self._turn:
                    await self._cut(shard)
                return
            await self.release(shard)
            raise SidestepError(
                f"shard {shard}: requests still unanswered after {deadline:g} s; not held",
                hint="is the shard overloaded or stopped? Try again when it answers",
            ) from None
        except asyncio.CancelledError:
            with suppress(SidestepError):  # who asked is gone, and can never release
                await asyncio.shield(self.release(shard))
            raise

    async def release(self, shard: str) -> None:
        """Let the shard's requests go, by the newest table."""
        async with self._turn:
            await self._set((await self._wanted()).holding(shard, None))
            await self._runtime_holds(shard, held=False)

    async def apply(self, table: bytes, checksum: int) -> int:
        """Take a table if it is newer; returns the generation in force.

        All of its keys change hands at once. The same table again is repaired where HAProxy differs from it, and an
        older one changes nothing. Raises SidestepError for a damaged one, for one that contradicts the table of
        its own generation, and for one with a shard that HAProxy's configuration does not have.
        """
        new = decode_table(table, checksum)
        async with self._turn:
            now = await self._wanted()
            if new.generation == now.table.generation and new != now.table:
                raise SidestepError(
                    f"generation {new.generation} of the routing table is in force with other contents",
                    hint="two daemons, or an old journal? Only one may own the fleet",
                )
            if new.generation > now.table.generation:
                await self._known({str(route.shard) for route in new.routes})
                await self._set(now.applied(new, checksum))
            await self._bring()
            return (await self._wanted()).table.generation

    async def generation(self) -> int:
        """The generation that HAProxy itself has: that of its map, 0 before the first table."""
        found = []
        path = self.path(d.ROUTES)
        for process in (await self._runtime.processes())[:1]:
            answer = (await self._runtime.all(process, [f"get map {path} {d.GENERATION}"]))[0]
            _, _, value = answer.partition('value="')
            found.append(int(value.split("-")[0]) if value[:1].isdecimal() else 0)
        return min(found)

    async def aclose(self) -> None:
        """Keep nothing open."""
        await self.place.aclose()

    # -- endpoints

    async def endpoints(self, shard: str) -> tuple[EndpointLoad, ...]:
        """The owner and all others, with what is in flight at each."""
        kept = (await self._wanted()).of(shard)
        loads = await self._loads(shard)
        found = []
        for each in kept:
            load = loads.get((shard, each.server), Load(0, 0, 0))
            found.append(
                EndpointLoad(
                    endpoint=each.endpoint,
                    state="draining" if each.draining else "ready",
                    in_flight=load.in_flight,
                    answered=max(0, load.answered - load.in_flight - load.failed),
                )
            )
        return tuple(found)

    async def add(self, shard: str, endpoint: Endpoint) -> None:
        """Send to one more endpoint, by its weight; one of that name changes into it."""
        await self._change(shard, lambda now: now.added(shard, endpoint, self.spec.endpoints))

    async def weigh(self, shard: str, weights: Mapping[str, int]) -> None:
        """Give these endpoints new weights, all or none."""
        await self._change(shard, lambda now: now.weighed(shard, dict(weights)))

    async def shift(self, shard: str, shares: Mapping[str, int]) -> None:
        """Give groups shares of the shard's requests, all or none."""

        def weighed(now: d.Desired) -> d.Desired:
            ends = {str(k.endpoint.name): k.endpoint for k in now.of(shard)}
            return now.weighed(shard, shared(ends, shares))

        await self._change(shard, weighed)

    async def drain(self, shard: str, name: str, deadline: float) -> None:
        """Send nothing new to it; returns when nothing is in flight there. Raises SidestepError after ``deadline``."""
        await self._change(shard, lambda now: now.drained(shard, name))
        kept = (await self._wanted()).find(shard, name)
        try:
            async with asyncio.timeout(deadline):
                await self._idle(shard, kept.server if kept else "")
        except TimeoutError:
            raise SidestepError(
                f"{name} of {shard}: requests still unanswered after {deadline:g} s; it stays draining",
                hint="wait longer, or stop what does not answer",
            ) from None

    async def remove(self, shard: str, name: str) -> None:
        """Forget an endpoint at which nothing is in flight."""
        busy = [load.in_flight for load in await self.endpoints(shard) if load.endpoint.name == name]
        if busy and busy[0]:
            raise SidestepError(f"{name} of {shard}: {busy[0]} requests are in flight", hint="drain it first")
        await self._change(shard, lambda now: now.removed(shard, name))

    # -- how it is

    async def differences(self) -> tuple[str, ...]:
        """What HAProxy or its files have otherwise than they should, a line each."""
        async with self._turn:
            return tuple([*await self._files_differ(), *await self._look(act=False)][:LINES])

    async def repair(self) -> tuple[str, ...]:
        """Make it so, and say what was different. Before the first table there is nothing to be different from."""
        async with self._turn:
            return tuple((await self._bring())[:LINES])

    async def stats(self) -> dict[str, Any]:
        """``generation``, and of every shard what is in flight, what waits for a server, and whether it is held."""
        now, loads = await self._wanted(), await self._loads()
        shards = {
            shard: {
                "in_flight": sum(x.in_flight for (b, s), x in loads.items() if b == shard and s != "BACKEND"),
                "waiting": loads.get((shard, "BACKEND"), Load(0, 0, 0)).in_flight,
                "held": shard in now.held,
            }
            for shard in now.kept
        }
        return {"generation": await self.generation(), "engine": "haproxy", "shards": shards}

    async def report(self, after: int) -> dict[str, Any]:
        """Totals of every shard, as ``routing.meter.Meter.report`` has them; HAProxy keeps no latencies of each call.

        So there are no latencies and no calls in it.
        """
        now, loads = await self._wanted(), await self._loads()
        info = (await self._runtime.all((await self._runtime.processes())[0], ["show info"]))[0]
        facts = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
        uptime = int(facts.get("Uptime_sec", "0") or 0)
        shards = list(now.kept)
        rows = [loads.get((shard, "BACKEND"), Load(0, 0, 0)) for shard in shards]
        return {
            "run": f"haproxy-{facts.get('Pid', '')}-{round((time.time() - uptime) / 60)}",
            "shards": shards,
            "requests": b"".join(x.answered.to_bytes(8, "little") for x in rows),
            "failed": b"".join(min(x.failed, x.answered).to_bytes(8, "little") for x in rows),
            "rows": b"", "bins": b"", "counts": b"", "newest": 0, "calls": [],
        }  # fmt: skip

    # -- inside; ``_turn`` is held

    async def _runtime_holds(self, shard: str, *, held: bool) -> None:
        path = self.path(d.HELD)
        for process in await self._runtime.processes():
            await self._runtime.all(process, [f"del map {path} {shard}"])
            if held:
                await self._runtime.do(process, [f"add map {path} {shard} {self.spec.wait:g}"])
                await self._runtime.barrier(process)

    async def _cut(self, shard: str) -> None:
        """Give up what the owner of that shard has not answered; it is held, also if there was no time for that."""
        now = await self._wanted()
        if shard not in now.held:
            await self._set(now.holding(shard, self.spec.wait))
            await self._runtime_holds(shard, held=True)
        for process in await self._runtime.processes():
            await self._runtime.do(process, [f"shutdown sessions server {shard}/{OWNER}"])

    async def _known(self, shards: set[str]) -> None:
        for process in (await self._runtime.processes())[:1]:
            missing = sorted(shards - (await self._runtime.servers(process)).keys())
            if missing:
                raise SidestepError(
                    f"{self.place.name}: HAProxy has no backend for {', '.join(missing[:5])}",
                    hint="write its configuration anew with sidestep router config, and reload it",
                )

    async def _change(self, shard: str, change: Callable[[d.Desired], d.Desired]) -> None:
        """Change the endpoints of one shard, written down first."""
        async with self._turn:
            await self._set(change(await self._wanted()))
            wanted = await self._wanted()
            servers, owner = wanted.servers(shard, self.spec.endpoints), wanted.owners()[shard]
            for number, process in enumerate(await self._runtime.processes()):
                if not number:
                    have = (await self._runtime.servers(process)).get(shard, {})
                    await self._runtime.do(process, list(changed(shard, have, servers)))
                await self._runtime.all(process, [f"set map {self.path(d.OWNERS)} {shard} {owner}"])
                await self._runtime.barrier(process)

    async def _loads(self, shard: str = "") -> dict[tuple[str, str], Load]:
        """Of all processes together."""
        found: dict[tuple[str, str], Load] = {}
        for process in await self._runtime.processes():
            for key, load in (await self._runtime.loads(process, shard)).items():
                old = found.get(key, Load(0, 0, 0))
                found[key] = Load(
                    old.in_flight + load.in_flight, old.answered + load.answered, old.failed + load.failed
                )
        return found

    async def _idle(self, shard: str, server: str = "") -> None:
        """Return when nothing is in flight at the shard, or at one server of it."""
        quiet = 0
        while quiet < QUIET:
            loads = await self._loads(shard)
            late = (await self._loads(LATE)).values()
            busy = sum(x.in_flight for (_, name), x in loads.items() if not server or name == server)
            busy += sum(x.in_flight for x in late)
            quiet = 0 if busy else quiet + 1
            if quiet < QUIET:
                await asyncio.sleep(LOOK)
