"""The controller's end of a pool's supervisor on one host: orders go out, and answers come back, side by side."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import count
from shlex import quote
from typing import Any, Final

from msgspec import Struct

from sidestep.backends.ssh.base import Channel, Transport
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.pools import PoolSpec

PROGRAMS: Final = ("supervisor.py", "processes.py", "instance.py", "bridge.py")
#: what of a pool its hosts are told
_TOLD: Final = ("name", "kind", "service", "path", "python", "start", "ready", "activate", "drain", "save", "scrub",
                "idle")  # fmt: skip
#: seconds that a supervisor may take to begin, and an order beyond its own deadline to be answered
_PATIENCE: Final = 20.0
_SLACK: Final = 15.0
_NEEDS: Final = "hosts of pools need Python 3.7 or newer with its whole standard library: python3, not python3-minimal"


class Seen(Struct, frozen=True, kw_only=True):
    """An instance as its host sees it; ``state`` is cold, warming, ready, active, activating, drained, dead, gone."""

    id: str
    state: str
    tenant: Label = Label("")
    port: int = 0
    pid: int = 0
    dirty: bool = False
    in_flight: int = 0
    served: int = 0
    detail: Label = Label("")
    #: what it has saved for the one that follows: a file on its host, its SHA-256 and its bytes
    saved: tuple[str, str, int] = ("", "", 0)


class PoolHost:
    """One pool on one host. Every order may be repeated. Raises HostError, with the step that failed.

    ``epoch`` numbers daemons: the host refuses those that are older than the newest it has heard.
    """

    def __init__(self, fleet: str, pool: PoolSpec, transport: Transport, address: str, epoch: int) -> None:
        self.pool, self._transport, self._address, self._epoch = pool, transport, address, epoch
        self._fleet = fleet
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._lock = asyncio.Lock()

    @property
    def host(self) -> str:
        """The host's name."""
        return self._transport.host

    async def instances(self) -> tuple[Seen, ...]:
        """Every instance of the pool on that host, as it is now."""
        try:
            found = await self._order("list", {}, 10.0)
        except HostUnreachable:  # a supervisor that has ended since the last order begins again with the next
            found = await self._order("list", {}, 10.0)
        return tuple(_seen(each) for each in found.get("instances", ()))

    async def cold(self, name: str, port: int) -> Seen:
        """Check that an instance could be started there, and keep it so."""
        return _seen(await self._order("cold", {"id": name, "port": port}, 30.0))

    async def warm(self, name: str, port: int) -> Seen:
        """Start an instance, or wake a cold one, until it has answered and is ready."""
        seconds = self.pool.warm_deadline
        return _seen(await self._order("warm", {"id": name, "port": port, "seconds": seconds}, seconds))

    async def activate(self, name: str, tenant: str, state: tuple[str, str] = ("", "")) -> tuple[Seen, float]:
        """Give a ready instance to a tenant, with the file and digest of a state; it serves then. And seconds taken."""
        seconds = self.pool.activate_deadline
        values = {"id": name, "tenant": tenant, "address": self._address, "seconds": seconds,
                  "state": state[0], "digest": state[1]}  # fmt: skip
        said = await self._order("activate", values, seconds)
        return _seen(said), float(said["seconds"])

    async def drain(self, name: str) -> Seen:
        """Let it take nothing new, end what is in flight as far as the deadline allows, and save."""
        seconds = self.pool.drain_deadline
        return _seen(await self._order("drain", {"id": name, "seconds": seconds}, seconds + 60.0))

    async def scrub(self, name: str) -> Seen:
        """Make it ready for anybody again, or end it: ``state`` says which."""
        return _seen(await self._order("scrub", {"id": name, "seconds": 30.0}, 60.0))

    async def end(self, name: str) -> None:
        """Kill and forget it."""
        await self._order("end", {"id": name}, 15.0)

    async def forget(self, name: str) -> None:
        """Remove a state that nobody needs any more."""
        await self._order("forget", {"id": name}, 15.0)

    async def retire(self) -> None:
        """End the supervisor; refused while any instance is in use."""
        await self._order("quit", {}, 15.0)
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up; whatever runs there goes on."""
        channel, self._channel = self._channel, None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if channel is not None:
            with contextlib.suppress(HostError):
                await channel.aclose()

    # -- inside

    async def _order(self, verb: str, values: Mapping[str, object], seconds: float) -> dict[str, Any]:
        channel = await self._connected()
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        line = json.dumps({**values, "do": verb, "n": number, "epoch": self._epoch}).encode() + b"\n"
        try:
            async with asyncio.timeout(seconds + _SLACK):
                await channel.write(line)
                said = await answer
        except TimeoutError as error:
            raise HostError(self.host, f"pool {verb}", f"pool {self.pool.name}: no answer in time") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in said:
            about = f"pool {self.pool.name}, {values.get('id', 'all')}: {scrub(str(said['error']), 500)}"
            raise HostError(self.host, f"pool {verb}", about)
        return said

    async def _connected(self) -> Channel:
        async with self._lock:
            if self._channel is None:
                folder = await self._deploy()
                self._channel = await self._transport.open(
                    f"exec {quote(self.pool.python)} {quote(folder)}/bridge.py {_PATIENCE:g}"
                )
                self._reading = asyncio.get_running_loop().create_task(self._read(self._channel))
            return self._channel

    async def _deploy(self) -> str:
        """Bring programs and settings; a supervisor that runs by other settings ends, if it is not in use."""
        name = quote(f".local/state/sidestep/pools/{self._fleet}/{self.pool.name}")
        said = await self._transport.run(
            f'umask 077; mkdir -p "$HOME"/{name} && cd "$HOME"/{name} && pwd && cat config.json 2>/dev/null; :'
        )
        folder, _, present = said.stdout.decode("utf-8", "surrogateescape").partition("\n")
        if said.status or not folder.startswith("/"):
            raise HostError(self.host, "pool deploy", "no folder can be made", tail=said.stderr)
        config = _config(self.pool, self._address)
        if present.strip() != config:
            if present.strip():
                await self._end_old(folder)
            for leaf in PROGRAMS:
                await self._transport.send(f"{folder}/{leaf}", _chunks(_source(leaf)))
            await self._transport.send(f"{folder}/config.json", _chunks(config.encode()))
        return folder

    async def _end_old(self, folder: str) -> None:
        quit_ = json.dumps({"do": "quit", "n": 1, "epoch": self._epoch})
        line = f"test -S {quote(folder)}/control.sock || exit 0; printf '%s\\n' {quote(quit_)} | "
        line += f"(cat; sleep 2) | {quote(self.pool.python)} {quote(folder)}/bridge.py 1"
        done = await self._transport.run(line)
        if b'"error"' in done.stdout:
            raise HostError(
                self.host, "pool deploy", f"pool {self.pool.name} runs by other settings, and is in use",
                hint="end its instances, or give the changed pool another name",
            )  # fmt: skip

    async def _read(self, channel: Channel) -> None:
        why: HostError = HostUnreachable(self.host, "pool", f"pool {self.pool.name}: its supervisor hung up")
        try:
            while line := await channel.readline(1 << 20):
                said = json.loads(line)
                if said.get("n") == 0:
                    text = f"pool {self.pool.name}: {scrub(str(said.get('error')), 500)}"
                    why = HostError(self.host, "pool", text, hint=_NEEDS)
                waiting = self._waiting.get(said.get("n", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result(said)
        except (HostError, ValueError) as error:
            why = HostUnreachable(self.host, "pool", f"pool {self.pool.name}: {error}")
        finally:
            self._channel = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(why)
            with contextlib.suppress(HostError):
                await channel.aclose()


def _config(pool: PoolSpec, address: str) -> str:
    values: dict[str, object] = {key: getattr(pool, key) for key in _TOLD}
    programs = b"".join(_source(leaf) for leaf in PROGRAMS)
    values |= {"address": address, "programs": hashlib.sha256(programs).hexdigest()}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps({**values, "digest": digest}, sort_keys=True)


@cache
def _source(leaf: str) -> bytes:
    return files(__package__).joinpath("host", leaf).read_bytes()


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _seen(said: Mapping[str, Any]) -> Seen:
    saved = said.get("saved") or {}
    return Seen(
        id=str(said["id"]),
        state=str(said["state"]),
        tenant=scrub(str(said.get("tenant", ""))),
        port=int(said.get("port") or 0),
        pid=int(said.get("pid") or 0),
        dirty=bool(said.get("dirty")),
        in_flight=int(said.get("in_flight") or 0),
        served=int(said.get("served") or 0),
        detail=scrub(str(said.get("detail", ""))),
        saved=(str(saved.get("path", "")), str(saved.get("digest", "")), int(saved.get("bytes", 0))),
    )
