"""Traces as the oracle's benchmarks see them, and who may see which part of them.

A group is a file. It is split by machine (half to fit, a quarter to choose, a quarter sealed,
by rank of a stable hash of the machine's id) and by time (first 60 % to fit, next 20 % to
choose, last 20 % sealed). What is scored in a part are the part's machines in the part's time;
their own past before it is history that every contender is shown alike. A group of fewer than
four machines is split by time only, one shorter than three days by machine only.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
PartName = Literal["fit", "choose", "sealed"]

DAY: Final = 86400
#: upper ends of the parts, as shares of the machines and of the time
MACHINE_SHARES: Final = (0.5, 0.75, 1.0)
TIME_SHARES: Final = (0.6, 0.8, 1.0)
PARTS: Final[tuple[PartName, ...]] = ("fit", "choose", "sealed")
FEW_MACHINES: Final = 4
SHORT_DAYS: Final = 3
#: a series must be known so often, of the scored time, to be scored
KNOWN_SHARE: Final = 0.1


@dataclass(frozen=True)
class Group:
    """One file: ``values`` (machines, metrics, T) every ``step`` seconds, NaN unknown."""

    name: str
    values: NDArray[np.float32]
    step: int
    machines: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def day(self) -> int:
        """Steps in a day, at least 2."""
        return max(2, round(DAY / self.step))


@dataclass(frozen=True)
class Part:
    """Series of one part of a group: ``values`` (T, S), oldest first; scored from ``begin`` on.

    What is before ``begin`` is history. ``machine`` (S,) and ``metric`` (S,) say whose a series is.
    """

    name: str
    values: F64
    begin: int
    day: int
    step: int
    machine: I64
    metric: I64


def load(path: Path) -> Group:
    """Read one group. Raises UsageError with file, fault and remedy for what is no such file."""
    remedy = "needs values (machines, metrics, T) of floats and step_s; see benchmarks/README.md"
    try:
        with np.load(path, allow_pickle=False) as found:
            fields = {key: np.asarray(found[key]) for key in ("values", "step_s") if key in found.files}
            ids = np.asarray(found["ids"]) if "ids" in found.files else None
            metrics = np.asarray(found["metrics"]) if "metrics" in found.files else None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read as npz: {error}", hint=remedy) from error
    except Exception as error:  # numpy and zlib raise many kinds for broken members
        raise UsageError(f"{path}: broken: {type(error).__name__}: {error}", hint=remedy) from error
    for key in ("values", "step_s"):
        if key not in fields:
            raise UsageError(f"{path}: has no {key!r}", hint=remedy)
    values, step = fields["values"], fields["step_s"]
    if values.ndim != 3 or values.dtype.kind != "f" or 0 in values.shape:
        raise UsageError(f"{path}: values are {values.dtype} of shape {values.shape}", hint=remedy)
    if step.size != 1 or step.dtype.kind not in "iu" or not 0 < int(step.reshape(-1)[0]) <= DAY:
        raise UsageError(f"{path}: step_s is {step!r}, not an int in 1..{DAY}", hint=remedy)
    if not np.isfinite(values).any():
        raise UsageError(f"{path}: no value is known", hint=remedy)
    machines = _names(path, "ids", ids, values.shape[0], remedy)
    return Group(
        path.stem,
        np.where(np.isfinite(values), values, np.nan).astype(np.float32),
        int(step.reshape(-1)[0]),
        machines,
        _names(path, "metrics", metrics, values.shape[1], remedy),
    )


def _names(path: Path, key: str, found: NDArray[np.generic] | None, count: int, remedy: str) -> tuple[str, ...]:
    if found is None:
        return tuple(str(at) for at in range(count))
    if found.shape != (count,):
        raise UsageError(f"{path}: {key} has shape {found.shape}, values need ({count},)", hint=remedy)
    return tuple(str(each) for each in found.tolist())


def load_all(directory: Path) -> tuple[Group, ...]:
    """Every ``*.npz`` of a directory, by name. Raises UsageError if there is none or one is malformed."""
    files = sorted(directory.glob("*.npz")) if directory.is_dir() else []
    if not files:
        raise UsageError(f"{directory}: no *.npz files", hint="name a directory of traces; see benchmarks/README.md")
    return tuple(load(path) for path in files)


def machines_of(group: Group, part: PartName) -> I64:
    """The machines (rows) of a part, by rank of the hash of their ids: always the same ones."""
    count = len(group.machines)
    if count < FEW_MACHINES:
        return np.arange(count)
    digests = [hashlib.blake2b(name.encode()).digest() for name in group.machines]
    order = np.array(sorted(range(count), key=lambda at: (digests[at], at)), dtype=np.int64)
    at = PARTS.index(part)
    low = int(MACHINE_SHARES[at - 1] * count) if at else 0
    return np.sort(order[low : int(MACHINE_SHARES[at] * count)])


def time_of(group: Group, part: PartName) -> tuple[int, int]:
    """First step of a part and the one after its last."""
    count = group.values.shape[2]
    if count < SHORT_DAYS * group.day:
        return 0, count
    at = PARTS.index(part)
    return round(TIME_SHARES[at - 1] * count) if at else 0, round(TIME_SHARES[at] * count)


def part_of(
    group: Group, part: PartName, *, series: int = 0, history: float = 10.0, days: float = 0.0, seed: int = 1
) -> Part:
    """The series of a part with at most ``history`` days before it, its last ``days`` days (0 = all).

    At most ``series`` of them (0 = all), drawn with ``seed``. Left out are series that stand still
    in the scored time, and those that are known in less than a tenth of it. A series that goes below 0 is raised by its
    least value, since demand never does.
    """
    begin, end = time_of(group, part)
    if days:
        begin = max(begin, end - round(days * group.day))
    first = max(0, begin - round(history * group.day))
    rows = machines_of(group, part)
    block = group.values[rows, :, first:end].astype(np.float64)
    width = block.shape[1]
    block = block.reshape(len(rows) * width, -1)
    known, scored = np.isfinite(block), block[:, begin - first :]
    low = np.where(known, block, np.inf).min(axis=1)
    here = known[:, begin - first :]
    moves = np.where(here, scored, -np.inf).max(axis=1) > np.where(here, scored, np.inf).min(axis=1)
    kept = np.flatnonzero((here.mean(axis=1) >= KNOWN_SHARE) & moves)
    if series and len(kept) > series:
        kept = np.sort(np.random.default_rng(seed).choice(kept, series, replace=False))
    values = block[kept] - np.minimum(low[kept], 0.0)[:, None]
    return Part(group.name, values.T.copy(), begin - first, group.day, group.step, rows[kept // width], kept % width)


def punch(values: F64, rate: float = 0.2, seed: int = 2) -> F64:
    """A copy with so large a share of the samples missing at random."""
    return np.where(np.random.default_rng(seed).random(values.shape) < rate, np.nan, values)
