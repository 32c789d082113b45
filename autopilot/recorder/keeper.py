"""The daemon's recorder: every few seconds, and whenever a decision changes, what consoles are shown.

A tick costs the making of one frame; what follows is done by a thread of its own. Whole hours become
Parquet in a niced child process. Whatever fails is reported once and stops nothing.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sidestep.autopilot.frames import Picture, frame_of
from sidestep.autopilot.history_segments import HOUR, hour_name
from sidestep.autopilot.protocol import SnapshotFrame
from sidestep.autopilot.recorder.rows import Rows, packed, packed_events
from sidestep.autopilot.recorder.segments import LOG, PICTURE, Segment, is_closed, retire, segments
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.events import Event
from sidestep.fleet.inventory import HistorySpec, Policy
from sidestep.fleet.labels import scrub

FOLDER: Final = "record"
#: seconds between two times at which everything is put on the disk
SYNC: Final = 60.0
#: log rows that one record has at most, and of those before the daemon began
_EVENTS: Final = 500
_EARLIER: Final = 50
COMMAND: Final = (sys.executable, "-m", "sidestep.autopilot.recorder")

Report = Callable[[str], None]
Events = Callable[[int, int], tuple[Event, ...]]


def decision(picture: Picture) -> tuple[object, ...]:
    """What of a picture is recorded at once when it changes, whatever the pace."""
    plans = tuple((item.digest, item.status.state) for item in picture.plans)
    hot = tuple((found.host, found.dimension) for found in picture.contention)
    snapshot = picture.snapshot
    return picture.level, snapshot.generation, picture.alerts, snapshot.hosts.states, picture.oracle, plans, hot


class Recorder:
    """``take`` every tick's picture; ``run`` until the daemon ends; ``aclose`` writes the last of it.

    ``folder`` is the fleet's state folder, ``events`` the journal's rows after a number. With
    ``spec.pictures`` 0 nothing is recorded.
    """

    def __init__(self, spec: HistorySpec, state: Path, events: Events, *, report: Report) -> None:
        self._every = spec.pictures if spec.enabled else 0.0
        self._folder, self._budget = state / FOLDER, spec.pictures_max_bytes
        self._events, self._report = events, report
        self._disk = Disk(self._folder, self._say)
        self._due, self._decided, self._seen = -math.inf, object(), -_EARLIER
        self._turned = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._troubles: set[str] = set()
        self._writing: Future[bool] | None = None

    def take(self, picture: Picture) -> None:
        """Record the picture if it is time, or if what was decided changed. Reports, never raises."""
        if not self._every:
            return
        decided = decision(picture)
        if picture.snapshot.time < self._due and decided == self._decided:
            return
        if self._writing is not None and not self._writing.done():
            self._say("recorder: the disk is too slow; pictures are left out")
            return
        self._due, self._decided = picture.snapshot.time + self._every, decided
        try:
            events = self._events(self._seen, _EVENTS)
        except SidestepError as error:
            self._say(f"recorder: no log: {error}")
            events = ()
        self._seen = events[-1].seq if events else self._seen
        self._writing = self._disk.add(frame_of(picture), picture.policy, events)
        self._writing.add_done_callback(self._written)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be recorded."""
        return not self._every

    async def run(self) -> None:
        """Make hours into Parquet as they end, until cancelled."""
        if self.idle:
            return
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._disk.retire_old)
        while True:
            if any(is_closed(path) for path in await asyncio.to_thread(segments, self._folder)):
                await self._compact()
            self._turned.clear()
            await self._turned.wait()

    async def aclose(self) -> None:
        """Put on the disk what was taken, and end. The next daemon goes on with the open hour."""
        await asyncio.to_thread(self._disk.close)

    async def _compact(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "compact", "--folder", str(self._folder), "--max-bytes", str(self._budget),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        for line in said.decode(errors="replace").splitlines():
            self._say(scrub(line, 800))
        if process.returncode:
            self._say(f"recorder: the process that makes Parquet ended with status {process.returncode}")

    def _written(self, done: Future[bool]) -> None:
        """Called by the disk's thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed() and not done.cancelled() and done.result():
            loop.call_soon_threadsafe(self._turned.set)

    def _say(self, text: str) -> None:
        if text not in self._troubles:
            self._troubles.add(text)
            self._report(text)


class Disk:
    """One thread that writes rows in order."""

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder, self._report = folder, report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._segment: Segment | None = None
        self._rows = Rows()
        self._synced = 0.0

    def add(self, frame: SnapshotFrame, policy: Policy, events: tuple[Event, ...]) -> Future[bool]:
        """Write soon; whether an hour became complete by it."""
        return self._thread.submit(self._write, frame, policy, events)

    def close(self) -> None:
        """Write what waits, put it on the disk, and end the thread."""
        self._thread.shutdown(wait=True)
        segment, self._segment = self._segment, None
        if segment is not None:
            try:
                segment.sync()
            except OSError as error:
                self._report(f"recorder: {segment.path}: {error.strerror or error}")
            segment.close()

    def retire_old(self) -> None:
        """Have segments of hours that are over made into Parquet."""
        current = self._segment.path if self._segment is not None else None
        for path in segments(self._folder)[:-1]:
            if not is_closed(path) and path != current:
                self._retire(path)

    def _write(self, frame: SnapshotFrame, policy: Policy, events: tuple[Event, ...]) -> bool:
        turned, hour = False, int(frame.time // HOUR)
        try:
            if self._segment is not None and hour_name(hour) != self._segment.path.name[:13]:
                turned = self._turn()
            if self._segment is None:
                self._segment, self._rows = Segment(self._folder, hour), Rows()
            if events:
                self._segment.add(LOG, frame.time, key=False, data=packed_events(events))
            row = self._rows.row(frame, policy)
            self._segment.add(PICTURE, frame.time, key=row.key, data=packed(row))
            if frame.time - self._synced >= SYNC or frame.time < self._synced:
                self._segment.sync()
                self._synced = frame.time
        except OSError as error:
            self._rows = Rows()  # what follows a row that was not written begins with a key
            self._report(f"recorder: a picture was not written to {self._folder}: {error.strerror or error}")
        return turned

    def _turn(self) -> bool:
        segment, self._segment = self._segment, None
        assert segment is not None
        segment.sync()
        segment.close()
        retire(segment.path)
        return True

    def _retire(self, path: Path) -> None:
        try:
            retire(path)
        except OSError as error:
            self._report(f"recorder: {self._folder}: {error.strerror or error}")
