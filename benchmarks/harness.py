"""One harness for every benchmark: interleaved runs, medians, and one JSON object.

A benchmark declares contenders (ours and the peers) and goals. The contenders run in
turns, A B C A B C, so that a busy moment of the machine hits all of them; a figure is the
median over the turns, with its spread beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sidestep.fleet.errors import UsageError

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """A figure that is to be reached: ``value op goal`` in ``unit``; missed is said as missed."""

    name: str
    value: float
    unit: str
    goal: float
    op: str
    peers: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the value meets the goal."""
        return {"<": self.value < self.goal, "<=": self.value <= self.goal, ">": self.value > self.goal,
                ">=": self.value >= self.goal, "==": self.value == self.goal}[self.op]  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """The goal as the JSON schema has it."""
        return {**asdict(self), "holds": self.holds}


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of one figure over the runs."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Report:
    """What one benchmark found."""

    benchmark: str
    goals: tuple[Goal, ...]
    figures: Mapping[str, Mapping[str, Spread]]
    runs: int
    quick: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The one object that ``--json`` prints."""
        return {
            "benchmark": self.benchmark,
            "machine": machine(),
            "runs": self.runs,
            "quick": self.quick,
            "goals": [goal.to_json() for goal in self.goals],
            "figures": {name: {k: asdict(v) for k, v in rows.items()} for name, rows in self.figures.items()},
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """The same for people."""
        lines = [f"{self.benchmark}: {self.runs} runs{' (quick)' if self.quick else ''}"]
        for goal in self.goals:
            verdict = "holds " if goal.holds else "MISSED"
            peers = "".join(f"; {name} {value:.4g}" for name, value in goal.peers.items())
            lines.append(f"  {verdict} {goal.name}: {goal.value:.4g} {goal.unit} (goal {goal.op} {goal.goal:g}{peers})")
        for name, rows in self.figures.items():
            for key, spread in rows.items():
                lines.append(f"  {name} {key}: {spread.median:.4g} ({spread.low:.4g} to {spread.high:.4g})")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "cores": os.cpu_count() or 0,
        "cpu": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def interleave(contenders: Mapping[str, Callable[[], Sample]], runs: int) -> dict[str, dict[str, Spread]]:
    """Run every contender ``runs`` times in turns; the spread of every figure each returned."""
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            for key, value in run().items():
                seen[name].setdefault(key, []).append(value)
    return {name: {key: Spread.of(values) for key, values in rows.items()} for name, rows in seen.items()}


class ChildClock:
    """CPU and wall seconds of the child processes that ended inside the ``with`` block."""

    cpu = 0.0
    wall = 0.0

    def __enter__(self) -> ChildClock:
        self._before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.wall = time.perf_counter() - self._started
        self.cpu = after.ru_utime + after.ru_stime - self._before.ru_utime - self._before.ru_stime


def main(name: str, run: Callable[[bool], Report]) -> None:
    """The command line of a benchmark; exits 0 whether goals hold or not: a miss is a result."""
    main_with(name, lambda arguments: run(arguments.quick), argparse.ArgumentParser(description=run.__doc__))


def main_with(name: str, run: Callable[[argparse.Namespace], Report], parser: argparse.ArgumentParser) -> None:
    """The same for a benchmark with options of its own; bad input ends with its message and status 2."""
    parser.prog = f"python -m benchmarks.{name}"
    parser.add_argument("--quick", action="store_true", help="end within 60 seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        report = run(arguments)
    except UsageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(report.to_json(), indent=2) if arguments.json else report.to_text())
    sys.stdout.flush()
