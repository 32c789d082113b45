"""What the oracle costs: a tick of 10,000 series, flat in history; a fleet in its real process; and sktime's path.

CPU is process time of one thread. The peer is statsforecast's AutoETS, fitted on twenty
series of two days and scaled to as many series.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import time
import warnings

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.harness import Goal, Report, Sample, Spread, interleave, main  # noqa: E402
from benchmarks.oracle.fleets import Fleet, demand, held_bytes, worker_sample  # noqa: E402
from sidestep.fleet.forecast import LEVELS  # noqa: E402
from sidestep.fleet.inventory import OracleSpec  # noqa: E402
from sidestep.forecasting.calibrate import ladder  # noqa: E402
from sidestep.forecasting.horizon import knots_of  # noqa: E402
from sidestep.forecasting.peak import at_knots, raw_chance  # noqa: E402
from sidestep.forecasting.registry import make  # noqa: E402

F64 = NDArray[np.float64]

SERIES = 10_000
STEPS = 60
SEASON = 288.0
#: windows of the peaks, in steps, as the worker asks
WINDOWS = np.array([15, 30, 60])
AGES = (300, 3000)
QUICK_AGES = (300, 900)
LIMIT = 12.0
COLUMNS = 6


class Aged:
    """The default model's core over many series after so many updates, ready for timed ticks."""

    def __init__(self, series: int, age: int) -> None:
        forecaster = make(OracleSpec().model, SEASON, STEPS)
        forecaster.begin(series)
        self.core, self.series = forecaster.core_, series
        self.rows = demand(series)
        self.knots = knots_of(np.asarray(getattr(self.core, "horizons", ladder(STEPS))), STEPS)
        for _ in range(age):
            self.core.observe(next(self.rows))

    def tick(self) -> Sample:
        """CPU ms of learning a row, of quantiles at the knots, of peaks, and of every series' chance of contention.

        ``worker_tick_ms``: with chances of a fifth of the series, as the worker says them of hosts' cpu and memory.
        """
        row, limit = next(self.rows), np.full(self.series, LIMIT)
        marks = [time.process_time()]

        def mark() -> None:
            marks.append(time.process_time())

        self.core.observe(row)
        mark()
        found = np.asarray(self.core.forecast(self.knots, LEVELS))
        mark()
        say = getattr(self.core, "peaks", None)
        peaks = np.asarray(say(WINDOWS, LEVELS)) if say is not None else np.zeros((self.series, 0, len(LEVELS)))
        mark()
        windows = WINDOWS if say is not None else np.zeros(0, np.int64)
        for part in (slice(None), slice(0, self.series // 5)):
            curves = at_knots(found[part], self.knots, STEPS)
            chance = raw_chance(peaks[part], windows, curves, LEVELS, limit[part], STEPS, 1)
            assert chance.shape == limit[part].shape
            mark()
        update, quantiles, top, contention, fifth = (1e3 * (b - a) for a, b in itertools.pairwise(marks))
        return {
            "update_ms": update,
            "quantiles_ms": quantiles,
            "peaks_ms": top,
            "contention_ms": contention,
            "tick_ms": update + quantiles + top + contention,
            "worker_tick_ms": update + quantiles + top + fifth,
        }


def panel_of(block: NDArray[np.floating], first: int) -> pd.DataFrame:
    """(K, S) as sktime's pd-multiindex: instances of COLUMNS columns each."""
    steps, series = block.shape
    hosts = series // COLUMNS
    index = pd.MultiIndex.from_product([range(hosts), range(first, first + steps)], names=["host", "time"])
    wide = block.reshape(steps, hosts, COLUMNS).transpose(1, 0, 2).reshape(-1, COLUMNS)
    return pd.DataFrame(np.asarray(wide, dtype=np.float64), index=index, columns=[f"m{at}" for at in range(COLUMNS)])


def sktime_against_dense(series: int, past: int, ticks: int) -> Sample:
    """CPU ms of update and predict_quantiles through sktime, and the largest difference from the dense path."""
    series -= series % COLUMNS
    rows = demand(series, seed=5)
    block = np.stack([next(rows) for _ in range(past + ticks)]).astype(np.float64)
    public, dense = (make(OracleSpec().model, SEASON, STEPS) for _ in range(2))
    knots = knots_of(np.asarray(ladder(STEPS)), STEPS)
    public.fit(panel_of(block[:past], 0), fh=knots.tolist())
    dense.begin(series)
    dense.observe(block[:past])
    update, predict, gap, size = [], [], 0.0, 1.0
    for at in range(past, past + ticks):
        frame = panel_of(block[at : at + 1], at)
        began = time.process_time()
        public.update(frame)
        between = time.process_time()
        said = public.predict_quantiles(alpha=list(LEVELS))
        update.append(between - began)
        predict.append(time.process_time() - between)
        dense.observe(block[at])
        wanted = dense.forecast_array(knots, LEVELS)
        # instance-major, then time; columns variable-major, then level
        found = said.to_numpy().reshape(series // COLUMNS, len(knots), COLUMNS, len(LEVELS))
        found = found.transpose(0, 2, 1, 3).reshape(series, len(knots), len(LEVELS))
        gap = max(gap, float(np.nanmax(np.abs(found - wanted))))
        size = max(size, float(np.nanmax(np.abs(wanted))))
        if (np.isnan(found) != np.isnan(wanted)).any():
            gap = float("inf")
    return {
        "update_ms": 1e3 * float(np.median(update)),
        "quantiles_ms": 1e3 * float(np.median(predict)),
        "difference": gap,
        "relative_difference": gap / size,
    }


def statistics(series: int) -> Sample:
    """CPU ms of AutoETS for a fleet of ``SERIES``, measured on some; with all quantiles."""
    models = importlib.import_module("statsforecast.models")
    rows = demand(series, seed=9)
    block = np.nan_to_num(np.stack([next(rows) for _ in range(int(2 * SEASON))]).astype(np.float64), nan=1.0)
    bands = sorted({round(100 * abs(2 * level - 1)) for level in LEVELS if level != 0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models.AutoETS(season_length=1).forecast(block[:80, 0], STEPS, level=bands)  # what is compiled is not timed
        began = time.process_time()
        for column in block.T:
            models.AutoETS(season_length=1).forecast(column, STEPS, level=bands)
        spent = time.process_time() - began
    return {"tick_ms": 1e3 * spent / series * SERIES, "each_ms": 1e3 * spent / series}


def run(quick: bool) -> Report:
    """CPU, memory and equality of paths of the registry's default model."""
    runs = 5 if quick else 15
    notes = [f"model {OracleSpec().model!r}; {STEPS} steps, {len(LEVELS)} levels; contention of all series"]
    whole, ages = Aged(SERIES, AGES[0]), QUICK_AGES if quick else AGES
    few = 2000 if quick else SERIES
    young, old = (Aged(few, age) for age in ages)
    contenders = {
        f"tick of {SERIES} series": whole.tick,
        f"{few} series after {ages[0]} updates": young.tick,
        f"{few} series after {ages[1]} updates": old.tick,
    }
    figures = interleave(contenders, runs)
    tick, early, late = (figures[name]["tick_ms"].median for name in contenders)
    state = held_bytes(whole.core) / SERIES
    figures["state"] = {"bytes_a_series": Spread.of([state])}
    peer: dict[str, float] = {}
    try:
        figures["statsforecast AutoETS, scaled"] = interleave({"it": lambda: statistics(5 if quick else 20)}, 1)["it"]
        peer = {"statsforecast AutoETS": figures["statsforecast AutoETS, scaled"]["tick_ms"].median}
    except ImportError as error:
        notes.append(f"statsforecast is not to be had ({error}): pip install -e '.[bench]'")
    public = interleave({"sktime": lambda: sktime_against_dense(1200 if quick else SERIES, 40, 5)}, 1)["sktime"]
    figures["through sktime's API"] = public
    del whole, young, old
    fleet = Fleet(100, 1000) if quick else Fleet(1000, 10_000)
    # as much as the daemon tells of so many series
    past = min(3000, (4 << 20) // fleet.names.series)
    lives = interleave({"worker": lambda: asyncio.run(worker_sample(fleet, past, 8))}, 1 if quick else 3)["worker"]
    figures[f"worker: {fleet.hosts} hosts, {fleet.shards} shards"] = lives
    scale = 1000 / fleet.hosts
    both = (lives["worker_cpu_ms"].median + lives["daemon_cpu_ms"].median) / 1e3 * scale
    goals = (
        Goal(f"update, quantiles and contention of {SERIES} series", tick, "CPU ms", 50.0, "<=", peer),
        Goal(f"tick after {ages[1]} updates against {ages[0]}, no more", late / early, "times", 1.1, "<="),
        Goal(f"tick after {ages[1]} updates against {ages[0]}, no less", late / early, "times", 0.9, ">="),
        Goal("state", state, "bytes a series", 5000.0, "<="),
        Goal("sktime's API against the dense path", public["relative_difference"].median, "of the largest", 1e-6, "<="),
        Goal("tick of 1,000 hosts and 10,000 shards, worker and daemon", both, "CPU s", 0.3, "<="),
        Goal(
            f"worker with {fleet.hosts} hosts and {fleet.shards} shards, peak",
            lives["peak_rss_mb"].median,
            "MB",
            400.0,
            "<=",
        ),
        Goal("first forecast with history present", lives["first_forecast_s"].median, "s", 5.0, "<="),
    )
    if quick:
        notes.append("quick: the fleet is a tenth of the goal's and its tick is scaled up; memory is not")
    notes.append("first forecast is wall time from the spawn of the process, on a machine with the load given")
    return Report("oracle_cost", goals, figures, runs, quick, tuple(notes))


if __name__ == "__main__":
    main("oracle_cost", run)
