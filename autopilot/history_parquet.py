"""Hours of the history as Parquet: for the child processes and the command line, never for the daemon.

``YYYY-MM-DD/HH.parquet`` (UTC) in the history folder has a row for every series and minute
that was measured, sorted by series and time; docs/history.md has the columns. A file is
written beside its place, put on the disk, and renamed; whoever changes files holds the
folder's lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sidestep.autopilot.history_segments import (
    HOUR,
    MINUTE,
    hour_name,
    hour_of,
    is_closed,
    read_segment,
    segments,
    sync_folder,
)
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.history import Block, Series

_WORD: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("time", pa.timestamp("ms", tz="UTC")),
        ("kind", _WORD),
        ("name", _WORD),
        ("metric", _WORD),
        ("mean", pa.float32()),
        ("max", pa.float32()),
        ("samples", pa.uint16()),
    ]
)
_INTERVAL: Final = b"sidestep.interval"
_STEPS: Final = int(HOUR // MINUTE)
#: what reading a damaged file raises
_DAMAGED: Final = (pa.ArrowException, OSError, KeyError, ValueError, TypeError)

Report = Callable[[str], None]
Hour = tuple[tuple[str, ...], Block]


class Damaged(SidestepError):
    """A Parquet file cannot be read."""


def path_of(folder: Path, hour: int) -> Path:
    """The file of an hour."""
    day, _, of_day = hour_name(hour).partition("T")
    return folder / day / f"{of_day}.parquet"


def files(folder: Path) -> list[tuple[int, Path]]:
    """The hours that there are, oldest first."""
    found = []
    for path in folder.glob("????-??-??/??.parquet"):
        try:
            found.append((hour_of(f"{path.parent.name}T{path.stem}"), path))
        except ValueError:
            continue
    return sorted(found)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for whoever has it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path) -> Hour:
    """The series of one hour's file and their minutes. Raises Damaged; FileNotFoundError if it is gone."""
    try:
        hour = hour_of(f"{path.parent.name}T{path.stem}")
        table = pq.read_table(path)
        interval = float((table.schema.metadata or {}).get(_INTERVAL, b"1"))
        table = table.select(SCHEMA.names).cast(SCHEMA)
        names, where, times, values = _columns(table)
        slots = times // int(MINUTE * 1000) - hour * _STEPS
        if len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < _STEPS:
            raise ValueError("holds times of another hour")
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise Damaged(f"{path} cannot be read: {error}") from error
    block = empty(hour, len(names), interval)
    block.mean[slots, where], block.high[slots, where], block.count[slots, where] = values
    return names, block


def empty(hour: int, width: int, interval: float = 1.0) -> Block:
    """An hour in which nothing was measured."""
    shape = (_STEPS, width)
    times = np.asarray(hour * HOUR + np.arange(_STEPS) * MINUTE, dtype=np.float64)
    nothing = np.full(shape, np.nan, np.float32)
    return Block(MINUTE, interval, times, nothing, nothing.copy(), np.zeros(shape, np.uint16))


def _columns(table: Any) -> tuple[tuple[str, ...], Any, Any, tuple[Any, Any, Any]]:
    """Names of the series, and of every row: which series, unix milliseconds, (mean, max, samples)."""
    table = table.combine_chunks().unify_dictionaries()
    code = np.zeros(len(table), np.int64)
    words: list[list[str]] = []
    for name in ("kind", "name", "metric"):
        column = table.column(name).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        words.append(column.dictionary.to_pylist() or [""])
        code = code * len(words[-1]) + column.indices.to_numpy(zero_copy_only=False)
    begins = np.flatnonzero(np.diff(code, prepend=-1))
    known, where = code[begins], np.cumsum(np.diff(code, prepend=-1) != 0) - 1
    if len(np.unique(known)) < len(known):
        known, where = np.unique(code, return_inverse=True)
    names = []
    for each in known.tolist():
        rest, metric = divmod(each, len(words[2]))
        kind, name = divmod(rest, len(words[1]))
        names.append(str(Series(words[0][kind], words[1][name], words[2][metric])))
    times = table.column("time").cast(pa.int64()).to_numpy()
    values = (table.column("mean").to_numpy(), table.column("max").to_numpy(), table.column("samples").to_numpy())
    return tuple(names), where, times, values


def write(folder: Path, hour: int, names: tuple[str, ...], block: Block) -> None:
    """Write an hour's file in the place of what is there; the caller holds the lock. Raises OSError."""
    path = path_of(folder, hour)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    beside = path.with_suffix(".writing")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
        words = ["time", "kind", "name", "metric", "samples"]
        pq.write_table(
            table_of(names, block),
            file,
            compression="zstd",
            use_dictionary=words,
            compression_level=6,
        )
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    sync_folder(path.parent)
    sync_folder(folder)


def table_of(names: tuple[str, ...], block: Block) -> Any:
    """The rows of what was measured, sorted by series and time."""
    series = [Series.parse(name) for name in names]
    order = np.array(sorted(range(len(series)), key=lambda at: series[at]), dtype=np.intp)
    at, slot = np.nonzero((block.count[:, order] > 0).T)
    column = order[at]
    words = [_dictionary([getattr(series[each], part) for each in order], at) for part in ("kind", "name", "metric")]
    times = pa.array((block.times[slot] * 1000).round().astype(np.int64)).cast(SCHEMA.field("time").type)
    numbers = [pa.array(each[slot, column]) for each in (block.mean, block.high, block.count)]
    table = pa.Table.from_arrays([times, *words, *numbers], schema=SCHEMA)
    return table.replace_schema_metadata({_INTERVAL: str(block.interval).encode()})


def _dictionary(words: list[str], at: Any) -> Any:
    known, where = np.unique(np.array(words, dtype=object), return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(where[at].astype(np.int32)), pa.array(known.tolist(), pa.string()))


def merge(older: Hour, newer: Hour) -> Hour:
    """Both; where both have a minute, the newer."""
    names = tuple(dict.fromkeys((*older[0], *newer[0])))
    where = {name: at for at, name in enumerate(names)}
    hour = int(older[1].times[0] // HOUR)
    block = empty(hour, len(names), newer[1].interval)
    for given, found in (older, newer):
        slots = np.round((found.times - hour * HOUR) / MINUTE).astype(np.intp)
        columns = np.array([where[name] for name in given], dtype=np.intp)
        measured = found.count > 0
        at, series = np.nonzero(measured)
        to = slots[at], columns[series]
        block.mean[to], block.high[to], block.count[to] = (
            found.mean[measured], found.high[measured], found.count[measured],
        )  # fmt: skip
    return names, block


def add(folder: Path, hour: int, found: Hour, report: Report) -> None:
    """Put minutes into an hour's file, over those that are there; the caller holds the lock. Raises OSError."""
    path = path_of(folder, hour)
    base: Hour = ((), empty(hour, 0))
    if path.exists():
        there = read_or_set_aside(path, report)
        base = there or base
    write(folder, hour, *merge(base, found))


def read_or_set_aside(path: Path, report: Report) -> Hour | None:
    """The hour's file; None if it cannot be read, and then it is renamed, named, and in nobody's way."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except Damaged as error:
        aside = path.with_suffix(f".damaged-{time.time_ns()}")
        path.rename(aside)
        report(f"history: {error}; set aside as {aside.name}")
        return None


def compact(folder: Path, keep: float, max_bytes: int, report: Report) -> None:
    """Make every closed segment into Parquet, remove it, and drop what is too old or too much. Raises OSError."""
    with locked(folder):
        for path in segments(folder):
            if not is_closed(path):
                continue
            try:
                found = read_segment(path)
            except OSError as error:
                report(f"history: {path} cannot be read and was left where it is: {error.strerror}")
                continue
            if found.good < found.size or found.damaged:
                report(f"history: {path}: {found.size - found.good} bytes and {found.damaged} records were left out")
            if len(found.block.times):
                add(folder, hour_of(path.name), (found.names, found.block), report)
            path.unlink()
        sync_folder(folder / "open")
        retain(folder, keep, max_bytes, report)


def retain(folder: Path, keep: float, max_bytes: int, report: Report) -> None:
    """Remove hours that are older than ``keep`` seconds, then the oldest until ``max_bytes`` hold them."""
    oldest = (time.time() - keep) // HOUR
    for leftover in folder.glob("????-??-??/*.writing"):
        leftover.unlink()
    sizes = [(hour, path, path.stat().st_size) for hour, path in files(folder)]
    total, dropped = sum(size for _, _, size in sizes), 0
    for hour, path, size in sizes:
        if hour >= oldest and total <= max_bytes:
            break
        path.unlink()
        total -= size
        dropped += hour >= oldest
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    if dropped:
        report(f"history: dropped the {dropped} oldest hours to stay below {max_bytes} bytes ([history] max_bytes)")


def utc(seconds: float) -> str:
    """A time for people: ``2026-11-21 07:40 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
