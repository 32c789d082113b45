"""How well and how fast plans are ordered: rebalancing and relief plans of the product, and swaps in full fleets.

Every order is replayed by the product's independent check; those of the ROADEF/EURO 2012
instances also in integers. CPU seconds are of one thread. Protocol and keys stand in
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # seconds are those of one thread

import numpy as np  # noqa: E402

from benchmarks import ordering_plans as plans  # noqa: E402
from benchmarks.harness import Goal, Report, Spread, main_with  # noqa: E402
from benchmarks.roadef_files import names_in  # noqa: E402
from sidestep.planning.ordering import Caps, Schedule, schedule, verify  # noqa: E402
from sidestep.planning.transfer import DEFAULT_TRANSFER  # noqa: E402

FILLS = (0.8, 0.9, 0.95, 0.97, 0.99)
#: instances of the short run
QUICK = ("a1_5", "b_1", "b_4")
STEP = 300.0
#: cancelled because no order exists: the group holds all it may in every domain, so none of it can be at two hosts
IMPOSSIBLE = "GROUP_FULL"


@dataclass(frozen=True)
class Result:
    """One plan, ordered."""

    kind: str
    name: str
    figures: dict[str, float]
    flaw: str


def measure(case: plans.Case, turns: int) -> Result:
    """Order a plan some times; the CPU seconds are the median's."""
    p, caps = case.problem, Caps(host=4)
    transfer = DEFAULT_TRANSFER.fixed_s + p.bytes / DEFAULT_TRANSFER.bytes_per_s
    over = p.median > p.limit * (1 + 1e-9)
    first = np.where(over.any(axis=1), np.argmax(over, axis=1) % p.steps, -1)
    relieved = np.array([move.relieves for move in case.moves], dtype=np.int64)
    lead = first[relieved] * STEP
    deadlines = np.where(lead >= 0, lead, np.inf)
    seconds, made = list[float](), None
    for _ in range(turns):
        begun = time.process_time()
        made = schedule(p, case.moves, caps=caps, transfer_s=transfer, deadlines=deadlines, step=STEP)
        seconds.append(time.process_time() - begun)
    assert made is not None
    begun = time.process_time()
    flaw = verify(p, made, caps)
    lost = len(made.cancelled)
    impossible = sum(one.code == IMPOSSIBLE for one in made.cancelled)
    figures = {
        "CPU s": statistics.median(seconds), "check CPU s": time.process_time() - begun,
        "moves": float(len(case.moves)), "parks": float(made.parks.sum()),
        "cancelled": float(lost - impossible), "impossible": float(impossible),
        "waves": float(made.wave.max(initial=0)), "waits": float(len(made.after[1])),
        "late": float((made.late > 0).sum()), "delayed": float((made.earliest > 0).sum()),
    }  # fmt: skip
    return Result(case.kind, case.name, {**figures, **in_integers(case, made)}, flaw)


def in_integers(case: plans.Case, made: Schedule) -> dict[str, float]:
    """The same order against an instance's own numbers."""
    if case.exact is None:
        return {}
    columns = (made.shard.astype(np.int64), made.source.astype(np.int64), made.destination.astype(np.int64))
    flaws, loose = plans.rushed(case, *columns, made.wave.astype(np.int64))
    return {"waves that lack room": float(flaws), "waves with looser spread or needs": float(loose)}


def cases(data: Path | None, seconds: float, quick: bool) -> Iterator[plans.Case]:
    """All plans, one after the other."""
    fills = FILLS[1::2] if quick else FILLS
    parts: list[Iterable[plans.Case]] = [
        (plans.big(1, fill) for fill in ((0.97,) if quick else (0.6, 0.9, 0.97, 0.99))),
        (
            plans.stress(fill, shards, seed)
            for fill in fills
            for shards in (10, 40)
            for seed in range(2 if quick else 5)
        ),
        (
            plans.relief(seed, fill, *((300, 6_000) if quick else (1000, 50_000)), 2_000 if quick else 20_000)
            for fill in ((0.8,) if quick else (0.6, 0.8, 0.9))
            for seed in range(1 if quick else 3)
        ),
    ]
    if data is not None:
        names = names_in(data)
        some = [name for name in names if name in QUICK] or names[:1]
        parts.append(plans.roadef(data, some if quick else names, min(seconds, 4.0) if quick else seconds))
    return chain.from_iterable(parts)


def run(arguments: argparse.Namespace) -> Report:
    """Order every plan."""
    turns = 3 if arguments.quick else 5
    results = list[Result]()
    for case in cases(arguments.data, arguments.seconds, arguments.quick):
        results.append(measure(case, turns))
        print(f"{case.kind} {case.name}: {results[-1].figures} {results[-1].flaw}", file=sys.stderr)
    groups = {kind: [r for r in results if r.kind == kind] for kind in dict.fromkeys(r.kind for r in results)}
    goals: list[Goal] = []
    for kind in ("roadef", "relief", "big"):
        if kind in groups:
            most = max(r.figures["CPU s"] for r in groups[kind])
            goals.append(Goal(f"{kind}: slowest order", most, "CPU s", 0.2, "<="))
            lost = sum(r.figures["cancelled"] for r in groups[kind])
            goals.append(Goal(f"{kind}: cancelled", lost, "moves", 0, "=="))
    tight = [r for r in results if r.kind.startswith("stress")]
    share = sum(r.figures["parks"] for r in tight) / max(sum(r.figures["moves"] for r in tight), 1)
    goals += [
        Goal("stress: cancelled", sum(r.figures["cancelled"] for r in tight), "moves", 0, "=="),
        Goal("stress: parks", share, "of moves", 0.002, "<="),
        Goal("flaws found by the check", sum(bool(r.flaw) for r in results), "orders", 0, "=="),
    ]
    if "roadef" in groups:
        none = sum(r.figures["impossible"] for r in groups["roadef"])
        goals.append(Goal("roadef: moves of apps that fill every host", none, "moves", 0, "=="))
        flaws = sum(r.figures["waves that lack room"] for r in groups["roadef"])
        goals.append(Goal("roadef: waves that lack room in integers", flaws, "waves", 0, "=="))
    figures = {
        f"{r.kind}: {r.name}" if r.kind in ("roadef", "relief", "big") else "": {
            key: Spread.of([value]) for key, value in r.figures.items()
        }
        for r in results
    }
    figures.pop("", None)
    for kind, some in groups.items():
        if kind.startswith("stress"):
            figures[kind] = {key: Spread.of([r.figures[key] for r in some]) for key in some[0].figures}
    notes = [f"{r.kind} {r.name}: {r.flaw}" for r in results if r.flaw]
    if arguments.data is None:
        notes.append("no --data: the instances of the challenge were left out")
    return Report("ordering", tuple(goals), figures, turns, arguments.quick, tuple(notes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder with model_NAME.txt and assignment_NAME.txt")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds to rebalance each instance (10)")
    main_with("ordering", run, parser)
