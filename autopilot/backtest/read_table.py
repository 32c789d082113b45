"""Recordings from tables: CSV and Parquet, and the history folder of a fleet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sidestep.autopilot import history_files
from sidestep.autopilot.backtest.recordings import F64, Recording, laid_out, metric_of, series_of
from sidestep.fleet.errors import ConfigError, UsageError
from sidestep.fleet.labels import scrub

_COLUMNS: Final = "time,series,value, or the columns that sidestep history export writes"
_HINT: Final = f"the first line names the columns: {_COLUMNS}"
#: what is both received and sent is one series
_NETWORK: Final = ("net_rx", "net_tx")


def folder(path: Path, step: float) -> Recording:
    """The history folder of a fleet (or its state folder). Raises UsageError if there is nothing in it."""
    where = path / "history" if (path / "history").is_dir() else path
    said: list[str] = []
    times, names, values = [], [], []
    for hour_names, block in history_files.everything(where, said.append):
        at, column = np.nonzero(block.count > 0)
        times.append(block.times[at])
        names.append(np.array(hour_names, dtype=object)[column] if hour_names else np.zeros(0, object))
        values.append(block.mean[at, column])
    if not times or not sum(map(len, times)):
        raise UsageError(
            f"{path}: no history in this folder", hint="name a fleet's state folder, its history, or a file"
        )
    found = _laid(
        str(path), np.concatenate(times), np.concatenate(names), np.concatenate(values).astype(float), step or 60.0
    )
    return _noted(found, said)


def file(path: Path, step: float) -> Recording:
    """A CSV or Parquet file. Raises ConfigError naming line and value, UsageError for what is no such file."""
    try:
        table = _strings(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
    except pa.ArrowException as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=_HINT) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}", hint="save the file as UTF-8") from None
    known = table.column_names
    if {"time", "series", "value"} <= set(known):
        names = np.array(table.column("series").cast(pa.string()).to_pylist(), dtype=object)
        numbers = "value"
    elif {"time", "kind", "name", "metric", "mean"} <= set(known):
        parts = (table.column(name).cast(pa.string()).to_pylist() for name in ("kind", "name", "metric"))
        names = np.array([" ".join(str(word) for word in each) for each in zip(*parts, strict=True)], dtype=object)
        numbers = "mean"
    else:
        said = ", ".join(scrub(name, 40) for name in known[:8])
        raise ConfigError(str(path), 1, "columns", said, "are not those of a recording", hint=_HINT)
    values = _numbers(path, table.column(numbers), numbers)
    return _laid(str(path), _times(path, table.column("time")), names, values, step)


def _strings(path: Path) -> Any:
    """The CSV with everything as text, so that a bad number can be named by its line."""
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=False)
    with path.open("rb") as head:
        first = head.readline(1 << 16).decode("utf-8")
    columns = [name.strip().strip('"') for name in first.strip().split(",")]
    options.column_types = dict.fromkeys(columns, pa.string())
    return pyarrow.csv.read_csv(path, convert_options=options)


def _numbers(path: Path, column: Any, name: str) -> F64:
    """A column as numbers; empty is unknown. Raises ConfigError naming the first line that is none."""
    if not pa.types.is_string(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    words = np.array(column.to_pylist(), dtype=object)
    empty = np.isin(words, ["", "nan", "NaN", "null", "NA"])
    try:
        return np.where(empty, "nan", words).astype(np.float64)
    except ValueError:
        for line, word in enumerate(words, 2):
            if not _is_number(word):
                raise ConfigError(
                    str(path),
                    line,
                    name,
                    scrub(word, 60),
                    "is not a number",
                    hint="write 0.73; leave unknown ones empty",
                ) from None
        raise


def _is_number(word: str) -> bool:
    try:
        float(word or "nan")
    except ValueError:
        return word in {"null", "NA"}
    return True


def _times(path: Path, column: Any) -> F64:
    """A column as unix seconds. Raises ConfigError naming the first line that is no time."""
    if pa.types.is_timestamp(column.type):
        return np.asarray(column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy() / 1000, dtype=np.float64)
    if not pa.types.is_string(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    words = np.array(column.to_pylist(), dtype=object)
    try:
        found = words.astype(np.float64)
    except ValueError:
        known, where = np.unique(words.astype(str), return_inverse=True)
        found = np.array([_moment(word) for word in known])[where]
    bad = ~np.isfinite(found)
    if bad.any():
        line = int(np.flatnonzero(bad)[0])
        raise ConfigError(
            str(path), line + 2, "time", scrub(str(words[line]), 60), "is not a time",
            hint="write unix seconds or 2026-11-21T07:00:00Z",
        )  # fmt: skip
    return found


def _moment(word: str) -> float:
    try:
        given = datetime.fromisoformat(word)
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return float("nan")
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()


def _laid(source: str, times: F64, names: NDArray[Any], values: F64, step: float) -> Recording:
    """Rows by the names of series as hosts' metrics; what is no series of a host is left out and said."""
    known, which = np.unique(names.astype(str), return_inverse=True)
    series: list[tuple[str, str]] = []
    kept, left = np.full(len(known), -1, np.int64), dict[str, int]()
    network: list[tuple[int, str]] = []
    for at, text in enumerate(known):
        try:
            kind, name, metric = series_of(text)
        except ValueError:
            raise UsageError(f"{source}: {scrub(text, 60)!r} is not the name of a series", hint="HOST METRIC") from None
        meant = "net" if metric in _NETWORK else metric_of(metric)
        if kind != "host" or meant is None:
            left[metric if kind == "host" else f"{kind}s"] = left.get(metric, 0) + 1
            continue
        if metric in _NETWORK:
            network.append((at, name))
        kept[at] = len(series)
        series.append((name, meant))
    good = (kept[which] >= 0) & np.isfinite(times) & np.isfinite(values)
    if not good.any():
        others = f": only of {', '.join(sorted(left))}" if left else ""
        raise UsageError(f"{source}: no numbers of cpu or memory of a host{others}", hint="name series HOST cpu")
    # received and sent fall into one series, whose mean becomes their sum
    directions = Counter(name for _, name in network)
    factor = np.ones(len(known))
    factor[[at for at, _ in network]] = [directions[name] for _, name in network]
    values = values * factor[which]
    found = laid_out(source, times[good], tuple(series), kept[which][good], values[good], step)
    return _noted(found, [f"left out: {', '.join(sorted(left))}"] if left else [])


def _noted(recording: Recording, said: list[str]) -> Recording:
    return replace(recording, notes=(*recording.notes, *said))
