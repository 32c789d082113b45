"""``python -m sidestep.autopilot.recorder``: ``sidestep record``, and the daemon's child that makes Parquet."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.history import NICE
from sidestep.autopilot.journal_read import moment
from sidestep.autopilot.recorder import parquet
from sidestep.autopilot.recorder.recording import Recording
from sidestep.fleet.errors import SidestepError, UsageError

_SUFFIX: Final = ".parquet"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep record", description="What consoles were shown, for replay.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ours = argparse.ArgumentParser(add_help=False)
    ours.add_argument("--fleet", type=Path, metavar="FILE", help="the fleet file")
    ours.add_argument("--state", type=Path, metavar="DIR", help="the daemon's state folder")
    info = commands.add_parser("info", parents=[ours], help="say what there is")
    info.add_argument("--json", action="store_true", help="print JSON")
    export = commands.add_parser("export", parents=[ours], help="write one file that sidestep replay opens anywhere")
    export.add_argument("file", type=Path, metavar=f"FILE{_SUFFIX}")
    export.add_argument("--from", dest="start", default="", metavar="TIME", help="first picture: ISO 8601, or ago")
    export.add_argument("--to", dest="end", default="", metavar="TIME", help="end, not included")
    serve = commands.add_parser("serve")
    serve.add_argument("source", type=Path)
    serve.add_argument("--socket", type=Path, required=True)
    serve.add_argument("--fleet", type=Path)
    serve.add_argument("--policy", action="append", default=[])
    serve.add_argument("--from", dest="start", default="")
    serve.add_argument("--to", dest="end", default="")
    child = commands.add_parser("compact")
    child.add_argument("--folder", type=Path, required=True)
    child.add_argument("--max-bytes", type=int, required=True)
    return parser.parse_args(argv)


def between(start: str, end: str) -> tuple[float, float]:
    """The two times of an option's words. Raises UsageError."""
    now = time.time()
    return moment("--from", start, now) or -math.inf, moment("--to", end, now) or math.inf


def folder_of(options: argparse.Namespace) -> Path:
    """The state folder that is meant. Raises SidestepError."""
    if options.state:
        return Path(options.state)
    file = options.fleet or paths.config_path()
    if not Path(file).exists():
        raise UsageError(f"{file}: no such fleet file", hint="name one with --fleet, or a folder with --state")
    return paths.state_dir(load_fleet(Path(file)).name)


def export(options: argparse.Namespace) -> str:
    """Write one file. Raises SidestepError."""
    if options.file.suffix != _SUFFIX:
        raise UsageError(f"{options.file}: a recording is a {_SUFFIX} file", hint=f"name it FILE{_SUFFIX}")
    found = Recording.open(folder_of(options), *between(options.start, options.end))
    try:
        count = parquet.write(options.file, found.told())
    except OSError as error:
        raise UsageError(f"{options.file}: {error.strerror}", hint="name a file in a folder of yours") from error
    return f"{count} pictures, {utc(found.times[0])} to {utc(found.times[-1])}, in {options.file}"


def info(options: argparse.Namespace) -> str:
    """What there is. Raises SidestepError."""
    folder = folder_of(options)
    found = Recording.open(folder)
    size = sum(path.stat().st_size for path in (folder / "record").glob("*/*") if path.is_file())
    facts = {"folder": str(folder), "pictures": len(found), "first": found.times[0], "last": found.times[-1]}
    if options.json:
        return msgspec.json.encode({**facts, "bytes": size}).decode()
    return f"{len(found)} pictures, {utc(found.times[0])} to {utc(found.times[-1])}, {size} bytes, in {folder}"


def utc(seconds: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one message."""
    options = arguments(argv)
    try:
        if options.command == "serve":
            from sidestep.autopilot.recorder.stage import play  # noqa: PLC0415 - the planner is for this alone

            play(options, *between(options.start, options.end))
        elif options.command == "compact":
            os.nice(NICE)
            parquet.compact(options.folder, options.max_bytes, lambda text: print(text, file=sys.stderr, flush=True))
        else:
            print((export if options.command == "export" else info)(options))
    except SidestepError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
