"""The account of requests finds what was lost and what counted twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidestep.backends.embedded.ledger import LATE, Ledger


def test_a_clean_run_loses_and_doubles_nothing() -> None:
    ledger = Ledger({"a": 10, "b": 0})
    for number in range(11, 31):
        ledger.sent("a")
        ledger.acked("a", number, 0.01)
    account = ledger.close({"a": 30, "b": 0})
    assert (account["requests"], account["acked"], account["lost"], account["duplicated"]) == (20, 20, 0, 0)
    assert account["max_wait_ms"] == 10.0


def test_a_request_is_late_after_a_second() -> None:
    ledger = Ledger({"a": 0})
    ledger.acked("a", 1, LATE)
    ledger.acked("a", 2, LATE + 0.001)
    assert ledger.standing()["late"] == 1


def test_an_unanswered_request_is_lost_whether_it_was_applied_or_not() -> None:
    for applied in (0, 1):
        ledger = Ledger({"a": 0})
        ledger.sent("a")
        ledger.unanswered("a")
        account = ledger.close({"a": applied})
        assert (account["lost"], account["duplicated"]) == (1, 0)


def test_acknowledged_requests_that_the_state_does_not_have_are_lost() -> None:
    ledger = Ledger({"a": 0})
    for number in range(1, 11):
        ledger.acked("a", number, 0.0)
    assert ledger.close({"a": 7})["lost"] == 3


def test_a_shard_that_says_no_total_has_lost_what_it_acknowledged() -> None:
    ledger = Ledger({"a": 0})
    ledger.acked("a", 1, 0.0)
    assert ledger.close({"a": None})["lost"] == 1


def test_two_owners_that_count_apart_show_as_duplicates() -> None:
    """S2.27: the same number from two owners is never taken for one request."""
    ledger = Ledger({"a": 0})
    for number in (1, 2, 3, 3, 4):
        ledger.acked("a", number, 0.0)
    account = ledger.close({"a": 4})
    assert account["duplicated"] == 1
    assert account["lost"] == 1


@given(
    st.integers(0, 1000),
    st.integers(1, 200),
    st.integers(0, 20),
    st.integers(0, 20),
    st.randoms(use_true_random=False),
)
def test_what_is_wrong_is_counted_exactly(before: int, acked: int, missing: int, doubled: int, chance: object) -> None:
    """Any order of answers: a short total is loss, a long one is double counting."""
    missing = min(missing, acked)
    numbers = list(range(before + 1, before + acked + 1))
    chance.shuffle(numbers)  # type: ignore[attr-defined]
    for total, lost, duplicated in (
        (before + acked, 0, 0),
        (before + acked - missing, missing, 0),
        (before + acked + doubled, 0, doubled),
    ):
        ledger = Ledger({"a": before})
        for number in numbers:
            ledger.acked("a", number, 0.0)
        account = ledger.close({"a": total})
        assert (account["lost"], account["duplicated"]) == (lost, duplicated)


def test_a_shard_that_a_split_has_brought_gets_a_page_of_its_own() -> None:
    ledger = Ledger({"a": 10})
    ledger.sent("a")
    ledger.acked("spare", 1, 0.0)
    account = ledger.close({"a": 10, "spare": 1})
    assert (account["requests"], account["acked"], account["lost"], account["duplicated"]) == (1, 1, 0, 0)
