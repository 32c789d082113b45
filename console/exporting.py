"""What is shown, as a file or on the clipboard: pictures of any screen, rows of any table."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textual import work
from textual.app import App

from sidestep.console.query import Words
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub

if TYPE_CHECKING:
    from sidestep.console.context import Context
    from sidestep.console.screens.base import ConsoleScreen
    from sidestep.console.widgets.sheettable import SheetTable

KINDS: Final = (".svg", ".png", ".csv", ".json")
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
#: names that are copied at most
_COPIED: Final = 1000
#: what a spreadsheet would take for a formula
_FORMULA: Final = ("=", "+", "-", "@")


class Exporting(App[int]):
    """The part of the application that writes what is shown."""

    given: Context

    if TYPE_CHECKING:  # what the application has

        @property
        def place(self) -> ConsoleScreen:
            """The screen under any dialog."""

        def tell(self, text: str) -> None:
            """A note in the corner."""

    def do_export(self) -> None:
        """The screen as SVG in the present folder, under a name of its own."""
        self.export(f"sidestep-{self.place.SCOPE}-{time.strftime('%Y%m%dT%H%M%S')}.svg")

    def export(self, name: str) -> None:
        """Write to a file that is not there yet; its ending says what."""
        if self.is_web:
            self.tell("files are not written from a browser")
            return
        path = Path(name).expanduser()
        try:
            if path.suffix == ".png":
                self._png(path, browser(), self.picture())
                return
            write(path, self.contents(path.suffix, name).encode())
        except (UsageError, OSError) as error:
            self.tell(str(error))
        else:
            self.tell(f"written to {path}")

    def contents(self, kind: str, name: str) -> str:
        """What a file of that kind says. Raises UsageError."""
        if kind == ".svg":
            return self.picture()
        if kind not in (".csv", ".json"):
            raise UsageError(f"{name}: not a kind of file that is written", hint=f"end it with {', '.join(KINDS)}")
        table = self.place.table
        if table is None:
            raise UsageError(f"the {self.place.SCOPE} screen has no table", hint="write a picture: FILE.svg")
        rows = rows_of(table)
        return as_json(rows) if kind == ".json" else as_csv(table.sheet.ids, rows)

    def picture(self) -> str:
        """The screen as SVG."""
        return self.export_screenshot(title="sidestep")

    def do_copy(self) -> None:
        """Marked names, or the one under the cursor, to the terminal's clipboard (OSC 52)."""
        table = self.place.table
        if table is None:
            self.tell("there is no row to copy here")
            return
        names = sorted(table.marked) or [table.cursor]
        text = "\n".join(scrub(name) for name in names[:_COPIED] if name)
        if not text:
            self.tell("there is no row to copy here")
            return
        self.copy_to_clipboard(text)
        self.tell(f"copied {scrub(text, 60)}" if len(names) == 1 else f"copied {min(len(names), _COPIED)} names")

    @work(thread=True, exit_on_error=False)
    def _png(self, path: Path, program: str, svg: str) -> None:
        try:
            png(path, program, svg)
        except (UsageError, OSError, subprocess.SubprocessError) as error:
            said = scrub(str(error))
        else:
            said = scrub(f"written to {path}")
        self.call_from_thread(self.tell, said)


def rows_of(table: SheetTable[Any]) -> list[dict[str, Any]]:
    """Every row of a table in the order shown: numbers as numbers, words as they are compared."""
    import numpy as np  # noqa: PLC0415 - not before the first paint

    data, sheet = table.data, table.sheet
    if data is None:
        return []
    names = sheet.names(data)
    places = {name: row for row, name in enumerate(names)}
    columns: dict[str, Any] = {}
    for column in sheet.columns:
        key = column.key(data)
        if isinstance(key, Words):
            labels = [str(label) for label in key.labels]
            columns[column.id] = labels if key.codes is None else [labels[code] for code in key.codes]
        else:
            columns[column.id] = np.asarray(key).tolist()
    first = sheet.columns[0].id
    shown = [places[name] for name in table.keys]
    return [
        {id: _value(values[row]) if id != first else scrub(names[row]) for id, values in columns.items()}
        for row in shown
    ]


def _value(value: Any) -> Any:
    """A cell: unknown numbers are null, words have nothing in them that a terminal would act on."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return scrub(value) if isinstance(value, str) else value


def as_json(rows: Iterable[dict[str, Any]]) -> str:
    """Rows as a JSON list of objects."""
    return json.dumps(list(rows), indent=1) + "\n"


def as_csv(titles: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV; texts that a spreadsheet would run as a formula begin with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    titles = list(titles)
    writer.writerow(titles)
    for row in rows:
        writer.writerow(_tame(row[title]) for title in titles)
    return out.getvalue()


def _tame(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write(path: Path, data: bytes) -> None:
    """Write a file of the user's own that was not there before. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def browser() -> str:
    """A browser that can draw without a screen. Raises UsageError."""
    found = next((program for name in BROWSERS if (program := shutil.which(name))), "")
    if not found:
        raise UsageError("no browser is there to make a PNG", hint="install chromium, or write FILE.svg")
    return found


def png(path: Path, program: str, svg: str) -> None:
    """Have a browser draw an SVG into a PNG file. Raises OSError, SubprocessError, UsageError."""
    with tempfile.TemporaryDirectory(prefix="sidestep-") as folder:
        page, picture = Path(folder, "page.html"), Path(folder, "picture.png")
        wide, high = _size(svg)
        page.write_text(f"<!doctype html><meta charset=utf-8><style>*{{margin:0}}</style>{svg}")
        command = [program, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        command += [f"--window-size={wide},{high}", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, timeout=60, capture_output=True, stdin=subprocess.DEVNULL)
        if not picture.exists():
            raise UsageError(f"{program} made no picture", hint="write FILE.svg instead")
        write(path, picture.read_bytes())


def _size(svg: str) -> tuple[int, int]:
    """Width and height of the picture that Textual makes, in pixels."""
    box = svg.partition('viewBox="')[2].partition('"')[0].split()
    return math.ceil(float(box[2])), math.ceil(float(box[3]))
