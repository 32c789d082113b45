"""What was learned as bytes, to be kept while the worker is not running."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from sidestep.fleet.occasions import Occasion
from sidestep.forecasting.calendar.lessons import Lessons
from sidestep.forecasting.calendar.profiles import BINS, Profiles
from sidestep.forecasting.calendar.rows import Tracked
from sidestep.forecasting.calendar.scope import METRICS, Owners

VERSION: Final = 1
_LESSON_COLUMNS: Final = ("window", "quiet")
_PAIR_COLUMNS: Final = ("mean", "scatter", "count", "size", "tries", "served", "clear")


class _Learned(Struct):
    version: int
    step: float
    occasions: list[Occasion]
    finished: list[int]
    deep: list[bool]
    window: list[float]
    quiet: list[float]
    owners: list[str]
    lesson: bytes
    code: bytes
    columns: dict[str, bytes]
    codes: bytes
    noise: bytes
    seen: bytes
    top: bytes
    bottom: bytes


def pack(lessons: Lessons, pairs: Profiles, rows: Tracked, owners: Owners, step: float) -> bytes:
    """Everything by name; what is under way is not in it."""
    return msgspec.msgpack.encode(
        _Learned(
            version=VERSION,
            step=step,
            occasions=lessons.occasions,
            finished=lessons.finished.tolist(),
            deep=lessons.deep.tolist(),
            window=lessons.window.tolist(),
            quiet=lessons.quiet.tolist(),
            owners=owners.names,
            lesson=pairs.lesson.astype("<i8").tobytes(),
            code=pairs.code.astype("<i8").tobytes(),
            columns={name: np.ascontiguousarray(getattr(pairs, name)).tobytes() for name in _PAIR_COLUMNS},
            codes=rows.codes.astype("<i8").tobytes(),
            noise=rows.noise.astype("<f8").tobytes(),
            seen=rows.seen.astype("<f8").tobytes(),
            top=rows._top.astype("<f8").tobytes(),
            bottom=rows._bottom.astype("<f8").tobytes(),
        )
    )


def unpack(data: bytes, step: float) -> tuple[Lessons, Profiles, Tracked, Owners]:
    """The parts of a calendar again. Raises ValueError for what is damaged, or was learned at another step."""
    try:
        found = msgspec.msgpack.decode(data, type=_Learned)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not what a calendar learned: {error}") from error
    if found.version != VERSION or found.step != step:
        raise ValueError(f"learned by version {found.version} at steps of {found.step} s, not {VERSION} and {step} s")
    count = len(found.occasions)
    lessons = Lessons(step)
    lessons.tell(found.occasions)
    if len(lessons.index) != count or any(
        len(each) != count for each in (found.finished, found.deep, found.window, found.quiet)
    ):
        raise ValueError("not what a calendar learned: lessons do not fit")
    lessons.finished = np.array(found.finished, dtype=np.int64)
    lessons.deep = np.array(found.deep, dtype=np.bool_)
    lessons.window = np.array(found.window, dtype=np.float64)
    lessons.quiet = np.array(found.quiet, dtype=np.float64)
    lessons.tell(())
    owners = Owners()
    for name in found.owners:
        owners.number(name)
    lesson, code = _array(found.lesson, "<i8"), _array(found.code, "<i8")
    if len(lesson) != len(code) or _outside(lesson, count) or _outside(code, len(owners.names) * METRICS):
        raise ValueError("not what a calendar learned: pairs do not fit")
    pairs = Profiles()
    pairs.open(lesson.astype(np.int64), code.astype(np.int64))
    for name, dtype, wide in Profiles.COLUMNS:
        if name in _PAIR_COLUMNS:
            column = _array(found.columns.get(name, b""), np.dtype(dtype))
            if len(column) != len(lesson) * (BINS if wide else 1) or not np.isfinite(column).all():
                raise ValueError(f"not what a calendar learned: column {name} does not fit")
            setattr(pairs, name, column.reshape(len(lesson), BINS).copy() if wide else column.copy())
    rows = Tracked()
    codes = _array(found.codes, "<i8").astype(np.int64)
    if (
        not np.array_equal(codes, np.unique(code))
        or not np.isfinite(lessons.window).all()
        or (lessons.window <= 0).any()
    ):
        raise ValueError("not what a calendar learned: rows do not fit")
    rows.become(codes, np.full(len(codes), -1, dtype=np.int64))
    for name, data_of in (("noise", found.noise), ("seen", found.seen), ("_top", found.top), ("_bottom", found.bottom)):
        column = _array(data_of, "<f8")
        if len(column) != len(codes) or not np.isfinite(column).all():
            raise ValueError(f"not what a calendar learned: {name} does not fit")
        setattr(rows, name, column.astype(np.float64))
    return lessons, pairs, rows, owners


def _array(data: bytes, dtype: Any) -> np.ndarray[Any, Any]:
    size = np.dtype(dtype).itemsize
    if len(data) % size:
        raise ValueError("not what a calendar learned: a column is cut off")
    return np.frombuffer(data, dtype)


def _outside(values: np.ndarray[Any, Any], count: int) -> bool:
    return bool(len(values)) and not bool((values >= 0).all() and (values < count).all())
