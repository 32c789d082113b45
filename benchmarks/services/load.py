"""Clients that keep a constant number of requests in flight, each with an id of its own, and what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.routing_daemon import ask

#: seconds after which a request counts as failed
PATIENCE: Final = 240.0
#: keys of an app
KEYS: Final = 499


@dataclass
class Account:
    """Every request: answered with 200, or how it failed; and how long it took (s)."""

    acked: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """All that have ended."""
        return len(self.acked) + len(self.failed)

    def audit(self, ledger: Iterable[str]) -> tuple[int, int]:
        """Requests that were acknowledged and are in no ledger, and entries beyond the first of any request."""
        found = Counter(ledger)
        return sum(name not in found for name in self.acked), sum(count - 1 for count in found.values())


@dataclass
class Load:
    """``clients`` connections with one request at a time, together ``rate`` a second at most; ``apps`` in turns.

    ``share`` says which part of the clients is at work, 0 to 1; the others wait.
    """

    where: tuple[str, int]
    apps: tuple[str, ...]
    clients: int = 12
    rate: float = 600.0
    mark: str = ""
    share: Callable[[], float] = lambda: 1.0
    account: Account = field(default_factory=Account)
    _stop: bool = False

    async def run(self) -> None:
        """Until ``stop``; then every client ends after its answer."""
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop = True

    async def reached(self, requests: int) -> None:
        """Return once so many have ended."""
        while self.account.requests < requests:  # noqa: ASYNC110 - clients are many tasks
            await asyncio.sleep(0.05)

    async def _client(self, number: int) -> None:
        loop, pause = asyncio.get_running_loop(), self.clients / self.rate
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        turn, due = 0, loop.time() + pause * number / self.clients
        while not self._stop:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if number >= round(self.share() * self.clients):
                if streams is not None:  # the router gives up connections that nobody uses, and nobody is told
                    streams[1].close()
                streams, due = None, loop.time() + 0.02
                continue
            due, turn = max(due + pause, loop.time() - 0.5), turn + 1
            name, began = f"{self.mark}{number}-{turn}", loop.time()
            app, key = self.apps[turn % len(self.apps)], f"k{(turn * self.clients + number) % KEYS}"
            try:
                if streams is None:
                    streams = await asyncio.open_connection(*self.where)
                status = await asyncio.wait_for(ask(*streams, f"/{app}/{key}/{name}"), PATIENCE)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                status = type(error).__name__
            if status == "200":
                self.account.acked.append(name)
            else:
                self.account.failed[name] = status
                if streams is not None:
                    streams[1].close()
                streams = None
            self.account.waits.append(loop.time() - began)
        if streams is not None:
            streams[1].close()
