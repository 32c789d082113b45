"""What a sample costs from the moment its bytes have arrived: taking it in, and decoding the fleet.

The peer is a plain decoder of the same protocol that reads host after host, token after token,
and makes the same rates without any of the checks. Every pass is a new sample of every host.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence

from benchmarks.harness import Goal, Report, Sample, Spread, interleave, main
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS

#: hosts, shards on each
SIZES = ((1000, 0), (10_000, 0), (1000, 50))
QUICK = ((1000, 0), (1000, 50))
PASSES = 3
COUNTERS = [kind == "counter" for _, kind in HOST_COLUMNS]
SHARD_COUNTERS = [kind == "counter" for _, kind in SHARD_COLUMNS]
#: digits as on a machine that has been up for weeks
MAGNITUDES = (1, 3, 6, 9, 11, 12, 13)


class Plain:
    """One host, decoded token by token."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.at_ms = 0
        self.rates: list[float] = []

    def take(self, line: bytes, counters: Sequence[bool]) -> None:
        words = line.split()
        at_ms = int(words[2])
        values = [math.nan if word == b"-" else float(word) for word in words[3:]]
        if self.before:
            seconds = (at_ms - self.at_ms) / 1e3
            self.rates = [
                ((now - old) / seconds if now >= old else math.nan) if counter else now
                for old, now, counter in zip(self.before, values, counters, strict=True)
            ]
        self.before, self.at_ms = values, at_ms


class Fleet:
    """Lines of a fleet, pass after pass: counters that grow, gauges that move, two values unknown."""

    def __init__(self, hosts: int, shards: int) -> None:
        self.hosts, self.shards, self.seq = hosts, shards, 0
        self.random = random.Random(7)
        self.base = [self.random.randrange(10 ** self.random.choice(MAGNITUDES)) for _ in HOST_COLUMNS]
        names = ",".join(sorted(f"app-{shard:03d}" for shard in range(shards))) or "-"
        sizes = f"{len(HOST_COLUMNS)} {len(SHARD_COLUMNS)}"
        self.greeting = f"H2 1 6.1.0 100 python 0123abcd\nK {sizes} {names}\n".encode()

    def lines(self) -> list[bytes]:
        """The next sample of every host."""
        self.seq += 1
        return [self._line() for _ in range(self.hosts)]

    def _line(self) -> bytes:
        more = self.random.randrange(1000)
        words = [str(base + self.seq * 1000 + more) for base in self.base]
        words[8], words[17], words[23] = f"{more / 100:.2f}", "-", "-"
        shard = f" {1000 + more} 7 1 {10**9 + self.seq * 1000 + more} {more << 20} 0 0 {10**8 + more} {10**7} -"
        return f"V {self.seq} {10**9 + self.seq * 1000} {' '.join(words)}{shard * self.shards}\n".encode()


def ours(fleet: Fleet) -> Callable[[], Sample]:
    """Microseconds of CPU for each sample: in its intake, and in the panel."""
    panel = Panel([f"host-{row}" for row in range(fleet.hosts)])
    intakes = [panel.intake(row) for row in range(fleet.hosts)]
    for intake in intakes:
        intake.data(fleet.greeting)

    def once() -> Sample:
        taking = decoding = 0.0
        for _ in range(PASSES):
            lines = fleet.lines()
            started = time.process_time()
            for intake, line in zip(intakes, lines, strict=True):
                intake.data(line)
            between = time.process_time()
            refused = panel.decode(1.8e9)
            decoding += time.process_time() - between
            taking += between - started
            assert not refused, refused[0]
        each = 1e6 / PASSES / fleet.hosts
        return {"intake_us": taking * each, "decode_us": decoding * each, "fleet_ms": decoding * 1e3 / PASSES}

    return once


def peer(fleet: Fleet) -> Callable[[], Sample]:
    """The same for the plain decoder."""
    hosts = [Plain() for _ in range(fleet.hosts)]
    counters = COUNTERS + SHARD_COUNTERS * fleet.shards

    def once() -> Sample:
        spent = 0.0
        for _ in range(PASSES):
            lines = fleet.lines()
            started = time.process_time()
            for host, line in zip(hosts, lines, strict=True):
                host.take(line, counters)
            spent += time.process_time() - started
        return {"decode_us": spent * 1e6 / PASSES / fleet.hosts}

    return once


def run(quick: bool) -> Report:
    """Microseconds a sample, for fleets with and without shards."""
    runs = 3 if quick else 7
    figures: dict[str, dict[str, Spread]] = {}
    goals = []
    for hosts, shards in QUICK if quick else SIZES:
        name = f"{hosts} hosts, {shards} shards each"
        contenders = {
            f"panel: {name}": ours(Fleet(hosts, shards)),
            f"plain: {name}": peer(Fleet(hosts, shards)),
        }
        for once in contenders.values():
            once()  # the first pass makes the rows and has no rates
        figures |= interleave(contenders, runs)
        us = figures[f"panel: {name}"]["decode_us"].median
        plain = {"plain decoder": figures[f"plain: {name}"]["decode_us"].median}
        if shards:
            ms = figures[f"panel: {name}"]["fleet_ms"].median
            goals.append(
                Goal(f"decode {name}", ms, "ms", 50.0, "<=", {"plain decoder": plain["plain decoder"] * hosts / 1e3})
            )
        else:
            goals.append(Goal(f"decode {name}", us, "us a sample", 5.0, "<=", plain))
        goals.append(Goal(f"take in {name}", figures[f"panel: {name}"]["intake_us"].median, "us a sample", 2.0, "<="))
    notes = ("CPU time of one thread; the plain decoder makes none of the panel's checks",)
    return Report("decode", tuple(goals), figures, runs, quick, notes)


if __name__ == "__main__":
    main("decode", run)
