"""``python -m sidestep.autopilot.history``: ``sidestep history``, and the daemon's child processes.

Works whether or not a daemon runs: files of the history folder appear whole, and whoever
changes them holds the folder's lock.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, HistorySpec

#: how much the daemon's children stand back
NICE: Final = 10
_MOST_NAMES: Final = 1 << 28


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep history", description="What is kept of the past.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ours = argparse.ArgumentParser(add_help=False)
    ours.add_argument("--fleet", type=Path, metavar="FILE", help="the fleet file")
    ours.add_argument("--state", type=Path, metavar="DIR", help="the daemon's state folder")

    info = commands.add_parser("info", parents=[ours], help="say what there is")
    info.add_argument("--json", action="store_true", help="print JSON")
    export = commands.add_parser("export", parents=[ours], help="write what there is to one file")
    export.add_argument("file", type=Path, metavar="FILE.parquet|FILE.csv")
    export.add_argument("--from", dest="start", metavar="TIME", help="first minute: ISO 8601, or ago, such as 2d")
    export.add_argument("--to", dest="end", metavar="TIME", help="end, not included")
    export.add_argument("--metric", action="append", default=[], help="only this metric; may be repeated")
    export.add_argument("--name", action="append", default=[], help="only this host or shard; may be repeated")
    bring = commands.add_parser("import", parents=[ours], help="take the past from a file or a Prometheus server")
    bring.add_argument("file", type=Path, nargs="?", metavar="FILE.parquet|FILE.csv")
    bring.add_argument("--prometheus", metavar="URL", help="a Prometheus server that scrapes node exporters")
    bring.add_argument("--days", type=float, default=14.0, help="how far back (14)")
    bring.add_argument("--step", default="60s", help="step of the queries, whole minutes (60s)")
    bring.add_argument("--map", type=Path, metavar="FILE", help='lines "INSTANCE HOST" where names do not say it')
    bring.add_argument("--token", default="", help="bearer token: file:PATH or command:LINE")
    bring.add_argument("--timeout", type=float, default=60.0, help="seconds for one query (60)")

    for name in ("compact", "refill"):
        child = commands.add_parser(name)
        child.add_argument("--folder", type=Path, required=True)
        child.add_argument("--keep", type=float, default=HistorySpec().keep)
        child.add_argument("--max-bytes", type=int, default=HistorySpec().max_bytes)
    return parser.parse_args(argv)


def say(text: str) -> None:
    """To standard error, where reports belong."""
    print(text, file=sys.stderr, flush=True)


def compact(options: argparse.Namespace) -> int:
    """Child of the daemon: closed segments to Parquet, and retention."""
    from sidestep.autopilot import history_parquet  # noqa: PLC0415

    os.nice(NICE)
    history_parquet.compact(options.folder, options.keep, options.max_bytes, say)
    return 0


def refill(options: argparse.Namespace) -> int:
    """Child of the daemon: answer with the past of the series named on standard input, newest hour first."""
    from sidestep.autopilot import history_files  # noqa: PLC0415

    os.nice(NICE)
    names = tuple(sys.stdin.buffer.read(_MOST_NAMES).decode().split("\n"))
    history_files.answer_past(options.folder, names, sys.stdout.buffer, say)
    return 0


def place(options: argparse.Namespace) -> tuple[FleetSpec, Path]:
    """The fleet, and its history folder. Raises ConfigError."""
    fleet = load_fleet(options.fleet or paths.config_path())
    return fleet, (options.state or paths.state_dir(fleet.name)).absolute() / "history"


def info(options: argparse.Namespace) -> int:
    """Say what there is."""
    from sidestep.autopilot import history_files  # noqa: PLC0415

    print(history_files.info(place(options)[1], as_json=options.json))
    return 0


def export(options: argparse.Namespace) -> int:
    """Write what there is to one file."""
    from sidestep.autopilot import history_files  # noqa: PLC0415

    print(history_files.export(place(options)[1], options, say))
    return 0


def bring(options: argparse.Namespace) -> int:
    """Take the past from a file or a server."""
    from sidestep.autopilot import history_files  # noqa: PLC0415

    fleet, folder = place(options)
    print(history_files.bring(fleet, folder, options, say))
    return 0


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "info": info,
    "export": export,
    "import": bring,
    "compact": compact,
    "refill": refill,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 for bad input, 1 for everything else that is told."""
    options = arguments(argv)
    try:
        return _COMMANDS[options.command](options)
    except SidestepError as error:
        say(str(error))
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        say(f"history {options.command}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
