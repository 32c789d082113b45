"""The checker of histories: it passes whatever one sound counter can do, and catches every damage."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scripts.faultmatrix.history import Call, Entry, check, entries

History = tuple[list[Call], list[Entry]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """What concurrent clients may see of one counter whose owner changes now and then.

    Every request takes effect at one moment between its beginning and its end.
    """
    calls: list[Call] = []
    log: list[Entry] = []
    counts: Counter[str] = Counter()
    moments: list[tuple[float, int]] = []
    for number in range(draw(st.integers(1, 25))):
        moments.append((draw(st.floats(0, 20)), number))
    changes = sorted(draw(st.lists(st.floats(0, 20), max_size=3)))
    for at, number in sorted(moments):
        token = 1 + sum(change <= at for change in changes)
        key, verb = draw(st.sampled_from("ab")), draw(st.sampled_from(["INC", "INC", "GET"]))
        begun, ended = at - draw(st.floats(0, 3)), at + draw(st.floats(0, 3))
        fate = draw(st.sampled_from(["ok", "ok", "ok", "counted", "lost"]))
        ident = f"r{number}"
        if fate != "lost" and verb == "INC":
            counts[key] += 1
            log.append(Entry(ident, key, token))
        if fate == "ok":
            calls.append(Call(ident, verb, key, begun, ended, "ok", token, len(log), counts[key]))
        else:
            calls.append(Call(ident, verb, key, begun, math.inf, "unknown"))
    return draw(st.permutations(calls)), log


def acknowledged(history: History, verb: str = "INC") -> list[Call]:
    return sorted((c for c in history[0] if c.outcome == "ok" and c.verb == verb), key=lambda c: c.seq)


@given(histories())
def test_what_a_sound_counter_does_is_never_blamed(history: History) -> None:
    """S2.27: zero lost and zero duplicated."""
    assert check(*history) == []


@given(histories(), st.data())
def test_a_lost_acknowledgement_is_caught(history: History, data: st.DataObject) -> None:
    calls, log = history
    mine = acknowledged(history)
    assume(mine)
    lost = data.draw(st.sampled_from(mine)).id
    assert any("lost" in line or "is number" in line for line in check(calls, [e for e in log if e.id != lost]))


@given(histories(), st.data())
def test_a_request_that_counts_twice_is_caught(history: History, data: st.DataObject) -> None:
    calls, log = history
    assume(log)
    twice = data.draw(st.sampled_from(log))
    at = data.draw(st.integers(0, len(log)))
    assert any("was counted 2 times" in line for line in check(calls, [*log[:at], twice, *log[at:]]))


@given(histories(), st.data())
def test_a_value_that_is_handed_out_twice_is_caught(history: History, data: st.DataObject) -> None:
    calls, log = history
    mine = acknowledged(history)
    assume(len(mine) > 1)
    one, other = data.draw(st.sampled_from(mine)), data.draw(st.sampled_from(mine))
    assume(one.id != other.id)
    wrong = [replace(c, seq=one.seq, value=one.value) if c.id == other.id else c for c in calls]
    assert check(wrong, log)


@given(histories(), st.data())
def test_two_owners_at_a_time_are_caught(history: History, data: st.DataObject) -> None:
    """S2.27: an older token after a newer one, for a request that began after the other had ended."""
    calls, log = history
    last = max((c.ended for c in calls if c.outcome == "ok"), default=0.0)
    counted = sum(e.key == "a" for e in log) + 1
    late = Call("late", "INC", "a", last + 1, last + 2, "ok", 9, len(log) + 1, counted)
    stale = Call("stale", "INC", "a", last + 3, last + 4, "ok", 8, len(log) + 2, counted + 1)
    said = check([*calls, late, stale], [*log, Entry("late", "a", 9), Entry("stale", "a", 8)])
    assert any("two owners" in line for line in said)
    # An owner that nobody stopped: it acknowledges from a state of its own.
    other = check([*calls, late, stale], [*log, Entry("late", "a", 9)])
    assert any("stale was acknowledged under token 8 and is lost" in line for line in other)


@given(histories(), st.data())
def test_an_order_against_real_time_is_caught(history: History, data: st.DataObject) -> None:
    calls, log = history
    begun = min((c.begun for c in calls), default=0.0)
    early = Call("early", "INC", "a", begun - 9, begun - 8, "ok", 9, len(log) + 1, sum(e.key == "a" for e in log) + 1)
    assume(acknowledged(history))
    assert any("began after early" in line for line in check([*calls, early], [*log, Entry("early", "a", 9)]))


@given(histories(), st.data())
def test_a_stale_read_is_caught(history: History, data: st.DataObject) -> None:
    calls, log = history
    mine = acknowledged(history)
    assume(mine)
    last = max(c.ended for c in mine)
    newest = max(c.seq for c in mine)
    value = sum(e.key == "a" for e in log[: newest - 1])
    token = max(e.token for e in log)
    read = Call("read", "GET", "a", last + 1, last + 2, "ok", token, newest - 1, value)
    assert any("read began after" in line for line in check([*calls, read], log))


@given(histories(), st.data())
def test_a_read_of_something_that_never_was_is_caught(history: History, data: st.DataObject) -> None:
    reads = acknowledged(history, "GET")
    assume(reads)
    read = data.draw(st.sampled_from(reads))
    wrong = replace(read, value=read.value + data.draw(st.sampled_from([-1, 1])))
    assert any(f"{read.id} read" in line for line in check([wrong if c is read else c for c in history[0]], history[1]))


def test_an_unknown_outcome_counts_once_or_not_at_all() -> None:
    unknown = Call("u", "INC", "a", 1.0, math.inf, "unknown")
    assert check([unknown], []) == []
    assert check([unknown], [Entry("u", "a", 1)]) == []
    assert check([unknown], [Entry("u", "a", 1), Entry("u", "a", 1)]) == ["u was counted 2 times"]
    assert check([], [Entry("x", "a", 1)]) == ["x was counted, and nobody asked for it"]


def test_an_unknown_request_is_never_older_than_it_is() -> None:
    """It was counted before something that had ended when it began: the log was put together wrongly."""
    done = Call("d", "INC", "a", 0.0, 1.0, "ok", 1, 2, 2)
    late = Call("u", "INC", "a", 5.0, math.inf, "unknown")
    assert check([done, late], [Entry("u", "a", 1), Entry("d", "a", 1)]) == [
        "u began after d had ended as number 2, and is number 1"
    ]


@pytest.mark.parametrize("token", [1, 12])
def test_the_lines_of_a_log_are_read(token: int) -> None:
    assert entries(b"r1 k %d 0123abcd\n" % token) == (Entry("r1", "k", token),)
    verb: Literal["INC"] = "INC"
    assert check([Call("r1", verb, "k", 0, 1, "ok", token, 1, 1)], entries(b"r1 k %d 0\n" % token)) == []
