"""The cells of the matrix, generated from what the executor declares that it runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Literal

from sidestep.fleet.machines import StepName, steps_of

Side = Literal["", "source", "destination"]
SOURCE: Final[Side] = "source"
DESTINATION: Final[Side] = "destination"
DRIVERS: Final = ("hook", "restart")
#: the driver that carries memory, and the kinds that it is tried with: cells of their own, after all others
IMAGE: Final = "criu"
IMAGED: Final = frozenset({"migrate"})
#: one in so many of the cells at the points before a step and after its record is run with the rest
SAMPLED: Final = 6
#: kinds that the harness knows how to bring about
KNOWN: Final = frozenset({"migrate", "failover", "preempt", "place", "split", "merge", "resize", "apply", "lift"})
#: those that it brings about in a world of their own for every cell
STAGED: Final = frozenset({"failover", "preempt", "place"})
#: those that follow one another in lanes of their own
DIVIDING: Final = frozenset({"split", "merge"})
#: those that happen where the shard is, and what they are called
IN_PLACE: Final = {"resize": "resized", "apply": "told what to do", "lift": "told what to do"}
#: kinds in the order in which their cells are drawn: newer ones stand at the end, so that older cells stay the same
ORDER: Final = ("failover", "migrate", "place", "preempt", "merge", "split", "resize", "apply", "lift")


class Fault(StrEnum):
    """What is done to the world while a move stands still at a point."""

    KILL_DAEMON = "kill-daemon"
    KILL_SHARD = "kill-shard"
    CUT_LINK = "cut-link"
    POWER_LOSS = "power-loss"
    DISK_FULL = "disk-full"
    SLOW_DISK = "slow-disk"
    CLOCK_AHEAD = "clock+1h"
    CLOCK_BACK = "clock-1h"
    STALE_OWNER = "stale-owner"


_BOTH: Final[tuple[Side, ...]] = (SOURCE, DESTINATION)
_SIDES: Final[dict[Fault, tuple[Side, ...]]] = {
    Fault.KILL_DAEMON: ("",),
    Fault.KILL_SHARD: _BOTH,
    Fault.CUT_LINK: _BOTH,
    Fault.POWER_LOSS: _BOTH,
    Fault.DISK_FULL: _BOTH,
    Fault.SLOW_DISK: _BOTH,
    Fault.CLOCK_AHEAD: ("",),
    Fault.CLOCK_BACK: ("",),
    Fault.STALE_OWNER: _BOTH,
}
#: faults that need a disk of the host's own
DISKS: Final = frozenset({Fault.DISK_FULL, Fault.SLOW_DISK})


@dataclass(frozen=True)
class Cell:
    """One fault at one point of one step of one action kind, for one driver."""

    kind: str
    step: StepName
    when: str
    fault: Fault
    side: Side
    driver: str

    @property
    def point(self) -> str:
        """As ``SIDESTEP_FAULT`` names it."""
        return f"{self.step}:{self.when}"

    def __str__(self) -> str:
        at = f"@{self.side}" if self.side else ""
        return f"{self.kind}/{self.point}/{self.fault}{at}/{self.driver}"


def generate(kinds: Iterable[str], seed: int = 1) -> tuple[Cell, ...]:
    """Every cell at the points after a step, and a sample of those before it and after its record."""
    kinds = sorted(kinds, key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind))
    plain = [cell for kind in kinds for cell in _all(kind, DRIVERS)]
    imaged = [cell for kind in kinds if kind in IMAGED for cell in _all(kind, (IMAGE,))]
    some = ((plain, random.Random(seed)), (imaged, random.Random(seed)))
    return tuple(c for cells, rng in some for c in cells if c.when == "after" or rng.randrange(SAMPLED) == 0)


def _all(kind: str, drivers: Sequence[str]) -> Iterator[Cell]:
    for step in steps_of(kind):
        for when in ("before", "after", "recorded"):
            for fault, sides in _SIDES.items():
                for side in sides:
                    for driver in drivers:
                        yield Cell(kind, step, when, fault, side, driver)


def choose(cells: Sequence[Cell], *, only: str = "", sample: int = 0, seed: int = 1) -> tuple[Cell, ...]:
    """Those whose names match one of ``only`` (with commas), and of them that many, the same for the same seed."""
    globs = only.split(",")
    some = [cell for cell in cells if not only or any(fnmatchcase(str(cell), glob) for glob in globs)]
    if sample and sample < len(some):
        some = sorted(random.Random(seed).sample(some, sample), key=some.index)
    return tuple(some)


def not_applicable(cell: Cell, *, disks: bool, throttle: bool, units: bool = True) -> str:
    """Why the fault of that cell does not exist there, or nothing.

    ``disks``: every host has a disk of its own, ``throttle``: that can be made slow, ``units``: shards can be units.
    """
    if cell.kind not in KNOWN:
        return f"the harness cannot bring about a {cell.kind} yet"
    if why := _no_way(cell, units=units) or _no_side(cell) or _no_disk(cell, disks=disks, throttle=throttle):
        return why
    steps = steps_of(cell.kind)
    done = steps.index(cell.step) + (cell.when != "before")
    if cell.fault is Fault.KILL_SHARD:
        return _no_process(cell, steps, done)
    if cell.fault is Fault.STALE_OWNER:
        return _no_stale(cell, steps, done)
    return ""


def _no_way(cell: Cell, *, units: bool) -> str:
    """Why no shard there is one for that kind of action, or nothing."""
    if cell.kind == "resize" and not units:
        return "embedded hosts run processes, whose backend changes no limits: a unit of systemd has them"
    if cell.driver == IMAGE and not units:
        return "a process is moved with its memory between real hosts only"
    if cell.kind in DIVIDING and cell.driver != "hook":
        return "only shards of driver hook have commands for a part of their keys"
    return ""


def _no_disk(cell: Cell, *, disks: bool, throttle: bool) -> str:
    """Why the disks there cannot be hurt so, or nothing."""
    if cell.fault in DISKS and not disks:
        return "hosts have no disk of their own: that needs root and loop devices"
    if cell.fault is Fault.SLOW_DISK and not throttle:
        return "no disk can be made slow: the kernel has no blkio throttle here"
    return ""


def _no_side(cell: Cell) -> str:
    """Why that kind of action has nothing there that the fault could strike, or nothing."""
    if cell.kind in IN_PLACE and cell.side == DESTINATION:
        return f"a shard that is {IN_PLACE[cell.kind]} goes to no other host"
    if cell.kind in IN_PLACE and cell.fault is Fault.STALE_OWNER:
        return "its owner stays the same, and runs"
    if cell.kind == "preempt" and cell.side == DESTINATION:
        return "a shard that gives way goes to no other host"
    if cell.kind == "failover" and cell.side == SOURCE and cell.fault is not Fault.STALE_OWNER:
        return "the source is lost already"
    if cell.kind == "place" and cell.side == SOURCE and cell.fault is Fault.KILL_SHARD:
        return "a shard that waits has no process"
    return ""


def _no_process(cell: Cell, steps: Sequence[StepName], done: int) -> str:
    """Why there is no process of the shard on that side, or nothing; ``done`` steps are."""
    if cell.kind in IN_PLACE or (cell.kind in DIVIDING and cell.side == SOURCE):
        return ""
    if cell.kind == "merge":
        return "the spare has no process any more" if done >= len(steps) else ""
    if cell.side == SOURCE:
        return "the source has no process of it any more" if done >= len(steps) else ""
    begins = StepName.RESUME if cell.driver == "restart" else StepName.RESTORE
    return "" if done > steps.index(begins) else "the destination has no process of it yet"


def _no_stale(cell: Cell, steps: Sequence[StepName], done: int) -> str:
    """Why no older owner can come back on that side, or nothing."""
    if cell.kind in DIVIDING and (cell.side == SOURCE or cell.kind == "merge"):
        stops = StepName.VERIFY if (cell.kind, cell.side) == ("merge", SOURCE) else StepName.CAPTURE
        if done <= steps.index(stops) or (cell.side == SOURCE and done > steps.index(StepName.RESUME)):
            return "it is the owner, and runs"
        return ""
    if cell.side == SOURCE:
        if cell.kind in {"failover", "place"}:
            return ""  # the lost host comes back, or an owner of before it waited
        if cell.kind == "preempt" and done <= steps.index(StepName.COMMIT):
            return "the owner until then, and nothing holds the requests of a shard without keys"
        stops = StepName.CAPTURE if cell.driver == "hook" else StepName.FREEZE
        return "" if done > steps.index(stops) else "the source is the owner, and runs"
    restored = done > steps.index(StepName.PREPARE) and cell.step not in steps[: steps.index(StepName.RESTORE)]
    return "the destination's record names the new process" if restored else ""
