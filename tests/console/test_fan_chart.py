"""The fan chart: red above the threshold and only there, readable without colour, never out of bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.console.fandraw import ALARM, ASCII_PATTERNS, GUTTER, PATTERNS, Cell, Fan, draw

VALUE = st.one_of(st.floats(0, 3), st.just(math.nan))


def rising(top: float = 1.2) -> Fan:
    median = [0.5 + (top - 0.5) * k / 59 for k in range(60)]
    bands = tuple(([v - w for v in median], [v + w for v in median]) for w in (0.15, 0.08, 0.03))
    return Fan(history=[0.5] * 60, median=median, bands=bands, threshold=0.8)


def tones(rows: list[list[Cell]], y: int) -> set[int]:
    return {tone for cell in rows[y][GUTTER:] for tone in (cell.front, cell.back) if tone}


def threshold_row(rows: list[list[Cell]]) -> int:
    return next(y for y, row in enumerate(rows) if "".join(c.sign for c in row).strip().startswith("80%"))


def test_the_band_is_alarming_above_the_threshold_and_only_there() -> None:
    rows = draw(rising(), 100, 31)
    limit = threshold_row(rows)
    above = set().union(*(tones(rows, y) for y in range(limit)))
    below = set().union(*(tones(rows, y) for y in range(limit + 1, 30)))
    assert above
    assert all(tone > ALARM for tone in above)
    assert below == {1, 2, 3}


def test_the_threshold_splits_its_own_cell() -> None:
    fan = rising()
    rows = draw(Fan(history=fan.history, median=fan.median, bands=fan.bands, threshold=0.83), 100, 31)
    mixed = [
        c
        for row in rows
        for c in row
        if c.ink == "band" and (c.front > ALARM) != (c.back > ALARM) and c.front and c.back
    ]
    assert mixed
    assert all(cell.back > cell.front for cell in mixed)


def test_a_calm_forecast_has_no_alarm() -> None:
    rows = draw(rising(top=0.52), 100, 31)
    assert not any(tone > ALARM for y in range(30) for tone in tones(rows, y))


@pytest.mark.parametrize(("ascii_only", "signs"), [(False, PATTERNS), (True, ASCII_PATTERNS)])
def test_without_colour_the_alarm_has_signs_of_its_own(ascii_only: bool, signs: tuple[str, ...]) -> None:
    alarm, calm = set(signs[ALARM + 1 :]), set(signs[1:ALARM])
    assert not alarm & calm
    rows = draw(rising(), 100, 31, patterns=True, ascii_only=ascii_only)
    limit = threshold_row(rows)
    above = {c.sign for row in rows[:limit] for c in row if c.ink == "band" and c.sign != " "}
    below = {c.sign for row in rows[limit + 1 : 30] for c in row if c.ink == "band" and c.sign != " "}
    assert above <= alarm
    assert above
    assert below <= calm


def test_ascii_charts_are_ascii() -> None:
    assert all(cell.sign.isascii() for row in draw(rising(), 90, 25, ascii_only=True) for cell in row)


def test_times_and_values_are_labelled() -> None:
    rows = ["".join(cell.sign for cell in row) for row in draw(rising(), 100, 31)]
    assert rows[-1].split() == ["-59s", "now", "+60s"]
    assert any(row.startswith(" 100%") for row in rows)
    assert any(row.startswith("  80%") for row in rows)


def test_history_alone_is_drawn_to_now() -> None:
    rows = draw(Fan(history=[0.2, 0.4, 0.3], threshold=0.8), 60, 12)
    assert any(cell.ink == "history" for row in rows for cell in row)
    assert "".join(cell.sign for cell in rows[-1]).split() == ["-2s", "now"]


def test_no_room_is_blank() -> None:
    assert all(cell.sign == " " for row in draw(rising(), 12, 2) for cell in row)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(VALUE, min_size=1, max_size=20),
    st.lists(VALUE, max_size=20),
    st.floats(0.1, 1.5),
    st.integers(1, 70),
    st.integers(1, 20),
    st.booleans(),
)
def test_any_series_fills_exactly_its_area(
    history: list[float], median: list[float], threshold: float, width: int, height: int, ascii_only: bool
) -> None:
    bands = (([v - 0.1 for v in median], [v + 0.1 for v in median]),) if median else ()
    fan = Fan(history=history, median=median, bands=bands, threshold=threshold)
    rows = draw(fan, width, height, ascii_only=ascii_only)
    assert len(rows) == height
    assert all(len(row) == width for row in rows)
    assert all(len(cell.sign) == 1 for row in rows for cell in row)


def test_the_scale_is_that_of_what_is_shown() -> None:
    spike = Fan(history=[3.0] + [0.5] * 300, median=[0.5] * 60, threshold=0.8)
    unknown = Fan(history=[math.nan] * 5, threshold=0.8)
    for fan in (spike, unknown):
        assert "".join(cell.sign for cell in draw(fan, 80, 25)[0]).startswith(" 100%")
