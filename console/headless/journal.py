"""``journal``: what happened and what it was about, from the file itself; a daemon need not run."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sidestep.autopilot.journal_export import export as write
from sidestep.autopilot.journal_export import line
from sidestep.autopilot.journal_read import JournalReader, JournalRow, Wanted
from sidestep.console.headless import output

#: seconds between two looks for new rows
POLL: Final = 0.25


def show(state: Path, wanted: Wanted, limit: int, *, follow: bool, as_json: bool) -> None:
    """The newest rows that are wanted, oldest first; with ``follow`` every new one too, until interrupted."""
    with JournalReader(state / "journal.db") as reader:
        last = reader.end()
        for row in reader.rows(wanted, newest=limit):
            _print(row, as_json=as_json)
            last = max(last, row.seq)
        if not follow:
            return
        sys.stdout.flush()
        try:
            while True:
                end = reader.end()
                for row in reader.rows(wanted, after=last) if end > last else ():
                    _print(row, as_json=as_json)
                    end = max(end, row.seq)
                sys.stdout.flush()
                last = max(last, end)
                time.sleep(POLL)
        except KeyboardInterrupt:
            return


def export(state: Path, wanted: Wanted, file: Path) -> None:
    """All rows that are wanted, into a file."""
    with JournalReader(state / "journal.db") as reader:
        output.say(f"{write(reader.rows(wanted), file)} rows in {file}")


def stamp(at: float) -> str:
    """A unix time as UTC, to the second."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return "-"


def _print(row: JournalRow, *, as_json: bool) -> None:
    if as_json:
        print(line(row))
        return
    plan, actor = (f" #{row.plan}" if row.plan else ""), (f" ({row.actor})" if row.actor else "")
    output.say(f"{row.seq:>6} {stamp(row.time)} {row.kind:<8}{plan} {row.text}{actor}")
