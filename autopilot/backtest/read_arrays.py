"""Recordings from arrays: an .npz of values (machines, metrics, T)."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from sidestep.autopilot.backtest.recordings import F64, MOST, Recording, metric_of
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import HOST_SERIES, PLANNED

_HINT: Final = "it holds values (machines, metrics, T), step_s, and if you like ids, metrics, start, capacity"


def file(path: Path, step: float, columns: dict[str, str]) -> Recording:
    """The recording in an .npz; ``columns`` says which metric is cpu, memory and so on. Raises UsageError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"{path} is not an .npz that can be read: {error}", hint=_HINT) from None
    values = found.get("values")
    if values is None or values.ndim != 3 or values.dtype.kind not in "fiu":
        shape = "no array values" if values is None else f"values of shape {values.shape} and type {values.dtype}"
        raise UsageError(f"{path}: {shape}", hint=_HINT)
    machines, metrics, steps = values.shape
    if machines * steps * len(HOST_SERIES) > MOST:
        raise UsageError(f"{path}: {machines} machines of {steps} steps are too many", hint="cut the arrays")
    pace = step or _number(path, found, "step_s", math.nan)
    if not 0 < pace < math.inf:
        raise UsageError(f"{path}: step_s is {pace:g}", hint="seconds between values, or say --step 5m")
    names = _words(path, found, ("ids", "names"), machines, "h")
    said = _words(path, found, ("metrics",), metrics, "m")
    where = _columns(path, said, columns)
    laid = np.full((steps, machines, len(HOST_SERIES)), np.nan, np.float32)
    for metric, at in where.items():
        laid[:, :, HOST_SERIES.index(metric)] = values[:, at].T
    laid[~np.isfinite(laid)] = np.nan
    capacity, notes = _capacity(found.get("capacity"), (machines, metrics), where)
    return Recording(
        source=str(path),
        start=_number(path, found, "start", 0.0),
        step=pace,
        names=tuple(scrub(name) for name in names),
        values=laid,
        capacity=capacity,
        notes=(f"taken as {', '.join(f'{metric}: {said[at]}' for metric, at in where.items())}", *notes),
    )


def _number(path: Path, found: dict[str, Any], name: str, default: float) -> float:
    array = found.get(name)
    if array is None:
        return default
    if array.size != 1 or array.dtype.kind not in "fiu" or not math.isfinite(float(array.reshape(-1)[0])):
        raise UsageError(f"{path}: {name} is not one number", hint=_HINT)
    return float(array.reshape(-1)[0])


def _words(path: Path, found: dict[str, Any], keys: tuple[str, ...], count: int, start: str) -> tuple[str, ...]:
    for key in keys:
        array = found.get(key)
        if array is None:
            continue
        if array.shape != (count,):
            raise UsageError(f"{path}: {key} of shape {array.shape}, not ({count},)", hint=_HINT)
        return tuple(str(each) for each in array.tolist())
    return tuple(f"{start}{at}" for at in range(count))


def _columns(path: Path, said: tuple[str, ...], wanted: dict[str, str]) -> dict[str, int]:
    """Series of hosts to columns: as asked, else by their names, else the first is cpu."""
    for metric, column in wanted.items():
        if metric not in HOST_SERIES:
            raise UsageError(f"--column {metric}={column}: {metric} is no metric", hint=", ".join(HOST_SERIES))
        if column not in said:
            raise UsageError(f"{path}: no metric {scrub(column)}", hint=f"there are: {', '.join(said[:12])}")
    if wanted:
        return {metric: said.index(column) for metric, column in wanted.items()}
    meant: dict[str, int] = {}
    for at, name in enumerate(said):
        known = metric_of(name)
        if known is not None:
            meant.setdefault(known, at)
    return meant if meant.keys() & {"cpu", "memory"} else {"cpu": 0}


def _capacity(array: Any, shape: tuple[int, int], where: dict[str, int]) -> tuple[F64, tuple[str, ...]]:
    """(H, PLANNED) of a capacity array like the values; one of another shape is left out and said."""
    found = np.full((shape[0], PLANNED), np.nan)
    if array is None:
        return found, ()
    if array.shape != shape:
        return found, (f"capacity of shape {array.shape} was left out, it is not {shape}",)
    for planned, metric in enumerate(HOST_SERIES[:PLANNED]):
        if metric in where:
            values = np.asarray(array[:, where[metric]], dtype=np.float64)
            found[:, planned] = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    return found, ()
