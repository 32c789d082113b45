"""What one tick of the daemon costs: decoding, judging and picturing 1,000 hosts with 20,000 shards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from benchmarks.harness import Goal, Report, interleave, main
from sidestep.autopilot.world import ShardFacts, World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import FleetSpec, HostSpec, SamplerKind, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Owner, Placement

HOSTS: Final = 1000
SHARDS: Final = 20_000
TICKS: Final = 12
#: warm-up: tables are looked up, rates need two samples
_SKIPPED: Final = 2


class Nowhere:
    """Stands for a transport; nothing is sent."""

    def __init__(self, spec: HostSpec) -> None:
        self.host = str(spec.name)


async def idle(
    transport: Transport, fleet: str, interval: float, intake: Callable[[], Intake], *, kind: SamplerKind = "auto"
) -> None:
    """Samples come from the benchmark itself."""
    await asyncio.Event().wait()


def fleet(hosts: int, shards: int) -> FleetSpec:
    """Hosts that say themselves what they have, and shards spread over them."""
    specs = tuple(HostSpec(name=Label(f"h{n:04d}"), address=f"10.0.{n // 250}.{n % 250}") for n in range(hosts))
    placed = tuple(
        ShardSpec(name=Label(f"s{n:05d}"), app=Label("a"), host=specs[n % hosts].name, start="true")
        for n in range(shards)
    )
    return FleetSpec(name=Label("tick"), source="", hosts=specs, shards=placed)


def record(seq: int, shards: int) -> bytes:
    """A sample as long as a real one."""
    host = ["-" if name == "wall_ms" else str(10**9 + seq * 10**6) for name, _ in HOST_COLUMNS]
    shard = ["100", "5", "1", str(10**9 + seq * 500_000), "100000000", "0", "0", "5000", "6000", "777"]
    assert len(shard) == len(SHARD_COLUMNS)
    return f"V {seq} {seq * 1000} {' '.join(host + shard * shards)}\n".encode()


async def ticks(hosts: int, shards: int) -> dict[str, float]:
    """Milliseconds of processor time, the middle of some ticks."""
    spec = fleet(hosts, shards)
    world = World(spec, Nowhere, clock=Clock(), report=lambda _: None, follow=idle)  # type: ignore[arg-type]
    placement = Placement(5, {shard.name: Owner(shard.host, 5) for shard in spec.shards})
    intakes = [world.intake(row) for row in range(hosts)]
    for row, intake in enumerate(intakes):
        names = ",".join(shard.name for shard in spec.shards[row::hosts]) or "-"
        intake.data(b"H2 1 6.1 100 python 0123abcd\nF cpus=4 memory=8000000000\n")
        intake.data(f"K {len(HOST_COLUMNS)} {len(SHARD_COLUMNS)} {names}\n".encode())
    spent: dict[str, list[float]] = {"intake_ms": [], "decode_ms": [], "snapshot_ms": [], "look_ms": []}
    for seq in range(1, TICKS + 1):
        line = record(seq, shards // hosts)

        def arrive(line: bytes = line) -> None:
            for intake in intakes:
                intake.data(line)

        spent["intake_ms"].append(_timed(arrive))
        spent["decode_ms"].append(_timed(world.decode))
        spent["snapshot_ms"].append(_timed(lambda: world.snapshot(placement, ShardFacts())))
        spent["look_ms"].append(_timed(world.decode))
    return {name: sorted(times[_SKIPPED:])[len(times[_SKIPPED:]) // 2] for name, times in spent.items()}


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def run(quick: bool) -> Report:
    """Ticks of a large fleet, with shards and without."""
    runs = 3 if quick else 7
    figures = interleave(
        {
            "20,000 shards": lambda: asyncio.run(ticks(HOSTS, SHARDS)),
            "no shards": lambda: asyncio.run(ticks(HOSTS, 0)),
        },
        runs,
    )
    full = figures["20,000 shards"]
    goals = (
        Goal("picture of 1,000 hosts and 20,000 shards", full["snapshot_ms"].median, "ms", 5.0, "<="),
        Goal("look at 1,000 hosts when nothing came", full["look_ms"].median, "ms", 1.0, "<="),
    )
    notes = ("processor time; decoding is of all hosts at once, 20 shards in every record",)
    return Report("tick", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    main("tick", run)
