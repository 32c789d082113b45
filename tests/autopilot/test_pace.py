"""Moves at a time: halved by trouble, one more after each clean move, never above the caps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.pace import Pace


def test_without_trouble_the_policy_alone_decides() -> None:
    pace = Pace()
    assert (pace.allowed(4), pace.allowed(0)) == (4, 0)
    pace.clean(1, 4)
    assert pace.allowed(4) == 4


def test_trouble_halves_what_was_under_way_and_says_why() -> None:
    """S3.20: moves give way to the hosts that they strain."""
    pace = Pace()
    assert pace.trouble(1, [1, 2, 3, 4], "h1: tasks stand still")
    assert (pace.allowed(8), pace.why) == (2, "h1: tasks stand still")


def test_one_cause_that_hits_several_moves_counts_once() -> None:
    pace = Pace()
    pace.trouble(1, [1, 2, 3, 4], "h1")
    assert not pace.trouble(2, [2, 3, 4], "h1")
    assert pace.allowed(8) == 2
    assert pace.trouble(5, [4, 5], "h2"), "a move that began afterwards is news"
    assert pace.allowed(8) == 1


def test_each_clean_move_adds_one_and_the_cap_is_the_end() -> None:
    pace = Pace()
    pace.trouble(1, range(1, 9), "h1")
    seen = []
    for move in range(10, 16):
        pace.clean(move, 8)
        seen.append(pace.allowed(8))
    assert seen == [5, 6, 7, 8, 8, 8]
    assert pace.why == ""


def test_a_move_that_was_under_way_in_trouble_adds_nothing() -> None:
    pace = Pace()
    pace.trouble(1, [1, 2], "h1")
    pace.clean(2, 8)
    assert pace.allowed(8) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30))), st.integers(0, 9))
def test_a_plan_always_goes_on_and_never_above_the_cap(story: list[tuple[bool, int]], cap: int) -> None:
    pace = Pace()
    for fine, move in story:
        before = pace.allowed(cap)
        if fine:
            pace.clean(move, cap)
            assert before == 0 or pace.allowed(cap) in {before, before + 1}
        else:
            pace.trouble(move, range(move, move + max(before, 1)), "h1")
            assert pace.allowed(cap) <= max(before // 2, 1) or pace.allowed(cap) == before
        assert 1 <= pace.allowed(cap) <= cap or (cap == 0 and pace.allowed(cap) >= 0)
