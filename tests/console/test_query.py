"""The filter: regex, inverse, fuzzy and comparisons, and what is wrong with one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.console.query import LONGEST, Words, lets_through, parse, passes

NAMES = ("db-01", "db-02", "web-1", "WEB-2", "cache")
COLUMNS = ("cpu", "name", "risk", "state")
FIELDS = {
    "name": lambda: Words(NAMES),
    "risk": lambda: np.array([0.9, 0.6, 0.1, np.nan, 0.61]),
    "cpu": lambda: np.array([0.5, 0.8, 0.2, 0.1, 1e9]),
    "state": lambda: Words(("hot", "ok"), np.array([0, 1, 1, 1, 0])),
}


def shown(text: str) -> list[str]:
    query = parse(text, COLUMNS)
    assert not query.problem, query.problem
    return [name for name, good in zip(NAMES, passes(query, len(NAMES), FIELDS), strict=True) if good]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", NAMES),
        ("db-0[12]", ("db-01", "db-02")),
        ("web", ("web-1", "WEB-2")),
        ("!web", ("db-01", "db-02", "cache")),
        ("~d2", ("db-02",)),
        ("~ce", ("cache",)),
        ("!~b", ("cache",)),
        ("risk>0.6", ("db-01", "cache")),
        ("risk>=60%", ("db-01", "db-02", "cache")),
        ("!risk>0.6", ("db-02", "web-1", "WEB-2")),
        ("risk<0.5 web", ("web-1",)),
        ("state=hot", ("db-01", "cache")),
        ("state!=HOT", ("db-02", "web-1", "WEB-2")),
        ("state=hot !db", ("cache",)),
        ("cpu>=1G", ()),
        ("cpu=0.8", ("db-02",)),
        ("!", NAMES),
    ],
)
def test_a_filter_lets_through_what_it_says(text: str, names: tuple[str, ...]) -> None:
    assert shown(text) == list(names)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "["),
        ("a(", "a("),
        ("risc>0.6", "did you mean risk?"),
        ("risk>high", "high is no number"),
        ("risk>", "risk> what?"),
        ("x" * (LONGEST + 1), "longer than"),
    ],
)
def test_what_is_wrong_is_said_and_everything_is_shown(text: str, problem: str) -> None:
    query = parse(text, COLUMNS)
    assert problem in query.problem
    assert passes(query, len(NAMES), FIELDS).all()


@given(st.text(max_size=40))
def test_no_text_breaks_the_filter(text: str) -> None:
    query = parse(text, COLUMNS)
    assert bool(query.problem) or passes(query, len(NAMES), FIELDS).shape == (len(NAMES),)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=1, max_size=30), st.floats(-1, 2))
def test_a_comparison_and_its_inverse_share_out_all_rows(values: list[float], limit: float) -> None:
    fields = {"name": lambda: Words(("x",) * len(values)), "risk": lambda: np.array(values)}
    over = passes(parse(f"risk>{limit:.3f}", COLUMNS), len(values), fields)
    under = passes(parse(f"!risk>{limit:.3f}", COLUMNS), len(values), fields)
    assert (over ^ under).all()
    assert all(not over[at] for at, value in enumerate(values) if value != value)


@given(st.lists(st.text(st.characters(categories=("L", "N")), max_size=8), max_size=20), st.text("abc01", max_size=3))
def test_a_plain_word_finds_what_a_regular_expression_finds(names: list[str], word: str) -> None:
    found = passes(parse(word), len(names), {"name": lambda: Words(tuple(names))})
    assert list(found) == [re.search(word, name, re.IGNORECASE) is not None for name in names]


def test_rows_of_words_are_filtered_one_by_one_too() -> None:
    event = {"name": "step restored shop-01", "kind": "step", "plan": "12"}
    for text, good in (
        ("shop", True),
        ("kind=step", True),
        ("!kind=step", False),
        ("plan>11", True),
        ("plan>12", False),
    ):
        assert lets_through(parse(text, ("kind", "name", "plan")), **event) is good
