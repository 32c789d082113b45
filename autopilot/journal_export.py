"""Journal rows as files for other programs: JSON lines, or Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from sidestep.autopilot.journal_read import JournalRow
from sidestep.fleet.errors import SidestepError, UsageError

_GROUP: Final = 50_000


def export(rows: Iterable[JournalRow], path: Path) -> int:
    """Write rows into a new private file by its ending, and return how many.

    Raises UsageError for another ending or a file that is there already. What was begun and not
    finished is removed.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise UsageError(f"{path}: name a .jsonl or a .parquet file")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise UsageError(f"{path} exists", hint="move it away, or name another file") from None
    try:
        return _parquet(rows, path) if path.suffix == ".parquet" else _lines(rows, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def line(row: object) -> str:
    """A row as one line of JSON."""
    return msgspec.json.encode(row).decode()


def _lines(rows: Iterable[JournalRow], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def _parquet(rows: Iterable[JournalRow], path: Path) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415 - heavy, and only for this
        import pyarrow.parquet as pq  # noqa: PLC0415 - likewise
    except ImportError:
        raise SidestepError("Parquet needs pyarrow, which is not here", hint="export to a .jsonl file") from None
    word = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[str, Any] = dict.fromkeys(JournalRow.__struct_fields__, word)
    kinds |= {"seq": pa.int64(), "time": pa.timestamp("us", tz="UTC"), "text": pa.string(), "plan": pa.int64()}
    kinds |= {"action": pa.int64(), "digest": pa.string()}
    schema, count = pa.schema(list(kinds.items())), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = {name: [getattr(row, name) for row in group] for name in kinds}
            columns["time"] = [round(time * 1e6) for time in columns["time"]]
            writer.write_table(pa.table(columns, schema=schema))
            count += len(group)
    return count


def _groups(rows: Iterable[JournalRow]) -> Iterator[list[JournalRow]]:
    rest = iter(rows)
    while group := list(islice(rest, _GROUP)):
        yield group
