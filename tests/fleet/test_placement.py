"""Placement changes by compare-and-swap; routing tables are total and without overlap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.labels import Label
from sidestep.fleet.placement import (
    KEYS,
    Owner,
    Placement,
    PlacementConflict,
    Route,
    RoutingTable,
    key_slot,
)

HOSTS = [Label("h1"), Label("h2"), Label("h3")]
SHARDS = [Label("a"), Label("b"), Label("c")]
START = Placement(3, {s: Owner(HOSTS[i], i + 1) for i, s in enumerate(SHARDS)})


def table(*ranges: tuple[int, int], app: str = "kv") -> RoutingTable:
    rows = (Route(Label(app), lo, hi, Label(f"s{i}"), "127.0.0.1", 1000 + i, i) for i, (lo, hi) in enumerate(ranges))
    return RoutingTable(1, tuple(rows))


@given(st.lists(st.tuples(st.sampled_from(SHARDS), st.sampled_from(HOSTS)), max_size=20))
def test_tokens_and_generations_only_rise(moves: list[tuple[Label, Label]]) -> None:
    """S2.8 S2.27: the new generation is the new owner's fencing token."""
    placement = START
    for shard, host in moves:
        before = placement
        placement = placement.move(shard, host, expected_token=before.owners[shard].token)
        assert placement.generation == before.generation + 1 == placement.owners[shard].token
        assert placement.owners[shard].token > before.owners[shard].token
        assert placement.owners[shard].host == host
        assert {s: o for s, o in placement.owners.items() if s != shard} == {
            s: o for s, o in before.owners.items() if s != shard
        }


def test_a_swap_with_an_old_token_is_refused() -> None:
    moved = START.move(Label("a"), Label("h2"), expected_token=1)
    with pytest.raises(PlacementConflict, match="token 4 on h2, expected token 1"):
        moved.move(Label("a"), Label("h3"), expected_token=1)


def test_a_shard_that_is_not_placed_cannot_move() -> None:
    with pytest.raises(PlacementConflict, match="not placed"):
        START.move(Label("z"), Label("h1"), expected_token=0)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (((0, 100), (200, KEYS)), "gap at key 100"),
        (((0, 100), (50, KEYS)), "overlap at key 50"),
        (((0, 100),), f"keys 100..{KEYS - 1} belong to no shard"),
        (((5, KEYS),), "gap at key 0"),
    ],
)
def test_a_table_that_is_not_total_or_overlaps_is_refused(ranges: tuple[tuple[int, int], ...], message: str) -> None:
    """S1.14: total and non-overlapping."""
    with pytest.raises(ValueError, match=message):
        table(*ranges).check()


@given(st.sets(st.integers(1, KEYS - 1), max_size=12), st.text())
def test_every_key_has_exactly_one_shard(cuts: set[int], key: str) -> None:
    """S1.14: request -> shard -> host, for any key."""
    bounds = [0, *sorted(cuts), KEYS]
    routing = table(*itertools.pairwise(bounds))
    routing.check()
    route = routing.find("kv", key)
    assert route.lo <= key_slot(key) < route.hi
    assert sum(r.lo <= key_slot(key) < r.hi for r in routing.routes) == 1


def test_an_app_without_routes_is_a_key_error() -> None:
    for app in ("aa", "zz"):
        with pytest.raises(KeyError):
            table((0, KEYS)).find(app, "key")


def test_two_apps_do_not_see_each_others_ranges() -> None:
    both = RoutingTable(1, table((0, KEYS), app="a").routes + table((0, 9), (9, KEYS), app="b").routes)
    both.check()
    assert both.find("a", "k").app == "a"
    assert both.find("b", "k").app == "b"


def test_a_table_whose_apps_are_out_of_order_is_refused() -> None:
    """S1.14: find() would send keys of the first app nowhere."""
    both = RoutingTable(1, table((0, KEYS), app="b").routes + table((0, KEYS), app="a").routes)
    with pytest.raises(ValueError, match="app a stands after b"):
        both.check()


def test_the_checksum_follows_every_change() -> None:
    assert table((0, KEYS)).checksum() == table((0, KEYS)).checksum()
    assert table((0, KEYS)).checksum() != table((0, 7), (7, KEYS)).checksum()
