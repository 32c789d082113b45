"""Run cells of the fault matrix on real fleets; exit code 1 if one failed."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import math
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from scripts.faultmatrix import disks
from scripts.faultmatrix.applying import Applying
from scripts.faultmatrix.cells import DIVIDING, IMAGE, STAGED, Cell, choose, generate, not_applicable
from scripts.faultmatrix.dividing import Dividing
from scripts.faultmatrix.hosts import EmbeddedHosts, Hosts, SystemdHosts
from scripts.faultmatrix.imaged import Imaged
from scripts.faultmatrix.lane import Lane, Outcome
from scripts.faultmatrix.rescue import Rescue
from scripts.faultmatrix.resizing import Resizing
from scripts.faultmatrix.stage import Stage
from scripts.faultmatrix.waiting import Queue
from scripts.testfleet.fleet import Fleet
from sidestep.autopilot.executor_kinds import PLUGGED, RUNNABLE
from sidestep.fleet.errors import SidestepError, UsageError

_CLONE_NEWNS: Final = 0x00020000
#: how often a cell is tried until it runs; after so many in a row that did not, a lane is given up
_TRIES: Final = 3


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="faultmatrix", description="Every step of every action x every fault.")
    parser.add_argument("--fleet", choices=("embedded", "systemd"), default="embedded")
    parser.add_argument("--only", default="", metavar="GLOB,...", help="cells such as 'migrate/freeze:*/kill-*'")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="that many of those that apply")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=3, help="pairs of hosts that run cells side by side")
    parser.add_argument("--list", action="store_true", help="name the cells and run none")
    parser.add_argument("--json", action="store_true", help="one JSON object a cell")
    parser.add_argument("--rest", type=Path, metavar="LOG", help="leave out what passed in that earlier run's lines")
    parser.add_argument("--limit", type=float, default=0.0, metavar="SECONDS", help="begin no cell after that")
    parser.add_argument("--keep", type=Path, help="a folder for logs and journals, kept")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    given = arguments(argv)
    try:
        cells = choose(generate(RUNNABLE), only=given.only)
        if not cells:
            raise UsageError(f"no cell is called {given.only}", hint="--list names them")
        if given.list:
            print("\n".join(map(str, cells)))
            return 0
        return asyncio.run(perform(given, cells))
    except asyncio.CancelledError:
        print("faultmatrix: stopped", file=sys.stderr)
        return 1
    except SidestepError as error:
        print(f"faultmatrix: {error}", file=sys.stderr)
        return error.exit_code


async def perform(given: argparse.Namespace, cells: Sequence[Cell]) -> int:
    """Run them, tell of each, and count; told to end, it takes everything down first."""
    began = time.monotonic()
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    lacking = disks.possible()
    own = not lacking and (given.fleet == "systemd" or own_mounts())
    has = {"disks": own, "throttle": own and disks.throttled(), "units": given.fleet == "systemd"}
    apply = {cell: not_applicable(cell, **has) for cell in cells}
    earlier = given.rest.read_text("utf-8").split() if given.rest else []
    passed_before = {name for word, name in zip(earlier, earlier[4:], strict=False) if word == "passed"}
    cells = [cell for cell in cells if str(cell) not in passed_before]
    queue = list(choose([cell for cell in cells if not apply[cell]], sample=given.sample, seed=given.seed))
    random.Random(given.seed).shuffle(queue)  # a run that is stopped says something about every step
    idle = [cell for cell in cells if apply[cell]]
    for why, many in Counter(apply[cell] for cell in idle).items():
        print(f"not applicable: {many} cells: {why}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="fm-") as temporary:
        folder = given.keep.absolute() if given.keep else Path(temporary)
        staged = [cell for cell in queue if cell.kind in STAGED]
        divided = [cell for cell in queue if cell.kind in DIVIDING]
        resized = [cell for cell in queue if cell.kind == "resize"]
        applied = [cell for cell in queue if cell.kind in PLUGGED]
        imaged = [cell for cell in queue if cell.driver == IMAGE]
        queue = [cell for cell in queue if cell.kind == "migrate" and cell.driver != IMAGE]
        ground = Ground(given, disks=own) if staged else None
        outcomes: list[Outcome] = []
        end = began + (given.limit or math.inf)
        lanes: tuple[tuple[type[Lane], list[Cell]], ...]
        lanes = ((Lane, queue), (Dividing, divided), (Resizing, resized), (Applying, applied), (Imaged, imaged))
        total, requests = len(staged) + sum(len(its) for _, its in lanes), 0
        for kind, its in lanes:
            if its:
                requests += await in_lanes(kind, folder, its, outcomes, total, given, disks=own, end=end)
        left = count()
        if ground is not None:
            made = [
                stages(folder, staged, outcomes, total, given, ground=ground, lane=lane, left=left, end=end)
                for lane in range(ground.lanes)
            ]
            requests += sum(await asyncio.gather(*made))
    failed = [o for o in outcomes if o.problems or o.broken]
    passed = len(outcomes) - len(failed)
    human = sum(o.state == "FAILED_NEEDS_HUMAN" for o in outcomes)
    helped = sum(o.helped for o in outcomes)
    left_out = f"{len(idle)} not applicable, {total - len(outcomes)} not begun"
    print(
        f"cells: {len(outcomes)} run, {passed} passed ({human} of them FAILED_NEEDS_HUMAN with the step,"
        f" {helped} helped by hand), {len(failed)} failed, {left_out}; {requests} requests checked,"
        f" {sum(o.lost for o in outcomes)} of them newer than the capsule of a failover and lost, fleet {given.fleet}"
    )
    return 1 if failed or (len(outcomes) != total and not given.limit) else 0


async def in_lanes(
    kind: type[Lane], folder: Path, queue: list[Cell], outcomes: list[Outcome], total: int,
    given: argparse.Namespace, *, disks: bool, end: float,
) -> int:  # fmt: skip
    """Run cells that follow one another; how many requests were checked."""
    lanes = make_lanes(given, folder, kind, most=min(given.lanes, len(queue)), disks=disks)
    try:
        await asyncio.gather(*(lane.start() for lane in lanes))
        await asyncio.gather(*(drive(lane, queue, outcomes, total, given.json, end) for lane in lanes))
    finally:
        for lane in lanes:
            with suppress(SidestepError, OSError):
                await lane.stop()
    return sum(lane.total for lane in lanes)


async def drive(lane: Lane, queue: list[Cell], outcomes: list[Outcome], total: int, as_json: bool, end: float) -> None:
    """Take cells until none is left. One that could not be run, as its move ended early, is tried again."""
    broken = 0
    while queue and broken < _TRIES and time.monotonic() < end:
        cell = queue.pop(0)
        for _ in range(_TRIES):
            outcome = await lane.run(cell)
            if not outcome.broken:
                break
        outcomes.append(outcome)
        broken = broken + 1 if outcome.broken else 0
        tell(lane, outcome, len(outcomes), total, as_json)


async def stages(
    folder: Path, staged: list[Cell], outcomes: list[Outcome], total: int, given: argparse.Namespace,
    *, ground: Ground, lane: int, left: Iterator[int], end: float,
) -> int:  # fmt: skip
    """Take cells until none is left, each in a world of its own; how many requests were checked."""
    requests = 0
    while staged and time.monotonic() < end:
        cell = staged.pop(0)
        for _ in range(_TRIES - 1):
            name = f"s{next(left)}"
            kind = Rescue if cell.kind == "failover" else Queue
            hosts = ground.hosts(lane, folder / name, kind)
            stage = kind(name, folder / name, cell, f"m{secrets.token_hex(2)}", hosts)
            try:
                await stage.start()
                outcome = await stage.run(cell)
            except (SidestepError, OSError) as error:
                outcome = Outcome(cell, broken=f"{type(error).__name__}: {error}")
            finally:
                with suppress(SidestepError, OSError):
                    await stage.stop()
            requests += stage.total
            outcome.lost, outcome.span = stage.lost, stage.span
            if not outcome.broken:
                break
        outcomes.append(outcome)
        tell(stage, outcome, len(outcomes), total, given.json)
    return requests


def tell(lane: Lane, outcome: Outcome, number: int, total: int, as_json: bool) -> None:
    """One line."""
    result = "BROKEN" if outcome.broken else "FAILED" if outcome.problems else "passed"
    why = outcome.broken or "; ".join(outcome.problems)
    if as_json:
        facts = {
            "cell": str(outcome.cell),
            "result": result,
            "state": outcome.state,
            "note": outcome.note,
            "lost": outcome.lost,
            "helped": outcome.helped,
        }
        print(json.dumps({**facts, "why": why, "seconds": round(outcome.seconds, 1)}), flush=True)
        return
    lost = f" (lost: {outcome.lost} up to {outcome.span:.1f} s after the capsule)" if outcome.lost else ""
    look = f": {why} [{outcome.note}] look at {lane.daemon.log}" if why else ""
    print(
        f"{number}/{total} {result} {outcome.seconds:5.1f} s {outcome.state:9} {outcome.cell}{lost}{look}", flush=True
    )


def make_lanes(given: argparse.Namespace, folder: Path, kind: type[Lane], *, most: int, disks: bool) -> list[Lane]:
    """The lanes that there is room for, at most so many. Raises UsageError."""
    tag, letter = f"m{secrets.token_hex(2)}", "" if kind is Lane else kind.__name__[0].lower()
    fleet, names = real(2) if given.fleet == "systemd" else (None, [])
    lanes = []
    for index in range(min(most, len(names) // 2) if fleet else most):
        place = folder / f"{letter}{index}"
        place.mkdir(parents=True, exist_ok=True)
        hosts: Hosts = (
            SystemdHosts(fleet, names[2 * index : 2 * index + 2], place, size=kind.size)
            if fleet is not None
            else EmbeddedHosts(place, disks=disks, size=kind.size)
        )
        lanes.append(kind(f"{index}", place, hosts, tag))
    return lanes


def real(least: int) -> tuple[Fleet, list[str]]:
    """The test fleet that we run in, and its hosts that can run a shard. Raises UsageError."""
    name = os.environ.get("SIDESTEP_TESTFLEET", "")
    if not name:
        raise UsageError("not inside a test fleet", hint="python -m scripts.testfleet run -n 6 -- COMMAND")
    fleet = Fleet(name)
    names = [name for name, host in fleet.state().hosts.items() if host.plan.interpreter == "python"]
    if len(names) < least:
        raise UsageError(
            f"a lane needs {least} hosts with Python", hint="testfleet run -n 6 --interpreter python -- COMMAND"
        )
    return fleet, names


class Ground:
    """Hosts for worlds of their own: embedded ones as many as are wanted, real ones for each lane the same."""

    def __init__(self, given: argparse.Namespace, *, disks: bool) -> None:
        """Raises UsageError."""
        self._disks, self.lanes = disks, given.lanes
        self._fleet: Fleet | None = None
        self._names: list[str] = []
        if given.fleet == "systemd":
            self._fleet, self._names = real(Rescue.count)
            self.lanes = min(self.lanes, len(self._names) // Rescue.count)

    def hosts(self, lane: int, folder: Path, kind: type[Stage]) -> Hosts:
        """Hosts for one cell of that lane, which are no other lane's."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._fleet is None:
            return EmbeddedHosts(folder, disks=self._disks, count=kind.count, size=kind.size)
        mine = self._names[lane * Rescue.count :][: kind.count]
        return SystemdHosts(self._fleet, mine, folder, size=kind.size)


def own_mounts() -> bool:
    """Have mounts of our own, which end with us and ours."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
