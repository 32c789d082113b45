"""Hot slots without any node: what is overheard, what is to come, which slots leave, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.cluster.arguments import arguments
from sidestep.autopilot.cluster.arguments import settings as settings_of
from sidestep.autopilot.cluster.foresight import CELL, FEWEST, Foresight, at_level
from sidestep.backends.redis_cluster.balance import loads
from sidestep.backends.redis_cluster.ranges import SLOTS, slot_of
from sidestep.backends.redis_cluster.relief import relieved
from sidestep.backends.redis_cluster.tap import key_of, shares
from sidestep.fleet.errors import UsageError
from sidestep.fleet.forecast import LEVELS

OWNERS = np.repeat(np.arange(4, dtype=np.int16), SLOTS // 4)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (rb'1.5 [0 127.0.0.1:6] "get" "a key"', b"a key"),
        (rb'1.5 [0 [::1]:6] "SET" "\x00\"\\n\n" "secret"', b'\x00"\\n\n'),
        (rb'1.5 [0 1:2] "evalsha" "0af" "1" "k" "9"', b"k"),
        (rb'1.5 [0 1:2] "eval" "return 1" "0" "k"', None),
        (rb'1.5 [0 lua] "get" "k"', None),
        (rb'1.5 [0 1:2] "PING"', None),
        (rb'1.5 [0 1:2] "migrate" "h" "1" "" "0" "9" "KEYS" "k"', None),
        (rb'1.5 [0 1:2] "object" "freq" "k"', b"k"),
        (rb"rubbish", None),
        (rb'1.5 [0 1:2] "get" "' + b"x" * 2000 + b'"', None),
    ],
)
def test_the_key_of_an_overheard_command_is_found_and_nothing_else_of_it(line: bytes, key: bytes | None) -> None:
    assert key_of(line) == key


def test_slots_have_the_part_of_what_is_overheard_that_is_theirs() -> None:
    found = shares([b'1.0 [0 1:2] "get" "a"'] * 3 + [b'1.0 [0 1:2] "get" "b"', b'1.0 [0 1:2] "ping"'])
    assert found[slot_of(b"a")] == 0.75 and found[slot_of(b"b")] == 0.25 and found.sum() == 1.0
    assert not shares([b'1.0 [0 1:2] "ping"']).any()


HOT = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.floats(0.001, 1.5)), max_size=40)


@settings(max_examples=25, deadline=None)
@given(HOT, st.lists(st.sampled_from([0.0, 0.5, 0.8]), min_size=4, max_size=4))
def test_nobody_is_taken_above_his_limit_and_nothing_leaves_who_is_below(hot, limits) -> None:  # type: ignore[no-untyped-def]
    demand = np.full(SLOTS, 1e-6)
    for slot, cores in hot:
        demand[slot] += cores
    limit = np.array(limits)
    before = loads(OWNERS, demand, 4)
    after, reliefs = relieved(OWNERS, demand, limit)
    now = loads(after, demand, 4)
    parted = any(one.why in {"hot", "largest"} for one in reliefs)
    for at in range(4):
        fine = limit[at] == 0 or before[at] <= limit[at]
        assert fine == (at not in [one.master for one in reliefs]) or (fine and parted)
        if limit[at] == 0:
            assert now[at] == before[at]  # gives nothing and takes nothing
        elif not parted:
            assert now[at] <= max(before[at], limit[at]) + 1e-9
    for one in reliefs:
        assert one.after <= one.load and (one.after <= one.limit + 1e-9 or one.why in {"no_room", "largest", "hot"})
        assert all(OWNERS[slot] == one.master for slot, _ in one.moves) or len(reliefs) > 1


def test_one_slot_leaves_where_one_is_enough_and_it_is_the_lightest_that_is() -> None:
    demand = np.zeros(SLOTS)
    demand[[10, 20, 30]] = 0.5, 0.3, 0.1
    _, (one,) = relieved(OWNERS, demand, np.full(4, 0.7))
    assert one.why == "alone" and one.moves == ((20, 1),)


def test_a_slot_that_is_too_much_alone_stays_and_others_leave_it() -> None:
    demand = np.zeros(SLOTS)
    demand[[10, 20, 30]] = 0.9, 0.3, 0.2
    after, (one,) = relieved(OWNERS, demand, np.full(4, 0.7))
    assert one.why == "largest" and {slot for slot, _ in one.moves} == {20, 30} and after[10] == 0


def test_slots_of_which_each_is_too_much_part_and_are_then_left_alone() -> None:
    demand = np.full(SLOTS, 1e-7)
    demand[[10, 20, 30]] = 0.9, 0.8, 0.75
    after, (one, *_) = relieved(OWNERS, demand, np.full(4, 0.7))
    assert one.why == "largest" and {slot for slot, _ in one.moves} == {10, 20}
    assert sorted({int(owner) for owner in after[[10, 20, 30]]})[0] == 0 and len(set(after[[10, 20, 30]].tolist())) == 3
    again, reliefs = relieved(after, demand, np.full(4, 0.7))
    assert (again[[10, 20, 30]] == after[[10, 20, 30]]).all() and {one.why for one in reliefs} == {"largest"}


def test_a_hot_slot_goes_to_the_coolest_where_it_fits_nowhere_but_is_better_off() -> None:
    demand = np.zeros(SLOTS)
    demand[[10, 11]] = 0.6, 0.55
    demand[[SLOTS // 4, SLOTS // 2, 3 * SLOTS // 4]] = 0.3, 0.2, 0.4
    after, (one, other) = relieved(OWNERS, demand, np.full(4, 0.7))
    assert one.why == "hot" and one.moves == ((10, 2),) and after[11] == 0
    assert other.moves == ((SLOTS // 2, 1),)  # what was there makes room for it


def risen(readings: int, owners=OWNERS, **options):  # type: ignore[no-untyped-def]
    """A foresight to which three slots of the first master have risen, more by each reading."""
    foresight, chance = Foresight(1.0, 10.0, **options), np.random.default_rng(1)
    for at in range(readings):
        cpu = np.full(SLOTS, 1e-6)
        cpu[[5, 6, 100]] += np.array([0.02, 0.01, 0.01]) * max(0, at - 20) * (1 + 0.02 * chance.standard_normal(3))
        foresight.learn(cpu)
    return foresight


def test_a_rise_is_forecast_above_what_it_is_and_each_slot_has_its_part_of_it() -> None:
    outlook = risen(36).outlook(OWNERS, 4)
    assert outlook.predicted and outlook.now[0] == pytest.approx(0.6, rel=0.1)
    assert outlook.peak[0] > outlook.now[0] * 1.1 and outlook.ahead[0] > 0
    assert loads(OWNERS, outlook.slots, 4) == pytest.approx(outlook.peak)
    assert outlook.slots[5] / outlook.slots[6] == pytest.approx(2.0, rel=0.1)
    assert (outlook.peak[1:] < 0.05).all()


def test_without_a_forecast_or_before_enough_is_known_the_peak_is_now() -> None:
    for foresight, wanted in ((risen(36), False), (risen(FEWEST - 1), True)):
        outlook = foresight.outlook(OWNERS, 4, forecast=wanted)
        assert not outlook.predicted and (outlook.peak == outlook.now).all() and not outlook.ahead.any()
        assert loads(OWNERS, outlook.slots, 4) == pytest.approx(outlook.now)


def test_what_is_forecast_goes_with_a_slot_to_its_new_master() -> None:
    foresight, owners = risen(36), OWNERS.copy()
    owners[[5, 6]] = 3
    before, after = foresight.outlook(OWNERS, 4), foresight.outlook(owners, 4)
    assert after.peak[3] > 0.5 * before.peak[0] and after.peak[0] < 0.5 * before.peak[0]


def test_readings_that_are_missing_are_no_rise_and_no_fall() -> None:
    foresight = risen(36)
    now = foresight.outlook(OWNERS, 4).now
    foresight.learn(np.full(SLOTS, np.nan))
    assert foresight.outlook(OWNERS, 4).now == pytest.approx(now)
    assert SLOTS % CELL == 0


def test_a_level_between_two_is_between_their_values() -> None:
    values = np.arange(len(LEVELS), dtype=float)
    assert at_level(values, LEVELS[3]) == pytest.approx(3.0) and 2.0 < at_level(values, 0.25) < 3.0


@pytest.mark.parametrize(
    "words", [["--limit=nan"], ["--interval=0"], ["--horizon=1", "--interval=2"], ["--quantile=1.5"], ["--for=-1"]]
)
def test_settings_that_make_no_sense_are_refused_by_name(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--\w+"):
        settings_of(arguments(["watch", "--node=h:1", *words]))
