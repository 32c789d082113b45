"""Slots of a Redis Cluster without any node: ranges, views, balance, pace, journal, and what a repair decides."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sidestep.backends.redis_cluster.access import Access, address
from sidestep.backends.redis_cluster.balance import changes, loads, rebalanced, split, targets
from sidestep.backends.redis_cluster.demand import slot_stats
from sidestep.backends.redis_cluster.job import Ledger, Leg, alone, job, unfinished
from sidestep.backends.redis_cluster.pace import EACH, FEW, FEWEST, LEAST, MOST, WEIGHT_MOST, Ear, Pace, Usual
from sidestep.backends.redis_cluster.pace import SLOTS as ROUND
from sidestep.backends.redis_cluster.probe import usual
from sidestep.backends.redis_cluster.ranges import SLOTS, Range, ranges, read, slot_of, written
from sidestep.backends.redis_cluster.repair import decide
from sidestep.backends.redis_cluster.topology import NOBODY, View, told, view
from sidestep.backends.secret import secret
from sidestep.fleet.errors import SidestepError, UsageError

A, B, C, R = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
SLOT_SETS = st.sets(st.integers(0, SLOTS - 1), max_size=60)


def nodes(
    me: str, halves: str = "", *, a: str = "0-5460", b: str = "5461-10922", epochs: tuple[int, int] = (1, 2)
) -> str:  # fmt: skip
    """What a node of a cluster of three masters and a replica of the second says."""
    rows = [
        f"{A} 10.0.0.1:6379@16379,host.example {{a}}master - 0 0 {epochs[0]} connected {a}{{x}}",
        f"{B} 10.0.0.2:6379@16379 {{b}}master - 0 0 {epochs[1]} connected {b}{{y}}",
        f"{C} 10.0.0.3:6379@16379 {{c}}master - 0 0 3 connected 10923-16383{{z}}",
        f"{R} 10.0.0.4:6379@16379 slave {B} 0 0 {epochs[1]} connected",
    ]
    mine = {name: "myself," if me == id else "" for name, id in (("a", A), ("b", B), ("c", C))}
    extra = {name: f" {halves}" if halves and me == id else "" for name, id in (("x", A), ("y", B), ("z", C))}
    return "\n".join(row.format(**mine, **extra).rstrip() for row in rows)


def seen(a: str = "", b: str = "", c: str = "") -> View:
    said = [(told(nodes(id, half)), True) for id, half in ((A, a), (B, b), (C, c))]
    return view(said)


@settings(max_examples=30, deadline=None)
@given(SLOT_SETS)
def test_slots_are_read_back_as_they_were_written_in_the_fewest_ranges(slots: set[int]) -> None:
    text = written(slots)
    assert (set(read(text)) if text else set()) == slots
    parts = ranges(slots)
    assert all(b.first > a.last + 1 for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("text", ["", "5-", "-5", "9-3", "16384", "1,,2", "a", "1-2-3", "٣"])
def test_what_is_no_slot_is_refused_as_bad_input(text: str) -> None:
    with pytest.raises(UsageError):
        read(text)


def test_the_slot_of_a_key_is_that_of_its_tag() -> None:
    assert slot_of(b"123456789") == 0x31C3 and slot_of(b"foo{hash_tag}bar") == slot_of(b"hash_tag")
    assert slot_of(b"foo{}bar") != slot_of(b"bar") and slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")


def test_a_view_has_owners_shards_replicas_and_half_moved_slots() -> None:
    whole = seen(a=f"[7->-{B}]", b=f"[7-<-{A}]")
    assert whole.ok and not whole.disputed and [one.id for one in whole.masters] == [A, B, C]
    assert [str(part) for part, _ in whole.shards()] == ["0-5460", "5461-10922", "10923-16383"]
    assert [(h.slot, h.way) for h in whole.halves] == [(7, "migrating"), (7, "importing")]
    assert [one.id for one in whole.replicas(B)] == [R] and whole.heir(R) == whole.by_id(B)


def test_the_claim_of_the_highest_epoch_counts_and_the_difference_is_told() -> None:
    newer = told(nodes(B, a="0-5460", b="100 5461-10922", epochs=(1, 9)))
    both = view([(told(nodes(A)), True), (newer, True), (told(nodes(C)), True)])
    owner = both.owner(100)
    assert owner is not None and owner.id == B and both.disputed == (100,)


@pytest.mark.parametrize(
    "line", ["x", f"{A} nowhere myself,master - 0 0 x connected", f"{A} h:1@2 master - 0 0 1 connected 0-99999"]
)
def test_words_that_no_node_says_are_refused(line: str) -> None:
    with pytest.raises(SidestepError):
        told(line)


DEMANDS = arrays.arrays(np.float64, SLOTS, elements=st.floats(0, 100), fill=st.floats(0, 2))
OWNERS = st.tuples(st.integers(0, SLOTS), st.integers(0, SLOTS)).map(
    lambda cuts: np.searchsorted(sorted(cuts), np.arange(SLOTS), side="right").astype(np.int16)
)


@settings(max_examples=12, deadline=None)
@given(OWNERS, DEMANDS, st.tuples(*[st.sampled_from([0.0, 1.0, 3.0])] * 3).filter(any))
def test_a_rebalance_brings_all_within_the_tolerance_or_no_slot_fits_any_more(owners, demand, weights) -> None:  # type: ignore[no-untyped-def]
    after = rebalanced(owners, demand, weights, tolerance=0.02)
    even = demand if demand.sum() > 0 else np.ones(SLOTS)
    want, before, have = targets(even, weights), loads(owners, even, 3), loads(after, even, 3)
    assert have.sum() == pytest.approx(before.sum())
    for at in range(3):
        if weights[at] == 0:
            assert not (after == at).any()
        elif all(weights):
            # nobody who was below is taken above, and nobody who was above below, the tolerance
            assert have[at] <= max(before[at], want[at] * 1.02) + 1e-6
            assert have[at] >= min(before[at], want[at] * 0.98) - 1e-6
    if all(weights):
        for giver in np.flatnonzero(have > want * 1.02 + 1e-6):
            for taker in np.flatnonzero(have < want):
                room = min(have[giver] - want[giver] * 0.98, want[taker] * 1.02 - have[taker])
                mine = even[(after == giver) & (owners == giver)]
                assert not ((mine > 0) & (mine <= room - 1e-6)).any()


@settings(max_examples=10, deadline=None)
@given(OWNERS, st.integers(1, 4))
def test_equal_slots_move_no_more_often_than_they_have_to_and_stay_together(owners, scale) -> None:  # type: ignore[no-untyped-def]
    after = rebalanced(owners, np.full(SLOTS, float(scale)), (1, 1, 1), tolerance=0.0)
    counts, third = np.bincount(owners, minlength=3), SLOTS / 3
    assert (after != owners).sum() == pytest.approx(np.maximum(counts - third, 0).sum(), abs=2)
    assert np.abs(np.bincount(after, minlength=3) - third).max() < 2
    assert sum(len(ranges(slots)) for slots in changes(owners, after).values()) <= 4


def test_the_heaviest_slots_that_fit_go_first() -> None:
    owners = np.repeat(np.arange(2, dtype=np.int16), SLOTS // 2)
    demand = np.ones(SLOTS)
    demand[:4] = 1000
    after = rebalanced(owners, demand, (1, 1))
    assert np.flatnonzero(after != owners).tolist() == [2, 3]


def test_slots_of_nobody_stay_so_and_weights_that_are_none_are_refused() -> None:
    owners = np.full(SLOTS, NOBODY, dtype=np.int16)
    assert (rebalanced(owners, np.ones(SLOTS), (1, 1)) == NOBODY).all()
    for weights in ((), (0, 0), (1, -1)):
        with pytest.raises(UsageError):
            rebalanced(owners, np.ones(SLOTS), weights)


@given(st.integers(0, SLOTS - 2), st.integers(2, 500), DEMANDS)
@settings(max_examples=10, deadline=None)
def test_a_split_cuts_a_range_where_no_other_cut_is_more_even(first: int, size: int, demand) -> None:  # type: ignore[no-untyped-def]
    part = Range(first, min(first + size - 1, SLOTS - 1))
    low, high = split(part, demand)
    assert (low.first, high.last) == (part.first, part.last) and high.first == low.last + 1
    piece = demand[part.first : part.last + 1]
    if piece.sum() > 0:
        sums = np.cumsum(piece)[:-1]
        assert abs(sums[len(low) - 1] - piece.sum() / 2) == pytest.approx(np.abs(sums - piece.sum() / 2).min())


def test_a_single_slot_is_not_split() -> None:
    with pytest.raises(UsageError):
        split(Range(5, 5), np.ones(SLOTS))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.booleans()), max_size=200))
def test_the_pace_stays_within_its_bounds_whatever_is_heard(events) -> None:  # type: ignore[no-untyped-def]
    pace = Pace()
    for heard, seconds, loud in events:
        pace = pace.heard(loud) if heard else pace.carried(seconds, 0.1)
        assert 1 <= pace.slots <= ROUND and EACH + 1 <= pace.weight <= WEIGHT_MOST and LEAST <= pace.share <= MOST
        assert pace.rest(seconds) == pytest.approx(seconds / pace.share - seconds)


def test_slow_answers_halve_our_share_of_the_time_then_writes_and_quiet_ones_take_it_back() -> None:
    pace = Pace(weight=64)
    while pace.share > LEAST:
        after = pace.heard(loud=True)
        assert (after.slots, after.weight) == (ROUND, 64) and after.share == max(pace.share / 2, LEAST)
        pace = after
    assert pace.heard(loud=True).slots == ROUND / 2
    for _ in range(20):
        pace = pace.heard(loud=True)
    assert (pace.slots, pace.weight) == (1, EACH + 1)
    for _ in range(100):
        pace = pace.heard(loud=False)
    assert (pace.slots, pace.share) == (ROUND, MOST)


def test_a_write_that_takes_too_long_carries_fewer_keys_and_one_key_only_where_keys_are_large() -> None:
    pace = Pace()
    for _ in range(20):
        pace = pace.carried(0.2, 0.1)
    assert pace.weight == EACH + FEW
    for _ in range(20):
        pace = pace.carried(1.0, 0.1)
    assert pace.weight == EACH + 1
    assert pace.carried(0.2, 0.1).weight == EACH + 1 and pace.carried(0.05, 0.1).weight == EACH + 2
    assert Usual(0.1, 1.0).kept(0.05) == 0.0 and Usual(0.1, 1.0).kept(0.3) == pytest.approx(0.2)


def test_the_ear_is_silent_until_it_knows_enough_and_what_it_learns_wears_off() -> None:
    ear = Ear(ceiling=1.0)
    for _ in range(FEWEST - 1):
        ear.add(2.0)
    assert ear.loud() is None
    ear.add(2.0)
    assert ear.loud() is True
    ear.learn(1.2)
    assert ear.ceiling == pytest.approx(2.4) and ear.loud() is False
    ear.relax()
    assert ear.loud() is None  # until there are as many new answers
    for _ in range(100):
        ear.relax()
    assert ear.ceiling == 1.0


def test_one_noisy_moment_does_not_raise_what_is_usual() -> None:
    assert usual([1.0] * 200 + [9.0] * 100) == 1.0 and usual([]) == 0.0


def test_a_journal_gives_back_what_is_not_done_even_with_a_torn_line(tmp_path: Path) -> None:
    made = job([Leg(A, B, (1, 2, 3), (R,)), Leg(C, B, ()), Leg(C, B, (9,))], "test")
    ledger = Ledger(tmp_path, made)
    ledger.begin()
    ledger.step("open", made.legs[0], (1, 2))
    ledger.close()
    path = next(tmp_path.glob("*.jsonl"))
    with path.open("ab") as file:
        file.write(b'{"step":"ca')
    assert unfinished(tmp_path) == (made,) and path.stat().st_mode & 0o77 == 0
    again = Ledger(tmp_path, made)
    again.begin()
    assert unfinished(tmp_path) == (made,) and made.intents() == {1: (B, R), 2: (B, R), 3: (B, R), 9: (B,)}
    again.end()
    again.close()
    assert unfinished(tmp_path) == ()


def test_a_journal_with_a_wrong_line_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"step":"intent","at":1}\nrubbish\n{"step":"end","at":2}\n')
    with pytest.raises(SidestepError, match=r"x\.jsonl:2"):
        unfinished(tmp_path)


def test_two_do_not_move_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(SidestepError, match="another"), alone(tmp_path):
        pass


@pytest.mark.parametrize(
    ("halves", "keys", "intents", "expected"),
    [
        ({"a": f"[7->-{B}]", "b": f"[7-<-{A}]"}, {(7, A): 1}, {}, [("clear", A)]),
        ({"a": f"[7->-{B}]", "b": f"[7-<-{A}]"}, {(7, B): 1}, {}, [("finish", B)]),
        ({"a": f"[7->-{B}]", "b": f"[7-<-{A}]"}, {}, {7: (B,)}, [("finish", B)]),
        ({"b": f"[7-<-{A}]"}, {(7, B): 2, (7, A): 1}, {}, [("finish", B)]),
        ({"a": f"[7->-{'e' * 40}]"}, {(7, A): 5}, {}, [("clear", A)]),
        ({"c": f"[5500->-{B}]"}, {}, {}, [("clear", B)]),
        (
            {"a": f"[7->-{B}]", "b": f"[7-<-{A}]", "c": f"[7-<-{A}]"},
            {(7, B): 1, (7, C): 1},
            {},
            [("gather", B), ("finish", B)],
        ),
        # a slot sent on to a replica in the place of a target that has come back since
        ({"a": f"[7->-{C}]", "c": f"[7-<-{A}]"}, {(7, C): 1}, {7: (B, C)}, [("gather", B), ("finish", B)]),
        ({"a": f"[7->-{R}]"}, {(7, B): 1}, {}, [("finish", B)]),
    ],
)  # fmt: skip
def test_what_becomes_of_a_half_moved_slot_follows_from_what_is_known(halves, keys, intents, expected) -> None:  # type: ignore[no-untyped-def]
    fixes = decide(seen(**halves), intents, keys)
    assert [(fix.what, fix.to) for fix in fixes] == expected


def test_a_slot_of_nobody_is_claimed_for_whom_a_move_meant_it() -> None:
    holed = view([(told(nodes(id, a="0-99 101-5460")), False) for id in (A, B, C)])
    assert [(fix.what, fix.slot, fix.to) for fix in decide(holed, {100: ("f" * 40, B)}, {})] == [("claim", 100, B)]
    assert decide(holed, {}, {}) == () and not holed.ok
    assert [(fix.what, fix.to) for fix in decide(holed, {}, {(100, C): 3})] == [("claim", C)]


def test_a_slot_that_died_with_its_new_owner_is_sent_on_to_its_replica_and_no_other_is() -> None:
    lost = nodes(A).replace(f"{B} 10.0.0.2:6379@16379 master", f"{B} 10.0.0.2:6379@16379 master,fail")
    promoted = "myself,master - 0 0 9 connected"
    heir = nodes(R).replace(f"{R} 10.0.0.4:6379@16379 slave {B} 0 0 2 connected", f"{R} 10.0.0.4:6379@16379 {promoted}")
    after = view([(told(lost.replace(f"slave {B}", "master -")), True), (told(heir), True)])
    fixes = decide(after, {6000: (B, R), 6001: (C,), 7: (B, R)}, {})
    assert [(fix.what, fix.slot, fix.to) for fix in fixes] == [("route", 6000, R)]


def test_keys_that_a_promoted_replica_has_of_slots_of_its_old_master_are_brought_to_it_if_a_move_gave_them() -> None:
    def said(me: str) -> str:
        heir = "myself,master - 0 0 9" if me == R else "master - 0 0 9"
        return nodes(me).replace(f"slave {B} 0 0 2", heir)

    parted = view([(told(said(id)), True) for id in (A, B, R)])
    keys = {(6000, R): 2, (6001, R): 2}
    fixes = decide(parted, {6000: (B, R)}, keys)
    assert [(fix.what, fix.slot, fix.owner, fix.to) for fix in fixes] == [("gather", 6000, R, B)]
    assert decide(parted, {6000: (B, R)}, {}) == () and decide(parted, {6000: (B,)}, keys) == ()


def test_slot_stats_are_read_where_cpu_is_counted() -> None:
    entry = [5, [b"key-count", 3, b"cpu-usec", 70, b"network-bytes-in", 4, b"network-bytes-out", 6]]
    stats = slot_stats([entry])
    assert stats is not None and stats[5].tolist() == [70, 10] and stats[4].tolist() == [0, 0]
    assert slot_stats([[5, [b"key-count", 3]]]) is None and slot_stats([b"odd"]) is None


def test_a_password_is_a_reference_and_never_said(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    (tmp_path / "shown").write_text("hunter2\n")
    (tmp_path / "pw").chmod(0o600)
    (tmp_path / "shown").chmod(0o640)
    assert secret(f"file:{tmp_path}/pw", "--password") == "hunter2" and secret("command:echo x", "--password") == "x"
    assert secret("", "--password") == ""
    for wrong in (
        "hunter2",
        "file:/nonexistent",
        f"file:{tmp_path}/shown",
        "command:false",
        "command:printf 'a\\nb\\n'",
    ):
        with pytest.raises(UsageError) as caught:
            secret(wrong, "--password")
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Access(password=f"file:{tmp_path}/pw"))
    assert address("[::1]:6379") == ("::1", 6379)
    for text in ("host", "host:0", ":1", "host:99999", "h:x"):
        with pytest.raises(UsageError):
            address(text)
