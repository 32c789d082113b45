"""Demand vectors in the exchange format, and demands in whole quanta."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet import demand
from sidestep.fleet.demand import Cpu, DemandVector, Io, Memory, Network, Quantiles, Resources, parse_demand, round_up
from sidestep.fleet.errors import UsageError

EXAMPLE = """{
  "timestamp": "2024-10-27T10:00:00Z",
  "application_id": "app123",
  "resources": {
    "cpu": {
      "cores": 8,
      "percentage": 90
    },
    "memory": {
      "gb": 16,
      "percentage": 80
    },
    "io": {
      "read_ops": 1000,
      "write_ops": 500
    }
  }
}"""

amounts = st.one_of(st.integers(0, 10**12), st.floats(0, 1e12, allow_nan=False))


def test_the_documents_example_comes_back_to_the_letter() -> None:
    """S3.11: the example parses and re-encodes equal."""
    assert parse_demand(EXAMPLE).encode() == EXAMPLE


@given(amounts, amounts, amounts, st.text(min_size=1), st.booleans())
def test_any_vector_comes_back_equal(cores: float, gb: float, operations: float, app: str, extended: bool) -> None:
    """S3.11 S1.7: extensions stand only under extra keys."""
    vector = DemandVector(
        timestamp="2030-01-01T00:00:00Z",
        application_id=app,
        resources=Resources(
            cpu=Cpu(cores=cores, percentage=1),
            memory=Memory(gb=gb, percentage=2),
            io=Io(read_ops=operations, write_ops=0),
            network=Network(rx_bytes=1, tx_bytes=2) if extended else None,
        ),
        quantiles=Quantiles(levels=(0.5, 0.9), cpu_cores=(1, 2), memory_gb=(3, 4)) if extended else None,
        schema=demand.SCHEMA if extended else None,
    )
    assert parse_demand(vector.encode()) == vector
    assert list(json.loads(vector.encode()))[:3] == ["timestamp", "application_id", "resources"]
    assert extended == ("network" in vector.encode())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"cores": 8', '"cores": "eight"', r"resources.cpu.cores"),
        ('"cores": 8', '"cores": -1', r"resources.cpu.cores"),
        ('"gb": 16,', "", r"gb"),
        ("2024-10-27T10:00:00Z", "yesterday", "timestamp"),
        ("2024-10-27T10:00:00Z", "2024-10-27T10:00:00", "no time zone"),
        ('"cores": 8', '"cores": 1e999', r"resources.cpu.cores"),
        ("{", "[", "demand.json"),
    ],
)
def test_a_wrong_vector_is_refused_with_the_field_named(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_demand(EXAMPLE.replace(old, new, 1), "demand.json")
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_numbers_keep_the_form_they_were_written_in() -> None:
    """S3.11: 8 is not 8.0."""
    for form in ("8", "8.0", "0.5"):
        text = EXAMPLE.replace('"cores": 8', f'"cores": {form}')
        assert parse_demand(text).encode() == text


def test_keys_that_we_do_not_know_are_passed_over() -> None:
    """S3.11: a reader of the plain format reads extended vectors."""
    assert parse_demand(EXAMPLE[:-2] + ', "vendor": {"gpu": 1}}') == parse_demand(EXAMPLE)


def test_quantiles_of_different_length_are_refused() -> None:
    text = EXAMPLE[:-2] + ', "quantiles": {"levels": [0.5], "cpu_cores": [1, 2], "memory_gb": [1]}}'
    with pytest.raises(UsageError, match="differ in length"):
        parse_demand(text)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = Path(demand.__file__).with_name("demand.schema.json")
    assert json.loads(published.read_text()) == json.loads(json.dumps(demand.schema()))


@given(st.floats(0, 1e9), st.floats(1e-3, 1e6))
def test_rounding_up_covers_the_demand_and_wastes_less_than_a_quantum(need: float, quantum: float) -> None:
    """S3.12: demands are whole quanta, none lost."""
    granted = round_up(need, quantum)
    assert granted >= need
    assert granted - need < quantum * (1 + 1e-9)
    assert granted / quantum == pytest.approx(round(granted / quantum))


@pytest.mark.parametrize(
    ("need", "quantum"),
    [(1, 0), (1, -1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, float("inf")), (1e300, 1e-300)],
)
def test_nonsense_demands_are_refused(need: float, quantum: float) -> None:
    with pytest.raises(ValueError, match=r"quantum|demand"):
        round_up(need, quantum)
