"""The accuracy store: what forecasts were worth, over weeks, in one small SQLite file of the fleet.

Hosts and apps are kept at every board for a day and then by the hour, shards by the hour
from the start (and as they are now). An account is about the recent past already, so the
last board of an hour stands for it. A name is a slot for as long as anything of it is kept,
and a chunk of slots is a blob, so that one series is read without the other ten thousand.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from msgspec import structs

from sidestep.autopilot.accuracy_codec import CHUNK, Array, pack, unpack
from sidestep.autopilot.accuracy_file import Report, anew, connect
from sidestep.autopilot.accuracy_keep import FINE, HOUR, Slots, make_room, roll_up
from sidestep.autopilot.accuracy_rolling import rolling
from sidestep.fleet.accuracy import KINDS, VALUE, AccuracyBoard, AccuracyRow, AccuracySection, Rolling, rows_of, section
from sidestep.fleet.history import Series
from sidestep.fleet.labels import scrub

KEEP: Final = 35 * 86400.0
MAX_BYTES: Final = 2 << 30
#: pages given back to the disk after a board
_PAGES: Final = 4096

T = TypeVar("T")


class AccuracyStore:
    """One SQLite file, 0600, write-ahead log. No call raises for what is wrong with it: it is reported, and kept anew.

    Safe for several threads. ``keep`` is seconds, ``max_bytes`` the most that the file may take
    beside its log; ``report`` is told in one sentence what went wrong, once until it goes right.
    """

    def __init__(
        self,
        path: Path | None,
        report: Report,
        *,
        keep: float = KEEP,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path, self._report, self._keep, self._max, self._clock = path, report, keep, max_bytes, clock
        self._lock = threading.Lock()
        self._said = ""
        self._hour = -1
        self._slots = Slots()
        self._db = connect(path, report, clock)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        with self._lock:
            self._db.close()

    def put(self, board: AccuracyBoard) -> bool:
        """Keep a board; whether it could be. One that is older than what is kept means that the clock was set back.

        Call it in a thread: it packs for a while (docs/accuracy.md). Raises ProtocolError for a
        board whose arrays do not fit its names.
        """
        if not math.isfinite(board.time) or board.time < 0:
            return False
        return self._safely(lambda db: self._put(db, board), False)

    def _put(self, db: sqlite3.Connection, board: AccuracyBoard) -> bool:
        hour = int(board.time // HOUR)
        try:
            db.execute("BEGIN IMMEDIATE")
            # what was written for times that are the future now
            db.execute("DELETE FROM part WHERE time >= ?", (board.time,))
            for part in board.sections:
                if part.kind in KINDS and part.names:
                    self._add(db, board.time, hour, part)
            if hour != self._hour:
                roll_up(db, board.time, self._keep)
                self._slots.retain(db, board.time, self._keep)
            make_room(db, self._max)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                self._slots.forget()
                db.execute("ROLLBACK")
        self._hour, self._said = hour, ""
        db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
        return True

    def _add(self, db: sqlite3.Connection, moment: float, hour: int, part: AccuracySection) -> None:
        slots = self._slots.of(db, part.kind, part.names, moment)
        chunks = np.unique(slots // CHUNK)
        place = np.searchsorted(chunks, slots // CHUNK) * CHUNK + slots % CHUNK
        values, chance, reactive, served = part.arrays()
        spread = partial(_spread, place=place, size=len(chunks) * CHUNK)
        blobs = pack(spread(values, np.nan), spread(chance, np.nan), spread(reactive, 0), spread(served, 0))
        layout = json.dumps([part.metrics, part.horizons, part.models])
        db.execute("INSERT OR IGNORE INTO layout (text) VALUES (?)", (layout,))
        number = db.execute("SELECT id FROM layout WHERE text = ?", (layout,)).fetchone()[0]
        if not FINE[part.kind]:
            db.execute(
                "DELETE FROM part WHERE kind = ? AND of = ? AND time >= ? AND time < ?",
                (part.kind, part.of, hour * HOUR, moment),
            )
        db.executemany(
            "INSERT INTO part (kind, of, chunk, time, hour, layout, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (part.kind, part.of, chunk, moment, hour, number, blob)
                for chunk, blob in zip(chunks.tolist(), blobs, strict=True)
            ],
        )

    def begun(self) -> bool:
        """Whether any board is kept."""
        return self._safely(lambda db: db.execute("SELECT 1 FROM part LIMIT 1").fetchone() is not None, True)

    def find(self, name: str) -> tuple[str, ...]:
        """The kinds that have something of this name: host, shard, app."""

        def read(db: sqlite3.Connection) -> tuple[str, ...]:
            return tuple(kind for kind in KINDS if name in self._slots.names(db, kind))

        return self._safely(read, ())

    def query(
        self, kind: str, name: str, metric: str | None = None, since: float | None = None, of: str | None = VALUE
    ) -> list[AccuracyRow]:
        """Rows of one host, shard or app, oldest first: since a time, or of the newest board if there is none.

        ``of`` is "value", "peak" or None for both. Empty for a name that is not known.
        """

        def read(db: sqlite3.Connection) -> list[AccuracyRow]:
            slot = self._slots.names(db, kind).get(name)
            if slot is None:
                return []
            chunk, place = divmod(slot, CHUNK)
            when, given = ">= ?", since
            if since is None:
                when, given = "= ?", db.execute("SELECT max(time) FROM part WHERE kind = ?", (kind,)).fetchone()[0]
            names = [name if at == place else "" for at in range(CHUNK)]
            wanted = f"chunk = ? AND time {when} ORDER BY time, of DESC"
            return [
                row
                for moment, part in self._parts(db, kind, wanted, (chunk, given))
                if of in (None, part.of)
                for row in rows_of(moment, structs.replace(part, names=tuple(names)), (name,), metric)
            ]

        return self._safely(read, [])

    def newest(self, kind: str, metric: str | None = None, of: str = VALUE) -> list[AccuracyRow]:
        """Rows of every host, shard or app of the newest board, in the order of names."""

        def read(db: sqlite3.Connection) -> list[AccuracyRow]:
            names = {str(slot): name for name, slot in self._slots.names(db, kind).items()}
            newest = db.execute("SELECT max(time) FROM part WHERE kind = ?", (kind,)).fetchone()[0]
            rows: list[AccuracyRow] = []
            for moment, part in self._parts(db, kind, "time = ? AND of = ?", (newest, of)):
                known = tuple(names.get(slot, "") for slot in part.names)
                rows += rows_of(moment, structs.replace(part, names=known), [name for name in known if name], metric)
            return sorted(rows, key=lambda row: row.name)

        return self._safely(read, [])

    def rolling(self, series: Series, window: float, now: float | None = None) -> Rolling:
        """One series over the last ``window`` seconds, all horizons together: an input of trust in automation."""
        since = (self._clock() if now is None else now) - window
        return rolling(self.query(series.kind, series.name, series.metric, since))

    def _parts(
        self, db: sqlite3.Connection, kind: str, wanted: str, given: Sequence[Any]
    ) -> Iterator[tuple[float, AccuracySection]]:
        """Time and section of every blob; names are slots. One that cannot be read is reported and passed over."""
        layouts = {row[0]: json.loads(row[1]) for row in db.execute("SELECT id, text FROM layout")}
        query = f"SELECT time, of, chunk, layout, data FROM part WHERE kind = ? AND {wanted}"  # noqa: S608  (our words)
        for moment, of, chunk, layout, data in db.execute(query, (kind, *given)).fetchall():
            metrics, horizons, models = layouts.get(layout, ((), (), ()))
            try:
                values, chance, reactive, served = unpack(data, len(metrics), len(horizons))
            except ValueError as error:
                self._say(f"{self.path}: accuracy of {kind}s at {moment:.0f}: {error}")
                continue
            known = {"forecastability": chance, "reactive": reactive, "models": models}
            known["served"] = np.minimum(served, max(0, len(models) - 1))
            names = [str(chunk * CHUNK + at) for at in range(CHUNK)]
            yield moment, section(kind, of, names, metrics, horizons, values, **known)

    def _safely(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What ``work`` finds, in one thread at a time. Else why is reported, and a damaged file begun anew."""
        with self._lock:
            try:
                return work(self._db)
            except sqlite3.Error as error:
                self._slots.forget()
                # exactly this class is what SQLite says of a damaged file
                if type(error) is sqlite3.DatabaseError:
                    self._db.close()
                    self._db = anew(self.path, str(error), self._report, self._clock)
                else:
                    self._say(f"{self.path}: {error}; the accuracy of forecasts is not kept meanwhile")
        return otherwise

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._report(scrub(sentence, 400))


def _spread(array: Array, empty: float, *, place: Array, size: int) -> Array:
    """The rows of an array at their places among ``size`` rows; the others are empty."""
    wide = np.full((size, *array.shape[1:]), empty, array.dtype)
    wide[place] = array
    return wide
