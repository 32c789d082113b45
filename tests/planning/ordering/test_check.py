"""The check finds what is wrong with an order, whoever made it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand import by_hand, go
from orders import ordered

from sidestep.planning.model import Constraints, Problem
from sidestep.planning.ordering import Caps, Schedule, verify


def made_order() -> tuple[Problem, Schedule]:
    """Shard 1 has to leave host 1 before shard 0 can come."""
    made = by_hand([10, 10, 10], [(0, 8), (1, 8)])
    return made, ordered(made, go(made, (0, 1), (1, 2)))


def test_a_good_order_has_no_flaw() -> None:
    assert verify(*made_order(), Caps(host=2)) == ""


def test_what_is_not_waited_for_is_found_though_the_times_would_do() -> None:
    """The replay at its worst starts the arrival first."""
    made, order = made_order()
    nothing = (np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int32))
    assert "lacks room" in verify(made, replace(order, after=nothing))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("start", [0.0, 5.0], "starts before the end"),
        ("wave", [1, 1], "not in a later wave"),
        ("latest", [100.0, 50.0], "may have to wait too long"),
        ("earliest", [0.0, 60.0], "before there is room"),
        ("source", [1, 2], "is not on host 2"),
        ("destination", [1, 1], "is not on host 1"),
        ("ceiling", 2.0, "its peak may be 2"),
    ],
)
def test_every_column_is_held_to_what_it_says(field: str, value: object, words: str) -> None:
    made, order = made_order()
    old = getattr(order, field)
    new = np.array(value, dtype=old.dtype) if isinstance(old, np.ndarray) else value
    flaw = verify(made, replace(order, **{field: new}))
    assert flaw and words in flaw


def test_a_peak_above_the_start_is_found() -> None:
    """There is room, but a host would be fuller than any was: allowed only where no order avoids it."""
    made, order = made_order()
    assert order.ceiling == pytest.approx(0.8)
    low = replace(made, limit=made.limit * 0.5)
    assert verify(low, replace(order, ceiling=1.6)) == ""
    assert verify(made, replace(order, ceiling=0.7))


@pytest.mark.parametrize("what", ["movable", "accepts", "gives"])
def test_who_may_not_take_part_is_found(what: str) -> None:
    made, order = made_order()
    none = np.zeros(len(getattr(made, what)), dtype=np.bool_)
    assert "may not go" in verify(replace(made, **{what: none}), order)


def test_broken_rules_are_found() -> None:
    made, order = made_order()
    for rules, words in (
        (Constraints.make(3, 2, groups=[(0, 1, [0, 1])]), ""),
        (Constraints.make(3, 2, masks=np.array([[True, True, False]])), "may not be on host 2"),
    ):
        flaw = verify(replace(made, constraints=rules), order)
        assert bool(flaw) == bool(words) and words in flaw
    made = by_hand([10, 10], [(0, 1), (1, 1)])
    order = ordered(made, go(made, (0, 1)))
    for more in ({"groups": [(0, 1, [0, 1])]}, {"pairs": [(0, 1)]}):
        rules = Constraints.make(2, 2, **more)  # type: ignore[arg-type]
        assert verify(replace(made, constraints=rules), order)


def test_more_at_one_time_than_the_caps_allow_is_found() -> None:
    made = by_hand([10, 10], [(0, 1), (0, 1)])
    order = ordered(made, go(made, (0, 1), (1, 1)), caps=Caps(host=2))
    assert verify(made, order, Caps(host=2)) == ""
    assert "too many at one time of host" in verify(made, order, Caps(host=1))
    assert "too many at one time of fleet" in verify(made, order, Caps(fleet=1))


def test_bad_moves_are_refused() -> None:
    made, _ = made_order()
    for ways in ([(0, 1, 2, 0)], [(0, 0, 0, 0)], [(0, 0, 9, 0)], [(0, 0, 1, 0), (0, 0, 2, 0)]):
        with pytest.raises(ValueError, match="move"):
            ordered(made, ways)  # type: ignore[arg-type]
