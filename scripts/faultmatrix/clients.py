"""Concurrent clients of one shard, through the real router, that write down what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Sequence
from typing import Final, Literal, Protocol

from scripts.faultmatrix.history import Call, Entry, entries
from sidestep.backends.routing.router import Reply, Unanswered
from sidestep.fleet.errors import SidestepError

#: seconds between two requests of a client
PAUSE: Final = 0.06
WRITERS: Final = 3
#: seconds after which a request that waits, though its shard serves, is trouble
STUCK: Final = 30.0


class Asks(Protocol):
    """Who brings requests to shards: the router, or whoever does without."""

    async def request(self, app: str, key: str, *, verb: str = "INC", ident: str = "") -> Reply:
        """Raises Unanswered when nobody can know whether it was counted."""
        ...


class Clients:
    """Writers and a reader of one shard; ``calls`` is their history from the first request on."""

    def __init__(self, core: Asks, app: str, shard: str, keys: Sequence[str]) -> None:
        self._core, self._app, self._shard, self._keys = core, app, shard, tuple(keys)
        self.calls: list[Call] = []
        self._serial = 0
        self._running: list[asyncio.Task[None]] = []
        self._going = False
        self._rng = random.Random(shard)

    def start(self) -> None:
        """Begin to send."""
        self._going = True
        self._running = [asyncio.create_task(self._client("INC")) for _ in range(WRITERS)]
        self._running.append(asyncio.create_task(self._client("GET")))

    async def stop(self) -> str:
        """Send nothing more and wait for the answers; what still waited after a while, or nothing."""
        self._going = False
        _, waiting = await asyncio.wait(self._running, timeout=STUCK)
        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*self._running, return_exceptions=True)
        broken = [f"{e!r}" for e in ended if isinstance(e, Exception)]
        self._running = []
        if waiting:
            broken.append(f"{len(waiting)} requests to {self._shard} were not answered within {STUCK:g} s")
        return "; ".join(broken)

    def forget(self, log: Sequence[Entry]) -> None:
        """Begin a new history on this state: what was wrong before is told once."""
        self.calls = [Call(entry.id, "INC", entry.key, -math.inf, math.inf, "unknown") for entry in log]

    async def once(self, verb: Literal["INC", "GET"] = "INC", key: str = "") -> Call:
        """One request, of some key unless one is named, written down."""
        self._serial += 1
        ident, key = f"{self._shard}.{self._serial}", key or self._rng.choice(self._keys)
        begun, ended = time.monotonic(), math.inf
        outcome: Literal["ok", "unknown"] = "unknown"
        token = seq = value = 0
        try:
            reply = await self._core.request(self._app, key, verb=verb, ident=ident)
            ended, outcome = time.monotonic(), "ok"
            token, seq, value = reply.token, int(reply.words[0]), int(reply.words[1])
        except (Unanswered, SidestepError):
            pass
        finally:
            self.calls.append(Call(ident, verb, key, begun, ended, outcome, token, seq, value))
        return self.calls[-1]

    async def _client(self, verb: Literal["INC", "GET"]) -> None:
        while self._going:
            await self.once(verb)
            await asyncio.sleep(PAUSE)


async def saved(address: str, port: int, *, seconds: float = 10.0) -> tuple[Entry, ...]:
    """The log of the shard that serves there. Raises OSError, ValueError, TimeoutError."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(b"SAVE\n")
            words = (await reader.readline()).split()
            if len(words) != 2 or words[0] != b"STATE":
                raise ValueError(f"not a state: {words}")
            return entries(await reader.readexactly(int(words[1])))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
