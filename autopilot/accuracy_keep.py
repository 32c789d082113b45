"""What the accuracy store keeps: whose slot is whose, the roll-up to hours, and how much room there is."""

from __future__ import annotations

import sqlite3
from typing import Final

import numpy as np
from numpy.typing import NDArray

HOUR: Final = 3600.0
#: how long every board is kept, by kind; after that the last of each hour is
FINE: Final = {"host": 86400.0, "app": 86400.0, "shard": 0.0}
#: room that is made at once when there is too little
_ROOM: Final = 0.9


class Slots:
    """A slot for every name of a kind, its own for as long as anything of it is kept."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}
        #: the names of the newest board and their slots
        self._latest: dict[str, tuple[tuple[str, ...], NDArray[np.int64]]] = {}

    def of(self, db: sqlite3.Connection, kind: str, names: tuple[str, ...], now: float) -> NDArray[np.int64]:
        """(names,) the slots of these names; new ones take the lowest that are free."""
        latest = self._latest.get(kind)
        if latest is not None and latest[0] == names:
            return latest[1]
        known = self.names(db, kind)
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            taken, free = set(known.values()), 0
            for name in new:
                while free in taken:
                    free += 1
                known[name] = free
                taken.add(free)
            db.executemany("INSERT INTO name VALUES (?, ?, ?, ?)", [(kind, known[name], name, now) for name in new])
        found = np.array([known[name] for name in names], np.int64)
        self._latest[kind] = names, found
        return found

    def names(self, db: sqlite3.Connection, kind: str) -> dict[str, int]:
        """Every name of a kind that has a slot."""
        if kind not in self._known:
            self._known[kind] = dict(db.execute("SELECT name, slot FROM name WHERE kind = ?", (kind,)).fetchall())
        return self._known[kind]

    def retain(self, db: sqlite3.Connection, now: float, keep: float) -> None:
        """Note who is there now, and free the slots of whom nothing is kept any more."""
        for kind, (_, slots) in self._latest.items():
            seen = [(now, kind, slot) for slot in slots.tolist()]
            db.executemany("UPDATE name SET seen = ? WHERE kind = ? AND slot = ?", seen)
        # the hour: who left right after it was noted may have a board of later
        if db.execute("DELETE FROM name WHERE seen < ?", (now - keep - HOUR,)).rowcount:
            self.forget()

    def forget(self) -> None:
        """Read everything anew: what was remembered may have been rolled back."""
        self._known.clear()
        self._latest.clear()


def roll_up(db: sqlite3.Connection, now: float, keep: float) -> None:
    """Keep of every hour the last board only, once it is old enough, and nothing older than ``keep`` seconds."""
    db.execute("DELETE FROM part WHERE time < ?", (now - keep,))
    for kind, fine in FINE.items():
        until = (now - fine) // HOUR * HOUR
        db.execute(
            "DELETE FROM part WHERE kind = ?1 AND rolled = 0 AND time < ?2 AND EXISTS (SELECT 1 FROM part AS later"
            " WHERE later.kind = ?1 AND later.of = part.of AND later.chunk = part.chunk"
            " AND later.time > part.time AND later.time < (part.hour + 1) * 3600.0)",
            (kind, until),
        )
        db.execute("UPDATE part SET rolled = 1 WHERE kind = ? AND rolled = 0 AND time < ?", (kind, until))
    db.execute("DELETE FROM layout WHERE id NOT IN (SELECT DISTINCT layout FROM part)")


def make_room(db: sqlite3.Connection, most: int) -> None:
    """Drop the oldest hours until there is room; the newest board stays, whatever it takes."""
    used = bytes_used(db)
    if used <= most:
        return
    newest = db.execute("SELECT max(time) FROM part").fetchone()[0]
    while used > most * _ROOM:
        oldest = db.execute("SELECT min(time) FROM part").fetchone()[0]
        until = min(newest, (oldest // HOUR + 1) * HOUR) if oldest is not None else 0.0
        if not db.execute("DELETE FROM part WHERE time < ?", (until,)).rowcount:
            return
        used = bytes_used(db)


def bytes_used(db: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size
