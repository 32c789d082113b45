"""The store of invocations: what every call of a function used, newest kept, all of it rolled up by the hour (S1.2).

One SQLite file, 0600, write-ahead log. A batch and its share of the hourly sums are one
transaction, so that a process killed at any instant leaves sums that agree with the rows
that were ever added. Its size is bounded: so many rows and so many hours, oldest out first.

    python -m sidestep.autopilot.invocations import FILE
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from sidestep.autopilot.invocations_file import InvocationError, open_file
from sidestep.fleet import invocation_sketch as sketches
from sidestep.fleet.errors import UsageError
from sidestep.fleet.invocations import MEASURES, Invocation
from sidestep.fleet.labels import Label

__all__ = ["Function", "InvocationError", "InvocationStore", "Keeping", "Rollup"]

HOUR: Final = 3600
#: measures that have a sketch in every roll-up
SKETCHED: Final = MEASURES[:3]
_ROW: Final = "app, shard, t, wall_s, cpu_s, max_rss, net_bytes, n, x"
_ADD: Final = f"INSERT INTO invocation ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own words
_SUMS: Final = "n, wall_sum, wall_max, cpu_n, cpu_sum, rss_n, rss_max, net_n, net_sum, wall, cpu, rss"
_MARKS: Final = ", ".join("?" * 15)
_PUT: Final = f"INSERT OR REPLACE INTO rollup (app, shard, hour, {_SUMS}) VALUES ({_MARKS})"  # noqa: S608 - our own words

Wanted = Mapping[str, float | str | tuple[float, float]]


class Keeping(Struct, frozen=True, kw_only=True):
    """How much is kept: rows and their seconds, hourly sums and their seconds."""

    rows: int = 200_000
    age: float = 14 * 86400.0
    hours: int = 500_000
    hours_age: float = 400 * 86400.0


class Rollup(Struct, frozen=True, kw_only=True):
    """One hour of one function: how many calls, sums, maxima, and sketches; 0 counts are of unknown values."""

    app: Label
    shard: Label
    #: unix seconds at which the hour begins
    hour: int
    n: int
    wall_sum: float
    wall_max: float
    cpu_n: int
    cpu_sum: float
    rss_n: int
    rss_max: float
    net_n: int
    net_sum: float
    wall: bytes
    cpu: bytes
    rss: bytes

    def quantiles(self, measure: str, levels: tuple[float, ...]) -> tuple[float, ...]:
        """Quantiles of ``wall_s``, ``cpu_s`` or ``max_rss``, right to within 5 %; NaN if it was never known."""
        place = SKETCHED.index(measure)
        counts = sketches.unpack((self.wall, self.cpu, self.rss)[place])
        return tuple(float(q) for q in sketches.quantiles(counts, levels, sketches.LOWS[place]))


class Function(Struct, frozen=True):
    """A function that is known: its calls of the kept hours and the newest of them."""

    app: Label
    shard: Label
    n: int
    newest: int


class InvocationStore:
    """Adds and answers from any thread, one at a time. Raises InvocationError for a file that cannot be used."""

    def __init__(self, path: Path, *, keeping: Keeping = Keeping()) -> None:  # noqa: B008 - frozen
        self.path, self.keeping = path, keeping
        self._lock = threading.Lock()
        self._db = open_file(path)
        #: rows added since the file was last tidied
        self._fresh = 0

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        with self._lock:
            self._db.close()

    def add(self, batch: Sequence[Invocation], *, digest: str = "") -> None:
        """Add invocations, all or none, with their share of the hourly sums. Raises InvocationError.

        ``digest`` is of the file that they came from, which ``imported`` knows from now on.
        """
        if not batch:
            return
        rows = [_row(each) for each in batch]
        with self._transaction() as db:
            db.executemany(_ADD, rows)
            db.executemany(_PUT, self._summed(db, batch))
            if digest:
                db.execute("INSERT OR REPLACE INTO imported (digest) VALUES (?)", (digest,))
            self._fresh += len(rows)
            if self._fresh >= max(1, self.keeping.rows // 20):
                self._cut(db, max(each.t for each in batch))

    def tidy(self, now: float) -> None:
        """Drop what is older, or more, than is kept. Raises InvocationError."""
        with self._transaction() as db:
            self._cut(db, now)

    def rows(
        self,
        app: str = "",
        shard: str = "",
        *,
        since: float = -math.inf,
        until: float = math.inf,
        x: Wanted | None = None,
        limit: int = 1000,
    ) -> tuple[Invocation, ...]:
        """Invocations with ``since <= t < until``, newest first; of one app, of one shard, or all.

        ``x`` asks for features: a number or text that is equal, or a pair of numbers that
        are its bounds. Raises UsageError for a name that no feature has.
        """
        terms, values = _terms(app, shard)
        terms += ["t >= ?", "t < ?"]
        values += [max(since, -1e300), min(until, 1e300)]
        for name, wanted in (x or {}).items():
            terms.append("json_extract(x, ?) BETWEEN ? AND ?")
            values += [_json_path(name), *(wanted if isinstance(wanted, tuple) else (wanted, wanted))]
        where = " AND ".join(terms)
        query = f"SELECT {_ROW} FROM invocation WHERE {where} ORDER BY t DESC, id DESC LIMIT ?"  # noqa: S608 - our own words
        return tuple(_invocation(row) for row in self._ask(query, *values, limit))

    def hours(self, app: str = "", shard: str = "", *, since: float = -math.inf) -> tuple[Rollup, ...]:
        """Hourly sums, oldest first, of hours that end after ``since``."""
        terms, values = _terms(app, shard)
        terms.append("hour > ?")
        values.append(max(since, -1e300) - HOUR)
        where = " AND ".join(terms)
        query = f"SELECT app, shard, hour, {_SUMS} FROM rollup WHERE {where} ORDER BY hour, app, shard"  # noqa: S608 - our own words
        return tuple(_rollup(row) for row in self._ask(query, *values))

    def functions(self) -> tuple[Function, ...]:
        """Every app and shard with invocations in the kept hours, by name."""
        query = "SELECT app, shard, sum(n), max(hour) FROM rollup GROUP BY app, shard ORDER BY app, shard"
        return tuple(Function(Label(a), Label(s), int(n), int(hour)) for a, s, n, hour in self._ask(query))

    def imported(self, digest: str) -> bool:
        """Whether a file of that digest was added before."""
        return bool(self._ask("SELECT 1 FROM imported WHERE digest = ?", digest))

    def _summed(self, db: sqlite3.Connection, batch: Sequence[Invocation]) -> Iterator[tuple[Any, ...]]:
        """The new sums of every app, shard and hour of a batch."""
        groups: dict[tuple[str, str, int], list[int]] = {}
        for place, each in enumerate(batch):
            groups.setdefault((each.app, each.shard, int(each.t // HOUR) * HOUR), []).append(place)
        numbers = np.array([each.measures for each in batch], dtype=np.float64)
        counts = np.array([each.n for each in batch], dtype=np.int64)
        query = f"SELECT {_SUMS} FROM rollup WHERE app = ? AND shard = ? AND hour = ?"  # noqa: S608 - our own words
        for key, places in groups.items():
            before = db.execute(query, key).fetchone()
            yield (*key, *_sums(numbers[places], counts[places], before))

    def _cut(self, db: sqlite3.Connection, now: float) -> None:
        keeping = self.keeping
        newest = db.execute("SELECT max(id) FROM invocation").fetchone()[0] or 0
        db.execute("DELETE FROM invocation WHERE id <= ? OR t < ?", (newest - keeping.rows, now - keeping.age))
        db.execute("DELETE FROM rollup WHERE hour < ?", (now - keeping.hours_age,))
        over = db.execute("SELECT count(*) FROM rollup").fetchone()[0] - keeping.hours
        if over > 0:
            query = "SELECT hour FROM rollup ORDER BY hour LIMIT 1 OFFSET ?"
            db.execute("DELETE FROM rollup WHERE hour <= ?", db.execute(query, (over - 1,)).fetchone())
        self._fresh = 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except (sqlite3.Error, ValueError) as error:
                raise InvocationError(
                    f"{self.path}: {error}", hint="make room on the disk, or move the file away to begin a new one"
                ) from error
            finally:
                _rolled_back(self._db)

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise InvocationError(f"{self.path}: {error}") from error


def _rolled_back(db: sqlite3.Connection) -> None:
    try:
        if db.in_transaction:
            db.execute("ROLLBACK")
    except sqlite3.Error:
        return  # closed, or the disk is gone: the file is put right when it is opened


def _row(each: Invocation) -> tuple[Any, ...]:
    measures = (None if math.isnan(value) else value for value in each.measures)
    return each.app, each.shard, each.t, *measures, each.n, msgspec.json.encode(dict(each.x)).decode()


def _invocation(row: tuple[Any, ...]) -> Invocation:
    app, shard, t, *numbers, n, x = row
    wall, cpu, rss, net = (math.nan if value is None else float(value) for value in numbers)
    given = msgspec.json.decode(x, type=dict[str, float | str])
    kept = tuple((Label(name), Label(v) if isinstance(v, str) else v) for name, v in sorted(given.items()))
    return Invocation(
        app=Label(app), shard=Label(shard), t=t, wall_s=wall, cpu_s=cpu, max_rss=rss, net_bytes=net, n=n, x=kept
    )


def _rollup(row: tuple[Any, ...]) -> Rollup:
    names = ("app", "shard", "hour", *_SUMS.split(", "))
    return Rollup(**dict(zip(names, row, strict=True)))


def _sums(numbers: np.ndarray[Any, np.dtype[np.float64]], n: Any, before: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The columns of a roll-up for (K, MEASURES) numbers of ``n`` (K,) calls each, added to what was ``before``."""
    known = np.where(np.isnan(numbers), 0, n[:, None])
    count, total = known.sum(axis=0).tolist(), (np.nan_to_num(numbers) * known).sum(axis=0).tolist()
    most = np.nan_to_num(numbers).max(axis=0).tolist()
    seen = [sketches.sketch(numbers[:, m], sketches.LOWS[m], n) for m in range(len(SKETCHED))]
    fresh = (int(n.sum()), total[0], most[0], count[1], total[1], count[2], most[2], count[3], total[3])
    if before is not None:
        sums = tuple(a + b for a, b in zip(fresh, before, strict=False))
        fresh = (*sums[:2], max(fresh[2], before[2]), *sums[3:6], max(fresh[6], before[6]), *sums[7:])
        seen = [a + sketches.unpack(b) for a, b in zip(seen, before[-3:], strict=True)]
    return (*fresh, *(sketches.pack(each) for each in seen))


def _terms(app: str, shard: str) -> tuple[list[str], list[Any]]:
    given = [(name, value) for name, value in (("app", app), ("shard", shard)) if value]
    return [f"{name} = ?" for name, _ in given], [value for _, value in given]


def _json_path(name: str) -> str:
    if not name or '"' in name or not name.isprintable():
        raise UsageError(f"no feature has the name {name!r}", hint="name it as it was reported, without quotes")
    return f'$."{name}"'


if __name__ == "__main__":
    import sys

    from sidestep.autopilot.invocations_import import main

    sys.exit(main())
