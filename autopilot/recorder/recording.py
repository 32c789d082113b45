"""A recording as a whole: pictures by number or time, and the log up to a time, wherever they are stored."""

from __future__ import annotations

import bisect
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.protocol import SnapshotFrame
from sidestep.autopilot.recorder.keeper import FOLDER
from sidestep.autopilot.recorder.parquet import Damaged, File, Told, files
from sidestep.autopilot.recorder.rows import BadRow, Frames, Row, unpacked, unpacked_events
from sidestep.autopilot.recorder.segments import LOG, Record, data_of, records, segments
from sidestep.fleet.errors import UsageError
from sidestep.fleet.events import Event
from sidestep.fleet.inventory import Policy
from sidestep.fleet.resources import DIMENSIONS, PLANNED

#: most pictures of the past that charts need
_PAST: Final = 600


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture of the past and the policy that it was planned by, as far as that is known."""

    at: int
    frame: SnapshotFrame
    policy: Policy | None


@dataclass
class _Source:
    """Rows of one file from ``first`` on; of a Parquet file by group, of a segment one by one."""

    path: Path
    file: File | None
    found: list[Record] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)

    def begin(self, row: int) -> int:
        """The row that a reader of ``row`` begins with."""
        if self.file is not None:
            return self.file.group_of(row)[1]
        return max((at for at in range(row + 1) if self.keys[at]), default=0)

    def rows(self, begin: int) -> Iterator[Row]:
        """The rows from ``begin`` on, which is a key. Raises Damaged, BadRow."""
        if self.file is None:
            for each in self.found[begin:]:
                try:
                    yield unpacked(data_of(self.path, each))
                except (OSError, zlib.error, ValueError) as error:
                    raise Damaged(f"{self.path} cannot be read: {error}") from error
            return
        group, _ = self.file.group_of(begin)
        while begin < len(self.times):
            found = self.file.group(group)
            yield from found
            begin, group = begin + len(found), group + 1


class Recording:
    """Pictures in the order of time; ``picture`` is cheap for the one after the last."""

    def __init__(self, sources: list[_Source], events: list[Event], start: float, end: float) -> None:
        self._rows = sorted(
            (time, source, row) for source, each in enumerate(sources) for row, time in enumerate(each.times)
            if start <= time < end
        )  # fmt: skip
        self._sources = sources
        self.times = [time for time, _, _ in self._rows]
        self.events = sorted({event.seq: event for event in events if event.time < end}.values(), key=lambda e: e.seq)
        self._event_times = [event.time for event in self.events]
        self._walk: tuple[int, int, Iterator[Row], Frames, _Past] | None = None
        self._tables: dict[bytes, int] = {}

    @classmethod
    def open(cls, path: Path, start: float = -np.inf, end: float = np.inf) -> Recording:
        """A file of ``record export``, a segment, or a state folder. Raises UsageError, Damaged."""
        if path.is_dir():
            folder = path / FOLDER if (path / FOLDER).is_dir() else path
            paths = [*files(folder), *segments(folder)]
        elif path.exists():
            paths = [path]
        else:
            raise UsageError(f"{path}: no such file or folder", hint="name a recording or a daemon's state folder")
        sources, events = [], list[Event]()
        for each in paths:
            try:
                sources.append(_source(each, events))
            except FileNotFoundError:
                continue  # made into Parquet just now, or dropped
        found = cls(sources, events, start, end)
        if not found.times:
            raise UsageError(f"{path}: nothing was recorded there in that time", hint="see [history] pictures")
        return found

    def __len__(self) -> int:
        return len(self.times)

    def at(self, time: float) -> int:
        """The number of the picture that was shown at a time; the first one before there was any."""
        return max(0, bisect.bisect_right(self.times, time) - 1)

    def log(self, time: float) -> list[Event]:
        """The rows of the log that were written by then, oldest first."""
        return self.events[: bisect.bisect_right(self._event_times, time)]

    def picture(self, number: int) -> Shown:
        """The picture of that number. Raises Damaged, BadRow."""
        _, source, row = self._rows[number]
        if self._walk is None or self._walk[0] != source or self._walk[1] > row:
            begin = self._sources[source].begin(row)
            self._walk = (source, begin, self._sources[source].rows(begin), Frames(), _Past())
        elif (begin := self._sources[source].begin(row)) > self._walk[1]:
            self._walk = (source, begin, self._sources[source].rows(begin), Frames(), _Past())
        _, next_row, rows, frames, past = self._walk
        frame: SnapshotFrame | None = None
        self._walk = None
        try:
            for each in rows:
                frame = past.taken(frames.frame(each))
                next_row += 1
                if next_row > row:
                    break
            if frame is None:
                raise BadRow("the recording ends before its index does")
            full = past.filled(frame)
        except ValueError as error:
            raise BadRow(f"columns of the recording do not fit together: {error}") from error
        self._walk = (source, next_row, rows, frames, past)
        words = msgspec.msgpack.encode((frame.hosts, frame.shards, frame.allocatable, frame.shard_priority))
        tables = self._tables.setdefault(words, len(self._tables) + 1)
        return Shown(at=number, frame=msgspec.structs.replace(full, tables=tables), policy=frames.policy)

    def told(self) -> Iterator[Told]:
        """Everything as rows for a new file, each of which is a key of its own segment's making."""
        from sidestep.autopilot.recorder.rows import Rows  # noqa: PLC0415 - only for exports

        rows, before = Rows(), -np.inf
        for number, time in enumerate(self.times):
            shown = self.picture(number)
            events = tuple(event for event in self.events if before < event.time <= time)
            yield Told(time, rows.row(shown.frame, shown.policy), events)
            before = time


class _Past:
    """Recent use, from what a key brought and from the rows since."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, NDArray[np.float32]]] = deque(maxlen=_PAST)

    def taken(self, frame: SnapshotFrame) -> SnapshotFrame:
        """Remember what this frame says of the past and of now."""
        hosts = len(frame.hosts)
        if frame.past and not self._seen:
            given = np.frombuffer(frame.past, "<f2").astype(np.float32).reshape(hosts, PLANNED, -1)
            for at in range(given.shape[2] - 1):
                self._seen.append((frame.time - (given.shape[2] - 1 - at) * frame.past_step, given[:, :, at]))
        shape = (hosts, len(DIMENSIONS))
        use, limit = (np.frombuffer(data, "<f4").reshape(shape)[:, :PLANNED] for data in (frame.use, frame.allocatable))
        with np.errstate(divide="ignore", invalid="ignore"):
            self._seen.append((frame.time, np.asarray(use / limit, np.float32)))
        return frame

    def filled(self, frame: SnapshotFrame) -> SnapshotFrame:
        """The frame with its recent past: between two pictures the older one stands."""
        hosts, steps = len(frame.hosts), frame.past_steps
        known = [(time, values) for time, values in self._seen if len(values) == hosts]
        if not steps or not known:
            return msgspec.structs.replace(frame, past=b"", past_steps=0)
        grid = frame.time - np.arange(steps - 1, -1, -1) * frame.past_step
        where = np.searchsorted([time for time, _ in known], grid + 1e-3, side="right") - 1
        values = np.stack([each for _, each in known], axis=2)[:, :, np.maximum(where, 0)]
        values[:, :, where < 0] = np.nan
        with np.errstate(over="ignore"):
            return msgspec.structs.replace(frame, past=np.ascontiguousarray(values, "<f2").tobytes())


def _source(path: Path, events: list[Event]) -> _Source:
    """The index of one file; its log rows are added to ``events``. Raises Damaged, BadRow, FileNotFoundError."""
    if path.suffix == ".parquet":
        file = File(path)
        for text in file.events:
            events += unpacked_events(text.encode()) if text else ()
        return _Source(path, file, times=file.times)
    source = _Source(path, None)
    try:
        for each in records(path):
            if each.kind == LOG:
                events += unpacked_events(data_of(path, each))
            else:
                source.found.append(each)
                source.times.append(each.time)
                source.keys.append(each.key)
    except FileNotFoundError:
        raise
    except (OSError, zlib.error, ValueError) as error:
        raise Damaged(f"{path} cannot be read: {error}") from error
    return source
