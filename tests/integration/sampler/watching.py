"""Following a real host into a panel until something is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST, SHARD
from sidestep.backends.sampler.stream import follow

KINDS = ("python", "perl", "awk", "sh")
DEADLINE = 60.0


class Watched:
    """One host in a panel of its own."""

    def __init__(self, fleet: str = "test") -> None:
        self.panel, self._fleet = Panel(["a"]), fleet

    def value(self, name: str) -> float:
        return float(self.panel.values[0, HOST[name]])

    def rate(self, name: str) -> float:
        return float(self.panel.rates[0, HOST[name]])

    def busy(self) -> float:
        """Cores that are busy."""
        modes = ("user", "nice", "system", "irq", "softirq")
        return float(np.nansum([self.rate(f"cpu_{mode}") for mode in modes])) / 1e6

    def shards(self) -> tuple[str, ...]:
        return tuple(self.panel.shard_names)

    def shard(self, name: str, column: str) -> float:
        return float(self.panel.shard_values[self.shards().index(name), SHARD[column]])

    def shard_rate(self, name: str, column: str) -> float:
        return float(self.panel.shard_rates[self.shards().index(name), SHARD[column]])

    def running(self, name: str) -> bool:
        return name in self.shards() and self.shard(name, "running") == 1

    async def follow(
        self, transport: Any, until: Callable[[], bool], *, kind: Any = "auto", interval: float = 0.2
    ) -> Watched:
        """Follow until the condition holds after a sample; raises what ends the stream before."""
        following = asyncio.create_task(
            follow(transport, self._fleet, interval, lambda: self.panel.intake(0), kind=kind)
        )
        seen = -1
        try:
            async with asyncio.timeout(DEADLINE):
                while not following.done():
                    for _, error in self.panel.decode(0.0):
                        raise error
                    newest = int(self.panel.seq[0])
                    if newest != seen and until():
                        return self
                    seen = newest
                    await asyncio.sleep(0.01)
                await following
                raise AssertionError("follow returned")
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await following

    async def samples(self, transport: Any, count: int, *, kind: Any = "auto", interval: float = 0.2) -> Watched:
        """Follow for so many samples."""
        return await self.follow(transport, lambda: self.panel.seq[0] >= count, kind=kind, interval=interval)
