"""Cells and lines: exact widths, and nothing that a terminal acts on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.console import text
from sidestep.console.text import ASCII, UNICODE

SIZES = st.integers(0, 60)


@given(st.text(), SIZES, st.booleans())
def test_a_cell_has_exactly_its_width(value: str, width: int, right: bool) -> None:
    fitted = text.fit(text.span(value).text, width, right=right)
    assert text.width_of(fitted) == width


@given(st.text())
def test_no_span_holds_an_unprintable_character(value: str) -> None:
    assert text.span(value).text.isprintable()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"])), st.integers(1, 40))
def test_wrapped_text_keeps_its_letters_and_fits(value: str, width: int) -> None:
    rows = text.wrap(value, width)
    letters = [c for c in value if not c.isspace()]
    assert [c for row in rows for c in row if not c.isspace()] == letters
    assert all(text.width_of(row) <= max(width, 2) for row in rows)


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=200), st.integers(1, 40))
def test_thinning_keeps_the_highest_value(values: list[float], width: int) -> None:
    thin = text.thin(values, width)
    assert len(thin) <= width
    known = [v for v in values if not math.isnan(v)]
    assert max((v for v in thin if not math.isnan(v)), default=None) == max(known, default=None)


def test_a_trend_shows_the_newest_values_and_leaves_unknown_ones_blank() -> None:
    assert text.trend([9, 0.0, math.nan, 0.5, 1.0, 7.0], 5, UNICODE) == "▁ ▅██"
    assert text.trend([0.0], 3, ASCII) == "  _"


def test_columns_are_aligned_and_have_no_trailing_blanks() -> None:
    rows = list(text.columns([["A", "N"], ["long\x1bname", "7"], ["x", "123"]], "lr"))
    assert rows == ["A" + " " * 15 + "N", "long<1b>name    7", "x" + " " * 13 + "123"]


def test_ascii_glyphs_are_ascii_and_both_tables_know_every_condition() -> None:
    for field in ASCII.__struct_fields__:
        value = getattr(ASCII, field)
        assert all(str(v).isascii() for v in (value.values() if isinstance(value, dict) else [value]))
    assert ASCII.conditions.keys() == UNICODE.conditions.keys()
    assert len(set(ASCII.conditions.values())) == len(ASCII.conditions)


@pytest.mark.parametrize(("seconds", "shown"), [(31, "in 31s"), (-12, "12s ago"), (0, "now"), (600, "in 10m")])
def test_times_are_said_as_ahead_or_ago(seconds: float, shown: str) -> None:
    assert text.until(seconds) == shown


def test_impossible_times_do_not_break_a_screen() -> None:
    for time in (math.nan, math.inf, -1.0, 1e20):
        assert text.clock(time) == "--:--:--"
