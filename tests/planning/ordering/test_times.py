"""When moves start: in time, within the caps, and where the forecast leaves most room."""

from __future__ import annotations

import numpy as np
import pytest
from hand import by_hand, go
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import ordered, shuffled

from sidestep.planning.model import Constraints
from sidestep.planning.ordering import Caps, verify


def test_what_others_wait_for_must_be_over_before_they_start() -> None:
    """The latest start goes backwards through what waits."""
    made = by_hand([10, 10, 10], [(0, 8), (1, 8)])
    moves = go(made, (0, 2), (1, 0))
    order = ordered(made, moves, deadlines=np.array([np.inf, 100.0]), transfer_s=np.array([30.0, 20.0]))
    assert order.latest.tolist() == [50.0, 80.0]
    assert order.start.tolist() == [0.0, 30.0]
    assert not order.late.any()


def test_a_deadline_that_cannot_be_met_is_said_and_by_how_much() -> None:
    """Twenty seconds of work in fifteen seconds."""
    made = by_hand([10, 10], [(0, 1), (0, 1)])
    moves = go(made, (0, 1), (1, 1))
    given_ = {"deadlines": np.array([15.0, 15.0]), "transfer_s": np.array([10.0, 10.0])}
    order = ordered(made, moves, caps=Caps(host=1), **given_)
    assert order.late.tolist() == [0.0, 5.0]
    assert not ordered(made, moves, caps=Caps(host=2), **given_).late.any()


def test_the_most_urgent_starts_first() -> None:
    """Where only one may run at a time, the earliest latest start goes first."""
    made = by_hand([30, 30], [(0, 1), (0, 1), (0, 1)])
    deadlines = np.array([np.inf, 300.0, 100.0])
    order = ordered(made, go(made, (0, 1), (1, 1), (2, 1)), caps=Caps(host=1), deadlines=deadlines)
    assert order.shard.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("caps", "at_once"),
    [
        (Caps(host=1), 3),
        (Caps(host=0, fleet=2), 2),
        (Caps(host=0, domain=1), 1),
        (Caps(host=0, app=1, apps=np.array([0, 0, 1], dtype=np.int32)), 2),
        (Caps(host=0), 3),
    ],
)
def test_caps_hold_for_hosts_domains_apps_and_the_fleet(caps: Caps, at_once: int) -> None:
    """Three moves between six hosts of two domains."""
    domains = np.stack([np.arange(6), np.array([0, 1, 0, 1, 0, 1])]).astype(np.int32)
    made = by_hand([10] * 6, [(0, 1), (2, 1), (4, 1)], constraints=Constraints.make(6, 3, domains=domains))
    order = ordered(made, go(made, (0, 1), (1, 3), (2, 5)), caps=caps)
    assert int((order.start == 0).sum()) == at_once
    assert verify(made, order, caps) == ""


def test_a_move_is_placed_where_both_ends_have_most_room() -> None:
    """Both hosts are busy at first and quiet in the fourth minute; the deadline allows for that."""
    busy = {0: [6.0, 5, 4, 1, 5, 6], 1: [6.0, 5, 4, 1, 5, 6]}
    made = by_hand([10, 10], [(0, 1)], steps=6, extra=busy)
    moves = go(made, (0, 1))
    assert ordered(made, moves, deadlines=np.array([360.0])).start.tolist() == [180.0]
    assert ordered(made, moves, deadlines=np.array([150.0])).start.tolist() == [120.0]
    assert ordered(made, moves, deadlines=np.array([20.0])).start.tolist() == [0.0]
    assert ordered(made, moves).start.tolist() == [0.0]


def test_room_that_exists_only_later_delays_the_start() -> None:
    """The destination is full for two minutes and nothing can be moved out of the way."""
    made = by_hand([10, 10], [(0, 4)], steps=6, extra={1: [8.0, 8, 3, 3, 3, 3]})
    order = ordered(made, go(made, (0, 1)))
    assert order.earliest.tolist() == [120.0] and order.start.tolist() == [120.0]
    assert not order.cancelled and verify(made, order) == ""


def test_room_that_ends_before_the_horizon_is_no_room() -> None:
    """The shard would still be there when it is gone."""
    made = by_hand([10, 10], [(0, 4)], steps=6, extra={1: [3.0, 3, 3, 3, 8, 8]})
    assert [c.code for c in ordered(made, go(made, (0, 1))).cancelled] == ["NO_ROOM"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 5000), horizon=st.sampled_from([60.0, 200.0, 2000.0]), cap=st.integers(1, 3))
def test_delays_for_room_never_make_a_move_late(seed: int, horizon: float, cap: int) -> None:
    """What starts later than it could still starts in time, if it would have without any delay."""
    made, moves = shuffled(seed, fill=0.8, steps=6)
    rng = np.random.default_rng(seed)
    deadlines = rng.uniform(20, horizon, len(moves))
    transfer = rng.uniform(1, 30, made.shards)
    order = ordered(made, moves, caps=Caps(host=cap), deadlines=deadlines, transfer_s=transfer)
    hasty = ordered(made, moves, caps=Caps(host=cap), deadlines=deadlines, transfer_s=transfer, step=1e9)
    assert verify(made, order, Caps(host=cap)) == ""
    if not hasty.late.any() and not hasty.earliest.any():
        assert not order.late.any()
    ends = order.start + order.transfer
    named = order.move >= 0
    late = np.maximum(ends[named] - deadlines[order.move[named]], 0) * ~order.parks[named]
    assert (order.late[named] >= late - 1e-6).all()


@pytest.mark.parametrize(("kind", "at_once"), [(1, 1), (2, 3)])
def test_a_cap_counts_one_kind_of_domain_only(kind: int, at_once: int) -> None:
    """One move at a time in a zone says nothing about racks; here all share a rack, and none a zone."""
    domains = np.stack([np.arange(6), np.zeros(6), np.arange(6)]).astype(np.int32)
    made = by_hand([10] * 6, [(0, 1), (2, 1), (4, 1)], constraints=Constraints.make(6, 3, domains=domains))
    caps = Caps(host=0, domain=1, kind=kind)
    order = ordered(made, go(made, (0, 1), (1, 3), (2, 5)), caps=caps)
    assert int((order.start == 0).sum()) == at_once
    assert verify(made, order, caps) == ""
