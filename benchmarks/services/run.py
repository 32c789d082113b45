"""Services on real systemd hosts behind real HAProxy, changed under load: what becomes of every request.

``python -m scripts.testfleet run -n 5 -- .venv/bin/python -m benchmarks.services``: four hosts with shards as systemd
units and one with HAProxy, told over SSH; a daemon that plans and acts end to end. A constant number of clients keep
their connections and send requests with unique ids, one at a time each. Afterwards all ledgers of all services are
read: a request that was acknowledged and is in none is lost, one that is there twice is duplicated, and any answer but
200, or none, is failed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.harness import Goal, Report, Sample, Spread, main_with
from benchmarks.services import changes, pools
from benchmarks.services.days import Days, recorded, smooth
from benchmarks.services.hosts import Hosts

Scene = Callable[..., Awaitable[Sample]]
#: requests under which each change is made, at least
FULL: Final = 20_000
QUICK: Final = 1_500
SCENES: Final[dict[str, Scene]] = {
    "migrate": changes.migrate,
    "resize": changes.resize,
    "drain": changes.drain,
    "split": changes.split,
    "merge": changes.merge,
    "pool": pools.peak,
    "wake": pools.wake,
}
#: scenes of ``--quick``, the slowest last: others wait for what a forecast needs to have seen
FAST: Final = ("split", "merge", "wake", "drain")
#: seconds after which ``--quick`` begins no further scene, to end within a minute
LATEST: Final = 28.0

#: what is to be done before it is needed, and what is counted
AHEAD: Final = (("migrate", "done_ahead_s", "s before contention"), ("pool", "least_ahead_s", "s before the load"))


async def measure(names: Sequence[str], least: int, days: Days, options: argparse.Namespace) -> dict[str, Sample]:
    """These scenes, one after the other on the same hosts; with ``--quick`` as many as there is time for."""
    hosts, began = Hosts(), time.monotonic()
    found: dict[str, Sample] = {}
    scenes = SCENES | {"pool": partial(pools.peak, days=days, looks_to=options.looks, off=options.off)}
    with tempfile.TemporaryDirectory(prefix="sidestep-services-") as folder:
        try:
            await hosts.ready(full_python=bool({"pool", "wake"} & set(names)))
            for name in names:
                if options.quick and time.monotonic() - began > LATEST:
                    break
                found[name] = await scenes[name](hosts, Path(folder) / name, least)
                print(f"{name}, after {time.monotonic() - began:.1f} s: {found[name]}", flush=True)
        finally:
            await hosts.aclose()
    return found


def run(options: argparse.Namespace) -> Report:
    """All scenes, or those named."""
    least = options.requests or (QUICK if options.quick else FULL)
    names = options.only or (FAST if options.quick else tuple(SCENES))
    count, steps = pools.LEARNED + 1, round(pools.DAY)
    days = smooth(count, steps) if options.data is None else recorded(options.data, count, steps, options.series)
    found = asyncio.run(measure(names, least, days, options))
    names = [name for name in names if name in found]
    goals = [
        Goal(f"{name}: {what}", found[name][what], "requests", 0, "==")
        for name in names
        for what in ("failed", "lost", "duplicated")
    ]
    for name, what, unit in AHEAD:
        if name in found:
            goals.append(Goal(f"{name}: {what.replace('_', ' ')}", found[name][what], unit, 0, ">="))
    goals += [Goal(f"{name}: requests", found[name]["requests"], "requests", least, ">=") for name in names]
    figures = {name: {key: Spread.of([value]) for key, value in rows.items()} for name, rows in found.items()}
    left = [name for name in SCENES if name not in names]
    notes = [f"left out: {', '.join(left)}"] if left else []
    notes += [f"days of pool: {days.name}{'; forecast off' if options.off else ''}"] if "pool" in names else []
    return Report("services", tuple(goals), figures, 1, options.quick, tuple(notes))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SCENES, help="this scene; may be repeated")
    parser.add_argument("--requests", type=int, default=0, help=f"at least so many in every scene ({FULL})")
    parser.add_argument("--data", type=Path, help="replay a daily peak of these recorded traces (benchmarks/README.md)")
    parser.add_argument("--series", default="", help="this series of --data, FILE/ID; else the one that is most daily")
    parser.add_argument("--off", action="store_true", help="the pool without a forecast: what the forecast is worth")
    parser.add_argument("--looks", type=Path, help="write what was seen of the pool, a line each, as CSV")
    main_with("services", run, parser)
