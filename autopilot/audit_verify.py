"""Whether the audit log is whole: the file against itself, against the journal, and against heads from elsewhere.

Each of file and journal is the other's witness. Who can write both can write both anew, so a
head that was kept on another machine (``sidestep audit head``, or the lines "audit log: entry
N is ..." of the system's log) is worth more than either.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from sidestep.autopilot.audit import DIGEST, Fault, Head, differences, digest_in, faults_of, read_line, split
from sidestep.autopilot.audit_file import NAME
from sidestep.autopilot.journal_log import BrokenLog, verify_events
from sidestep.autopilot.journal_read import JournalReader
from sidestep.autopilot.journal_schema import JournalError
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub

#: seconds for which a writing daemon may be ahead in one of the two
_PATIENCE: Final = 1.0
_ANCHOR: Final = re.compile(r"journal row (\d+) is ([0-9a-f]{64})$")
_LEAST: Final = 12


class Place(Struct, frozen=True):
    """What is wrong, and where: ``where`` is a file, ``n`` an entry or a journal row, ``offset`` a byte or -1."""

    where: str
    n: int
    offset: int
    what: Label


class Verdict(Struct, frozen=True, kw_only=True):
    """``whole`` if nothing is wrong; ``entries`` and ``digest`` are the log's end, ``notes`` what is worth knowing."""

    whole: bool
    entries: int
    digest: str
    faults: tuple[Place, ...]
    notes: tuple[Label, ...] = ()


class _Journal(Struct, frozen=True):
    """The journal's side, of one moment."""

    lines: list[bytes]
    head: Head
    filed: int
    faults: list[Place]


def head_from(text: str) -> Head:
    """The head that ``N:DIGEST`` means; a digest may be cut. Raises UsageError."""
    number, _, digest = text.partition(":")
    digest = digest.lower()
    good = number.isascii() and number.isdigit() and _LEAST <= len(digest) <= DIGEST
    if not good or not set(digest) <= set("0123456789abcdef"):
        raise UsageError(f"--anchor {text}: not an anchor", hint="write it as sidestep audit head printed it")
    return Head(int(number), digest)


def verify(state: Path, anchors: Sequence[Head] = ()) -> Verdict:
    """Everything that is wrong with the audit log in a state folder. Raises JournalError if there is none."""
    journal, file = _both(state)
    ours = split(file)
    faults, end = faults_of(ours)
    places = [Place(NAME, f.n, f.offset, _why(f, ours, journal.lines)) for f in faults]
    notes: list[Label] = []
    told = {fault.n for fault in faults}
    places += _unlike(ours, journal.lines, told)
    if end.n < journal.head.n and journal.head.n > journal.filed and end.n >= journal.filed:
        notes.append(
            scrub(f"entries from {end.n + 1} on are in the journal and not in {NAME} yet: the daemon was killed")
        )
    elif end.n < journal.head.n:
        what = f"is missing, with all up to entry {journal.head.n}: the log was cut off here"
        places.append(Place(NAME, end.n + 1, len(file), scrub(what)))
    elif end.n > journal.head.n and (journal.lines or not journal.faults):
        offset = sum(map(len, ours[: journal.head.n]))
        places.append(Place(NAME, journal.head.n + 1, offset, Label("is not in the journal")))
    places += journal.faults
    places += _anchored(anchors, ours)
    places.sort(key=lambda place: (place.where != NAME, place.where, place.n))
    head = journal.head if journal.head.n >= end.n else end
    return Verdict(whole=not places, entries=head.n, digest=head.digest, faults=tuple(places), notes=tuple(notes))


def _both(state: Path) -> tuple[_Journal, bytes]:
    """Journal and file, of moments so near that a writing daemon makes no difference."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        journal, file = _journal(state / "journal.db"), _file(state / NAME)
        after = _journal_head(state / "journal.db")
        last = next(iter(split(file)[-1:]), b"")
        settled = after == journal.head and (digest_in(last) == journal.head.digest or not last)
        if settled or time.monotonic() > deadline or (after == journal.head and journal.filed == journal.head.n):
            return journal, file
        time.sleep(_PATIENCE / 10)


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error


def _journal_head(path: Path) -> Head:
    try:
        with JournalReader(path) as reader:
            return Head(*reader.db.execute("SELECT n, digest FROM audit_head").fetchone())
    except (sqlite3.Error, JournalError):
        return Head()


def _journal(path: Path) -> _Journal:
    with JournalReader(path) as reader:
        try:
            reader.db.execute("BEGIN")
            n, digest, filed = reader.db.execute("SELECT n, digest, filed FROM audit_head").fetchone()
            lines = [row[0] for row in reader.db.execute("SELECT CAST(line AS BLOB) FROM audit ORDER BY n")]
            faults, end = faults_of(lines)
            places = [Place("journal.db audit", f.n, -1, f.what) for f in faults]
            if end != Head(n, digest) and not faults:
                places.append(
                    Place("journal.db audit", min(end.n, n) + 1, -1, Label("is not what the journal ends with"))
                )
            places += _events(reader, lines)
        except (sqlite3.Error, TypeError) as error:
            fault = Place("journal.db", 0, -1, scrub(f"cannot be read: {error}"))
            return _Journal([], Head(), 0, [fault])
    return _Journal(lines, Head(n, digest), filed, places)


def _events(reader: JournalReader, lines: list[bytes]) -> list[Place]:
    """What is wrong with the journal's own rows: by themselves, and by what the audit log says of them."""
    try:
        verify_events(reader.db, reader.path)
    except BrokenLog as error:
        return [Place("journal.db", error.seq, -1, scrub(str(error.args[0]).partition(": ")[2]))]
    except JournalError as error:
        return [Place("journal.db", 0, -1, scrub(str(error.args[0])))]
    found = []
    for line in (each for each in lines if b'"act":"anchor"' in each):
        try:
            said = _ANCHOR.fullmatch(str(read_line(line).detail))
        except ValueError:
            continue
        if said is None:
            continue
        row = reader.db.execute("SELECT hash FROM event WHERE seq = ?", (int(said[1]),)).fetchone()
        if row is None or row[0] != said[2]:
            found.append(Place("journal.db", int(said[1]), -1, Label("is not the row that the audit log names")))
    return found


def _why(fault: Fault, ours: list[bytes], journal: list[bytes]) -> Label:
    """What is wrong, with what the journal has in its place."""
    line = next((each for each, at in _offsets(ours) if at == fault.offset), b"")
    if "missing" in fault.what or "stands in its place" in fault.what or not 0 < fault.n <= len(journal):
        return fault.what
    if line == journal[fault.n - 1]:
        return fault.what
    return scrub(f"{fault.what}; {differences(line, journal[fault.n - 1], ('here', 'journal'))}", 2000)


def _offsets(lines: list[bytes]) -> list[tuple[bytes, int]]:
    found, offset = [], 0
    for line in lines:
        found.append((line, offset))
        offset += len(line)
    return found


def _unlike(ours: list[bytes], journal: list[bytes], told: set[int]) -> list[Place]:
    """Entries that are well made and are others in the journal: who can compute digests changed one side."""
    found = []
    for line, offset in _offsets(ours):
        try:
            n = read_line(line).n
        except ValueError:
            continue
        if n <= len(journal) and n not in told and line != journal[n - 1]:
            found.append(Place(NAME, n, offset, scrub(differences(line, journal[n - 1], ("here", "journal")), 2000)))
    return found


def _anchored(anchors: Sequence[Head], ours: list[bytes]) -> list[Place]:
    digests = {}
    for line in ours:
        try:
            digests[read_line(line).n] = digest_in(line)
        except ValueError:
            continue
    places = []
    for anchor in anchors:
        has = digests.get(anchor.n, "none")
        if not has.startswith(anchor.digest):
            what = f"is {has[:12]}, and {anchor.digest[:12]} by an anchor from elsewhere"
            places.append(Place(NAME, anchor.n, -1, scrub(what)))
    return places
