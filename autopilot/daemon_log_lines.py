"""How a line of the daemon's log looks: for people at a terminal, or as JSON for whoever collects logs.

JSON lines have one schema, docs/operation.md: ``ts level event kind plan host shard`` always, and
``actor source destination step state`` where there are any. What libraries warn of has it, too.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, get_args

import msgspec

from sidestep.fleet.labels import scrub

Form = Literal["auto", "text", "json"]
FORMS: Final = get_args(Form)
#: characters of one event
TEXT: Final = 2000
#: systemd's log levels, as syslog numbers them
_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

#: kind, unix time, text, and what else is known
Line = Callable[[str, float, str, Mapping[str, object]], str]


def level_of(kind: str) -> str:
    """How loud a kind of event is."""
    return "error" if kind == "error" else "info"


def text_line(kind: str, at: float, text: str, about: Mapping[str, object]) -> str:
    """For people: the local time, the kind, the text."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))} {kind:<8} {text}"


def json_line(kind: str, at: float, text: str, about: Mapping[str, object]) -> str:
    """For machines: one object, its keys in the schema's order."""
    known = {key: value for key, value in about.items() if value}
    row = {
        "ts": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": known.pop("level", level_of(kind)),
        "event": scrub(text, TEXT),
        "kind": kind,
        "plan": known.pop("plan", None),
        "host": known.pop("host", None),
        "shard": known.pop("shard", None),
        **known,
    }
    return msgspec.json.encode(row).decode()


def line_for(form: Form, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Line:
    """The line for that stream; "auto" is JSON unless a person looks.

    Where the stream is the journal of systemd, each line begins with its priority, which the journal
    takes off and keeps.
    """
    line = json_line if form == "json" or (form == "auto" and not stream.isatty()) else text_line
    if not _is_journal(stream, environ.get("JOURNAL_STREAM", "")):
        return line
    return lambda kind, at, text, about: f"<{_PRIORITY[level_of(kind)]}>{line(kind, at, text, about)}"


def _is_journal(stream: TextIO, said: str) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{status.st_dev}:{status.st_ino}"


class Libraries(logging.Handler):
    """What libraries warn of, as lines of the same schema; no traceback spreads over several lines."""

    def __init__(self, stream: TextIO, line: Line) -> None:
        super().__init__(logging.WARNING)
        self._stream, self._line = stream, line

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        about = {"level": record.levelname.lower(), "logger": scrub(record.name)}
        kind = "error" if record.levelno >= logging.ERROR else "library"
        self._stream.write(self._line(kind, record.created, scrub(text, TEXT), about) + "\n")
        self._stream.flush()
