"""The daemon's keeper of the history: rings in memory, every closed minute on the disk.

A tick costs one append. A minute is written by a thread of its own, an hour is made into
Parquet by a child process, and the past comes back from a child process as raw arrays: the
daemon imports no Parquet library. Whatever fails is reported once and stops nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot import history_child as child
from sidestep.autopilot.history_memory import Tables
from sidestep.autopilot.history_segments import (
    HOUR,
    MINUTE,
    Writer,
    hour_name,
    is_closed,
    read_segment,
    retire,
    segments,
)
from sidestep.backends.sampler.panel_views import SERIES, Numbers, series
from sidestep.fleet.history import RINGS, Block, History, RingSpec, Series, coarsened
from sidestep.fleet.inventory import HistorySpec
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, REPORTED
from sidestep.fleet.snapshot import ShardColumns, Snapshot

__all__ = ["HOST_METRICS", "SHARD_METRICS", "Keeper"]

HOST_METRICS: Final = SERIES
SHARD_METRICS: Final = (DIMENSIONS[CPU], DIMENSIONS[MEMORY])
#: minutes that may wait for a slow disk; older ones are given up
WAITING: Final = 10
_FINE, _MINUTES, _QUARTERS = 0, 1, 2

Report = Callable[[str], None]


class Keeper:
    """Takes every tick; ``history`` is read by whoever shows or forecasts.

    ``folder`` is the history folder of the fleet's state. Made disabled, it keeps the rings
    and touches no disk.
    """

    def __init__(self, spec: HistorySpec, folder: Path, *, interval: float, clock: Callable[[], float], report: Report):
        self.spec, self.folder = spec, folder
        self._clock, self._report = clock, report
        self._tables = Tables(folder)
        fine = RingSpec(max(RINGS[0].step, interval), RINGS[0].slots)
        allocate = self._tables.allocate if spec.enabled else np.empty
        self.history = History((fine, *RINGS[1:]), interval=interval, allocate=allocate)
        self._layout: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
        #: shards of which something was reported: others take no room in the rings
        self._reporting: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._names: tuple[str, ...] = ()
        self._disk = _Disk(folder, self._say)
        self._troubles: set[str] = set()
        self._turned = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: set once the past is in the rings, as far as there is one
        self.filled = asyncio.Event()

    def begin(self, names: Sequence[str]) -> None:
        """Fill the rings with what the segments hold of ``names``; makes the folder. Reports, never raises."""
        if not self.spec.enabled:
            self.filled.set()
            return
        try:
            (self.folder / "open").mkdir(mode=0o700, parents=True, exist_ok=True)
            now = self._clock()
            current = int(now // HOUR)
            found = segments(self.folder)
        except OSError as error:
            self._say(f"history: {self.folder} cannot be used: {error.strerror}; nothing is kept on disk")
            return
        for path in found:
            try:
                self._take_segment(path, now, set(names))
                if not is_closed(path) and not path.name.startswith(hour_name(current)):
                    retire(path)
            except OSError as error:
                self._say(f"history: {path} was left out: {error.strerror}")

    async def run(self, names: Sequence[str]) -> None:
        """Bring back the past of ``names``, then make hours into Parquet as they end, until cancelled."""
        if not self.spec.enabled:
            return
        self._loop = asyncio.get_running_loop()
        try:
            await child.refill(self.folder, tuple(names), self._clock(), self._take_past, self._say)
        finally:
            self.filled.set()
        while True:
            if any(is_closed(path) for path in await asyncio.to_thread(segments, self.folder)):
                await child.compact(self.folder, self.spec, self._say)
            self._turned.clear()
            await self._turned.wait()

    def take(self, snapshot: Snapshot, panel: Numbers | None = None) -> None:
        """One tick: use and pressure from the snapshot, and what only the panel has where there is one."""
        hosts, shards = snapshot.hosts, snapshot.shards
        layout = (hosts.names, shards.names)
        heard_of = self._heard_of(shards)
        if layout != self._layout or heard_of is not self._reporting:
            self._layout, self._reporting = layout, heard_of
            reporting = [shards.names[row] for row in np.flatnonzero(heard_of)]
            self._names = series_names(hosts.names, shards.names, reporting)
        rest = np.full((len(hosts.names), len(HOST_METRICS) - hosts.use.shape[1] - hosts.pressure.shape[1]), np.nan)
        if panel is not None:
            heard = ~np.isnan(hosts.use).all(axis=1)
            rest[heard] = series(panel)[1][heard, -rest.shape[1] :]
        use = shards.use[:, [CPU, MEMORY]]
        reported = shards.reported[heard_of[: len(shards.reported)]]
        values = np.concatenate([np.hstack([hosts.use, hosts.pressure, rest]).ravel(), use.ravel(), reported.ravel()])
        self.append(snapshot.time, self._names, values)

    def _heard_of(self, shards: ShardColumns) -> NDArray[np.bool_]:
        """(N,) which shards ever reported, the same array as before while nothing changes."""
        before = self._reporting
        if len(shards.reported) == 0:
            return before if not before.any() else np.zeros(0, dtype=np.bool_)
        fresh = np.asarray(np.isfinite(shards.reported).any(axis=1), dtype=np.bool_)
        if shards.names == self._layout[1] and len(before) == len(fresh):
            known = fresh | before
            return before if np.array_equal(known, before) else known
        return fresh

    def append(self, time: float, names: tuple[str, ...], values: NDArray[np.float64]) -> None:
        """One tick of any series: give the same tuple of names every time. Names that are gone are forgotten."""
        before = self.history.open_slot(_MINUTES)
        self.history.append(time, names, values)
        if before >= 0 and self.history.open_slot(_MINUTES) != before:
            self._close(before)
            if len(self.history.names) > len(names) + max(1000, len(names) // 4):
                self.history.forget_all(set(self.history.names) - set(names))

    async def written(self) -> None:
        """Wait until every closed minute is on the disk."""
        await asyncio.to_thread(self._disk.flush)

    async def aclose(self) -> None:
        """Write the open minute as far as it has come, and end. The next daemon goes on with it."""
        slot = self.history.open_slot(_MINUTES)
        if self.spec.enabled and slot >= 0:
            self._close(slot)
        await asyncio.to_thread(self._disk.close)

    def _close(self, slot: int) -> None:
        if not self.spec.enabled:
            return
        names = self.history.names
        block = self.history.query(_MINUTES, slot * MINUTE, (slot + 1) * MINUTE, names)
        self._tables.trim()
        if self._tables.trouble:
            self._say(f"history: {self._tables.trouble}")
        if len(block.times) and block.count.any():
            turned = self._disk.add(slot * MINUTE, names, block)
            turned.add_done_callback(self._written)

    def _written(self, done: Future[bool]) -> None:
        """Called by the disk's thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed() and not done.cancelled() and done.result():
            loop.call_soon_threadsafe(self._turned.set)

    def _say(self, text: str) -> None:
        """Report a trouble once; from any thread."""
        if text not in self._troubles:
            self._troubles.add(text)
            self._report(text)

    def _take_segment(self, path: Path, now: float, wanted: set[str]) -> None:
        found = read_segment(path)
        if found.good < found.size:
            lost = found.size - found.good
            self._say(f"history: cut {lost} bytes off {path}: the last minute in it was not written to its end")
        if found.damaged:
            self._say(f"history: {path}: {found.damaged} damaged records were left out")
        chosen = [at for at, name in enumerate(found.names) if name in wanted]
        if not chosen or not len(found.block.times):
            return
        self._take_past(tuple(found.names[at] for at in chosen), found.block.part(chosen), now)

    def _take_past(self, names: tuple[str, ...], minutes: Block, now: float) -> None:
        """Minutes of whole quarters of an hour, into both coarse rings."""
        self.history.load(_MINUTES, now, names, minutes)
        self.history.load(_QUARTERS, now, names, coarsened(minutes, self.history.rings[_QUARTERS].step))


class _Disk:
    """One thread that writes minutes, in order; a disk that is too slow loses the oldest."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder, self._report = folder, report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._writer: Writer | None = None
        self._waiting: deque[tuple[float, tuple[str, ...], Block]] = deque(maxlen=WAITING)
        self._lock = threading.Lock()

    def add(self, time: float, names: tuple[str, ...], block: Block) -> Future[bool]:
        """Write a minute soon; whether an hour became complete by it."""
        with self._lock:
            if len(self._waiting) == WAITING:
                self._report(f"history: the disk of {self._folder} is too slow; minutes are lost")
            self._waiting.append((time, names, block))
        return self._thread.submit(self._write)

    def flush(self) -> None:
        """Wait for what was added before."""
        self._thread.submit(lambda: None).result()

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._thread.shutdown(wait=True)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self) -> bool:
        with self._lock:
            if not self._waiting:
                return False
            time, names, block = self._waiting.popleft()
        turned, hour = False, int(time // HOUR)
        try:
            if self._writer is not None and self._writer.hour != hour:
                writer, self._writer = self._writer, None
                writer.retire()
                turned = True
            if self._writer is None:
                self._writer = Writer(self._folder, hour)
            self._writer.add(time, names, block)
        except OSError as error:
            self._report(f"history: a minute was not written to {self._folder}: {error.strerror or error}")
        return turned


def series_names(hosts: Sequence[str], shards: Sequence[str], reporting: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of what a snapshot holds, in the order in which the keeper takes it.

    ``reporting`` are the shards of which there are requests and latencies.
    """
    kinds = (("host", hosts, HOST_METRICS), ("shard", shards, SHARD_METRICS), ("shard", reporting, REPORTED))
    return tuple(str(Series(kind, name, metric)) for kind, names, each in kinds for name in names for metric in each)
