"""Moves that wait for each other: through a temporary host, or not at all, and then it is said why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand import by_hand, go
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import ordered

from sidestep.planning.model import Constraints
from sidestep.planning.ordering import Caps, verify


def path(order: object) -> list[tuple[int, int, int, bool]]:
    columns = (order.shard, order.source, order.destination, order.parks)  # type: ignore[attr-defined]
    return [(int(s), int(a), int(b), bool(p)) for s, a, b, p in zip(*columns, strict=True)]


def test_what_needs_room_waits_for_it_and_for_nothing_else() -> None:
    """A move waits for the one departure that makes its room, not for the others from there."""
    made = by_hand([10, 10, 10, 10], [(0, 6), (0, 1), (0, 1), (1, 6)])
    order = ordered(made, go(made, (0, 2), (1, 3), (2, 3), (3, 0)))
    last = int(np.flatnonzero(order.shard == 3)[0])
    assert [int(order.shard[row]) for row in order.waits(last)] == [0]
    assert verify(made, order) == ""


def test_two_full_hosts_change_shards_through_a_third() -> None:
    """Neither can start; the smaller state makes the detour."""
    made = by_hand([10, 10, 10], [(0, 8), (1, 8)], bytes_=[5e6, 1e6])
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert path(order) == [(1, 1, 2, True), (0, 0, 1, False), (1, 2, 0, False)]
    assert not order.cancelled and verify(made, order) == ""
    assert [list(order.waits(row)) for row in range(3)] == [[], [0], [0, 1]]


def test_a_detour_obeys_the_rules() -> None:
    """The emptier host may not take the shard, nor one beside a shard that it avoids; the third can."""
    rules = Constraints.make(5, 3, pairs=[(1, 2)], masks=np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 1]], dtype=np.bool_),
                             mask=np.array([0, 1, 0], dtype=np.int32))  # fmt: skip
    made = by_hand([10, 10, 40, 30, 9], [(0, 8), (1, 8), (3, 1)], bytes_=[5e6, 1e6, 1e6], constraints=rules)
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert path(order)[0] == (1, 1, 4, True)


def test_a_settled_shard_makes_way_and_comes_back() -> None:
    """What moves is too big for any detour, what stays is not."""
    made = by_hand([14, 10, 5], [(0, 7), (0, 5), (1, 6), (1, 2)])
    order = ordered(made, go(made, (0, 1), (2, 0)))
    assert path(order) == [(1, 0, 2, True), (2, 1, 0, False), (0, 0, 1, False), (1, 2, 0, True)]
    assert order.move.tolist() == [-1, 1, 0, -1] and order.relieves[order.move < 0].tolist() == [-1, -1]
    assert not order.cancelled and verify(made, order) == ""


def test_without_any_room_the_circle_is_named() -> None:
    """Both moves are left out; the host that lacks least is the first to empty, by what is lacking."""
    made = by_hand([10, 12], [(0, 8), (1, 8)])
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert len(order) == 0
    assert [(c.move, c.code) for c in order.cancelled] == [(0, "NO_ORDER"), (1, "NO_ORDER")]
    (first,) = order.first_empty
    assert (first.host, first.column) == (1, 0) and first.amount == pytest.approx(4)


def test_with_the_named_host_emptied_an_order_exists() -> None:
    """What ``first_empty`` says is true when tried."""
    made = by_hand([10, 12, 9], [(0, 8), (1, 8), (2, 8)])
    moves = go(made, (0, 1), (1, 2), (2, 0))
    order = ordered(made, moves)
    assert len(order.cancelled) == 3 and len(order.first_empty) == 1
    lack = order.first_empty[0]
    room = made.room.copy()
    room[lack.host, lack.column] += lack.amount
    again = ordered(replace(made, room=room, limit=room), moves)
    assert not again.cancelled and len(again) == 3


def test_a_shard_that_may_not_move_or_arrive_is_left_out_with_its_code() -> None:
    """The others run."""
    made = by_hand([10, 10, 10, 1], [(0, 2), (0, 2), (0, 2), (0, 2)], fixed=(0,), closed=(2,))
    order = ordered(made, go(made, (0, 1), (1, 2), (2, 1), (3, 3)))
    assert [(c.move, c.code) for c in order.cancelled] == [(0, "IMMOVABLE"), (1, "CLOSED"), (3, "NO_ROOM")]
    assert path(order) == [(2, 0, 1, False)]
    assert order.cancelled[-1].lack is not None and order.cancelled[-1].lack[:2] == (3, 0)


def test_a_pair_never_meets_on_its_way() -> None:
    """The arrival waits until the shard that it avoids has left."""
    rules = Constraints.make(3, 2, pairs=[(0, 1)])
    made = by_hand([10, 10, 10], [(0, 1), (1, 1)], constraints=rules)
    order = ordered(made, go(made, (0, 1), (1, 2)))
    assert path(order) == [(1, 1, 2, False), (0, 0, 1, False)]
    assert order.waits(1).tolist() == [0]


def test_a_pair_that_changes_places_parks_one_elsewhere() -> None:
    """There is room everywhere: it is the rule that makes the circle."""
    rules = Constraints.make(3, 2, pairs=[(0, 1)])
    made = by_hand([10, 10, 10], [(0, 1), (1, 1)], constraints=rules)
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert not order.cancelled and order.parks.sum() == 1 and verify(made, order) == ""
    nowhere = by_hand([10, 10], [(0, 1), (1, 1)], constraints=Constraints.make(2, 2, pairs=[(0, 1)]))
    assert [c.code for c in ordered(nowhere, go(nowhere, (0, 1), (1, 0))).cancelled] == ["NO_ORDER", "NO_ORDER"]


def test_a_group_that_fills_every_host_cannot_be_ordered_whatever_is_parked() -> None:
    """Three shards of an app on three hosts, one a host: none can be at two of them. With a fourth host they can."""
    for hosts, code in ((3, "GROUP_FULL"), (4, "")):
        rules = Constraints.make(hosts, 3, groups=[(0, 1, [0, 1, 2])])
        made = by_hand([10.0] * hosts, [(0, 1), (1, 1), (2, 1)], constraints=rules)
        order = ordered(made, go(made, (0, 1), (1, 2), (2, 0)))
        assert {c.code for c in order.cancelled} == ({code} if code else set())
        assert len(order) == (0 if code else 4)


def test_a_host_that_is_too_full_is_not_made_worse() -> None:
    """It is above its room at the start: what arrives waits until no more is there than before."""
    made = by_hand([10, 20, 20], [(0, 6), (0, 6), (1, 5)])
    order = ordered(made, go(made, (2, 0), (0, 1)))
    assert [int(s) for s in order.shard] == [0, 2] or order.cancelled
    assert verify(made, order) == ""
    assert order.waits(1).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 7), st.floats(6, 9), st.integers(0, 100))
def test_a_ring_of_full_hosts_costs_one_detour(length: int, size: float, seed: int) -> None:
    """However long the ring: one shard is parked, the others follow each other."""
    rng = np.random.default_rng(seed)
    made = by_hand([10.0] * (length + 1), [(h, float(size + rng.uniform(0, 0.9))) for h in range(length)])
    order = ordered(made, go(made, *((h, (h + 1) % length) for h in range(length))), caps=Caps(host=1))
    assert not order.cancelled and len(order) == length + 1 and order.parks.sum() == 1
    assert verify(made, order, Caps(host=1)) == ""


def test_a_shard_that_is_nowhere_takes_room_only_where_it_goes() -> None:
    """Failover: nothing is held at a host that is lost, and what is there must leave first where room is short."""
    made = by_hand([10, 10], [(0, 8), (1, 2)])
    host = made.host.copy()
    host[0] = -1
    median = made.median.copy()
    median[0] = 0.0
    made = replace(made, host=host, median=median)
    order = ordered(made, go(made, (0, 1)))
    assert path(order) == [(0, -1, 1, False)] and verify(made, order, Caps(host=1)) == ""
    both = ordered(replace(made, room=made.room - 1), go(made, (0, 1), (1, 0)))
    assert path(both) == [(1, 1, 0, False), (0, -1, 1, False)] and verify(made, both) == ""


def test_no_moves_are_an_empty_order() -> None:
    """Nothing to do is no error."""
    made = by_hand([10, 10], [(0, 8), (1, 2)])
    order = ordered(made, [])
    assert len(order) == 0 and order.moves == () and verify(made, order, Caps()) == ""


def test_many_small_shards_make_way_for_two_big_ones() -> None:
    """Six of the small ones leave a host before the big one from the other host comes; all six come back."""
    small = [(host, 1.0) for host in (0, 1) for _ in range(6)]
    made = by_hand([20, 20, 3, 3], [(0, 10), (1, 10), *small])
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert not order.cancelled and verify(made, order) == ""
    assert int(order.parks.sum()) == 12 and {0, 1}.isdisjoint(order.shard[order.parks].tolist())


def test_a_third_host_is_cleared_for_a_big_shard() -> None:
    """Nothing else may leave the two full hosts, so that small shards of a third one make way."""
    made = by_hand([20, 20, 14, 3], [(0, 10), (1, 10), (0, 8), (1, 8), *[(2, 1.0)] * 6], fixed=(2, 3))
    order = ordered(made, go(made, (0, 1), (1, 0)))
    assert not order.cancelled and verify(made, order) == ""
    assert sum(shard in (0, 1) for shard in order.shard[order.parks].tolist()) == 1
