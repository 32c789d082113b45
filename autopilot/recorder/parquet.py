"""Hours of a recording as Parquet, and the one file that an export is; never loaded by the daemon.

A row is a picture; row groups begin with a key, so that a reader may begin at any. The columns of
bytes are those of docs/protocol.md (null: as in the row before), ``words`` is the rest of the row
and ``events`` what the log got since the row before, as JSON.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from sidestep.autopilot.history_parquet import locked
from sidestep.autopilot.history_segments import sync_folder
from sidestep.autopilot.recorder.rows import COLUMNS, BadRow, Row, packed, packed_events, unpacked, unpacked_events
from sidestep.autopilot.recorder.segments import LOG, data_of, is_closed, records, segments
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.events import Event

SCHEMA: Final = pa.schema(
    [
        ("time", pa.timestamp("ms", tz="UTC")),
        ("key", pa.bool_()),
        ("number", pa.int64()),
        ("generation", pa.int64()),
        ("level", pa.string()),
        ("hosts", pa.int32()),
        ("shards", pa.int32()),
        ("alerts", pa.list_(pa.string())),
        ("plans", pa.list_(pa.string())),
        ("events", pa.string()),
        *((name, pa.binary()) for name in COLUMNS),
        ("words", pa.binary()),
    ],
    metadata={b"sidestep.recording": b"1"},
)
#: what reading a damaged file raises
DAMAGED: Final = (pa.ArrowException, OSError, KeyError, ValueError, TypeError)
Report = Callable[[str], None]


class Damaged(SidestepError):
    """A recording cannot be read."""


class Told(NamedTuple):
    """One row as it is stored: a picture and what the log got before it."""

    time: float
    row: Row
    events: tuple[Event, ...]


def told_of(path: Path) -> Iterator[Told]:
    """The rows of a segment, as far as they can be read. Raises OSError, BadRow."""
    events: list[Event] = []
    for found in records(path):
        data = data_of(path, found)
        if found.kind == LOG:
            events += unpacked_events(data)
        else:
            yield Told(found.time, unpacked(data), tuple(events))
            events = []


def write(path: Path, told: Iterable[Told]) -> int:
    """Write rows to a file beside its place and put it there; returns how many. Raises OSError."""
    beside, count = path.with_name(f".{path.name}.writing"), 0
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            with pq.ParquetWriter(file, SCHEMA, compression="zstd", compression_level=6, use_dictionary=False) as out:
                for group in _groups(told):
                    out.write_table(pa.Table.from_pylist([_plain(each) for each in group], schema=SCHEMA))
                    count += len(group)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return count


def _groups(told: Iterable[Told]) -> Iterator[list[Told]]:
    """The rows in groups that begin with a key."""
    group: list[Told] = []
    for each in told:
        if each.row.key and group:
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _plain(told: Told) -> dict[str, Any]:
    frame, row = told.row.frame, told.row
    names = {item.digest: item for item in frame.plans}
    plans = [f"#{item.plan.number} {item.status.state} {item.digest}" for item in names.values()]
    data = {name: getattr(frame, name) for name in COLUMNS}
    words = msgspec.structs.replace(row, frame=msgspec.structs.replace(frame, **dict.fromkeys(COLUMNS, b"")))
    return {
        "time": round(told.time * 1000),
        "key": row.key,
        "number": frame.number,
        "generation": frame.generation,
        "level": frame.level,
        "hosts": len(frame.host_state) or None,
        "shards": len(frame.shard_state) or None,
        "alerts": list(frame.alerts),
        "plans": plans,
        "events": packed_events(told.events).decode() if told.events else None,
        **{name: None if name in row.same else value for name, value in data.items()},
        "words": packed(words),
    }


class File:
    """One Parquet file of a recording. Raises Damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
            if b"sidestep.recording" not in (self._file.schema_arrow.metadata or {}):
                raise ValueError("it is no recording; sidestep record export makes one")
            table = self._file.read(columns=["time", "key", "events"])
            self.times = [value / 1000 for value in table.column("time").cast(pa.int64()).to_pylist()]
            self.events = [text or "" for text in table.column("events").to_pylist()]
            self._begins = [0]
            for at in range(self._file.num_row_groups):
                self._begins.append(self._begins[-1] + self._file.metadata.row_group(at).num_rows)
        except DAMAGED as error:
            raise Damaged(f"{path} cannot be read: {error}") from error

    def group_of(self, row: int) -> tuple[int, int]:
        """The group that a row is in, and the number of the group's first row."""
        at = next(at for at, begin in enumerate(self._begins[1:]) if row < begin)
        return at, self._begins[at]

    def group(self, at: int) -> list[Row]:
        """The rows of one group. Raises Damaged, BadRow."""
        try:
            found = self._file.read_row_group(at, columns=[*COLUMNS, "words"]).to_pylist()
        except DAMAGED as error:
            raise Damaged(f"{self.path} cannot be read: {error}") from error
        return [unpacked(each.pop("words") or b"", {k: v or b"" for k, v in each.items()}) for each in found]


def files(folder: Path) -> list[Path]:
    """The hours of a recording's folder, oldest first."""
    return sorted(folder.glob("????-??-??/*.parquet"))


def compact(folder: Path, max_bytes: int, report: Report) -> None:
    """Make every closed segment into Parquet, and drop the oldest hours beyond the budget. Raises OSError."""
    with locked(folder):
        for path in segments(folder):
            if not is_closed(path):
                continue
            day, _, hour = path.name[:13].partition("T")
            target = folder / day / f"{hour}.{path.name[14:].partition('.')[0]}.parquet"
            at = 0
            while target.exists():
                at += 1
                target = folder / day / f"{hour}.{at}.parquet"
            target.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                write(target, told_of(path))
            except (BadRow, zlib.error, ValueError) as error:
                report(f"recorder: {path} was left as it is: {error}")
                path.rename(path.with_suffix(".damaged"))
                continue
            path.unlink()
            sync_folder(path.parent)
        _retain(folder, max_bytes, report)


def _retain(folder: Path, max_bytes: int, report: Report) -> None:
    sizes = [(path, path.stat().st_size) for path in files(folder)]
    total = sum(size for _, size in sizes)
    dropped = 0
    for path, size in sizes:
        if total <= max_bytes:
            break
        path.unlink()
        total, dropped = total - size, dropped + 1
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    if dropped:
        report(f"recorder: dropped the {dropped} oldest hours to stay below {max_bytes} bytes")
