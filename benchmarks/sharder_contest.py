"""The contest: a kernel as it is, as shards on real worker processes, and the control that ships nothing.

Wall seconds, and CPU seconds of the longest chain (the coordinator's plus the busiest worker's), which other load on
the machine disturbs less. The control runs the kernel's own work in as many processes at once, without any data.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sharder_kernels import cases
from sidestep.sharding import codec
from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.local import LocalProcesses
from sidestep.sharding.score.choosing import ChosenPlan, chosen_plan

_TICK = os.sysconf("SC_CLK_TCK")
_CONTROL = "import time;b=time.process_time()\ns=0\nfor i in range({n}): s+=i*i%7\nprint(time.process_time()-b)"


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of one kernel in one turn."""

    name: str
    chosen: bool
    exact: bool
    predicted: float
    one_wall: float
    one_cpu: float
    many_wall: float
    many_cpu: float
    sent: int
    fallbacks: tuple[str, ...]

    @property
    def by_cpu(self) -> float:
        """Speed-up in CPU seconds of the longest chain."""
        return self.one_cpu / max(self.many_cpu, 1e-9)

    @property
    def by_wall(self) -> float:
        """Speed-up in wall seconds."""
        return self.one_wall / max(self.many_wall, 1e-9)


def control(workers: int, loops: int) -> float:
    """How much faster that many processes do work that needs nothing: the most that shards can reach here."""
    alone = _control(1, loops * workers)
    return alone / _control(workers, loops)


def _control(count: int, loops: int) -> float:
    command = [sys.executable, "-c", _CONTROL.format(n=loops)]
    begun = time.perf_counter()
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    for process in started:
        process.wait()
    return time.perf_counter() - begun


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def turn(name: str, size: float, executor: LocalProcesses, policy: ShardPolicy, force: bool) -> Turn:
    """One kernel: planned, run as it is, run as planned."""
    function, make = cases(size)[name]
    plan = chosen_plan(
        function, make(), {}, hosts=[HostShare(str(n)) for n in range(executor.workers)],
        network=Network(bytes_per_s=1e9, latency_s=3e-4), policy=policy, profile=True, force=force,
    )  # fmt: skip
    _planned(plan, executor, make())  # workers are long-lived: what they import and compile once is not counted
    expected, wall, cpu, _ = _timed(function, make(), executor)
    outcome, many_wall, many_cpu, why = _timed(lambda *args: _planned(plan, executor, args), make(), executor)
    return Turn(
        name=name, chosen=bool(plan.blocks), exact=expected == outcome, predicted=plan.found.speedup, one_wall=wall,
        one_cpu=cpu, many_wall=many_wall, many_cpu=many_cpu, sent=why[0], fallbacks=why[1],
    )  # fmt: skip


_LAST: list[tuple[int, tuple[str, ...]]] = [(0, ())]


def _planned(plan: ChosenPlan, executor: LocalProcesses, args: tuple[Any, ...]) -> Any:
    outcome = plan.run(executor, args)
    _LAST[0] = outcome.sent, outcome.fallbacks
    return outcome.value


def _timed(
    function: Callable[..., Any], args: tuple[Any, ...], executor: LocalProcesses
) -> tuple[object, float, float, tuple[int, tuple[str, ...]]]:
    executor.run([])
    pids = executor.pids
    before = [_cpu_of(pid) for pid in pids]
    wall, cpu = time.perf_counter(), time.process_time()
    value = function(*args)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    busiest = max((_cpu_of(pid) - b for pid, b in zip(pids, before, strict=True)), default=0.0)
    return codec.canonical([value, list(args)]), wall, cpu + busiest, _LAST[0]
