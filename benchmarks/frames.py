"""What one picture of a large fleet costs: bytes on the socket, encoding it, reading it.

The peer is the same data as JSON through ``msgspec.json``, columns as lists of numbers and
every word in every picture, which is what a plain web API would send. Ours is measured as
it travels while nothing but the load changes, and once as a subscription's first picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from benchmarks.harness import Goal, Report, Sample, interleave, main
from sidestep.autopilot.frames import Picture, frame_of, tables_of
from sidestep.autopilot.protocol import HEADER, QUALITY, Reply, SnapshotFrame, pack, parse_reply
from sidestep.autopilot.protocol_tables import with_tables, without_tables
from sidestep.console.view import decode
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

HOSTS, SHARDS, STEPS, PAST = 1000, 20_000, 60, 120
COLUMNS = {
    "<f4": ("allocatable", "use", "age", "shard_use", "shard_bytes", "risk", "quality"),
    "<f2": ("past", "future"),
    "<i4": ("shard_priority", "shard_host"),
    "u1": ("host_state", "shard_state"),
}


def large_picture() -> Picture:
    """A fleet of the size in the goal, in which every number is another one."""
    random = np.random.default_rng(7)
    snapshot = Snapshot(number=1, time=1.8e9, generation=1, hosts=_hosts(random), shards=_shards(random))
    levels = np.sort(random.random((HOSTS, PLANNED, STEPS, len(LEVELS)), dtype=np.float32) * 8, axis=-1)
    none = np.zeros((SHARDS, PLANNED, 0), dtype=np.float32)
    forecast = Forecast(
        id="f", snapshot=1, time=1.8e9, step=1.0, model=Label("trend"), confidence="ok", fallback=Label(""),
        hosts=levels, shard_mean=none, shard_sd=none,
    )  # fmt: skip
    return Picture(
        snapshot=snapshot, tables=tables_of(snapshot), forecast=forecast, risk=random.random((HOSTS, PLANNED)),
        contention=(), no_plan=None, policy=Policy(), level="advise", lag=0.0, oracle=Label(""),
        past=random.random((HOSTS, PLANNED, PAST), dtype=np.float32), past_step=1.0, plans=(),
        quality=random.random((HOSTS, len(QUALITY))),
    )  # fmt: skip


def _hosts(random: np.random.Generator) -> HostColumns:
    shape = (HOSTS, len(DIMENSIONS))
    capacity = random.random(shape) * 8 + 8
    return HostColumns(
        names=tuple(Label(f"host-{k:04d}.rack-{k % 40:02d}") for k in range(HOSTS)),
        states=(HostState.READY,) * HOSTS, reasons=(Label(""),) * HOSTS,
        zones=tuple(Label(f"zone-{k % 3}") for k in range(HOSTS)), capacity=capacity, allocatable=capacity,
        use=random.random(shape) * 8, pressure=random.random((HOSTS, 3)), age=random.random(HOSTS),
    )  # fmt: skip


def _shards(random: np.random.Generator) -> ShardColumns:
    return ShardColumns(
        names=tuple(Label(f"app{k % 50:02d}-{k:05d}") for k in range(SHARDS)),
        apps=tuple(Label(f"app{k % 50:02d}") for k in range(SHARDS)), states=(ShardState.RUNNING,) * SHARDS,
        host=np.arange(SHARDS, dtype=np.int32) % HOSTS, use=random.random((SHARDS, len(DIMENSIONS))),
        state_bytes=random.random(SHARDS) * 1e8, priority=np.ones(SHARDS, dtype=np.int32),
        token=np.ones(SHARDS, dtype=np.int64), movable=np.ones(SHARDS, dtype=np.bool_),
    )  # fmt: skip


def as_lists(frame: SnapshotFrame) -> dict[str, Any]:
    """The frame with lists of numbers for columns, as JSON has them."""
    fields = msgspec.structs.asdict(frame)
    for code, names in COLUMNS.items():
        fields.update({name: np.frombuffer(fields[name], code).tolist() for name in names})
    return fields


def cost(encode: Callable[[], bytes], read: Callable[[bytes], object]) -> Sample:
    """Bytes, and CPU milliseconds of both ends."""
    started = time.process_time()
    data = encode()
    between = time.process_time()
    read(data)
    ended = time.process_time()
    return {"bytes": len(data), "encode_ms": (between - started) * 1000, "decode_ms": (ended - between) * 1000}


def run(quick: bool) -> Report:
    """One picture of 1,000 hosts and 20,000 shards, as the daemon sends it and as JSON."""
    runs = 9 if quick else 31
    picture = large_picture()
    known = frame_of(picture)
    before = decode(known)

    def body(data: bytes) -> SnapshotFrame:
        found = parse_reply(data[HEADER:]).body
        assert isinstance(found, SnapshotFrame)
        return found

    def steady() -> bytes:
        tables_of(picture.snapshot, picture.tables)
        return pack(Reply(0, without_tables(frame_of(picture))))

    figures = interleave(
        {
            "steady picture": lambda: cost(steady, lambda data: decode(with_tables(body(data), known), before)),
            "first picture": lambda: cost(lambda: pack(Reply(0, frame_of(picture))), lambda data: decode(body(data))),
            "the same as JSON": lambda: cost(
                lambda: msgspec.json.encode(as_lists(frame_of(picture))), msgspec.json.decode
            ),
        },
        runs,
    )
    ours, json = figures["steady picture"], figures["the same as JSON"]
    goals = (
        Goal("bytes of a steady picture", ours["bytes"].median / 1e6, "MB", 1.5, "<",
             {"JSON": json["bytes"].median / 1e6}),
        Goal("CPU to encode it", ours["encode_ms"].median, "ms", 10, "<", {"JSON": json["encode_ms"].median}),
        Goal("CPU to decode it", ours["decode_ms"].median, "ms", 10, "<", {"JSON": json["decode_ms"].median}),
    )  # fmt: skip
    notes = (
        "no plans are in the picture; a picture that shows plans is larger by their text",
        "JSON has its numbers unrounded; three digits would make it smaller and change little for its CPU",
        "encoding is from the finished tick to bytes: forecasting and the chance of contention belong to the tick",
    )
    return Report("frames", goals, figures, runs, quick, notes)


if __name__ == "__main__":
    main("frames", run)
