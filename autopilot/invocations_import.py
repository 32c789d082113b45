"""``python -m sidestep.autopilot.invocations import FILE``: invocations from JSON lines or CSV, into a fleet's store.

A file is taken whole or not at all, and only once: the same bytes again are refused.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.invocations import InvocationStore
from sidestep.fleet.errors import ConfigError, SidestepError
from sidestep.fleet.invocations import MAX_LINE, MEASURES, Invocation, parse_report

STORE: Final = "invocations.db"
LARGEST: Final = 256 << 20
_TEXTS: Final = ("app", "shard")
_NUMBERS: Final = ("t", *MEASURES, "n")


def import_file(store: InvocationStore, path: Path, now: float) -> int:
    """Add every invocation of a file; returns how many lines. Raises ConfigError with file, line and value.

    ``.csv`` has a line of column names: those of the report, and ``x.NAME`` for a feature.
    Anything else is one JSON report a line.
    """
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if store.imported(digest):
        raise ConfigError(str(path), 0, "", None, "was imported before", hint="nothing is to be done")
    source = _csv_lines(path, data) if path.suffix.lower() == ".csv" else _lines(path, data)
    batch = [parse_report(line, str(path), number, now) for number, line in source]
    store.add(batch, digest=digest)
    return len(batch)


def export_lines(rows: Sequence[Invocation]) -> Iterator[bytes]:
    """The same format again, a line each."""
    for each in rows:
        yield each.encode() + b"\n"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(str(path), 0, "", None, f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise ConfigError(str(path), 0, "", None, f"is larger than {LARGEST} bytes", hint="cut it into parts")
    return data


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield number, line


def _csv_lines(path: Path, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Rows of a table as reports."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), 0, "", None, f"is not UTF-8: {error}") from error
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(text.splitlines())
    try:
        columns = next(reader, [])
        unknown = [c for c in columns if c not in (*_TEXTS, *_NUMBERS) and not c.startswith("x.")]
        if not columns or unknown or "app" not in columns or "wall_s" not in columns:
            known = ", ".join((*_TEXTS, *_NUMBERS))
            what = f"unknown column {unknown[0]!r}" if unknown else "the first line names no app and wall_s"
            raise ConfigError(str(path), 1, "", None, what, hint=f"columns are {known}, and x.NAME for a feature")
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                said = f"{len(row)} values for {len(columns)} columns"
                raise ConfigError(str(path), reader.line_num, "", None, said)
            yield reader.line_num, _report(path, reader.line_num, columns, row)
    except csv.Error as error:
        raise ConfigError(str(path), reader.line_num, "", None, str(error)) from error


def _report(path: Path, number: int, columns: Sequence[str], row: Sequence[str]) -> bytes:
    said: dict[str, object] = {}
    x: dict[str, object] = {}
    for column, text in zip(columns, row, strict=True):
        if text == "":
            continue
        if column.startswith("x."):
            x[column[2:]] = _value(text)
        elif column in _TEXTS:
            said[column] = text
        else:
            try:
                said[column] = int(text) if column == "n" else float(text)
            except ValueError:
                raise ConfigError(str(path), number, column, text, "is not a number") from None
    return msgspec.json.encode({**said, "x": x})


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def main(argv: Sequence[str] | None = None) -> int:
    """Import; 0 when all of it is in the store, 2 for a file that cannot be used."""
    parser = argparse.ArgumentParser(prog="sidestep.autopilot.invocations", description="Invocations of functions.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    importing = verbs.add_parser("import", help="add a file of JSON lines (or .csv) to the store")
    importing.add_argument("file", type=Path, metavar="FILE")
    where = importing.add_mutually_exclusive_group()
    where.add_argument("--fleet", type=Path, metavar="FILE", help="the fleet file; its state folder is used")
    where.add_argument("--state", type=Path, metavar="DIR", help="the state folder itself")
    given = parser.parse_args(argv)
    try:
        folder = given.state or paths.state_dir(load_fleet(given.fleet or paths.config_path()).name)
        store = InvocationStore(folder / STORE)
        try:
            count = import_file(store, given.file, time.time())
        finally:
            store.close()
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{count} invocations are in {folder / STORE}")
    return 0
