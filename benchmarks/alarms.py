"""How early and how surely contention is foretold, and what the stated chances are worth.

Onsets caught at least ten minutes ahead at 5 % and 1 % false alarms, average precision, and the
Brier skill of the chances against a causal climatology; every contender in the same run on the
same information. Without ``--data`` on generated series, which show only that it runs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # CPU is that of one thread, for everyone

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.alarms_panels import Panel, panels  # noqa: E402
from benchmarks.alarms_run import MARGINAL, OURS, RAW, REACTIVE, YESTERDAY, Run, run  # noqa: E402
from benchmarks.alarms_score import FALSE, Truth, brier, caught, climatology, precision  # noqa: E402
from benchmarks.harness import Goal, Report, Spread, main_with  # noqa: E402
from benchmarks.oracle import synthetic  # noqa: E402
from benchmarks.oracle.data import PARTS, Group, load_all  # noqa: E402
from sidestep.fleet.inventory import OracleSpec  # noqa: E402

CAUGHT: Final = 0.55
AGAINST_REACTIVE: Final = 1.2
CONTENDERS: Final = (OURS, RAW, MARGINAL, YESTERDAY, REACTIVE)
#: hours of the day that the stronger climatology tells apart
HOURS: Final = 24
#: what is scored in a quick run
QUICK_DAYS: Final = 2.0
QUICK_SERIES: Final = 20
#: resamples of the series for the interval of a figure
DRAWN: Final = 300
Figures = dict[str, dict[str, float]]


class Scored(NamedTuple):
    """One panel, what came, and what was said."""

    panel: Panel
    truth: Truth
    run: Run


def figures(one: Scored) -> Figures:
    """All figures of one panel, by contender."""
    panel, truth, ran = one
    found: Figures = {"panel": {
        "series": float(panel.values.shape[1]), "onsets": float(len(truth.onsets)),
        "instants": float(truth.counts.sum()), "came": float(truth.came[truth.counts].mean()),
    }}  # fmt: skip
    for name in CONTENDERS:
        score = ran.scores[name]
        found[name] = {f"caught at {share:.0%} false": caught(score, truth, panel, share) for share in FALSE}
        found[name]["average precision"] = precision(score, truth)
    plain, hourly = (climatology(panel, truth, hours) for hours in (1, HOURS))
    here = truth.counts & np.isfinite(ran.scores[OURS])
    base = float(truth.came[here].mean())
    for name in (OURS, RAW, MARGINAL):
        missed = brier(ran.scores[name], truth)
        found[name]["Brier"] = missed
        found[name]["Brier skill"] = 1 - missed / brier(np.where(here, plain, np.nan), truth)
        found[name]["Brier skill against climatology by hour"] = 1 - missed / brier(
            np.where(here, hourly, np.nan), truth
        )
        found[name]["Brier skill against the rate of this very time"] = 1 - missed / (base * (1 - base))
    low, high = skill_interval(one, plain)
    found[OURS] |= {"Brier skill, low": low, "Brier skill, high": high}
    found["panel"] |= proof(one, plain) | {f"{key} ms a step": value for key, value in ran.cost.items()}
    return found


def skill_interval(one: Scored, plain: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the Brier skill, over series drawn anew."""
    here = one.truth.counts & np.isfinite(one.run.scores[OURS])
    losses = [
        np.where(here, np.square(said - one.truth.came), 0.0).sum(axis=0) for said in (one.run.scores[OURS], plain)
    ]
    random = np.random.default_rng(11)
    drawn = random.integers(len(losses[0]), size=(DRAWN, len(losses[0])))
    ours, theirs = (np.nan_to_num(each)[drawn].sum(axis=1) for each in losses)
    low, high = np.quantile(1 - ours / np.maximum(theirs, 1e-12), (0.025, 0.975))
    return float(low), float(high)


def proof(one: Scored, plain: NDArray[np.float64]) -> dict[str, float]:
    """The share of series called proven at the end, and the Brier skill where and when they were."""
    proven, here = one.run.proven, one.truth.counts & np.isfinite(one.run.scores[OURS])
    found = {"proven at the end": float(proven[-1].mean())}
    for name, where in (("proven", here & proven), ("unproven", here & ~proven)):
        if where.any():
            ours, theirs = (np.square(each - one.truth.came)[where].mean() for each in (one.run.scores[OURS], plain))
            found[f"Brier skill while {name}"] = float(1 - ours / max(theirs, 1e-12))
    return found


def goals(done: Iterable[tuple[str, Figures]]) -> list[Goal]:
    """What is to be reached, on hosts where there are any."""
    found = []
    for name, rows in done:
        if not name.endswith("hosts"):
            continue
        for share, wanted in ((FALSE[0], CAUGHT), (FALSE[1], AGAINST_REACTIVE)):
            key = f"caught at {share:.0%} false"
            value, peers = rows[OURS][key], {peer: rows[peer][key] for peer in CONTENDERS[1:]}
            if share == FALSE[1]:
                ratio = value / max(rows[REACTIVE][key], 1e-9)
                found.append(Goal(f"{name}: {key}, over reactive", ratio, "times", wanted, ">="))
            else:
                found.append(Goal(f"{name}: {key}", value, "of onsets", wanted, ">=", peers))
        skills = {peer: rows[peer]["Brier skill"] for peer in (RAW, MARGINAL)}
        found.append(Goal(f"{name}: Brier skill", rows[OURS]["Brier skill"], "", 0.0, ">", skills))
    return found


def chosen(group: Group, given: argparse.Namespace) -> list[Panel]:
    """The panels of a part; in a quick run few series of the last days."""
    if given.quick:
        return panels(group, given.part, draws=1, series=QUICK_SERIES, days=QUICK_DAYS)
    return panels(group, given.part)


def run_all(given: argparse.Namespace) -> Report:
    """How early and how surely contention is foretold, against simple rules."""
    groups = load_all(given.data) if given.data else synthetic.groups(machines=40)
    if given.quick:
        groups = tuple(group for group in groups if group.step >= 120)
    notes = [
        f"part {given.part!r} by machine and by time; model {given.model!r}; limit: the 97.5th percentile of the past "
        "(99th for steps below 2 minutes); window 60 minutes (30); in time: 10 minutes ahead",
        "hosts are sums of the first metric over ten machines, three random divisions; one height of score for all",
    ]
    if not given.data:
        notes.append("SYNTHETIC series, generated: figures show that the benchmark runs, not how good alarms are")
    done: list[tuple[str, Figures]] = []
    for group in groups:
        for panel in chosen(group, given):
            began = time.monotonic()
            truth = Truth.of(panel)
            if not len(truth.onsets):
                notes.append(f"{panel.name}: no onset in this part; left out")
                continue
            done.append((panel.name, figures(Scored(panel, truth, run(panel, given.model)))))
            print(f"{panel.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    shown = {
        f"{name}, {who}": {key: Spread.of([value]) for key, value in rows.items() if math.isfinite(value)}
        for name, found in done
        for who, rows in found.items()
    }
    return Report("alarms", tuple(goals(done)), shown, 1, given.quick, tuple(notes))


def options() -> argparse.ArgumentParser:
    """What this benchmark takes besides --quick and --json."""
    parser = argparse.ArgumentParser(description=run_all.__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="traces (*.npz); without it, generated series")
    parser.add_argument("--part", choices=PARTS, default="sealed", help="machines and time to score (default: sealed)")
    parser.add_argument("--model", default=OracleSpec().model, help="the product's model (default: its default)")
    return parser


if __name__ == "__main__":
    main_with("alarms", run_all, options())
