"""The protocol's page says everything that its types say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec.inspect import StructType, type_info

from sidestep.autopilot import server
from sidestep.autopilot.protocol import (
    HEADER,
    HOST_STATES,
    MAX_FRAME,
    SHARD_STATES,
    VERSION,
    Answer,
    Body,
    ListPlans,
    PlanList,
    Reply,
    Request,
    SnapshotFrame,
    pack,
)
from sidestep.autopilot.protocol_tables import TABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> dict[str, str]:
    """The rows of a section's tables by the words in their first cell."""
    cells = {row: row.split("|")[1] for row in text.splitlines() if row.startswith("|")}
    return {name: row for row, cell in cells.items() for name in re.findall(r"`([\w-]+)`", cell)}


def tag_and_fields(kind: type) -> tuple[str, list[str]]:
    info = type_info(kind)
    assert isinstance(info, StructType)
    return str(info.tag), [field.name for field in info.fields]


@pytest.mark.parametrize("kind", get_args(Body), ids=lambda kind: kind.__name__)
def test_every_request_and_its_fields_are_documented(kind: type) -> None:
    tag, fields = tag_and_fields(kind)
    row = rows(section("Requests"))[tag]
    assert [field for field in fields if f"`{field}`" not in row] == []


@pytest.mark.parametrize("kind", get_args(Answer), ids=lambda kind: kind.__name__)
def test_every_answer_and_its_fields_are_documented(kind: type) -> None:
    tag, fields = tag_and_fields(kind)
    row = rows(section("Answers"))[tag]
    if kind is not SnapshotFrame:
        assert [field for field in fields if f"`{field}`" not in row] == []


def test_every_column_is_documented() -> None:
    _, fields = tag_and_fields(SnapshotFrame)
    assert sorted(rows(section("Pictures"))) == sorted(fields)


def test_the_tables_are_the_fields_that_are_called_so() -> None:
    fields = rows(section("Pictures"))
    assert {name for name, row in fields.items() if "| table" in row} == set(TABLES)


def test_the_states_are_listed_in_their_order() -> None:
    listed = {words[0]: words[1:] for words in (row.split() for row in PAGE.splitlines()) if words[1:]}
    assert listed["host_state"] == list(HOST_STATES) and listed["shard_state"] == list(SHARD_STATES)


def test_nothing_is_documented_that_does_not_exist() -> None:
    assert set(rows(section("Requests"))) == {tag_and_fields(kind)[0] for kind in get_args(Body)}


def test_the_example_frames_are_what_is_sent() -> None:
    examples = [json.loads(line.split(maxsplit=1)[1]) for line in PAGE.splitlines() if line.startswith("    re")]
    sent = [pack(message)[HEADER:] for message in (Request(7, ListPlans()), Reply(7, PlanList(())))]
    assert examples == [msgspec.msgpack.decode(data) for data in sent]


def test_the_limits_are_those_of_the_server() -> None:
    text = section("Frames") + section("Versions")
    assert f"at most {MAX_FRAME >> 20} MiB; a request at most {server.MAX_REQUEST >> 20} MiB" in text
    assert f"(now {VERSION})" in text
    assert f"| connections | {server.MAX_CONNECTIONS} |" in text
    assert f"| time until `hello` | {server.HELLO_TIMEOUT:.0f} s |" in text
    assert f"| time to finish a frame that was begun | {server.FRAME_TIMEOUT:.0f} s |" in text
    assert f"| time to read a frame that was sent | {server.WRITE_TIMEOUT:.0f} s |" in text
    assert f"| subscription | {server.MAX_RATE:.0f} pictures a second |" in text
