"""``python -m sidestep.autopilot.backtest``: what ``sidestep backtest`` runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from sidestep.autopilot.backtest import read_arrays, recordings, report
from sidestep.autopilot.backtest.policy import Setting, setting
from sidestep.autopilot.backtest.recordings import F64, Recording
from sidestep.autopilot.backtest.replay import limits_of, replay
from sidestep.autopilot.config_file import load_fleet
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import DIMENSIONS, PLANNED, parse_seconds, parse_size

#: the part of the data that is learned from before anything is judged, and seasons that it is worth waiting for
_WARM: Final = 0.25
_PERCENTILE: Final = 97.5


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="sidestep backtest",
        description="Replays recorded load through the oracle, and counts what a policy would have foreseen.",
        epilog="DATA: a fleet's history folder; a CSV or Parquet file (time,series,value, or what sidestep history "
        "export writes); an .npz of values (machines, metrics, T) and step_s.",
    )
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument(
        "--policy", action="append", default=[], metavar="FILE|NAME=VALUE", help="a file with [policy], or one value"
    )
    parser.add_argument("--capacity", action="append", default=[], metavar="cpu=16", help="of every host; memory=64G")
    parser.add_argument("--fleet", type=Path, metavar="FILE", help="take every host's capacity from this fleet file")
    parser.add_argument("--limit", metavar="p97.5", help="contention is above this percentile of the warm-up's values, "
                        "whatever the capacity")  # fmt: skip
    parser.add_argument("--model", default="", metavar="NAME", help="the oracle's model")
    parser.add_argument("--season", metavar="TIME", help="length of a season (1d)")
    parser.add_argument("--step", metavar="TIME", help="step of the grid; the data's own without")
    parser.add_argument("--warmup", metavar="TIME", help="learn so long before judging (a quarter of the data)")
    parser.add_argument("--last", metavar="TIME", help="only the newest part of the data")
    parser.add_argument("--host", action="append", default=[], metavar="NAME", help="only this host; may be repeated")
    parser.add_argument(
        "--column", action="append", default=[], metavar="cpu=NAME", help="which metric of an .npz is cpu, memory, ..."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of what --json prints")
    options = parser.parse_args(argv)
    if options.data is None and not options.schema:
        parser.error("name the data")
    return options


def read(path: Path, step: float, columns: dict[str, str]) -> Recording:
    """The recording in a folder or file. Raises ConfigError or UsageError."""
    if path.is_dir() or path.suffix.lower() in {".csv", ".parquet"}:
        from sidestep.autopilot.backtest import read_table  # noqa: PLC0415 - needs pyarrow

        if not path.exists():
            raise UsageError(f"{path}: there is no such file")
        return read_table.folder(path, step) if path.is_dir() else read_table.file(path, step)
    if path.suffix.lower() == ".npz":
        if not path.exists():
            raise UsageError(f"{path}: there is no such file")
        return read_arrays.file(path, step, columns)
    raise UsageError(f"{path}: not a kind of recording", hint="a folder, or a file called .csv, .parquet or .npz")


def recorded(options: argparse.Namespace) -> Recording:
    """The part of the data that was asked for. Raises ConfigError or UsageError."""
    found = read(options.data, _time("--step", options.step, 0.0), _pairs("--column", options.column))
    if options.host:
        found = recordings.chosen_hosts(found, tuple(dict.fromkeys(options.host)))
    if options.last:
        found = recordings.newest(found, _time("--last", options.last, math.inf))
    return recordings.checked(found)


def _time(option: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        found = parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{option} {scrub(text, 60)}: {error}", hint=f"for example {option} 5m") from None
    if not found >= 0:
        raise UsageError(f"{option} {scrub(text, 60)}: below 0")
    return found


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {scrub(text, 60)}: not NAME=VALUE", hint=f"such as {option} cpu=...")
        found[name] = value
    return found


def capacities(recording: Recording, options: argparse.Namespace) -> F64:
    """(H, PLANNED) what may be handed out: as told, by the fleet file, or in the data; NaN is not known."""
    found = recording.capacity.copy()
    if options.fleet is not None:
        hosts = {str(host.name): host for host in load_fleet(options.fleet).hosts}
        for row, name in enumerate(map(str, recording.names)):
            if name in hosts:
                said = np.array(hosts[name].allocatable())
                found[row] = np.where(np.isfinite(said), said, found[row])
    for name, text in _pairs("--capacity", options.capacity).items():
        if name not in DIMENSIONS[:PLANNED]:
            raise UsageError(f"--capacity {name}={text}: no dimension {name}", hint="cpu and memory have a capacity")
        try:
            value = float(parse_size(text)) if name == "memory" else float(text)
        except ValueError:
            raise UsageError(f"--capacity {name}={text}: not a number", hint="cpu=16 or memory=64G") from None
        if not 0 < value < math.inf:
            raise UsageError(f"--capacity {name}={text}: not above 0", hint="cpu=16 or memory=64G")
        found[:, DIMENSIONS.index(name)] = value
    return found


def percentile_of(text: str | None) -> float | None:
    """97.5 of ``p97.5``. Raises UsageError."""
    if text is None:
        return None
    try:
        found = float(text.removeprefix("p"))
    except ValueError:
        found = math.nan
    if not 50 <= found < 100:
        raise UsageError(f"--limit {scrub(text, 60)}: not a percentile from p50 to p99.9", hint="--limit p97.5")
    return found


def warm_up(recording: Recording, told: float | None, season: float) -> int:
    """Steps that are learned from before anything is judged. Raises UsageError if none are left."""
    part = recording.steps * _WARM
    wanted = told / recording.step if told is not None else max(part, min(season / recording.step, 2 * part))
    begin = math.ceil(wanted)
    if begin >= recording.steps - 1:
        raise UsageError(
            f"a warm-up of {begin} steps leaves nothing of {recording.steps} to judge", hint="name a shorter --warmup"
        )
    return begin


def prepare(options: argparse.Namespace) -> tuple[Recording, F64, Setting, int]:
    """Everything that a replay needs. Raises ConfigError or UsageError."""
    recording = recorded(options)
    season = _time("--season", options.season, math.nan)
    chosen = setting(options.policy, recording.step, model=options.model, season=None if math.isnan(season) else season)
    begin = warm_up(recording, _time("--warmup", options.warmup, 0.0) if options.warmup else None, chosen.oracle.season)
    capacity, percentile = capacities(recording, options), percentile_of(options.limit)
    known = bool(np.isfinite(capacity[:, list(recording.planned)]).any())
    if not known or percentile is not None:
        why = "no capacity is known" if not known else "--limit goes before capacity"
        percentile = _PERCENTILE if percentile is None else percentile
        note = f"{why}: contention is above p{percentile:g} of each series' warm-up"
        chosen = Setting(policy=chosen.policy, oracle=chosen.oracle, notes=(*chosen.notes, note))
    return recording, limits_of(recording, chosen, capacity, percentile, begin), chosen, begin


@contextmanager
def _progress(steps: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while steps are replayed."""
    if not show:
        yield lambda done: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=steps)
        yield lambda done: progress.update(task, completed=done)


def run(options: argparse.Namespace) -> int:
    """Replay and print. Raises SidestepError."""
    if options.schema:
        print(json.dumps(report.schema(), indent=2))
        return 0
    recording, limit, chosen, begin = prepare(options)
    with _progress(recording.steps, show=sys.stderr.isatty() and not options.json) as tell:
        said = asyncio.run(replay(recording, limit, chosen, begin, tell))
    found = report.report_of(recording, limit, chosen, begin, said)
    if options.json:
        print(json.dumps(msgspec.json.decode(msgspec.json.encode(found)), ensure_ascii=True, indent=2))
    else:
        print("\n".join(report.lines(found)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 for bad input, 1 when it could not be done."""
    options = arguments(argv)
    try:
        return run(options)
    except SidestepError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
