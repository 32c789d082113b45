"""Loops of Python functions as shards: exact on whatever is found, and worth it where it is chosen.

``--data DIR`` takes any folder of Python modules; without it, functions of installed packages. Each file is examined
in a process of its own, which imports it and makes it call its functions. Keys stand in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Goal, Report, Spread, main_with
from benchmarks.sharder_contest import contest
from benchmarks.sharder_exact import Counts, many
from benchmarks.sharder_exact import run as run_programs
from benchmarks.sharder_judged import judged
from benchmarks.sharder_kernels import cases
from benchmarks.sharder_mutants import MUTANTS, killed_by
from sidestep.fleet.errors import UsageError
from sidestep.sharding.execute.contract import ShardPolicy

ROOT = Path(__file__).parents[1]
#: of the standard library: modules that compute, and bring doctests or are called by those that do
STANDARD = (
    "statistics", "heapq", "bisect", "difflib", "textwrap", "fractions", "random", "colorsys", "calendar", "string",
    "graphlib", "copy", "quopri", "base64", "ipaddress", "keyword", "tokenize", "json.decoder",
)  # fmt: skip
PACKAGES = ("algorithms", "networkx.algorithms", "pyperformance", "pythran.tests.cases", "numba.tests")
_FILE_S = 90
#: for kernels that take a fraction of a second
_QUICK = ShardPolicy(min_speedup=1.3, min_seconds=0.03)


def files_of(data: str, quick: bool) -> tuple[list[Path], list[str]]:
    """The files to examine, and what is not installed. Raises UsageError for a folder without modules."""
    if data:
        found = sorted(p for p in Path(data).rglob("*.py") if p.name != "__init__.py")
        if not found:
            raise UsageError(f"--data {data}: no Python modules", hint="name a folder that holds some")
        return found[:12] if quick else found, []
    paths, missing = list[Path](), list[str]()
    for name in STANDARD:
        spec = find_spec(name)
        if spec is not None and spec.origin:
            paths.append(Path(spec.origin))
    for name in PACKAGES:
        try:
            spec = find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            missing.append(name)
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        paths += sorted(p for p in folder.rglob("*.py") if "__init__" not in p.name)[: 400 if not quick else 4]
    return paths[:8] if quick else paths, missing


def examined(paths: Sequence[Path], workers: int) -> Iterator[dict[str, Any]]:
    """What a process of its own found in each file, in a folder of its own: what its tests write stays there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}

    def one(path: Path) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.sharder_corpus", str(path.resolve())]
        for given in ([], ["--static"]):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    done = subprocess.run(
                        [*command, *given], capture_output=True, timeout=_FILE_S, env=environment, check=False,
                        stdin=subprocess.DEVNULL, cwd=folder,
                    )  # fmt: skip
                return dict(json.loads(done.stdout.splitlines()[-1]))
            except (subprocess.TimeoutExpired, ValueError, IndexError):
                continue
        return {"file": str(path), "error": "no answer", "functions": 0, "with_loops": 0, "crashes": ["no answer"],
                "loops": [], "mismatches": []}  # fmt: skip

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, paths)


def corpus(paths: Sequence[Path], workers: int) -> tuple[dict[str, float], list[str]]:
    """Figures over all files, and what is to be looked at."""
    sums: collections.Counter[str] = collections.Counter()
    refused: collections.Counter[str] = collections.Counter()
    odd = list[str]()
    for found in examined(paths, workers):
        sums["files"] += 1
        sums["functions"] += found["functions"]
        sums["functions with loops"] += found["with_loops"]
        sums["analysis crashes"] += len(found["crashes"])
        sums["mismatches"] += len(found["mismatches"])
        odd += [f"{found['file']}: {text}" for text in (*found["crashes"], *found["mismatches"])]
        for loop in found["loops"]:
            accepted = loop["kind"] in {"doall", "reduction"}
            sums["for loops"] += 1
            sums["accepted"] += accepted
            sums["accepted and run"] += bool(loop["ran"])
            sums["run as shards"] += loop["sharded"] > 0
            sums["sharded executions"] += loop["sharded"]
            missed = not accepted and loop["order"] == "unseen"
            sums["refused though order is unseen"] += missed
            sums["accepted and run, and seen"] += bool(loop["ran"]) and loop["visible"]
            sums["refused though order is unseen, and seen"] += missed and loop["visible"]
            refused.update(loop["codes"] if missed and loop["visible"] else ())
    figures = {name: float(count) for name, count in sums.items()}
    for name, which in (("recall", ", and seen"), ("recall with loops that nobody sees", "")):
        kept, lost = sums[f"accepted and run{which}"], sums[f"refused though order is unseen{which}"]
        figures[name] = kept / (kept + lost) if kept + lost else 0.0
    odd += [f"order unseen, refused for {code}: {count}" for code, count in refused.most_common(8)]
    return figures, odd


def programs_of_hazards() -> list[Any]:
    """The directed programs of the tests."""
    sys.path.insert(0, str(ROOT / "tests" / "sharding"))
    from hazards import every  # type: ignore[import-not-found]  # noqa: PLC0415 - a folder of tests is no package

    return [(name, h.text, h.arguments) for name, h in every().items()]


def spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Rank correlation; 0 for fewer than three pairs."""
    if len(pairs) < 3:
        return 0.0
    ranks = [_ranks([p[k] for p in pairs]) for k in (0, 1)]
    try:
        return statistics.correlation(*ranks)
    except statistics.StatisticsError:
        return 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [(ordered.index(v) + len(ordered) - 1 - ordered[::-1].index(v)) / 2 for v in values]


def run(arguments: argparse.Namespace) -> Report:
    """Corpus, random programs, mutants and the contest; or only those that are asked for."""
    quick, only = arguments.quick, set(arguments.only or ("corpus", "programs", "mutants", "contest"))
    goals, figures, notes = list[Goal](), dict[str, dict[str, Spread]](), list[str]()
    if "corpus" in only:
        paths, missing = files_of(arguments.data, quick)
        sums, odd = corpus(paths, arguments.workers)
        notes += [f"not installed: {', '.join(missing)}"] * bool(missing) + odd[:20]
        figures["corpus"] = {name: Spread.of([value]) for name, value in sums.items()}
        goals += [
            Goal("analysed without crash", sums.get("analysis crashes", 0), "crashes", 0, "=="),
            Goal("accepted loops that leave something else", sums.get("mismatches", 0), "loops", 0, "=="),
            Goal("recall against the order oracle", sums["recall"], "share", 0.65, ">="),
        ]
    if "programs" in only:
        if arguments.executions:
            counts = many(arguments.executions, arguments.seed, arguments.minutes, arguments.workers)
            goals.append(Goal("sharded executions of random programs", counts.sharded, "", arguments.executions, ">="))
        else:
            counts = run_programs(arguments.programs or (30 if quick else 1000), arguments.seed, Counts())
        figures["programs"] = {
            name: Spread.of([float(value)]) for name, value in (
                ("programs", counts.programs), ("accepted loops", counts.accepted), ("calls", counts.calls),
                ("sharded executions", counts.sharded), ("timeouts", counts.timeouts),
            )
        }  # fmt: skip
        notes += counts.mismatches[:10]
        goals.append(Goal("random programs that leave something else", len(counts.mismatches), "programs", 0, "=="))
    if "mutants" in only:
        hazards = programs_of_hazards()
        alive = [name for name, changes in list(MUTANTS.items())[: 3 if quick else None]
                 if not killed_by(changes, hazards, range(60))]  # fmt: skip
        notes += [f"mutant lives: {name}" for name in alive]
        goals.append(Goal("broken rules that nothing notices", len(alive), "mutants", 0, "=="))
    if "contest" in only:
        _contest(arguments, goals, figures)
    return Report("sharder", tuple(goals), figures, 1, quick, tuple(notes))


def _contest(arguments: argparse.Namespace, goals: list[Goal], figures: dict[str, dict[str, Spread]]) -> None:
    quick, names = arguments.quick, arguments.kernel
    kernels = cases if arguments.tuning else judged
    if quick and not names:
        names = ["mandelbrot", "convolve", "add"] if arguments.tuning else ["julia", "walks", "half", "matrix-vector"]
    size, rounds = (0.2, 1) if quick else (1.0, 3)
    turns = contest(kernels, size, names, _QUICK if quick else ShardPolicy(), rounds)
    most = statistics.median(one.control for one in turns)
    figures["control"] = {"speed-up, wall": Spread.of([one.control for one in turns])}
    for one in turns:
        pairs = list(zip(one.one_wall, one.many_wall, strict=True))
        figures[one.name] = {
            "speed-up, wall": Spread.of([alone / many for alone, many in pairs]),
            "speed-up, CPU chain": Spread.of([one.by_cpu]),
            "predicted": Spread.of([one.predicted]),
            "score": Spread.of([one.score]),
            "chosen": Spread.of([float(one.chosen)]),
            "alone, s": Spread.of(one.one_wall),
            "sent, MB": Spread.of([one.sent / 1e6]),
        }
    chosen, possible = [one for one in turns if one.chosen], [one for one in turns if one.possible]
    goals.append(Goal("kernels that leave something else", sum(not one.exact for one in turns), "runs", 0, "=="))
    if chosen:
        walls = [one.by_wall for one in chosen]
        cpu = statistics.median(one.by_cpu for one in chosen)
        goals += [
            Goal("wall speed-up of what is chosen, median", statistics.median(walls) / most, "of the control", 0.7,
                 ">=", {"the control": most, "CPU chain": cpu}),
            Goal("wall speed-up of what is chosen, worst", min(walls) / most, "of the control", 0.7, ">="),
            Goal("slowest of what is chosen", max(0.0, 1 / min(walls) - 1), "share slower", 0.05, "<="),
        ]  # fmt: skip
    refused = [one.by_wall for one in possible if not one.chosen]
    if refused:
        missed = max(refused) / ShardPolicy().min_speedup
        figures["refused"] = {"best wall speed-up it had had, of the least wanted": Spread.of([missed])}
    if len(possible) > 2:
        pairs = [(one.predicted, one.by_wall) for one in possible]
        goals.append(Goal(f"prediction against wall, {len(possible)} kernels", spearman(pairs), "Spearman", 0.85, ">="))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="", metavar="DIR", help="a folder of Python modules")
    parser.add_argument("--only", action="append", choices=["corpus", "programs", "mutants", "contest"])
    parser.add_argument("--programs", type=int, default=0, help="random programs to run (default 1000)")
    parser.add_argument(
        "--executions", type=int, default=0, metavar="N", help="random programs until their loops ran as shards N times"
    )
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M", help="after which --executions gives up")
    parser.add_argument("--seed", type=int, default=0, help="the first program's seed")
    parser.add_argument("--tuning", action="store_true", help="the contest on the kernels that constants were set by")
    parser.add_argument("--kernel", action="append", default=[], metavar="NAME", help="of the contest, only these")
    parser.add_argument("--workers", type=int, default=2, help="files examined at the same time")
    main_with("sharder", run, parser)
