"""Calm ordering: a row moves for a reason, and in the end the order is the right one."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sidestep.console.sorting import PATIENCE, SLACK, Order, ranked, settle

NAMES = st.sampled_from([f"h{n}" for n in range(12)])
SCORES = st.dictionaries(NAMES, st.floats(0, 1).map(lambda v: round(v, 2)), max_size=12)


def best(scores: dict[str, float]) -> tuple[str, ...]:
    return tuple(sorted(scores, key=lambda name: (-scores[name], name)))


def step(order: Order | None, scores: dict[str, float], now: float) -> Order:
    names = tuple(sorted(scores))
    wanted = ranked([scores[name] for name in names], np.arange(len(names)), high_first=True)
    return settle(order, names, wanted, now)


@given(st.lists(SCORES, max_size=8), st.floats(0.1, 4))
def test_every_row_is_shown_exactly_once(history: list[dict[str, float]], every: float) -> None:
    order = None
    for at, scores in enumerate(history):
        order = step(order, scores, at * every)
        assert sorted(order.keys()) == sorted(scores)


@given(SCORES, SCORES)
def test_scores_that_stay_are_sorted_after_the_patience(first: dict[str, float], then: dict[str, float]) -> None:
    order = step(step(None, first, 0.0), then, 1.0)
    for k in range(1, 12):
        order = step(order, then, 1.0 + k * PATIENCE)
    assert order.keys() == best(then)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), max_size=30), st.booleans())
def test_unknown_numbers_are_last_whichever_way_it_is_sorted(values: list[float], high: bool) -> None:
    rows = ranked(values, np.arange(len(values)), high_first=high)
    shown = [values[row] for row in rows]
    known = [v for v in shown if not math.isnan(v)]
    assert known == sorted(known, reverse=high)
    assert all(math.isnan(v) for v in shown[len(known) :])


@given(st.lists(st.text(max_size=4), max_size=20), st.booleans())
def test_words_are_sorted_as_words(words: list[str], high: bool) -> None:
    shown = [words[row] for row in ranked(np.asarray(words, dtype=str), np.arange(len(words)), high_first=high)]
    assert [w.rstrip("\0") for w in shown] == sorted((w.rstrip("\0") for w in words), reverse=high)


def test_the_first_order_is_sorted_at_once() -> None:
    assert step(None, {"a": 0.1, "b": 0.9, "c": 0.9}, 0.0).keys() == ("b", "c", "a")


def test_neighbours_that_swap_for_a_moment_stay_in_place() -> None:
    order = step(None, {"a": 0.5, "b": 0.4}, 0.0)
    order = step(order, {"a": 0.4, "b": 0.5}, 1.0)
    assert order.keys() == ("a", "b")
    order = step(order, {"a": 0.5, "b": 0.4}, 3.0)
    order = step(order, {"a": 0.4, "b": 0.5}, 4.0)
    assert step(order, {"a": 0.4, "b": 0.5}, 4.0 + PATIENCE - 0.1).keys() == ("a", "b")
    assert step(order, {"a": 0.4, "b": 0.5}, 4.0 + PATIENCE).keys() == ("b", "a")


def test_a_row_that_is_far_off_moves_at_once() -> None:
    scores = {f"h{n}": 1 - n / 10 for n in range(SLACK + 3)}
    order = step(None, scores, 0.0)
    last = f"h{SLACK + 2}"
    assert step(order, {**scores, last: 2.0}, 0.5).keys()[0] == last
