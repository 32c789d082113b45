"""What is tried: a backend, a shard of it, and how clients speak to that shard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from sidestep.backends.base import Backend
from sidestep.backends.embedded.demo_fleet import counter_shard
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.testing.ground import EmbeddedGround, Ground

#: seconds after which nobody answers
ANSWERED = 3.0


class Subject(Protocol):
    """What a plugin's author writes: everything that the kit has to know of a backend to try it.

    Instances are counted and killed here by other means than the backend's own, so that a backend that
    says what is not so is found out.
    """

    @property
    def name(self) -> str:
        """What is run, for the head of the card."""
        ...

    @property
    def state_bytes(self) -> int:
        """Bytes of state that a shard has when it begins, which a move cannot do without; 0: not known."""
        ...

    @property
    def durable(self) -> bool:
        """Whether what was acknowledged outlives the instance."""
        ...

    @property
    def folder(self) -> str:
        """Folder below the login's home that holds what the backend writes; "": not known."""
        ...

    def backend(self) -> Backend:
        """A new backend object, which remembers nothing of another one."""
        ...

    def shard(self, number: int, host: Label) -> ShardSpec:
        """The declaration of a shard of its own for each number."""
        ...

    async def add(self, address: str, port: int) -> int:
        """Have one more write acknowledged; how many there were. Raises OSError if nobody takes it."""
        ...

    def instances(self, ground: Ground, host: str, number: int) -> int:
        """How many instances of that shard live on that host, frozen ones too."""
        ...

    def kill(self, ground: Ground, host: str, number: int) -> None:
        """End them at once."""
        ...


@dataclass(kw_only=True)
class CounterSubject:
    """The counter service, for backends that run commands on embedded hosts: ``process``, and what is like it.

    ``driver`` ``hook`` keeps the state in memory and gives it by ``save``; ``restart`` keeps it in files.
    """

    make: Callable[[], Backend]
    driver: str = "hook"
    state_bytes: int = 96 << 10
    folder: str = ".local/state/sidestep"

    @property
    def name(self) -> str:
        """The service and its driver."""
        return f"counter, driver {self.driver}"

    @property
    def durable(self) -> bool:
        """Only what is in files."""
        return self.driver == "restart"

    def backend(self) -> Backend:
        """A new backend object."""
        return self.make()

    def shard(self, number: int, host: Label) -> ShardSpec:
        """A counter whose command line has a mark of its own."""
        spec = counter_shard(
            f"kit.{number}", host, port=20000 + number, keys=None, cost=_mark(number), padding=self.state_bytes
        )
        if self.driver == "hook":
            return replace(spec, backend=self.make().name)
        start = spec.start.replace(" --standby", " --durable").replace(" --report", "")
        return replace(
            spec, backend=self.make().name, driver="restart", start=start, save="", load="", quiesce="", resume=""
        )

    async def add(self, address: str, port: int) -> int:
        """One request over a connection of its own."""
        try:
            async with asyncio.timeout(ANSWERED):
                reader, writer = await asyncio.open_connection(address, port)
                try:
                    writer.write(b"INC kit kit\n")
                    said = (await reader.readline()).split()
                finally:
                    writer.close()
        except TimeoutError as error:
            raise OSError("nobody answers") from error
        if said[:1] != [b"OK"]:
            raise OSError(f"not counted: {b' '.join(said).decode(errors='replace')}")
        return int(said[3])

    def instances(self, ground: Ground, host: str, number: int) -> int:
        """Processes with its mark in the host's tree, shells that start them left out."""
        return len(_embedded(ground).processes(host, "python3", _words(number)))

    def kill(self, ground: Ground, host: str, number: int) -> None:
        """``kill -9``."""
        _embedded(ground).kill(host, "python3", _words(number))


def _mark(number: int) -> float:
    """Processor seconds that a request costs: next to nothing, and another one for each shard."""
    return round(1e-5 + number * 1e-9, 9)


def _words(number: int) -> str:
    return f"--cost {_mark(number)} --padding"


def _embedded(ground: Ground) -> EmbeddedGround:
    assert isinstance(ground, EmbeddedGround), "the counter's processes can be counted on embedded hosts only"
    return ground
