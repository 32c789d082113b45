"""Units as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.resources import DIMENSIONS, UNITS, parse_seconds, parse_size, show_seconds, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 << 20), ("2GiB", 2 << 30), ("1.5k", 1536), ("7", 7), (" 3 TB ", 3 << 40), (42, 42), ("10b", 10)],
)
def test_sizes_are_read_in_powers_of_1024(text: str | float, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("500ms", 0.5), ("1.5h", 5400), ("2d", 172800), ("9", 9), (0.25, 0.25)]
)
def test_durations_are_read_with_their_unit(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "M", "-1", "1 2", "1e9", "five", "1P", "0x10", "nan"])
def test_what_is_no_measure_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="512M"):
        parse_size(text)
    with pytest.raises(ValueError, match="15m"):
        parse_seconds(text)


@given(st.floats(0, 2**50))
def test_a_size_that_is_shown_is_short_and_near_the_truth(value: float) -> None:
    shown = show_size(value)
    assert len(shown) <= 6
    assert parse_size(shown) == pytest.approx(value, rel=0.06, abs=1)


@given(st.floats(0, 86400 * 300))
def test_a_duration_that_is_shown_is_short_and_says_the_sign(value: float) -> None:
    assert len(show_seconds(value)) <= 7
    past = show_seconds(-value - 1)
    assert past.startswith("-")
    assert len(past) <= 7


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.25, "250ms"), (45, "45s"), (720, "12m"), (11100, "3h05m"), (1051200, "12d04h"), (-45, "-45s")],
)
def test_durations_are_shown_in_the_unit_that_fits(value: float, shown: str) -> None:
    assert show_seconds(value) == shown


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_known_is_shown_as_a_question(value: float) -> None:
    assert show_seconds(value) == show_size(value) == "?"


def test_every_dimension_has_a_unit() -> None:
    assert len(DIMENSIONS) == len(UNITS)
