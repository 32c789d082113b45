"""The daemon's log as lines of JSON: one schema, one object a line, whatever is said and whoever says it."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_log_lines import Libraries, json_line, line_for, text_line
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_log import About

SCHEMA = ["ts", "level", "event", "kind", "plan", "host", "shard"]


def logged(folder: Path) -> tuple[Log, Journal, io.StringIO]:
    journal, stream = Journal(folder / "journal.db", clock=lambda: 1e9), io.StringIO()
    log = Log(journal, stream=stream, line=json_line)
    log.hosts = frozenset({"h1"})
    return log, journal, stream


def rows(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_the_keys_of_the_schema_first(tmp_path: Path) -> None:
    log, journal, stream = logged(tmp_path)
    log.say("host", "h1: DEAD: connection refused")
    log.say("error", 'a "quoted" word', plan=7)
    journal.record("step", "released", plan=7, about=About(digest="d", shard="s1", source="h1", destination="h2"))
    log.mirror()
    found = rows(stream)
    assert all(list(row)[: len(SCHEMA)] == SCHEMA for row in found)
    assert found[0] | {"actor": "autopilot"} == found[0] and found[0]["host"] == "h1" and found[0]["plan"] is None
    assert found[0]["ts"] == "2001-09-09T01:46:40.000Z"
    assert found[1]["level"] == "error" and found[1]["plan"] == 7 and found[1]["event"] == 'a "quoted" word'
    assert (found[2]["shard"], found[2]["source"], found[2]["destination"]) == ("s1", "h1", "h2")


def test_what_the_journal_cannot_take_is_a_line_as_well(tmp_path: Path) -> None:
    log, journal, stream = logged(tmp_path)
    journal._db.execute("PRAGMA query_only = ON")
    log.say("error", "the disk is gone")
    (row,) = rows(stream)
    assert "the disk is gone (not in the journal" in str(row["event"])


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_is_one_line_that_any_reader_of_json_takes(text: str, name: str) -> None:
    line = json_line("host", 1e9, text, {"host": name, "plan": 3})
    assert "\n" not in line and "\x1b" not in line
    assert list(json.loads(line))[: len(SCHEMA)] == SCHEMA


def test_libraries_warn_in_the_same_schema_without_a_traceback() -> None:
    stream = io.StringIO()
    logger = logging.Logger("asyncio")
    logger.addHandler(Libraries(stream, json_line))
    logger.info("quiet")
    try:
        raise ValueError("bad\x1b[2J\nline")
    except ValueError:
        logger.exception("callback failed")
    (row,) = rows(stream)
    assert row["level"] == "error" and row["logger"] == "asyncio"
    assert row["event"] == "callback failed: ValueError: bad<1b>[2J<0a>line"


def test_json_is_the_default_unless_a_person_looks() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert line_for("auto", Terminal(), {}) is text_line and line_for("auto", io.StringIO(), {}) is json_line
    assert line_for("json", Terminal(), {}) is json_line and line_for("text", io.StringIO(), {}) is text_line


def test_systemds_journal_gets_the_priority_in_front(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        line = line_for("json", stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert line("error", 1e9, "x", {}).startswith('<3>{"ts"') and line("host", 1e9, "x", {}).startswith("<6>{")
        assert line_for("json", stream, {"JOURNAL_STREAM": "1:2"}) is json_line
