"""What one HAProxy should have, kept beside it in files, and how what runs is brought to that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from sidestep.backends.haproxy import desired as d
from sidestep.backends.haproxy.place import Here, Place, There
from sidestep.backends.haproxy.runtime import Runtime, changed, replaced
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.routing import RouterSpec

#: differences that are told at most
LINES: Final = 40


class Keeping:
    """Files first, then every process. All but ``path`` is called with ``_turn`` held."""

    def __init__(self, spec: RouterSpec, transport_for: Callable[[str], Transport]) -> None:
        self.spec = spec
        host = str(spec.host)
        self.place: Place = There(spec.socket, lambda: transport_for(host)) if host else Here(spec.socket)
        self._runtime = Runtime(self.place)
        self._desired: d.Desired | None = None
        self._turn = asyncio.Lock()

    def path(self, name: str) -> str:
        """One of its files."""
        return f"{self.spec.folder.rstrip('/')}/{name}"

    async def _wanted(self) -> d.Desired:
        if self._desired is None:
            path = self.path(d.STATE)
            data = await self.place.read(path)
            self._desired = d.Desired() if data is None else d.read(data, path)
        return self._desired

    async def _set(self, new: d.Desired) -> None:
        """Write down what HAProxy should have; from here on a restart of anything leads there."""
        if new == self._desired:
            return
        old = self._desired or d.Desired()
        await self.place.write(self.path(d.STATE), msgspec.json.encode(new))
        self._desired = new
        for name, data in self._files(new).items():
            if data != self._files(old).get(name):
                await self.place.write(self.path(name), data)

    def _files(self, wanted: d.Desired) -> dict[str, bytes]:
        return {
            d.SERVERS: d.servers_file(wanted, self.spec.endpoints),
            d.HELD: d.map_file(wanted.holds(), "shards whose requests wait, and seconds that one waits at most"),
            d.OWNERS: d.map_file(wanted.owners(), "where workers that end send requests of shards to"),
            d.ROUTES: d.map_file(wanted.routes(), "keys of apps (APP/SLOT in hexadecimal) to shards"),
        }

    async def _files_differ(self) -> list[str]:
        found = []
        for name, data in self._files(await self._wanted()).items():
            there = await self.place.read(self.path(name))
            if there != data:
                how = "is missing" if there is None else "is not as it was written"
                found.append(f"{self.place.name}: {self.path(name)} {how}")
        return found

    async def _bring(self) -> list[str]:
        """Files, then every process; what was different."""
        wanted = await self._wanted()
        if not wanted.table.generation:
            return []
        found = await self._files_differ()
        if found:
            for name, data in self._files(wanted).items():
                await self.place.write(self.path(name), data)
        return found + await self._look(act=True)

    async def _look(self, *, act: bool) -> list[str]:
        """Compare every process with what it should have; put right with ``act``.

        Servers first: keys go nowhere that is not yet told where it is. Holds last: whoever is let go because its
        shard is in the table no more finds the new one.
        """
        wanted, found = await self._wanted(), list[str]()
        for number, process in enumerate(await self._runtime.processes()):
            have = await self._runtime.servers(process) if not number else {}
            commands: list[str] = []
            for shard in wanted.kept if not number else ():  # workers that end go by the map of owners
                servers, mine = wanted.servers(shard, self.spec.endpoints), have.get(shard, {})
                for name, server in servers.items():
                    if mine.get(name) != server:
                        found.append(f"{shard}/{name}: has {mine.get(name, 'no server')}, should have {server}")
                commands += changed(shard, mine, servers)
            if act:
                await self._runtime.do(process, commands)
            for name, values in ((d.OWNERS, wanted.owners()), (d.ROUTES, wanted.routes()), (d.HELD, wanted.holds())):
                found += await self._look_at_map(process, self.path(name), values, act=act)
        return found

    async def _look_at_map(self, process: str, path: str, values: Mapping[str, str], *, act: bool) -> list[str]:
        have = await self._runtime.map(process, path)
        if have == values:
            return []
        if act:
            said = (await self._runtime.all(process, [f"prepare map {path}"]))[0]
            version = said.rpartition(":")[2].strip()
            await self._runtime.do(process, list(replaced(path, values, version)))
        keys = sorted(have.keys() | values.keys())
        return [
            f"{path}: {key} is {have.get(key, 'missing')}, should be {values.get(key, 'absent')}"
            for key in keys
            if have.get(key) != values.get(key)
        ]
