"""Violation minutes on a replayed trace, in a SIMULATED fleet: moved ahead by a forecast, or once it is too late.

Every shard's demand is a machine of the trace; a host is in violation in every minute in which its shards demand more
than its limit. What is decided when a step is over has happened at the next one. The same planner, policy and choice of
moves in all, and they differ in one thing each:

    proactive   the daemon's own oracle; a host is relieved once its forecast says that contention is likely, or
                once it is above its limit, whatever is forecast
    ahead only  the same, but only once its forecast says so
    late        the same oracle leaves the room, but a host is relieved only once it is above its limit
    off         the oracle switched off: present use goes on, and strays as far as it lately did
    reactive    the same forecast leaves the room, but a host is relieved only once it is above its limit
    present     present use goes on, for certain: relieved once above the limit, with no room left
    greedy      a rule without a planner: the largest shard that fits goes to the emptiest host
    foreknown   what will be within the policy's horizon, for certain, in place of a forecast: what no forecast can beat
    foreknown, a day    the same, of a day ahead
    nothing moves

Without ``--data`` traces are synthetic, with a daily peak, which is nearly the same every day (0.05) or never (0.25);
with it they are sealed machines and the sealed time of recorded ones (benchmarks/oracle/data.py), which nothing was
chosen on. Minutes count from the first step on that a decision can reach, a day before the scored time.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.harness import Goal, Report, Spread, main_with
from benchmarks.oracle.data import PartName, load_all
from benchmarks.violation.fleet import F64, Fleet, Lived, greedy, policy_of, violated
from benchmarks.violation.traces import CHANGING, STEADY, Trace, recorded, rhythmic, synthetic
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting import wire
from sidestep.forecasting.client import Oracle
from sidestep.forecasting.service import Service
from sidestep.planning.load import persistence

SHARE: Final = 0.1
#: seeds that the policy was looked at with, and those that are only read
SEEDS: Final = (1, 2)
READ: Final = (11, 12, 13)
#: the seed by which a recorded trace is drawn: which series, their sizes and their hours
DRAWN: Final = 5
#: shards of a recorded trace at most
MOST: Final = 60
#: days that are scored, of a recorded trace at most
DAYS: Final = 1.0
#: the seconds of a day
DAY: Final = 86400.0
#: what is taken from a forecast before the planner sees it
Change = Callable[[Snapshot, Policy, Forecast], Forecast]


class Here:
    """The worker's own service in this process: the same answers, without a process to wait for on a busy machine."""

    pid = 0

    def __init__(self, spec: OracleSpec, horizon: float) -> None:
        self._service = Service(spec, horizon)

    async def call(self, request: wire.Request) -> wire.Response:
        """One answer."""
        if not isinstance(request, wire.Ask):
            raise TypeError(f"{type(request).__name__} is not asked in a replay")
        return self._service.answer(request)


async def learned(trace: Trace, policy: Policy, *, enabled: bool = True) -> Oracle:
    """The daemon's oracle after all that is before shards move, or that switched off."""
    spec = OracleSpec(enabled=enabled, season=DAY, step=float(trace.step), deadline=600.0)
    oracle = Oracle(spec, policy, interval=float(trace.step))
    if enabled:
        oracle._supervisor.worker = Here(spec, policy.horizon)  # type: ignore[assignment]
    await Fleet(trace, policy).learn(oracle.forecast)
    oracle._asking = None
    return oracle


async def ahead(trace: Trace, policy: Policy, oracle: Oracle, change: Change | None = None) -> Lived:
    """With a copy of that oracle; ``change`` takes from its forecasts."""
    mine = copy.deepcopy(oracle)

    async def ask(snapshot: Snapshot) -> Forecast:
        found = await mine.forecast(snapshot)
        return found if change is None else change(snapshot, policy, found)

    try:
        return await Fleet(trace, policy).live(ask)
    finally:
        await mine.aclose()


def late(snapshot: Snapshot, policy: Policy, found: Forecast) -> Forecast:
    """A host counts once it is above its limit; how much room is left stays as forecast (S5.22)."""
    return replace(found, reactive=np.ones(found.hosts.shape[:2], np.bool_))


def ahead_only(snapshot: Snapshot, policy: Policy, found: Forecast) -> Forecast:
    """A host does not count for being above its limit."""
    return replace(found, held=np.zeros((0, 0), np.bool_))


async def present(trace: Trace, policy: Policy) -> Lived:
    """From present use alone."""

    async def ask(snapshot: Snapshot) -> Forecast:
        return persistence(snapshot, policy)

    return await Fleet(trace, policy).live(ask)


async def foreknown(trace: Trace, policy: Policy, steps: int) -> Lived:
    """By who knows what will be, that many steps ahead: the same planner and policy, and nothing to be wrong about."""
    fleet = Fleet(trace, msgspec.structs.replace(policy, horizon=float(steps * trace.step)))

    async def ask(snapshot: Snapshot) -> Forecast:
        return fleet.foreknown(snapshot, steps)

    return await fleet.live(ask)


def ruled(trace: Trace, policy: Policy, rule: Callable[[Fleet, F64], int]) -> Lived:
    """By a rule without a planner, which says how many moves it made."""
    fleet = Fleet(trace, policy)
    moves, above = np.zeros(len(trace.demand), np.int64), np.zeros(len(trace.demand), np.int64)
    for at, demand in enumerate(trace.demand[trace.first :], trace.first):
        above[at] = violated(trace, np.bincount(fleet.home, demand, trace.hosts))
        moves[at] = rule(fleet, demand)
    return Lived.of(trace, above, moves)


async def judged(trace: Trace, changes: dict[str, Any]) -> dict[str, Lived]:
    """Every contender on one trace."""
    policy = policy_of(trace, **changes)
    on, off = await learned(trace, policy), await learned(trace, policy, enabled=False)
    return {
        "proactive": await ahead(trace, policy, on),
        "ahead only": await ahead(trace, policy, on, ahead_only),
        "late": await ahead(trace, policy, on, late),
        "off": await ahead(trace, policy, off),
        "reactive": await ahead(trace, policy, off, late),
        "present": await present(trace, policy),
        "greedy": ruled(trace, policy, greedy),
        "foreknown": await foreknown(trace, policy, round(policy.horizon / trace.step)),
        "foreknown, a day": await foreknown(trace, policy, round(DAY / trace.step)),
        "nothing moves": ruled(trace, policy, lambda fleet, demand: 0),
    }


def goals_of(every: list[dict[str, Lived]]) -> list[Goal]:
    """What was wished, over all traces together: on one of them a single step counts too much."""

    def total(name: str, what: str) -> float:
        return float(sum(getattr(found[name], what) for found in every))

    def share(name: str, of: str, what: str = "minutes") -> float:
        return total(name, what) / max(total(of, what), 1e-9)

    peers = ("off", "late", "ahead only", "greedy", "present", "foreknown", "foreknown, a day")
    shares = {name: share(name, "reactive") for name in peers}
    moved = {name: share(name, "reactive", "moves") for name in peers}
    return [
        Goal("proactive", share("proactive", "reactive"), "of reactive's minutes", SHARE, "<=", shares),
        Goal("moves of proactive", share("proactive", "reactive", "moves"), "of reactive's", 1.0, "<=", moved),
        Goal("forecast off", share("off", "reactive"), "of reactive's minutes", 1.0, "=="),
        Goal("proactive against present use alone", share("proactive", "present"), "of its minutes", SHARE, "<="),
    ]


def traces(options: argparse.Namespace) -> list[Trace]:
    """Those of this run. Raises UsageError."""
    days = options.days or DAYS
    if options.data is not None:
        part: PartName = "choose" if options.choose else "sealed"
        make = rhythmic if options.rhythm else recorded
        drawn = (
            make(group, part, days=days, most=MOST, seed=seed)
            for group in load_all(options.data)
            if not options.group or group.name in options.group
            for seed in options.seed or [DRAWN]
        )
        return [one for one in drawn if one is not None]
    seeds = (READ if not options.choose else SEEDS)[: 1 if options.quick else None]
    kinds = (STEADY,) if options.quick else (STEADY, CHANGING)
    return [synthetic(seed, days=days, hosts=8, history=4.0, differ=differ) for differ in kinds for seed in seeds]


def run(options: argparse.Namespace) -> Report:
    """All contenders on all traces."""
    every: list[dict[str, Lived]] = []
    figures: dict[str, dict[str, Spread]] = {}
    changes = {key: float(value) for key, value in (one.split("=") for one in options.policy)}
    began = time.process_time()
    for trace in traces(options):
        found = asyncio.run(judged(trace, changes))
        for name, lived in found.items():
            print(f"{trace.name}, {name}: {lived}", file=sys.stderr, flush=True)
        every.append(found)
        figures |= {
            f"{trace.name}, {name}": {
                "violation_minutes": Spread.of([lived.minutes]), "moves": Spread.of([lived.moves]),
                "minutes_later": Spread.of([lived.minutes_later]), "moves_later": Spread.of([lived.moves_later]),
                "minutes_given": Spread.of([lived.minutes_given]),
                "share_of_host_time": Spread.of([lived.violations / lived.steps]),
            }
            for name, lived in found.items()
        }  # fmt: skip
        size = {"hosts": trace.hosts, "shards": trace.demand.shape[1], "scored_steps": len(trace.demand) - trace.begin}
        figures[f"{trace.name}, size"] = {key: Spread.of([value]) for key, value in size.items()}
    figures["all"] = {"cpu_s": Spread.of([time.process_time() - began])}
    return Report(
        "violations", tuple(goals_of(every)), figures, 1, options.quick, ("SIMULATED fleet: no host was moved on",)
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a directory of recorded traces (*.npz; see benchmarks/README.md)")
    parser.add_argument("--days", type=float, default=0.0, help=f"days that are scored ({DAYS:g})")
    parser.add_argument("--choose", action="store_true", help="what the policy may be looked at with, not what is read")
    parser.add_argument("--rhythm", action="store_true", help="of recorded traces the series with a daily rhythm")
    parser.add_argument("--group", action="append", default=[], metavar="NAME", help="of recorded traces only these")
    drawn = f"the seed by which a recorded trace is drawn ({DRAWN})"
    parser.add_argument("--seed", action="append", type=int, default=[], metavar="N", help=drawn)
    parser.add_argument("--policy", action="append", default=[], metavar="NAME=NUMBER", help="another policy value")
    main_with("violations", run, parser)


if __name__ == "__main__":
    main()
