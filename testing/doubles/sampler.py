"""What a sampler on a host said, written down, and said again in a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from sidestep.backends.ssh.base import Receiver
from sidestep.fleet.errors import HostError, SidestepError


class Said(Struct, frozen=True, array_like=True):
    """Some bytes, and when they came, in seconds after the first."""

    at: float
    data: bytes


class RecordedSampler:
    """A ``Receiver`` that writes down what it is given and hands it on; ``replay`` says it again.

    >>> recorded = RecordedSampler(clock=time.monotonic, onward=intake)   # give it to Transport.feed
    >>> recorded.save(path)
    >>> await RecordedSampler.load(path).replay(intake, clock.sleep)      # clock is a FakeClock
    """

    def __init__(self, said: tuple[Said, ...] = (), *, clock: Callable[[], float] = lambda: 0.0,
                 onward: Receiver | None = None) -> None:  # fmt: skip
        self.said = list(said)
        self._clock, self._onward = clock, onward
        self._began: float | None = None

    def data(self, data: bytes) -> None:
        """Bytes of standard output."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        self.said.append(Said(now - self._began, bytes(data)))
        if self._onward is not None:
            self._onward.data(data)

    def end(self, error: HostError | None, stderr: bytes) -> None:
        """Handed on; how it ended is not written down."""
        if self._onward is not None:
            self._onward.end(error, stderr)

    async def replay(self, receiver: Receiver, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Say it all again, each part after as much time as then, and end in good order."""
        at = 0.0
        for part in self.said:
            await sleep(part.at - at)
            at = part.at
            receiver.data(part.data)
        receiver.end(None, b"")

    def save(self, path: Path) -> None:
        """Write it to a file (msgpack)."""
        path.write_bytes(msgspec.msgpack.encode(self.said))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read such a file. Raises SidestepError."""
        try:
            return cls(tuple(msgspec.msgpack.decode(path.read_bytes(), type=list[Said])))
        except (OSError, msgspec.MsgspecError) as error:
            raise SidestepError(
                f"{path}: no recorded sampler: {error}", hint="record it with RecordedSampler.save"
            ) from error
