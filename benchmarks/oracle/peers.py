"""Peers: per-series models of statsforecast, and one global LightGBM for all groups.

statsforecast sees the last two days, holes filled with the last value, and (AutoARIMA) sines
and cosines of the day once a day is known. What they say is clipped to [0, 3 x the highest
recent value]; what is not finite becomes the last value. LightGBM sees the product's own
features and the horizon, one model for each level; it learns from the fit part and its
settings are chosen on the choose part.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.contest import AHEAD, HORIZONS
from benchmarks.oracle.data import Group, Part, PartName, part_of
from benchmarks.oracle.rolling import Run, roll
from benchmarks.oracle.rules import filled
from benchmarks.oracle.score import LEVELS, crps

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: pairs of sine and cosine of the day
FOURIER: Final = 3
#: two-sided bands of statsforecast, in per cent, that hold all of LEVELS
BANDS: Final = (50, 80, 90, 95, 98)
STATISTICAL: Final = ("AutoARIMA", "AutoETS", "AutoTheta")
EXTRA: Final = "pip install -e '.[bench]'"


def missing_packages() -> dict[str, str]:
    """What is not installed, and what to do about it."""
    found = {}
    for name in ("statsforecast.models", "lightgbm"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            found[name.split(".")[0]] = f"{name.split('.')[0]} is not to be had ({error}): {EXTRA}"
    return found


def statistical(name: str, part: Part, origins: I64, rows: I64) -> Run:
    """A statsforecast model fitted anew for every series and origin; found (O, len(rows), B, Q)."""
    models = importlib.import_module("statsforecast.models")
    values = filled(part.values[:, rows])
    _one(models, name, 1.0 + np.random.default_rng(1).random(80), None)  # what is compiled is not timed
    started = time.process_time()
    found = np.empty((len(origins), len(rows), len(HORIZONS), len(LEVELS)))
    for at, origin in enumerate(origins.tolist()):
        for column in range(len(rows)):
            known = values[max(0, origin - 2 * part.day) : origin, column]
            known = known[np.isfinite(known)]
            found[at, column] = _guarded(models, name, known, part.day)
    return Run(found, 0.0, time.process_time() - started)


def _guarded(models: Any, name: str, known: F64, day: int) -> F64:
    """(B, Q) of one series, whatever the model does."""
    if not len(known):
        return np.zeros((len(HORIZONS), len(LEVELS)))
    last = np.full((len(HORIZONS), len(LEVELS)), known[-1])
    if len(known) < 3 or np.ptp(known) == 0:
        return last
    turns = None
    if name == "AutoARIMA" and len(known) >= day:
        turn = 2 * np.pi * np.arange(len(known) + AHEAD)[:, None] / day * np.arange(1, FOURIER + 1)
        turns = np.concatenate([np.sin(turn), np.cos(turn)], axis=1)
    try:
        said = _one(models, name, known, turns)
    except Exception:  # noqa: BLE001 - a model that gives up is served as the last value, as the guard says
        return last
    said = np.where(np.isfinite(said), said, last)
    return np.sort(np.clip(said, 0.0, 3.0 * max(float(known.max()), 0.0)), axis=-1)


def _one(models: Any, name: str, known: F64, turns: F64 | None) -> F64:
    """(B, Q) as the model says it."""
    exogenous = {} if turns is None else {"X": turns[: len(known)], "X_future": turns[len(known) :]}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        said = getattr(models, name)(season_length=1).forecast(known, AHEAD, level=list(BANDS), **exogenous)
    columns = []
    for level in LEVELS:
        band = f"{'lo' if level < 0.5 else 'hi'}-{round(100 * abs(2 * level - 1))}"
        columns.append(np.asarray(said["mean" if level == 0.5 else band], dtype=np.float64)[HORIZONS - 1])
    return np.stack(columns, axis=-1)


# --- LightGBM ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    """How much LightGBM may learn from: rows to fit and to choose by, trees, settings tried, series and steps read."""

    rows: int = 150_000
    trial_rows: int = 50_000
    trees: int = 400
    trials: int = 4
    series: int = 150
    steps: int = 8000


QUICK: Final = Effort(rows=8_000, trial_rows=0, trees=40, trials=1, series=40, steps=700)
#: settings that are tried, the likeliest first
SETTINGS: Final[tuple[dict[str, float], ...]] = (
    {"num_leaves": 31, "learning_rate": 0.06, "min_data_in_leaf": 100, "feature_fraction": 0.6},
    {"num_leaves": 15, "learning_rate": 0.06, "min_data_in_leaf": 200, "feature_fraction": 0.6},
    {"num_leaves": 63, "learning_rate": 0.04, "min_data_in_leaf": 200, "feature_fraction": 0.4},
    {"num_leaves": 31, "learning_rate": 0.03, "min_data_in_leaf": 300, "feature_fraction": 0.8},
)
TRIED_LEVELS: Final = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Rows:
    """Samples: features with the horizon last (n, F), and outcomes (n,) as distances in units of the scale."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]


class Learner:
    """Feature memory of many series that can be asked for features and for quantiles."""

    def __init__(self, series: int, day: int, boosters: Sequence[Any] = ()) -> None:
        self._features = importlib.import_module("sidestep.forecasting.network.features")
        memory = importlib.import_module("sidestep.forecasting.network.memory")
        self.memory = memory.Memory(series, float(day))
        self._boosters = boosters

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn rows (K, S)."""
        for row in np.atleast_2d(values):
            self.memory.observe(row)

    def features(self) -> tuple[NDArray[np.float32], F64, F64]:
        """(S, F) features, (S,) location and (S,) scale in the series' own units."""
        found, location, scale = self._features.features(self.memory)
        return found, location + self.memory.anchor[0], np.asarray(scale, dtype=np.float64)

    def forecast(self, steps: I64, levels: tuple[float, ...]) -> F64:
        """(S, T, Q) in order, never below 0."""
        x, location, scale = self.features()
        count = len(x)
        wide = np.concatenate([np.tile(x, (len(steps), 1)), np.repeat(steps, count)[:, None]], axis=1)
        said = [each.predict(wide, num_threads=1).reshape(len(steps), count) for each in self._boosters]
        found = location[:, None, None] + scale[:, None, None] * np.stack(said, axis=-1).transpose(1, 0, 2)
        ordered: F64 = np.maximum(np.sort(found, axis=-1), 0.0)
        return ordered


@dataclass(frozen=True)
class Lightgbm:
    """Boosters, one for each of LEVELS, the settings that were chosen, and the CPU seconds of learning."""

    boosters: tuple[Any, ...]
    settings: dict[str, float]
    cpu: float

    def run(self, part: Part, origins: I64) -> Run:
        """Its quantiles for all series of the part."""
        return roll(Learner(part.values.shape[1], part.day, self.boosters), part.values, origins, HORIZONS, LEVELS)


def lightgbm(groups: Sequence[Group], effort: Effort, seed: int = 21) -> Lightgbm:
    """Learn from every group's fit part alike; choose settings and number of trees on the choose part."""
    started = time.process_time()
    learn = rows_of(groups, "fit", effort.rows, effort, seed)
    settings, trees = SETTINGS[0], effort.trees
    if effort.trials > 1:
        held = rows_of(groups, "choose", effort.trial_rows // 2, effort, seed + 1)
        tried = []
        for each in SETTINGS[: effort.trials]:
            fitted = [_fit(learn, level, each, effort.trees, held, effort.trial_rows) for level in TRIED_LEVELS]
            loss = np.mean([_loss(booster, held, level) for booster, level in zip(fitted, TRIED_LEVELS, strict=True)])
            tried.append((float(loss), each, max(20, round(np.mean([booster.best_iteration for booster in fitted])))))
        _, settings, trees = min(tried, key=lambda entry: entry[0])
        # more rows carry more trees
        trees = min(effort.trees, round(1.2 * trees))
    boosters = tuple(_fit(learn, level, settings, trees, None, 0) for level in LEVELS)
    return Lightgbm(boosters, {**settings, "trees": trees}, time.process_time() - started)


def _fit(rows: Rows, level: float, settings: dict[str, float], trees: int, held: Rows | None, most: int) -> Any:
    library = importlib.import_module("lightgbm")
    x, y = (rows.x[:most], rows.y[:most]) if most else (rows.x, rows.y)
    fixed = {"objective": "quantile", "alpha": level, "verbosity": -1, "num_threads": 1, "seed": 1, "max_bin": 127}
    data = library.Dataset(x, y, params={"verbosity": -1, "max_bin": 127}, free_raw_data=False)
    if held is None:
        return library.train({**fixed, **settings}, data, num_boost_round=trees)
    stop = [library.early_stopping(25, verbose=False)]
    valid = [library.Dataset(held.x, held.y, reference=data, params={"verbosity": -1})]
    return library.train({**fixed, **settings}, data, num_boost_round=trees, valid_sets=valid, callbacks=stop)


def _loss(booster: Any, held: Rows, level: float) -> float:
    said = booster.predict(held.x, num_threads=1)
    return float(crps(held.y.astype(np.float64), said[:, None], np.array([level])).mean())


def rows_of(groups: Sequence[Group], part: PartName, count: int, effort: Effort, seed: int) -> Rows:
    """Samples of a part, as many of each group, at random times and horizons, shuffled."""
    random = np.random.default_rng(seed)
    parts = [part_of(group, part, series=effort.series, history=2.0 if part != "fit" else 0.0) for group in groups]
    parts = [each for each in parts if each.values.shape[1]]
    found = [_rows(each, -(-count // len(parts)), effort.steps, random) for each in parts]
    x, y = np.concatenate([each.x for each in found]), np.concatenate([each.y for each in found])
    order = random.permutation(len(x))[:count]
    return Rows(x[order], y[order])


def _rows(part: Part, count: int, steps: int, random: np.random.Generator) -> Rows:
    """Samples of one group: a few horizons at each of some random origins of every series."""
    values = part.values[-steps:]
    begin = max(part.day // 12, part.begin - (len(part.values) - len(values)))
    width, each = values.shape[1], 3
    share = min(1.0, 1.3 * count / each / width / max(1, len(values) - begin))
    learner = Learner(width, part.day)
    xs: list[NDArray[np.float32]] = []
    ys: list[F64] = []
    for at in range(len(values) - 1):
        learner.observe(values[at])
        drawn = np.flatnonzero(random.random(width) < share) if at + 1 >= begin else np.empty(0, np.int64)
        if not len(drawn):
            continue
        x, location, scale = learner.features()
        ahead = HORIZONS[random.integers(len(HORIZONS), size=(len(drawn), each))]
        when = at + ahead
        inside = when < len(values)
        truth = np.where(inside, values[np.minimum(when, len(values) - 1), drawn[:, None]], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = (truth - location[drawn, None]) / scale[drawn, None]
        usable = np.isfinite(y) & (np.abs(y) < 1e4)
        wide = np.concatenate([np.repeat(x[drawn], each, axis=0), ahead.reshape(-1, 1)], axis=1)
        xs.append(wide[usable.reshape(-1)])
        ys.append(y[usable])
    order = random.permutation(sum(len(y) for y in ys))[:count]
    if not len(order):
        return Rows(np.empty((0, learner.features()[0].shape[1] + 1), np.float32), np.empty(0, np.float32))
    x, y = np.concatenate(xs), np.concatenate(ys)
    return Rows(x[order].astype(np.float32), y[order].astype(np.float32))
