"""The contest: a kernel as it is, as shards on real worker processes, and the control that ships nothing.

All speed-ups are of wall clocks, kernel and shards in turns; CPU seconds of the longest chain (the coordinator's plus
the busiest worker's) stand beside them. Kernels that are not chosen are sharded all the same, by force, so that what
was predicted of them can be judged as well. The control is two warm processes that do work of their own at once.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sidestep.sharding import codec
from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.local import LocalProcesses
from sidestep.sharding.execute.planned import Sharded
from sidestep.sharding.score.choosing import ChosenPlan, chosen_plan

Kernels = Mapping[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]]]]
#: what pipes between processes of one machine give
PIPES: Final = Network(bytes_per_s=1e9, latency_s=3e-4)
_TICK: Final = os.sysconf("SC_CLK_TCK")
_CONTROL: Final = """
import sys
def work(n):
    s = 0
    for i in range(n):
        s += i * i % 7
    return s
work(1000)
for line in sys.stdin:
    work(int(line))
    print(flush=True)
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was predicted of one kernel, and seconds of its runs."""

    name: str
    #: whether it is sharded by the policy, and whether it can be at all
    chosen: bool
    possible: bool
    exact: bool
    predicted: float
    score: float
    one_wall: tuple[float, ...]
    one_cpu: tuple[float, ...]
    many_wall: tuple[float, ...]
    many_cpu: tuple[float, ...]
    control: float
    sent: int
    fallbacks: tuple[str, ...]

    @property
    def by_cpu(self) -> float:
        """Speed-up in CPU seconds of the longest chain."""
        return statistics.median(self.one_cpu) / max(statistics.median(self.many_cpu), 1e-9)

    @property
    def by_wall(self) -> float:
        """Speed-up in wall seconds."""
        return statistics.median(self.one_wall) / max(statistics.median(self.many_wall), 1e-9)


class Control:
    """Processes that do work which needs nothing: the most that shards can gain on this machine at this moment."""

    def __init__(self, workers: int, loops: int = 3_000_000) -> None:
        self._loops = loops
        self._started = [
            subprocess.Popen([sys.executable, "-c", _CONTROL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(workers)
        ]
        self.gain()

    def gain(self) -> float:
        """How many times faster all of them do what one does alone."""
        alone = self._seconds(self._started[:1], self._loops * len(self._started))
        return alone / self._seconds(self._started, self._loops)

    def _seconds(self, some: Sequence[subprocess.Popen[str]], loops: int) -> float:
        begun = time.perf_counter()
        for process in some:
            assert process.stdin is not None
            process.stdin.write(f"{loops}\n")
            process.stdin.flush()
        for process in some:
            assert process.stdout is not None
            process.stdout.readline()
        return time.perf_counter() - begun

    def close(self) -> None:
        """End them."""
        for process in self._started:
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
            process.wait()


def idle_share(seconds: float = 0.3) -> float:
    """The share of this machine's cores that nobody uses, by the kernel's account of so many seconds."""

    def look() -> tuple[float, float]:
        ticks = [float(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    whole, idle = look()
    time.sleep(seconds)
    later = look()
    return (later[1] - idle) / max(later[0] - whole, 1.0)


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def contest(
    kernels: Callable[[float], Kernels], size: float, names: Sequence[str], policy: ShardPolicy, rounds: int,
    workers: int = 2,
) -> list[Turn]:  # fmt: skip
    """Every kernel planned, run as it is and as shards in turns, on workers that were started before."""
    found, control = list[Turn](), Control(workers)
    with LocalProcesses(workers) as executor:
        for name in names or list(kernels(size)):
            found.append(turn(name, kernels, size, executor, policy, rounds, control))
            print(told(found[-1]), file=sys.stderr, flush=True)
    control.close()
    return found


def told(one: Turn) -> str:
    """One kernel in a line."""
    how = "chosen" if one.chosen else "refused" if one.possible else "cannot"
    return (
        f"{one.name:14} {how:7} predicted {one.predicted:5.2f} wall {one.by_wall:5.2f} CPU chain {one.by_cpu:5.2f} "
        f"control {one.control:.2f} alone {statistics.median(one.one_wall):.2f} s sent {one.sent / 1e6:.1f} MB "
        f"{' '.join(sorted(set(one.fallbacks)))}"
    )


def turn(
    name: str, kernels: Callable[[float], Kernels], size: float, executor: LocalProcesses, policy: ShardPolicy,
    rounds: int, control: Control,
) -> Turn:  # fmt: skip
    """One kernel."""
    function, make = kernels(size)[name]
    free = min(1.0, idle_share())
    hosts = [HostShare(str(n), cores=free) for n in range(executor.workers)]
    plan = chosen_plan(function, make(), {}, hosts=hosts, network=PIPES, policy=policy, profile=True, force=False)
    chosen, possible, predicted = bool(plan.blocks), bool(plan.candidates), plan.found.speedup
    if not chosen and plan.prepared is not None and possible:
        # What would have come of it: all its loops, as the prediction of all has it.
        plan = replace(plan, sharded=Sharded.of(plan.prepared, [one.verdict for one in plan.candidates]))
        predicted = plan.found.forced
    plan.run(executor, kernels(size / 20)[name][1]())  # workers are long-lived: what they compile once is not counted
    outcomes, one, many = list[object](), list[tuple[float, float]](), list[tuple[float, float]]()
    gains, sent, why = list[float](), 0, tuple[str, ...]()
    # What is refused may lose by a factor of ten: once is enough to know.
    for n in range(rounds if chosen else 1):
        first = not n
        gains.append(control.gain())
        value, *seconds = _timed(lambda args: (function(*args), 0, ()), make(), executor)
        outcomes += [codec.canonical(value[0])] if first else []
        one.append((seconds[0], seconds[1]))
        value, *seconds = _timed(lambda args: _planned(plan, executor, args), make(), executor)
        outcomes += [codec.canonical(value[0])] if first else []
        many.append((seconds[0], seconds[1]))
        sent, why = value[1], value[2]
    return Turn(
        name=name, chosen=chosen, possible=possible, exact=all(o == outcomes[0] for o in outcomes),
        predicted=predicted, score=plan.found.value,
        one_wall=tuple(w for w, _ in one), one_cpu=tuple(c for _, c in one),
        many_wall=tuple(w for w, _ in many), many_cpu=tuple(c for _, c in many), control=statistics.median(gains),
        sent=sent, fallbacks=why,
    )  # fmt: skip


def _planned(plan: ChosenPlan, executor: LocalProcesses, args: tuple[Any, ...]) -> tuple[Any, int, tuple[str, ...]]:
    outcome = plan.run(executor, args)
    return outcome.value, outcome.sent, outcome.fallbacks


def _timed(
    call: Callable[[tuple[Any, ...]], tuple[Any, int, tuple[str, ...]]], args: tuple[Any, ...], executor: LocalProcesses
) -> tuple[tuple[object, int, tuple[str, ...]], float, float]:
    """What a call leaves, with what it said of itself; its wall seconds, and those of CPU in the longest chain."""
    executor.run([])
    pids = executor.pids
    before = [_cpu_of(pid) for pid in pids]
    wall, cpu = time.perf_counter(), time.process_time()
    value, sent, why = call(args)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    busiest = max((_cpu_of(pid) - b for pid, b in zip(pids, before, strict=True)), default=0.0)
    return ([value, list(args)], sent, why), wall, cpu + busiest
