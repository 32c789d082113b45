"""The accuracy board travels whole, and is refused when it does not fit (S4.22)."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs

from sidestep.fleet import accuracy
from sidestep.fleet.accuracy import AccuracyBoard, AccuracySection, listing, rows_of, section
from sidestep.fleet.errors import ProtocolError


def a_section() -> AccuracySection:
    values = np.full((2, 2, 3, 7), np.nan)
    values[0, :, :, 0], values[0, :, :, 1] = 12, 0.5
    return section("host", "value", ("a", "b"), ("cpu", "memory"), (1, 10, 60), values, models=("aggregate",))


def test_rows_are_what_was_scored_and_nothing_else() -> None:
    rows = list(rows_of(5.0, a_section()))
    assert [(row.name, row.metric, row.horizon) for row in rows] == [
        ("a", metric, ahead) for metric in ("cpu", "memory") for ahead in (1, 10, 60)
    ]
    assert (rows[0].skill, rows[0].error, rows[0].forecastability) == (0.5, None, None)
    assert [row.metric for row in rows_of(5.0, a_section(), ("a",), "cpu")] == ["cpu"] * 3
    assert list(rows_of(5.0, a_section(), ("b",))) == []


def test_a_board_survives_its_journey() -> None:
    board = AccuracyBoard(time=7.0, sections=(a_section(),))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(board), type=AccuracyBoard) == board


@pytest.mark.parametrize("field", ["values", "forecastability", "reactive", "served"])
def test_arrays_that_do_not_fit_their_names_are_refused(field: str) -> None:
    broken = structs.replace(a_section(), **{field: b"\0" * 3})
    with pytest.raises(ProtocolError, match=field):
        broken.arrays()


def test_a_model_that_is_not_named_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not among 1"):
        structs.replace(a_section(), served=bytes([0, 1, 0, 0])).arrays()


def test_the_json_is_what_the_published_schema_says() -> None:
    """S4.22: --json with a published schema."""
    published = Path(accuracy.__file__).with_name("accuracy.schema.json")
    assert json.loads(published.read_text()) == json.loads(json.dumps(accuracy.schema()))
    found = json.loads(listing(list(rows_of(5.0, a_section())), 9.0))
    assert (found["schema"], found["time"], len(found["rows"])) == ("sidestep.accuracy/1", 9.0, 6)
    fields = published.read_text()
    assert set(found["rows"][0]) == set(json.loads(fields)["$defs"]["AccuracyRow"]["required"])
    assert found["rows"][0]["error"] is None
