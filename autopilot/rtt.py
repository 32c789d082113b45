"""Measures round trips: to every host from packets that flow anyway, between hosts rarely and a few at a time.

To hosts nothing is sent: the kernel tells what it knows of each connection. Between hosts one
of them opens and closes TCP connections to the SSH ports of a few others; at most ``SOURCES``
hosts do that in ``ROUND`` seconds, each to ``TARGETS`` others, the longest unmeasured first. In
fleets of more than ``AUTO`` hosts it is off unless the fleet file says otherwise.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from shlex import quote
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.protocol_oracle import HostRoundTrips, RoundTrip
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import HostSpec, RoundTripMode
from sidestep.fleet.rtt import MOST, RoundTrips

#: hosts up to which round trips between them are measured without being asked to
AUTO: Final = 64
#: seconds between two looks at connections, and between two rounds between hosts
LOOK: Final = 10.0
ROUND: Final = 60.0
SOURCES: Final = 4
TARGETS: Final = 3
#: seconds that one host's measuring may take, and for which one is left alone that cannot
PATIENCE: Final = 20.0
REST: Final = 3600.0
_NO_TOOL: Final = 97
_LINE: Final = re.compile(rb"(\d{1,4}) (-|\d{1,9})")

F64 = NDArray[np.float64]


class RttProbe:
    """Measures from ``start`` to ``aclose``; ``table`` and ``controller`` are always there to be read.

    ``transport`` gives the connection to a host, ``address`` where other hosts find it.
    ``reachable`` says which hosts can be sent to. ``report`` is told trouble, once a kind.
    """

    def __init__(
        self,
        hosts: Sequence[HostSpec],
        transport: Callable[[str], Transport],
        *,
        reachable: Callable[[], Sequence[str]],
        clock: Clock,
        report: Callable[[str], None],
        mode: RoundTripMode = "auto",
        address: Callable[[HostSpec], tuple[str, int]] = lambda host: (host.address, host.port),
    ) -> None:
        self.hosts = tuple(hosts)
        self.table = RoundTrips([str(host.zone) for host in hosts])
        #: (H,) seconds from here to every host, NaN where it is not known
        self.controller: F64 = np.full(len(self.hosts), np.nan)
        self.between = mode == "on" or (mode == "auto" and 2 <= len(self.hosts) <= AUTO)
        self._rows = {str(host.name): row for row, host in enumerate(self.hosts)}
        self._transport, self._reachable, self._address = transport, reachable, address
        self._clock, self._report = clock, report
        #: (H,) when each host last measured, and until when it is left alone
        self._asked = np.full(len(self.hosts), -np.inf)
        self._resting = np.full(len(self.hosts), -np.inf)
        self._said: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to measure, in the background."""
        self._tasks = [asyncio.create_task(self._every(LOOK, self._look), name="round trips")]
        if self.between:
            self._tasks.append(asyncio.create_task(self._every(ROUND, self.round), name="round trips between hosts"))

    async def aclose(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look(self) -> None:
        """Read what the kernel knows of every connection."""
        for row, host in enumerate(self.hosts):
            known = getattr(self._transport(host.name), "round_trip", None)
            seconds = known() if known is not None else None
            self.controller[row] = np.nan if seconds is None else seconds

    async def round(self) -> None:
        """Let a few hosts measure a few others each, those first that did not for longest."""
        now = self._clock.monotonic()
        up = [self._rows[name] for name in self._reachable() if name in self._rows]
        able = [row for row in up if self._resting[row] <= now]
        chosen = sorted(able, key=lambda row: (self._asked[row], row))[:SOURCES]
        if len(up) > 1:
            await asyncio.gather(*(self._measure(row, self._targets(row, up), now) for row in chosen))

    def _targets(self, row: int, up: Sequence[int]) -> list[int]:
        """The others whose round trip to this host is the longest unmeasured; in turn, beginning with the next row."""
        others = np.array(sorted(set(up) - {row}, key=lambda other: (other - row) % len(self.hosts)), dtype=np.int64)
        age = self.table.between(np.full(len(others), row), others, self._clock.monotonic()).age
        return [int(other) for other in others[np.argsort(-np.nan_to_num(age, nan=np.inf), kind="stable")[:TARGETS]]]

    async def _measure(self, row: int, targets: Sequence[int], now: float) -> None:
        self._asked[row] = now
        host = self.hosts[row]
        words = [str(word) for target in targets for word in self._address(self.hosts[target])]
        script = files("sidestep.backends.ssh").joinpath("rtt_probe.sh").read_bytes()
        command = f"exec sh -s {' '.join(map(quote, words))}"
        try:
            done = await self._transport(host.name).run(command, stdin=script, timeout=PATIENCE)
        except SidestepError as error:
            self._rest(row, now, str(error.args[0]))
            return
        if done.status == _NO_TOOL:
            self._rest(row, now, f"{host.name} has no python3, perl or bash 5 to measure with")
            return
        found = parsed(done.stdout, len(targets))
        self.table.record(np.full(len(targets), row), np.array(targets, dtype=np.int64), found, now)

    def _rest(self, row: int, now: float, why: str) -> None:
        """It may let nobody run commands, have no tool, or be lost: in all cases there is no hurry."""
        self._resting[row] = now + REST
        self._say(f"round trips are not measured from every host: {why}")

    def told(self) -> tuple[HostRoundTrips, ...]:
        """What was measured of every host, from here and from others; what was only estimated is left out."""
        rows, peers, took, ages = self.table.pairs(self._clock.monotonic())
        between: list[list[RoundTrip]] = [[] for _ in self.hosts]
        for row, peer, seconds, age in zip(rows.tolist(), peers.tolist(), took.tolist(), ages.tolist(), strict=True):
            for one, other in ((row, peer), (peer, row)):
                between[one].append(RoundTrip(self.hosts[other].name, seconds, age))
        return tuple(
            HostRoundTrips(host.name, float(here), tuple(sorted(known, key=lambda each: (each.seconds, each.host))))
            for host, here, known in zip(self.hosts, self.controller, between, strict=True)
        )

    async def _look(self) -> None:
        self.look()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the supervisor of measuring: the next time may succeed
                self._say(f"round trips: {type(error).__name__}: {error}")

    def _say(self, text: str) -> None:
        """Say the first trouble of all hosts, and no more: it is not worth a line each."""
        kind = text.partition(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            self._report(text)


def parsed(said: bytes, count: int) -> F64:
    """(count,) seconds from what a host said; NaN where it could not connect, or talked nonsense."""
    found = np.full(count, np.nan)
    for line in said[:65536].split(b"\n"):
        match = _LINE.fullmatch(line.strip())
        if match is not None and match[2] != b"-" and int(match[1]) < count:
            seconds = int(match[2]) / 1e6
            found[int(match[1])] = seconds if seconds <= MOST else np.nan
    return found
