"""The conductor's end of one agent: a channel to a host, and what is known of the engine there."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from shlex import quote
from typing import Final, Protocol

from sidestep import __version__
from sidestep.backends.functions import frames, words
from sidestep.backends.functions.certificates import Authority
from sidestep.backends.functions.sources import Source
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError
from sidestep.fleet.labels import scrub

#: seconds: a Python that starts on a busy host; silence after which a host is given up
START: Final = 60.0
SILENCE: Final = 10.0
#: bytes of one frame of an agent
_LIMIT: Final = 1 << 20
_THREADS: Final = 32


@dataclass(frozen=True)
class Site:
    """A host for workers: its numeric address is where they listen; ``python`` has sidestep[functions]."""

    name: str
    address: str
    transport: Transport
    python: str = "python3"


class Watcher(Protocol):
    """Who is told of losses."""

    def engine_ended(self, agent: Agent, number: int, tail: str) -> None:
        """A scheduler or worker process has ended."""

    def host_lost(self, agent: Agent, why: str) -> None:
        """The connection is gone, and with it everything on the host."""


class Agent:
    """One host. ``ready`` is what it said of itself; ``alive`` until its connection is gone."""

    def __init__(self, site: Site, watcher: Watcher) -> None:
        self.site, self._watcher = site, watcher
        self.alive = False
        self.ready: words.Ready | None = None
        #: what its host last said that it has
        self.beat = words.Beat()
        self.sources: set[str] = set()
        self._putting = asyncio.Lock()
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[object, asyncio.Future[str]] = {}
        self._heard = 0.0

    @property
    def name(self) -> str:
        """The host's name."""
        return self.site.name

    async def open(self, authority: Authority) -> None:
        """Start the agent and tell it who it is. Raises HostError."""
        await self.site.transport.connect()
        command = f"exec {quote(self.site.python)} -m sidestep.backends.functions.agent"
        self._channel = await self.site.transport.open(command)
        try:
            async with asyncio.timeout(START):
                ready = await self._next()
        except TimeoutError:
            raise HostUnreachable(self.name, "agent", f"no word within {START:g} s", command=command) from None
        if not isinstance(ready, words.Ready):
            tail = await self._stderr()
            hint = f"install the same sidestep there: {self.site.python} -m pip install 'sidestep[functions]'"
            raise HostError(self.name, "agent", "it does not start", command=command, tail=tail, hint=hint)
        self.ready = ready
        self._check(ready, command)
        member = authority.member(self.name, self.site.address)
        self.alive = True
        self._heard = asyncio.get_running_loop().time()
        await self._say(
            words.Welcome(
                version=words.VERSION,
                name=self.name,
                address=self.site.address,
                authority=member.authority,
                certificate=member.certificate,
                key=member.key,
                threads=_THREADS,
            )
        )
        self._reading = asyncio.create_task(self._read())

    def _check(self, ready: words.Ready, command: str) -> None:
        """Versions that have to be equal: the engine's messages and the functions' bytecode go by them."""
        ours = ".".join(platform.python_version_tuple()[:2])
        theirs = ".".join(ready.python.split(".")[:2])
        if not ready.distributed:
            hint = f"{self.site.python} -m pip install 'sidestep[functions]'"
            raise HostError(self.name, "agent", "distributed is not installed there", command=command, hint=hint)
        if (ready.version, theirs, ready.sidestep) != (words.VERSION, ours, __version__):
            said = f"sidestep {ready.sidestep} on Python {theirs}, here {__version__} on {ours}"
            hint = "install the same versions on every host that runs functions"
            raise HostError(self.name, "agent", f"another version: {said}", command=command, hint=hint)

    async def put(self, source: Source) -> None:
        """Have the source files there, once. Raises HostError."""
        async with self._putting:
            if source.digest not in self.sources:
                word = words.PutSource(source.digest, dict(source.files))
                await self._await(("source", source.digest), word, "source", START)
                self.sources.add(source.digest)

    async def start_scheduler(self, number: int) -> str:
        """Its address. Raises HostError."""
        return await self._await(number, words.StartScheduler(number), "scheduler", START)

    async def start_worker(self, number: int, scheduler: str) -> str:
        """Its address. Raises HostError."""
        return await self._await(number, words.StartWorker(number, scheduler), "worker", START)

    async def stop(self, number: int) -> None:
        """End an engine process and all below it, if it is there."""
        with contextlib.suppress(SidestepError):
            await self._say(words.Stop(number))

    def silent(self, now: float) -> bool:
        """Whether nothing was heard for too long."""
        return self.alive and now - self._heard > SILENCE

    async def aclose(self, why: str = "closed") -> None:
        """End the agent: the end of its input ends everything that it started."""
        self._lost(why, tell=False)
        if self._reading is not None:
            self._reading.cancel()
        if self._channel is not None:
            with contextlib.suppress(SidestepError, OSError, TimeoutError):
                async with asyncio.timeout(10):
                    await self._channel.finish_input()
                    await self._channel.wait()
            with contextlib.suppress(SidestepError, OSError):
                await self._channel.aclose()

    def lose(self, why: str) -> None:
        """Give the host up."""
        self._lost(why)

    async def _await(self, key: object, word: words.ToAgent, step: str, seconds: float) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        try:
            await self._say(word)
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise HostError(self.name, step, f"no answer within {seconds:g} s") from None
        finally:
            self._waiting.pop(key, None)

    async def _say(self, word: words.ToAgent) -> None:
        if self._channel is None or not self.alive:
            raise HostUnreachable(self.name, "agent", "its connection is gone")
        await self._channel.write(frames.pack(word))

    async def _next(self) -> words.FromAgent | None:
        assert self._channel is not None
        word: words.FromAgent | None = await frames.receive(_exactly(self._channel), words.FromAgent, _LIMIT)
        return word

    async def _read(self) -> None:
        why = "its agent ended"
        try:
            while (word := await self._next()) is not None:
                self._heard = asyncio.get_running_loop().time()
                self._hear(word)
        except (SidestepError, OSError, ValueError) as error:
            why = str(error)
        self._lost(why)

    def _hear(self, word: words.FromAgent) -> None:
        match word:
            case words.Started(number, address):
                self._settle(number, address)
            case words.HasSource(digest):
                self._settle(("source", digest), digest)
            case words.Ended(number, status, tail):
                error = HostError(self.name, "engine", f"its process ended with status {status}", tail=tail)
                self._settle(number, error)
                self._watcher.engine_ended(self, number, tail)
            case words.Beat() as beat:
                self.beat = beat
            case words.Trouble(text):
                for key in list(self._waiting):
                    self._settle(key, HostError(self.name, "agent", text))
            case _:
                return

    def _settle(self, key: object, result: str | HostError) -> None:
        future = self._waiting.pop(key, None)
        if future is None or future.done():
            return
        if isinstance(result, HostError):
            future.set_exception(result)
        else:
            future.set_result(scrub(result, 400))

    def _lost(self, why: str, *, tell: bool = True) -> None:
        if not self.alive:
            return
        self.alive = False
        for key in list(self._waiting):
            self._settle(key, HostUnreachable(self.name, "agent", why))
        if tell:
            self._watcher.host_lost(self, why)

    async def _stderr(self) -> bytes:
        assert self._channel is not None
        with contextlib.suppress(SidestepError, OSError, TimeoutError):
            async with asyncio.timeout(5):
                return (await self._channel.wait()).stderr
        return b""


def _exactly(channel: Channel) -> Callable[[int], Awaitable[bytes]]:
    async def read(count: int) -> bytes:
        parts, missing = [], count
        while missing:
            part = await channel.read(missing)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    return read
