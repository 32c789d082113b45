"""``audit``: who did what and why, and whether the log of it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from sidestep.autopilot.audit import Entry, digest_in, read_line
from sidestep.autopilot.audit_verify import head_from, verify
from sidestep.autopilot.journal_export import line
from sidestep.autopilot.journal_read import JournalReader
from sidestep.console.headless import output
from sidestep.console.headless.journal import stamp


class Asked(Struct, frozen=True, kw_only=True):
    """Which entries; what is "" or None is not asked for. ``plan`` is a number or a digest prefix."""

    act: str = ""
    actor: str = ""
    plan: str = ""
    since: float | None = None
    until: float | None = None


def show(state: Path, asked: Asked, limit: int, *, as_json: bool) -> None:
    """The newest entries that are asked for, oldest first."""
    with JournalReader(state / "journal.db") as reader:
        number = reader.plan_number(asked.plan) if asked.plan else 0
        digests = {row[0] for row in reader.db.execute("SELECT digest FROM plan WHERE number = ?", (number,))}
        found: list[tuple[Entry, str]] = []
        for (raw,) in reader.db.execute("SELECT CAST(line AS BLOB) FROM audit ORDER BY n DESC"):
            entry = _entry(raw)
            if entry is not None and _fits(entry, asked, digests):
                found.append((entry, digest_in(raw)))
                if len(found) == limit:
                    break
    for entry, digest in reversed(found):
        if as_json:
            print(line({**{name: getattr(entry, name) for name in Entry.__struct_fields__}, "digest": digest}))
            continue
        parts = (entry.subject, f'"{entry.reason}"' if entry.reason else "", entry.detail)
        said = "  ".join(filter(None, (f"{entry.act} by {entry.actor}", *parts)))
        output.say(f"{entry.n:>6} {stamp(entry.time)} {said}")


def check(state: Path, anchors: Sequence[str], *, as_json: bool) -> int:
    """Say whether the log is whole, and if not, where it is not; the exit code."""
    verdict = verify(state, [head_from(text) for text in anchors])
    if as_json:
        output.dump(verdict)
        return 0 if verdict.whole else 1
    for note in verdict.notes:
        output.say(note)
    for place in verdict.faults:
        at = f" (byte {place.offset})" if place.offset >= 0 else ""
        what = "row" if place.where == "journal.db" else "entry"
        output.say(f"{place.where}: {what} {place.n}{at}: {place.what}")
    if verdict.whole:
        output.say(
            f"the audit log is whole: {verdict.entries} entries, it ends with {verdict.entries}:{verdict.digest}"
        )
        return 0
    output.say(f"the audit log is NOT whole: {len(verdict.faults)} faults, the first at {_first(verdict.faults[0].n)}")
    return 1


def head(state: Path) -> None:
    """The end of the log, to be kept on another machine."""
    with JournalReader(state / "journal.db") as reader:
        n, digest = reader.db.execute("SELECT n, digest FROM audit_head").fetchone()
    output.say(f"{n}:{digest}")


def _first(n: int) -> str:
    return f"entry {n}" if n else "the journal"


def _entry(raw: bytes) -> Entry | None:
    try:
        return read_line(raw)
    except ValueError:
        return None  # sidestep audit verify says what is wrong with it


def _fits(entry: Entry, asked: Asked, digests: set[str]) -> bool:
    return (
        (not asked.act or entry.act == asked.act)
        and (not asked.actor or entry.actor == asked.actor)
        and (not asked.plan or entry.plan in digests)
        and (asked.since is None or entry.time >= asked.since)
        and (asked.until is None or entry.time < asked.until)
    )
