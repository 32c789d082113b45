"""The checker of histories with a failover: what a capsule may lose is never blamed, and all else is caught."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from scripts.faultmatrix.history import Call, Entry, Restored, check, check_restored

LOST, OLD, NEW = 20.0, 1, 2
History = tuple[list[Call], list[Entry], Restored]


def counted(requests: list[tuple[float, float, float, str]], log: list[Entry], token: int, name: str) -> list[Call]:
    """What one owner answers, in the order in which the requests take effect; the log grows by it."""
    counts, calls = Counter(entry.key for entry in log), list[Call]()
    for number, (at, before, after, key) in enumerate(sorted(requests)):
        ident = f"{name}{number}"
        counts[key] += 1
        log.append(Entry(ident, key, token))
        calls.append(Call(ident, "INC", key, at - before, at + after, "ok", token, len(log), counts[key]))
    return calls


@st.composite
def failovers(draw: st.DrawFn, *, sound: bool = True) -> History:
    """An owner, its capsule, its end, and the owner that goes on from the capsule.

    The capsule has all that had ended when it was begun, and some of what came then; an unsound one lacks more.
    """
    spans, keys = st.floats(0, 2), st.sampled_from("ab")
    old = draw(st.lists(st.tuples(st.floats(2, 18), spans, spans, keys), min_size=1, max_size=15))
    new = draw(st.lists(st.tuples(st.floats(LOST + 2, 40), spans, spans, keys), max_size=10))
    begun, first = draw(st.floats(0, 20)), list[Entry]()
    calls = counted(old, first, OLD, "old")
    least = max((call.seq for call in calls if call.ended < begun), default=0)
    assume(sound or least)
    log = first[: draw(st.integers(least, len(first)) if sound else st.integers(0, least - 1))]
    calls += counted(new, log, NEW, "new")
    return draw(st.permutations(calls)), log, Restored(NEW, begun)


@given(failovers())
def test_what_came_after_the_capsule_may_be_lost(history: History) -> None:
    """S2.21: the RPO, and nothing but that."""
    calls, log, failover = history
    assert check_restored(calls, log, [failover]) == []


@given(failovers())
def test_without_a_failover_nothing_may_be_lost(history: History) -> None:
    calls, log, _ = history
    assert check_restored(calls, log, []) == check(calls, log)
    lost = any(call.seq > sum(e.token < NEW for e in log) for call in calls if call.token == OLD)
    assert bool(check(calls, log)) == lost


@given(failovers(sound=False))
def test_what_had_ended_before_the_capsule_was_begun_is_missed(history: History) -> None:
    calls, log, failover = history
    assert any("before the capsule of token 2 was begun" in line for line in check_restored(calls, log, [failover]))


@given(failovers())
def test_an_owner_that_answers_beside_the_next_one_is_caught(history: History) -> None:
    """S2.27: also one that answers from what is lost."""
    calls, log, failover = history
    late = [call for call in calls if call.token == NEW]
    assume(late)
    end = min(call.ended for call in late)
    stale = Call("stale", "INC", "a", end + 1, end + 2, "ok", OLD, len(log) + 99, 99)
    assert any("two owners" in line for line in check_restored([*calls, stale], log, [failover]))


@given(failovers(), st.data())
def test_the_new_owner_loses_and_repeats_nothing(history: History, data: st.DataObject) -> None:
    calls, log, failover = history
    mine = [call for call in calls if call.token == NEW]
    assume(mine)
    one = data.draw(st.sampled_from(mine))
    entry = next(e for e in log if e.id == one.id)
    assert check_restored(calls, [e for e in log if e is not entry], [failover])
    assert check_restored(calls, [*log, entry], [failover])
    back = replace(one, value=one.value - 1)
    assert check_restored([back if call is one else call for call in calls], log, [failover])


@given(failovers())
def test_what_was_lost_does_not_come_back(history: History) -> None:
    calls, log, failover = history
    there = {entry.id for entry in log}
    gone = [call for call in calls if call.id not in there]
    assume(gone)
    assert check_restored(calls, [*log, Entry(gone[0].id, gone[0].key, NEW)], [failover])
