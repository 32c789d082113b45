"""What the history commands do with the files: info, export, import, and the past for the daemon."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from sidestep.autopilot import history_parquet as parquet
from sidestep.autopilot.history_child import HEAD, answer
from sidestep.autopilot.history_parquet import SCHEMA, Damaged, Hour, Report, utc
from sidestep.autopilot.history_segments import HOUR, MINUTE, hour_of, read_segment, segments
from sidestep.fleet.errors import UsageError
from sidestep.fleet.history import RINGS, Series
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import parse_seconds

#: rows of an imported file that are read at a time
_BATCH: Final = 1 << 20
_REMEDY: Final = "columns are time, kind (host or shard), name, metric, mean and, if known, max and samples"


def answer_past(folder: Path, names: tuple[str, ...], output: BinaryIO, report: Report) -> None:
    """Write the past of these series, newest hour first, as far back as the longest ring reaches."""
    place = {name: at for at, name in enumerate(names)}
    oldest = (time.time() - RINGS[-1].step * RINGS[-1].slots) // HOUR
    for hour, path in reversed(parquet.files(folder)):
        if hour < oldest:
            break
        try:
            found = parquet.read(path)
        except FileNotFoundError:
            continue
        except Damaged:
            with parquet.locked(folder):
                # Somebody may have put a good one there meanwhile.
                again = parquet.read_or_set_aside(path, report)
            if again is None:
                continue
            found = again
        given, block = found
        known = [(at, place[name]) for at, name in enumerate(given) if name in place]
        if not known:
            continue
        source, target = (np.array(part, dtype=np.intp) for part in zip(*known, strict=True))
        part = parquet.empty(hour, len(names), block.interval)
        part.mean[:, target], part.high[:, target] = block.mean[:, source], block.high[:, source]
        part.count[:, target] = block.count[:, source]
        output.write(answer(part))
        output.flush()
    output.write(HEAD.pack(0, 0, 0.0))
    output.flush()


def everything(folder: Path, report: Report) -> Iterator[Hour]:
    """Every hour, oldest first: the Parquet files with what segments hold over them."""
    fresh: dict[int, list[Path]] = {}
    for path in segments(folder):
        fresh.setdefault(hour_of(path.name), []).append(path)
    done = dict(parquet.files(folder))
    for hour in sorted(fresh.keys() | done.keys()):
        found: Hour = ((), parquet.empty(hour, 0))
        try:
            if hour in done:
                found = parquet.read(done[hour])
        except FileNotFoundError:
            pass
        except Damaged as error:
            report(str(error))
        for path in fresh.get(hour, []):
            try:
                segment = read_segment(path)
            except FileNotFoundError:
                continue
            found = parquet.merge(found, (segment.names, segment.block))
        yield found


def info(folder: Path, *, as_json: bool) -> str:
    """What there is: hours, series, bytes, and what was set aside."""
    found, open_files = parquet.files(folder), segments(folder)
    names: set[str] = set()
    aside = sorted(str(path) for path in folder.glob("*/*.damaged-*"))
    for path in [path for _, path in found[-1:]] + open_files:
        try:
            names |= set(parquet.read(path)[0] if path.suffix == ".parquet" else read_segment(path).names)
        except (Damaged, OSError):
            aside.append(str(path))
    hours = [hour for hour, _ in found] + [hour_of(path.name) for path in open_files]
    facts = {
        "folder": str(folder),
        "hours": len(set(hours)),
        "first": utc(min(hours) * HOUR) if hours else None,
        "last": utc((max(hours) + 1) * HOUR) if hours else None,
        "series": len(names),
        "parquet_bytes": sum(path.stat().st_size for _, path in found),
        "open_bytes": sum(path.stat().st_size for path in open_files),
        "damaged": aside,
    }
    if as_json:
        return json.dumps(facts)
    if not hours:
        return f"{folder}: nothing yet"
    lines = [
        f"folder   {folder}",
        f"from     {facts['first']} to {facts['last']}, {facts['hours']} hours with data",
        f"series   {facts['series']} in the newest hour",
        f"bytes    {facts['parquet_bytes']} in Parquet, {facts['open_bytes']} not yet",
    ]
    return "\n".join([*lines, *(f"damaged  {path}" for path in aside)])


def export(folder: Path, options: argparse.Namespace, report: Report) -> str:
    """Write the chosen minutes to a file. Raises UsageError, OSError."""
    now, target = time.time(), options.file
    start = moment(options.start, now, -np.inf)
    end = moment(options.end, now, np.inf)
    writer: Any = None
    rows = 0
    beside = target.with_name(f".{target.name}.writing")
    if target.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{target}: not a kind of file that is written", hint="name it FILE.parquet or FILE.csv")
    wanted_metrics, wanted_names = frozenset(options.metric), frozenset(options.name)
    # made anew, never what somebody else put there: the folder may be one that others write to
    beside.unlink(missing_ok=True)
    sink = os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb")
    try:
        if target.suffix == ".parquet":
            writer = pq.ParquetWriter(sink, SCHEMA, compression="zstd")
        else:
            writer = pyarrow.csv.CSVWriter(sink, _plain(SCHEMA.empty_table()).schema)
        for names, block in everything(folder, report):
            rows_in = (block.times >= start) & (block.times < end)
            chosen = [
                at
                for at, series in enumerate(map(Series.parse, names))
                if (not wanted_metrics or series.metric in wanted_metrics)
                and (not wanted_names or series.name in wanted_names)
            ]
            if not rows_in.any() or not chosen:
                continue
            part = block.part(chosen, rows_in)
            table = parquet.table_of(tuple(names[at] for at in chosen), part).replace_schema_metadata(None)
            writer.write_table(table if target.suffix == ".parquet" else _plain(table))
            rows += len(table)
        writer.close()
        sink.close()
        beside.rename(target)
    finally:
        sink.close()
        beside.unlink(missing_ok=True)
    return f"{target}: {rows} rows"


def _plain(table: Any) -> Any:
    """The table with words spelled out, for CSV."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table


def moment(text: str | None, now: float, default: float) -> float:
    """Unix seconds of ``2026-11-21T07:00`` (UTC) or of ``2d`` ago. Raises UsageError."""
    if text is None:
        return default
    try:
        return now - parse_seconds(text)
    except ValueError:
        pass
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", hint="write 2026-11-21T07:00 (UTC), or how long ago, such as 2d"
        ) from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def bring(fleet: FleetSpec, folder: Path, options: argparse.Namespace, report: Report) -> str:
    """Import from a file or a Prometheus server. Raises UsageError and what the source raises."""
    if bool(options.file) == bool(options.prometheus):
        raise UsageError("name one source", hint="a FILE.parquet or FILE.csv, or --prometheus URL")
    if options.prometheus:
        from sidestep.autopilot import history_prometheus  # noqa: PLC0415

        hours = history_prometheus.hours(fleet, options, time.time(), report)
    else:
        hours = _hours_of(options.file)
    now, count, old, early, series = time.time(), 0, 0, 0, set[str]()
    oldest, newest = (now - fleet.history.keep) // HOUR, now // HOUR
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    first, last = np.inf, -np.inf
    for hour, found in hours:
        if hour < oldest:
            old += 1
            continue
        if hour > newest:
            early += 1
            continue
        with parquet.locked(folder):
            parquet.add(folder, hour, found, report)
        count += 1
        series.update(found[0])
        first, last = min(first, hour * HOUR), max(last, (hour + 1) * HOUR)
    with parquet.locked(folder):
        parquet.retain(folder, fleet.history.keep, fleet.history.max_bytes, report)
    if old:
        report(f"left out {old} hours that are older than [history] keep")
    if early:
        report(f"left out {early} hours that are still to come")
    if not count:
        raise UsageError("nothing was imported: the source has no minutes that are kept", hint=_REMEDY)
    return f"{count} hours of {len(series)} series, {utc(first)} to {utc(last)}; a daemon uses them from its next start"


def _hours_of(path: Path) -> Iterator[tuple[int, Hour]]:
    """The hours of a file in our columns, in any order of rows. Raises UsageError."""
    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        elif path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            raise UsageError(f"{path}: not a kind of file that is read", hint="name a FILE.parquet or FILE.csv")
        times, names, mean, high, count = _checked(table)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be imported: {error}", hint=_REMEDY) from None
    hours = np.floor(times / HOUR).astype(np.int64)
    order = np.argsort(hours, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(hours[order])) + 1) if len(order) else ():
        hour = int(hours[rows[0]])
        known, where = np.unique(names[rows], return_inverse=True)
        slots = np.floor((times[rows] - hour * HOUR) / MINUTE).astype(np.intp)
        block = parquet.empty(hour, len(known))
        shape = block.mean.shape
        weight, total, peak = np.zeros(shape), np.zeros(shape), np.full(shape, -np.inf)
        np.add.at(weight, (slots, where), count[rows])
        np.add.at(total, (slots, where), mean[rows] * count[rows])
        np.maximum.at(peak, (slots, where), high[rows])
        there = weight > 0
        block.mean[there], block.high[there] = (total[there] / weight[there]), peak[there]
        block.count[there] = np.clip(weight[there], 1, 65535).astype(np.uint16)
        yield hour, (tuple(str(name) for name in known), block)


def _checked(table: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Times, names of series, means, maxima and samples of every row with a number."""
    lacking = [name for name in ("time", "kind", "name", "metric", "mean") if name not in table.column_names]
    if lacking:
        raise KeyError(f"there is no column {', '.join(lacking)}")
    mean = table.column("mean").cast(pa.float64()).to_numpy()
    high = table.column("max").cast(pa.float64()).to_numpy() if "max" in table.column_names else mean
    count = table.column("samples").cast(pa.float64()).to_numpy() if "samples" in table.column_names else mean * 0 + 60
    moments = table.column("time")
    kind = moments.type
    if pa.types.is_string(kind):
        moments = pc.strptime(moments, format="%Y-%m-%dT%H:%M:%S", unit="ms")
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    times = moments.cast(pa.float64()).to_numpy() if numeric else _seconds(moments)
    words = [table.column(name).cast(pa.string()).to_pylist() for name in ("kind", "name", "metric")]
    texts = {each: str(Series.parse(str(Series(*map(_word, each))))) for each in set(zip(*words, strict=True))}
    names = np.array([texts[each] for each in zip(*words, strict=True)], dtype=object)
    good = np.isfinite(mean) & np.isfinite(times) & (count >= 1) & (times >= 0)
    high = np.where(np.isfinite(high), high, mean)
    return times[good], names[good].astype(str), mean[good], high[good], count[good]


def _seconds(moments: Any) -> Any:
    return moments.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy() / 1000


def _word(text: str | None) -> str:
    shown = scrub(text or "")
    if shown != text or not re.fullmatch(r"\S+", shown):
        raise ValueError(f"{shown!r} is not a usable kind, name or metric")
    return shown
