"""How fast all moves together may carry: one line that every transfer takes its turns on.

``Policy.bandwidth`` is the limit in bytes a second, 0 for none; a reload changes it under way. A turn
is a few hundredths of a second long, so that transfers side by side get equal shares, and a small one
is not behind a big one. What cannot end in time is refused before it begins: half a transfer helps nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.pace import Flow

#: seconds of the line that one turn takes at most, and that may be saved up while nobody carries
TURN: Final = 0.05
SAVED: Final = 0.1


class Progress(Struct, frozen=True):
    """A transfer under way: bytes that went and that there are, and seconds until its end (NaN is not known)."""

    name: str
    sent: int
    size: int
    left: float


@dataclass(eq=False)
class _Flow:
    """One transfer; ``line`` waits for a turn of so many bytes."""

    name: str
    size: int
    began: float
    line: Callable[[int], float]
    clock: Clock
    rate: Callable[[], float]
    sent: int = field(default=0, init=False)
    #: bytes of its turns that it has not used
    spare: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        """Bytes still to go."""
        return max(0, self.size - self.sent)

    async def take(self, count: int) -> None:
        """Wait until ``count`` more bytes may go. Turns are equally long for all, so what is left of one is kept."""
        while self.spare < count:
            wanted = max(count, self.left) - self.spare
            turn = max(1, min(wanted, int(self.rate() * TURN) or wanted))
            if (wait := self.line(turn)) > 0:
                await self.clock.sleep(wait)
            self.spare += turn
        self.spare -= count
        self.sent += count


class Bandwidth:
    """Implements ``Pace``. ``rate`` gives the limit of now in bytes a second; 0 is none."""

    def __init__(self, rate: Callable[[], float], clock: Clock | None = None) -> None:
        self._rate, self._clock = rate, clock or Clock()
        #: when the line is free again
        self._free = self._clock.monotonic()
        self._flows: list[_Flow] = []

    @property
    def limited(self) -> bool:
        """Whether there is a limit now."""
        return self._rate() > 0

    def refusal(self, size: int, seconds: float) -> str:
        """Why so many bytes cannot be carried in that time, with the sum; or "".

        Turns are shared equally, so of each other transfer no more than ``size`` bytes go first.
        """
        rate = self._rate()
        if rate <= 0:
            return ""
        others = sum(min(size, flow.left) for flow in self._flows)
        need = (size + others) / rate
        if need <= seconds:
            return ""
        beside = f" beside {_bytes(others)} of {len(self._flows)} other transfers" if others else ""
        return (
            f"{_bytes(size)}{beside} at {_bytes(rate)}/s take {need:.1f} s, and it has {seconds:g} s: "
            "raise bandwidth or step_deadline in [policy]"
        )

    @contextmanager
    def carrying(self, name: str, size: int) -> Iterator[Flow]:
        """A transfer of ``size`` bytes, for as long as the block lasts."""
        flow = _Flow(name, size, self._clock.monotonic(), self._turn, self._clock, self._rate)
        self._flows.append(flow)
        try:
            yield flow
        finally:
            self._flows.remove(flow)

    def progress(self) -> tuple[Progress, ...]:
        """Every transfer under way, the oldest first."""
        return tuple(Progress(f.name, f.sent, f.size, self._remaining(f)) for f in self._flows)

    def _remaining(self, flow: _Flow) -> float:
        spent = self._clock.monotonic() - flow.began
        return flow.left * spent / flow.sent if flow.sent and spent > 0 else float("nan")

    def _turn(self, count: int) -> float:
        """Take the line's next turn; seconds until it comes."""
        rate, now = self._rate(), self._clock.monotonic()
        if rate <= 0:
            self._free = now
            return 0.0
        begins = max(self._free, now - SAVED)
        self._free = begins + count / rate
        return max(0.0, self._free - now)


def _bytes(count: float) -> str:
    """Bytes for people."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
