"""What a host has for functions, from the kernel's own account: cores, how many are busy, and what ours get of them.

The kernel says of every process how long it ran and how long it waited for a processor. What waited while cores seemed
idle, was held back by something that is not seen from here (a limit, a hypervisor): idle cores are then not there.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from sidestep.backends.functions.words import Beat

#: files that limit a control group's processor time: cgroup2, and v1's two
_MAX: Final = "cpu.max"
_QUOTA, _PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


class Vitals:
    """Looks at a host, once in a while; every look tells of the time since the one before."""

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc, self._groups = proc, groups
        self._at = time.monotonic()
        self._busy = busy_ticks(self._text("stat"))
        self._ours: dict[int, tuple[int, int]] = {}

    def look(self, ours: Iterable[int], now: float | None = None) -> Beat:
        """Cores, and of them the busy ones, those that ``ours`` (pids) got, and those that they waited for."""
        now = time.monotonic() if now is None else now
        seconds = max(now - self._at, 1e-3)
        busy = busy_ticks(self._text("stat"))
        spent = {pid: found for pid in ours if (found := self._spent(pid)) is not None}
        # A process that was not there before has done all of it since.
        ran, waited = (
            sum(max(0, each[part] - self._ours.get(pid, (0, 0))[part]) for pid, each in spent.items()) / 1e9 / seconds
            for part in (0, 1)
        )
        beat = Beat(
            cores=self.cores(),
            busy=max(0.0, busy - self._busy) / os.sysconf("SC_CLK_TCK") / seconds,
            ours=ran,
            waited=waited,
        )
        self._at, self._busy, self._ours = now, busy, spent
        return beat

    def cores(self) -> float:
        """Processors that this process may use: its own set of them, and what its control groups leave of that."""
        found = float(len(os.sched_getaffinity(0)))
        for line in self._text("self/cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            if not controllers:
                found = min(found, *self._limits(("unified", ""), group))
            elif "cpu" in controllers.split(","):
                found = min(found, *self._limits((controllers, "cpu", "cpu,cpuacct"), group))
        return found

    def _limits(self, mounts: Iterable[str], group: str) -> list[float]:
        """What a group and all above it may use, in cores."""
        found = [math.inf]
        for mount in mounts:
            folder = (self._groups / mount / group.lstrip("/")).resolve()
            while folder.is_relative_to(self._groups / mount):
                found.append(limit_of({name: _read(folder / name) for name in (_MAX, _QUOTA, _PERIOD)}))
                folder = folder.parent
        return found

    def _spent(self, pid: int) -> tuple[int, int] | None:
        words = self._text(f"{pid}/schedstat").split()
        return (int(words[0]), int(words[1])) if len(words) >= 2 else None

    def _text(self, name: str) -> str:
        return _read(self._proc / name)


def busy_ticks(stat: str) -> float:
    """Ticks in which the processors were not idle, stolen ones among them, of the text of ``/proc/stat``."""
    words = stat.split("\n", 1)[0].split()
    if not words or words[0] != "cpu":
        return 0.0
    ticks = [float(word) for word in words[1:9]]
    return sum(ticks) - sum(ticks[3:5])


def limit_of(files: Mapping[str, str]) -> float:
    """Cores that the files of one control group allow; infinity without a limit."""
    words = (files.get(_MAX) or f"{files.get(_QUOTA, '')} {files.get(_PERIOD, '')}").split()
    try:
        quota, period = (float(word) for word in words)
    except ValueError:
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def free_cores(beat: Beat) -> float:
    """Cores that functions have on a host: those that they got, and those that are idle and really there."""
    return beat.ours + max(0.0, beat.cores - beat.busy - beat.waited)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
