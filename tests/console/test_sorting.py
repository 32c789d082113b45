"""Calm ordering: a row moves for a reason, and in the end the order is the right one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidestep.console.sorting import PATIENCE, SLACK, Order, settle

NAMES = st.sampled_from([f"h{n}" for n in range(12)])
SCORES = st.dictionaries(NAMES, st.floats(0, 1).map(lambda v: round(v, 2)), max_size=12)


def ranked(scores: dict[str, float]) -> tuple[str, ...]:
    return tuple(sorted(scores, key=lambda name: (-scores[name], name)))


@given(st.lists(SCORES, max_size=8), st.floats(0.1, 4))
def test_every_row_is_shown_exactly_once(history: list[dict[str, float]], step: float) -> None:
    order = Order()
    for at, scores in enumerate(history):
        order = settle(order, scores, at * step)
        assert sorted(order.names) == sorted(scores)


@given(SCORES, SCORES)
def test_scores_that_stay_are_sorted_after_the_patience(first: dict[str, float], then: dict[str, float]) -> None:
    order = settle(settle(Order(), first, 0.0), then, 1.0)
    for k in range(1, 12):
        order = settle(order, then, 1.0 + k * PATIENCE)
    assert order.names == ranked(then)


def test_the_first_order_is_sorted_at_once() -> None:
    assert settle(Order(), {"a": 0.1, "b": 0.9, "c": 0.9}, 0.0).names == ("b", "c", "a")


def test_neighbours_that_swap_for_a_moment_stay_in_place() -> None:
    order = settle(Order(), {"a": 0.5, "b": 0.4}, 0.0)
    order = settle(order, {"a": 0.4, "b": 0.5}, 1.0)
    assert order.names == ("a", "b")
    order = settle(order, {"a": 0.5, "b": 0.4}, 3.0)
    order = settle(order, {"a": 0.4, "b": 0.5}, 4.0)
    assert settle(order, {"a": 0.4, "b": 0.5}, 4.0 + PATIENCE - 0.1).names == ("a", "b")
    assert settle(order, {"a": 0.4, "b": 0.5}, 4.0 + PATIENCE).names == ("b", "a")


def test_a_row_that_is_far_off_moves_at_once() -> None:
    scores = {f"h{n}": 1 - n / 10 for n in range(SLACK + 3)}
    order = settle(Order(), scores, 0.0)
    last = f"h{SLACK + 2}"
    assert settle(order, {**scores, last: 2.0}, 0.5).names[0] == last
