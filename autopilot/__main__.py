"""``python -m sidestep.autopilot``: the daemon of one fleet, in the foreground."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from sidestep.autopilot import eventloop, paths
from sidestep.autopilot.config_cache import load_cached
from sidestep.autopilot.daemon import Daemon
from sidestep.autopilot.daemon_log_lines import FORMS, Libraries, line_for
from sidestep.fleet.config_operation import METRICS, split
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import Level
from sidestep.fleet.labels import scrub


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep autopilot", description="The daemon of one fleet.")
    parser.add_argument("--fleet", type=Path, help="the fleet file; by default the one in the configuration folder")
    parser.add_argument("--socket", type=Path, help="the socket to serve, in a folder that is closed to others")
    parser.add_argument("--state", type=Path, help="the folder of journal and lock")
    parser.add_argument("--level", choices=get_args(Level), help="automation level; by default the fleet file's")
    parser.add_argument(
        "--metrics",
        nargs="?",
        const=METRICS,
        default="",
        metavar="ADDRESS:PORT",
        help=f"serve metrics for Prometheus; without an address at {METRICS}; by default the fleet file's",
    )
    said = "lines for people or JSON; by default JSON unless the log is a terminal"
    parser.add_argument("--log", choices=FORMS, default="auto", help=said)
    options = parser.parse_args(argv)
    if options.metrics:
        try:
            split(options.metrics)
        except ValueError as error:
            parser.error(f"--metrics {scrub(options.metrics)}: {error}, such as {METRICS}")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Run the daemon until it is told to end. Raises SidestepError if it cannot start."""
    file = options.fleet or paths.config_path()
    fleet = load_cached(file, paths.fleet_cache(file))
    line = line_for(options.log, sys.stderr)
    logging.basicConfig(handlers=[Libraries(sys.stderr, line)], level=logging.WARNING)
    logging.captureWarnings(True)
    daemon = Daemon(
        fleet,
        socket=(options.socket or paths.socket_path(fleet.name)).absolute(),
        state=(options.state or paths.state_dir(fleet.name)).absolute(),
        level=options.level,
        metrics=options.metrics,
        line=line,
    )

    def ready(socket: Path) -> None:
        gc.freeze()
        gc.enable()
        print(f"ready {socket}", flush=True)

    await daemon.run(ready)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 after an orderly end, 2 for bad input, 1 for everything else that is told."""
    options = arguments(argv)
    gc.disable()  # nothing of what a start makes is garbage; the daemon collects once it has begun
    try:
        eventloop.run(serve(options))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"the daemon cannot run: {error}", file=sys.stderr)
        return 1
    finally:
        gc.enable()
    return 0


if __name__ == "__main__":
    sys.exit(main())
