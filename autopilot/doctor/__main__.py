"""``python -m sidestep.autopilot.doctor``: what ``sidestep doctor`` runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sidestep.autopilot import paths
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.doctor import findings
from sidestep.autopilot.doctor.examine import examine_all, surgery
from sidestep.autopilot.doctor.findings import Examined
from sidestep.autopilot.routing import look
from sidestep.fleet.config_ranges import expand
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep doctor", description="Tries every host of a fleet.")
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="hosts of the fleet, ranges such as web[01-20] too")
    parser.add_argument("--fleet", type=Path, help="the fleet file; by default the one in the configuration folder")
    parser.add_argument("--deadline", type=float, default=30.0, metavar="SECONDS", help="what one host may take")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def chosen(fleet: FleetSpec, patterns: Sequence[str]) -> tuple[HostSpec, ...]:
    """The hosts that are meant: names, ranges and groups; all without. Raises UsageError."""
    if not patterns:
        return fleet.hosts
    wanted: dict[str, None] = {}
    for pattern in patterns:
        try:
            names = set(expand(pattern))
        except ValueError as error:
            raise UsageError(f"{pattern} {error}", hint="write a range such as web[01-20]") from None
        hit = [host.name for host in fleet.hosts if host.name in names or names & set(host.groups)]
        if not hit:
            raise UsageError(
                f"{pattern} is no host and no group of fleet {fleet.name}", hint="list them with: sidestep fleet show"
            )
        wanted |= dict.fromkeys(hit)
    return tuple(host for host in fleet.hosts if host.name in wanted)


async def run(options: argparse.Namespace) -> int:
    """Examine and print; the exit code. Raises SidestepError for what is wrong before any host is tried."""
    fleet = load_fleet(options.fleet or paths.config_path())
    hosts = chosen(fleet, options.hosts)
    async with surgery(fleet, options.deadline) as shared:
        with _progress(len(hosts), show=sys.stderr.isatty() and not options.json) as done:
            examined = await examine_all(hosts, shared, done)
    if not options.hosts and (router := await look.examined(fleet)) is not None:
        examined.append(router)
    if options.json:
        tree = msgspec.json.decode(msgspec.json.encode(findings.report(fleet.name, examined)))
        print(json.dumps(tree, ensure_ascii=True, indent=2))
    else:
        print("\n".join(findings.lines(fleet.name, examined)))
    return findings.exit_code(examined)


@contextmanager
def _progress(count: int, *, show: bool) -> Iterator[Callable[[Examined], None]]:
    """A bar on standard error while hosts are tried."""
    if not show:
        yield lambda examined: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[last]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trying hosts", total=count, last="")
        yield lambda examined: progress.update(task, advance=1, last=examined.host)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when no host has a problem, 1 when one has, 2 for bad input."""
    options = arguments(argv)
    try:
        return asyncio.run(run(options))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
