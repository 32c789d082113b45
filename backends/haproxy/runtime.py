"""HAProxy's runtime API: commands, and what their answers mean.

A socket of the master process (``-S``) reaches every worker, also old ones that a reload left to finish: then
requests that are held over a reload go on when they are released. A worker's own socket reaches that worker only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from sidestep.backends.haproxy.desired import DRAIN, MAINT, Server
from sidestep.backends.haproxy.place import Place
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import scrub

#: bytes of one payload; HAProxy takes a buffer of 16 KiB at most
PAYLOAD: Final = 8000
#: answers that are none: what was asked for is so already, or is not there
_FINE: Final = ("no need to change", "changed from", "New version created")


class Load(Struct, frozen=True):
    """What a server has to do: requests it has not answered, and those it ever got and failed."""

    in_flight: int
    answered: int
    failed: int


class Runtime:
    """Asks all processes of one HAProxy. Raises SidestepError."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def processes(self) -> tuple[str, ...]:
        """What stands before a command for each worker, the present one first; ("",) for a worker's own socket."""
        answer = (await self.place.ask(["show proc"]))[0]
        if "Unknown command" in answer:
            return ("",)
        pids = [row.split()[0] for row in answer.splitlines() if len(row.split()) > 1 and row.split()[1] == "worker"]
        if not pids:
            raise SidestepError(
                f"{self.place.name}: the master of HAProxy has no worker", hint="systemctl status haproxy; its log"
            )
        return tuple(f"@!{pid} " for pid in pids)

    async def all(self, process: str, commands: Sequence[str]) -> list[str]:
        """The answers of one process, in order."""
        return await self.place.ask([f"{process}{command}" for command in commands]) if commands else []

    async def do(self, process: str, commands: Sequence[str]) -> None:
        """Commands that say nothing when they succeed. Raises SidestepError with the first that says something."""
        for command, answer in zip(commands, await self.all(process, commands), strict=True):
            said = answer.strip()
            if said and not any(fine in said for fine in _FINE):
                shown = scrub(command.splitlines()[0], 120)
                raise SidestepError(
                    f"{self.place.name}: HAProxy refuses '{shown}': {scrub(said, 300)}",
                    hint="is its configuration the one that sidestep router config writes for this fleet file?",
                )

    async def map(self, process: str, path: str) -> dict[str, str]:
        """A map of that process."""
        answer = (await self.all(process, [f"show map {path}"]))[0]
        if "Unknown map" in answer:
            raise SidestepError(
                f"{self.place.name}: HAProxy has no map {scrub(path)}",
                hint="write its configuration with sidestep router config, and reload it",
            )
        rows = (row.split(" ", 2) for row in answer.splitlines() if row.startswith("0x"))
        return {row[1]: row[2].strip() for row in rows if len(row) == 3}

    async def servers(self, process: str) -> dict[str, dict[str, Server]]:
        """Every server by backend and name."""
        answer = (await self.all(process, ["show servers state"]))[0]
        found: dict[str, dict[str, Server]] = {}
        for row in (line.split() for line in answer.splitlines()):
            if len(row) > 18 and row[0].isdecimal():
                admin = int(row[6])
                what = MAINT if admin & 7 else DRAIN if admin & DRAIN else 0
                found.setdefault(row[1], {})[row[3]] = Server(row[4], int(row[18]), int(row[7]), what)
        return found

    async def loads(self, process: str, shard: str = "") -> dict[tuple[str, str], Load]:
        """By backend and server; a backend's queue counts as its own ``BACKEND`` row."""
        command = f"show stat {shard} 6 -1" if shard else "show stat -1 6 -1"
        answer = (await self.all(process, [command]))[0]
        rows = csv.DictReader(answer.lstrip("# \n").splitlines())
        return {
            (row["pxname"], row["svname"]): Load(
                _number(row["qcur"]) + (0 if row["svname"] == "BACKEND" else _number(row["scur"])),
                _number(row["stot"]),
                _number(row["econ"]) + _number(row["eresp"]),
            )
            for row in rows
            if row.get("svname")
        }

    async def barrier(self, process: str) -> None:
        """Return once no thread is in the middle of a request that began before the call.

        HAProxy lists sessions with all of its threads stopped between two tasks; no session has that name.
        """
        await self.all(process, ["show sess 0x1"])


def replaced(path: str, values: Mapping[str, str], version: str) -> Iterator[str]:
    """The commands that fill a prepared version of a map and switch to it, all at once."""
    part: list[str] = []
    size = 0
    for key, value in values.items():
        row = f"{key} {value}"
        if part and size + len(row) > PAYLOAD:
            yield _payload(path, part, version)
            part, size = [], 0
        part.append(row)
        size += len(row) + 1
    if part:
        yield _payload(path, part, version)
    yield f"commit map @{version} {path}"


def changed(shard: str, have: Mapping[str, Server], want: Mapping[str, Server]) -> Iterator[str]:
    """The commands that make the servers of a backend what they should be."""
    for name, server in want.items():
        old, it = have.get(name), f"set server {shard}/{name}"
        if old == server:
            continue
        if old is None or (old.address, old.port) != (server.address, server.port):
            yield f"{it} addr {server.address} port {server.port}"
        if old is None or old.weight != server.weight:
            yield f"{it} weight {server.weight}"
        if old is None or old.admin != server.admin:
            how = {MAINT: "maint", DRAIN: "drain"}.get(server.admin, "ready")
            if how == "drain" and old is not None and old.admin:
                yield f"{it} state ready"
            yield f"{it} state {how}"


def _payload(path: str, rows: Iterable[str], version: str) -> str:
    return "\n".join([f"add map @{version} {path} <<", *rows, ""])


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
