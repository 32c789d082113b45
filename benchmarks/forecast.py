"""How good the oracle's forecasts are, against simple rules, per-series statistics and a global learner.

Rolling origins; every contender in the same run, on the same origins and the same
information. The protocol and the keys of the JSON object stand in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # CPU is that of one thread, for everyone

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.harness import Goal, Report, Spread, main_with  # noqa: E402
from benchmarks.oracle import contest, peers, synthetic  # noqa: E402
from benchmarks.oracle.contest import AHEAD, HORIZONS, Contest, Entry, Plan  # noqa: E402
from benchmarks.oracle.data import PARTS, Group, load_all  # noqa: E402
from benchmarks.oracle.rolling import Online, Run  # noqa: E402
from benchmarks.oracle.rules import RULES  # noqa: E402
from benchmarks.oracle.score import Scores, interval, ratio, rulers, score, truth_at  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.fleet.inventory import OracleSpec  # noqa: E402
from sidestep.forecasting.registry import make  # noqa: E402

F64 = NDArray[np.float64]
Figures = dict[str, dict[str, Spread]]
#: ours and theirs, whose series they are of, and what theirs cost
Compared = tuple[Scores, Scores, NDArray[np.int64], Run]

NEVER_WORSE = 1.02
#: goals of Shows 2: scaled CRPS of ours over theirs
PEER_GOALS = {"AutoARIMA": 0.85, "LightGBM": 0.97}
CPU_GOAL = 1e-3
COVERAGE = {"80": (0.80, 0.03), "95": (0.95, 0.02)}


def maker(model: str) -> Callable[[int, int], Online]:
    """Makes the product's model by name, for demand, as the worker does."""

    def made(series: int, day: int) -> Online:
        forecaster = make(model, float(day), AHEAD)
        forecaster.begin(series)
        return forecaster.core_

    return made


@dataclass
class Tally:
    """Scores of one peer and of ours on the same series and origins, over all groups."""

    ours: list[F64] = field(default_factory=list)
    theirs: list[F64] = field(default_factory=list)
    machine: list[NDArray[np.int64]] = field(default_factory=list)
    cpu: float = 0.0
    forecasts: int = 0

    def add(self, ours: Scores, theirs: Scores, machine: NDArray[np.int64], run: Run) -> tuple[float, float, float]:
        """Add one group; its own ratio and interval."""
        shift = max((int(each.max()) + 1 for each in self.machine), default=0)
        self.ours.append(ours.crps)
        self.theirs.append(theirs.crps)
        self.machine.append(machine + shift)
        self.cpu += run.learning + run.forecasting
        self.forecasts += run.found.shape[0] * run.found.shape[1]
        return ratio(ours.crps, theirs.crps), *interval(ours.crps, theirs.crps, machine)

    def ratio(self) -> tuple[float, float, float]:
        """Median over all series of ours over theirs, and its interval."""
        ours, theirs = np.concatenate(self.ours), np.concatenate(self.theirs)
        return ratio(ours, theirs), *interval(ours, theirs, np.concatenate(self.machine))

    @property
    def each(self) -> float:
        """CPU seconds per series-forecast."""
        return self.cpu / max(1, self.forecasts)


def sure(found: tuple[float, float, float], count: int) -> Spread:
    """A ratio with its interval in the place of lowest and highest, where there is one."""
    middle, low, high = found
    return Spread(middle, low if math.isfinite(low) else middle, high if math.isfinite(high) else middle, count)


def figures_of(found: Contest) -> Figures:
    """The figures of one group: ratios, scores and coverage at every age."""
    name = found.group
    rows: Figures = {f"{what}: {name}": {} for what in ("never worse", "scaled CRPS", "coverage")}
    for entry in found.entries:
        label = entry.label + (", 20% missing" if entry.missing else "")
        rows[f"never worse: {name}"][label] = sure(entry.versus(), len(entry.machine))
        for who, scores in entry.scores.items():
            rows[f"scaled CRPS: {name}"][f"{who} {label}"] = Spread.of([scores.median])
            rows[f"scaled CRPS: {name}"][f"{who} {label} mean"] = Spread.of([scores.mean])
        ours = entry.scores["product"]
        for key, values in (
            ("80", ours.cover80),
            ("95", ours.cover95),
            ("fair 80", ours.fair80),
            ("fair 95", ours.fair95),
        ):
            rows[f"coverage: {name}"][f"{key} {label}"] = Spread.of([_middle(np.nanmean, values)])
            rows[f"coverage: {name}"][f"{key} {label} median"] = Spread.of([_middle(np.nanmedian, values)])
    for band in COVERAGE:
        for kind in ("", "fair "):
            rows[f"coverage: {name}"][f"{kind}{band} from 2 h, 20% missing"] = Spread.of([coverage(found, kind, band)])
    cpu = {"learning us a series and step": found.learning, "forecasting us a series": found.forecasting}
    rows[f"product: {name}"] = {key: Spread.of([value * 1e6]) for key, value in cpu.items()}
    rows[f"product: {name}"] |= {
        "series": Spread.of([found.part.values.shape[1]]),
        "machines": Spread.of([len(np.unique(found.part.machine))]),
        "origins": Spread.of([len(found.origins)]),
    }
    return rows


def _middle(of: Callable[[F64], np.floating], values: F64) -> float:
    return float(of(values)) if np.isfinite(values).any() else math.nan


def coverage(found: Contest, kind: str, band: str) -> float:
    """Mean over ages from two hours on, and grown, of the mean over series; a fifth of the samples missing."""
    field_ = ("fair" if kind else "cover") + band
    each = [_middle(np.nanmean, getattr(entry.scores["product"], field_)) for entry in found.old_enough]
    return float(np.nanmean(each)) if np.isfinite(each).any() else math.nan


def against(found: Contest, plan: Plan, name: str, learner: peers.Lightgbm | None) -> Compared:
    """Ours and a peer's scores on some of the group's series and origins, whose they are, and the peer's run."""
    count = found.part.values.shape[1]
    random = np.random.default_rng(31)
    if learner is not None:
        rows, at = np.arange(count), np.arange(len(found.origins))
        run = learner.run(found.part, found.origins)
    else:
        rows = np.sort(random.choice(count, min(plan.peer_series, count), replace=False))
        at = np.unique(np.linspace(0, len(found.origins) - 1, plan.peer_origins + 2).round().astype(int)[1:-1])
        run = peers.statistical(name, found.part, found.origins[at], rows)
    truth = truth_at(found.part.values, found.origins[at], HORIZONS)[:, rows]
    scale = rulers(found.part.values, found.origins[at], found.part.day)[:, rows]
    ours = score(truth, found.product.found[at][:, rows], scale)
    return ours, score(truth, run.found, scale), found.part.machine[rows], run


def goals_of(found: Sequence[Contest], tallies: dict[str, Tally], ours: float) -> Iterable[Goal]:
    """Shows 1 to 3 of the oracle."""
    worst: list[tuple[float, str]] = []
    whole: list[tuple[float, str]] = []
    for each in found:
        plain = [entry for entry in each.entries if not entry.missing]
        worst += [(entry.versus()[0], f"{each.group}, {entry.label}") for entry in plain]
        whole.append((overall(plain), each.group))
    for kind, rows in (("group and age", worst), ("group, all ages", whole)):
        finite = [row for row in rows if math.isfinite(row[0])]
        if finite:
            value, where = max(finite)
            name = f"never worse than the best simple rule, worst {kind} ({where})"
            yield Goal(name, value, "of its scaled CRPS", NEVER_WORSE, "<=")
    for name, goal in PEER_GOALS.items():
        if name in tallies:
            yield Goal(f"accuracy against {name}", tallies[name].ratio()[0], "of its scaled CRPS", goal, "<=")
    if "AutoARIMA" in tallies:
        cpu = ours / tallies["AutoARIMA"].each
        yield Goal("CPU against AutoARIMA", cpu, "of its CPU per series-forecast", CPU_GOAL, "<=")
    for band, (wanted, slack) in COVERAGE.items():
        for kind in ("", "fair "):
            rows = [(abs(coverage(each, kind, band) - wanted), each.group) for each in found]
            value, where = max(row for row in rows if math.isfinite(row[0]))
            said = f"{kind}coverage of the {band} % band from 2 h with 20 % missing, farthest group ({where})"
            yield Goal(said, value, f"from {wanted}", slack, "<=")


def overall(entries: Sequence[Entry]) -> float:
    """Geometric mean over ages of the product's median over that of the one rule that is best over all ages."""
    products = np.log([max(entry.scores["product"].median, 1e-9) for entry in entries])
    rules = {name: np.log([max(entry.scores[name].median, 1e-9) for entry in entries]) for name in RULES}
    return float(np.exp(np.nanmean(products) - min(np.nanmean(each) for each in rules.values())))


def learned(groups: Sequence[Group], wanted: Sequence[str], quick: bool, notes: list[str]) -> peers.Lightgbm | None:
    """LightGBM fitted for this run, if it is wanted and to be had."""
    if "LightGBM" not in wanted:
        return None
    learner = peers.lightgbm(groups, peers.QUICK if quick else peers.Effort())
    print(f"LightGBM learned: {learner.cpu:.0f} CPU s", file=sys.stderr, flush=True)
    notes.append(f"LightGBM: {learner.settings}, learned in {learner.cpu:.0f} CPU s, not counted in its cost")
    return learner


def run(given: argparse.Namespace) -> Report:
    """Scores the product's default model on every group of a directory."""
    groups = load_all(given.data) if given.data else synthetic.groups()
    notes = [
        f"part {given.part!r} by machine and by time; model {given.model!r}; horizons {HORIZONS.tolist()} of 1 to 30"
    ]
    if not given.data:
        notes.append("SYNTHETIC series, generated: figures show that the benchmark runs, not how good forecasts are")
    absent = peers.missing_packages()
    notes += absent.values()
    lacks = {"LightGBM": "lightgbm"}
    asked = [] if given.peers == "none" else given.peers.split(",")
    for name in asked:
        if name not in (*peers.STATISTICAL, "LightGBM"):
            raise UsageError(
                f"unknown peer {name!r}", hint=f"name some of {', '.join(peers.STATISTICAL)}, LightGBM; or none"
            )
    wanted = [name for name in asked if lacks.get(name, "statsforecast") not in absent]
    plan = contest.QUICK if given.quick else Plan()
    learner = learned(groups, wanted, given.quick, notes)
    done: list[Contest] = []
    figures: Figures = {}
    tallies: dict[str, Tally] = {}
    for group in groups:
        began = time.monotonic()
        found = contest.contest(group, given.part, plan, maker(given.model))
        if found is None:
            notes.append(f"{group.name}: no series moves in this part; left out")
            continue
        done.append(found)
        figures |= figures_of(found)
        for name in wanted:
            compared = against(found, plan, name, learner if name == "LightGBM" else None)
            both = tallies.setdefault(name, Tally()).add(*compared)
            figures.setdefault(f"against {name}", {})[group.name] = sure(both, len(compared[2]))
        print(f"{group.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    ours = float(np.mean([each.learning + each.forecasting for each in done])) if done else math.nan
    for name, tally in tallies.items():
        figures[f"against {name}"]["all groups"] = sure(tally.ratio(), sum(map(len, tally.machine)))
        figures[f"against {name}"]["CPU ms a series-forecast"] = Spread.of([tally.each * 1e3])
    figures["product"] = {"CPU us a series-forecast": Spread.of([ours * 1e6])}
    finite = {
        name: {key: each for key, each in rows.items() if math.isfinite(each.median)} for name, rows in figures.items()
    }
    notes.append("low and high of ratios are the 95 % interval over machines drawn anew")
    return Report(
        "forecast", tuple(goals_of(done, tallies, ours)) if done else (), finite, 1, given.quick, tuple(notes)
    )


def options() -> argparse.ArgumentParser:
    """What this benchmark takes besides --quick and --json."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="traces (*.npz); without it, generated series")
    parser.add_argument("--part", choices=PARTS, default="sealed", help="machines and time to score (default: sealed)")
    parser.add_argument("--model", default=OracleSpec().model, help="the product's model (default: its default)")
    parser.add_argument(
        "--peers", default="AutoARIMA,LightGBM", help="of AutoARIMA, AutoETS, AutoTheta, LightGBM; or none (commas)"
    )
    return parser


if __name__ == "__main__":
    main_with("forecast", run, options())
