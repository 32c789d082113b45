"""The checker of keys that change hands: it passes what sound shards can do, and catches every damage."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from scripts.faultmatrix.divided import Held, check_divided
from scripts.faultmatrix.history import Call, Entry

Logs = dict[str, list[Entry]]
History = tuple[list[Call], Logs, dict[str, Held]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """What clients may see of key a, which "one" keeps under token 1, and of key b, which "two" gets and gives back."""
    changes = sorted(draw(st.lists(st.floats(0, 20), max_size=4)))
    tokens = tuple(1 if n % 2 == 0 else n + 1 for n in range(len(changes) + 1))
    calls: list[Call] = []
    entries: list[Entry] = []
    counts: Counter[str] = Counter()
    for number, at in enumerate(sorted(draw(st.lists(st.floats(0, 20), min_size=1, max_size=25)))):
        key, verb = draw(st.sampled_from("ab")), draw(st.sampled_from(["INC", "INC", "GET"]))
        token = tokens[sum(change <= at for change in changes)] if key == "b" else 1
        begun, ended = at - draw(st.floats(0, 3)), at
        fate = draw(st.sampled_from(["ok", "ok", "ok", "counted", "lost"]))
        ident = f"r{number}"
        if fate != "lost" and verb == "INC":
            counts[key] += 1
            entries.append(Entry(ident, key, token))
        if fate == "ok":
            seq = draw(st.integers(1, 99))  # of a whole log, which a split shortens
            calls.append(Call(ident, verb, key, begun, ended, "ok", token, seq, counts[key]))  # type: ignore[arg-type]
        else:
            calls.append(Call(ident, verb, key, begun, math.inf, "unknown"))  # type: ignore[arg-type]
    has = "two" if len(changes) % 2 else "one"
    order = draw(st.permutations("ab"))  # keys that came back stand behind the others
    logs: Logs = {"one": [], "two": []}
    for key in order:
        logs[has if key == "b" else "one"] += [entry for entry in entries if entry.key == key]
    return draw(st.permutations(calls)), logs, {"a": Held("one", (1,)), "b": Held(has, tokens)}


def acknowledged(history: History) -> list[Call]:
    return [call for call in history[0] if call.outcome == "ok" and call.verb == "INC"]


@given(histories())
def test_what_sound_shards_do_is_never_blamed(history: History) -> None:
    """S1.20 S1.21 S2.27: zero lost and zero duplicated, keys that changed hands included."""
    assert check_divided(*history) == []


@given(histories(), st.data())
def test_an_acknowledgement_that_was_lost_on_the_way_is_caught(history: History, data: st.DataObject) -> None:
    calls, logs, keys = history
    mine = acknowledged(history)
    assume(mine)
    lost = data.draw(st.sampled_from(mine))
    cut = {shard: [entry for entry in log if entry.id != lost.id] for shard, log in logs.items()}
    assert any(lost.id in line for line in check_divided(calls, cut, keys))


@given(histories(), st.data())
def test_a_request_that_counts_twice_is_caught(history: History, data: st.DataObject) -> None:
    calls, logs, keys = history
    shard = data.draw(st.sampled_from(["one", "two"]))
    assume(logs[shard])
    twice = data.draw(st.sampled_from(logs[shard]))
    found = check_divided(calls, {**logs, shard: [*logs[shard], twice]}, keys)
    assert any("was counted 2 times" in line for line in found)


@given(histories(), st.data())
def test_a_copy_of_keys_that_were_given_away_is_caught_unless_it_may_be_there(
    history: History, data: st.DataObject
) -> None:
    calls, logs, keys = history
    away = "one" if keys["b"].shard == "two" else "two"
    copy = [entry for entry in logs[keys["b"].shard] if entry.key == "b"]
    assume(copy)
    there = {**logs, away: [*logs[away], *copy]}
    assert any("is not its" in line for line in check_divided(calls, there, keys))
    assert check_divided(calls, there, keys, copies=True) == []


def test_an_owner_of_before_that_answers_again_is_caught() -> None:
    """Two owners: whoever gave the keys away reads, or counts, after the next one has; or a spare comes back."""
    log = [Entry("a", "b", 1), Entry("b", "b", 2), Entry("c", "b", 1)]
    calls = [Call(e.id, "INC", "b", at, at + 0.5, "ok", e.token, 9, at) for at, e in enumerate(log, 1)]
    keys = {"b": Held("one", (1, 2, 1))}
    assert check_divided(calls, {"one": log, "two": []}, keys) == []
    for token, owners in ((2, (1, 2, 1)), (1, (1, 2))):
        stale = Call("stale", "GET", "b", 8.0, 9.0, "ok", token, 1, 3)
        some = [*calls, stale] if token == 2 else [*calls[:2], replace(stale, value=2)]
        found = check_divided(some, {"one": log[: len(some) - 1]}, {"b": Held("one", owners)})
        assert any("whose time was over" in line for line in found), token
    late = replace(calls[-1], id="late", value=3, begun=5.0, ended=6.0, token=2)
    assert any("late" in line for line in check_divided([*calls, late], {"one": log, "two": []}, keys))
