"""What HAProxy should have, worked out: prefixes of key ranges, endpoints of shards, files, commands. Nothing runs."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.backends.haproxy import desired as d
from sidestep.backends.haproxy.runtime import PAYLOAD, changed, replaced
from sidestep.backends.routing.engine import OWNER, Endpoint, shared
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import KEYS, Route, RoutingTable, key_slot


def table(generation: int, *cuts: int, port: int = 7000) -> RoutingTable:
    """Shards s0, s1, ... of app kv, divided at these keys."""
    edges = (0, *cuts, KEYS)
    return RoutingTable(
        generation,
        tuple(
            Route(Label("kv"), lo, hi, Label(f"s{i}"), "127.0.0.1", port + i, generation)
            for i, (lo, hi) in enumerate(itertools.pairwise(edges))
        ),
    )


def looked_up(routes: dict[str, str], app: str, key: str) -> str:
    """What HAProxy's map_beg finds: the value of the longest key that begins the text."""
    text = f"{app}/{key_slot(key):04X}"
    return routes[max((p for p in routes if text.startswith(p)), key=len)]


@given(st.sets(st.integers(1, KEYS - 1), max_size=12), st.lists(st.text("abcxyz019-", max_size=9), max_size=30))
def test_the_map_sends_every_key_where_the_table_does(cuts: set[int], keys: list[str]) -> None:
    """S1.14 S4.9: prefixes of slots and ranges of keys are the same thing."""
    new = table(3, *sorted(cuts))
    routes = d.Desired().applied(new, 1).routes()
    assert [looked_up(routes, "kv", key) for key in keys] == [str(new.find("kv", key).shard) for key in keys]


@given(st.integers(0, KEYS - 1), st.integers(1, KEYS))
def test_prefixes_cover_a_range_exactly(lo: int, size: int) -> None:
    """S1.14: every slot once, and few prefixes."""
    hi = min(KEYS, lo + size)
    found = list(d.prefixes(lo, hi))
    covered = [(int(p.ljust(4, "0"), 16), 16 ** (4 - len(p))) for p in found]
    assert covered[0][0] == lo and sum(n for _, n in covered) == hi - lo
    assert all(at + n == after for (at, n), (after, _) in itertools.pairwise(covered))
    assert len(found) <= 15 * 2 * 4


def test_a_newer_table_moves_owners_and_keeps_what_was_added() -> None:
    """S1.22 S4.6: endpoints of a pool outlive tables, those of shards that are gone do not."""
    first = d.Desired().applied(table(1, 100), 1).added("s0", Endpoint(name=Label("i1"), address="h", port=9), 4)
    first = first.weighed("s0", {"owner": 7}).holding("s1", 30.0)
    moved = first.applied(table(2, 100, port=8000), 2)
    assert moved.servers("s0", 4)["owner"] == d.Server("127.0.0.1", 8000, 7, 0)
    assert moved.servers("s0", 4)["e1"] == d.Server("h", 9, 100, 0)
    assert moved.servers("s0", 4)["e2"] == d.UNUSED
    assert moved.holds() == {"s1": "30"}
    assert moved.applied(table(3), 3).holds() == {}


def test_a_shard_is_never_left_without_an_endpoint() -> None:
    """S4.7 S4.11: the last one that takes requests is neither drained nor weighed away."""
    one = d.Desired().applied(table(1), 1)
    for change in (lambda: one.drained("s0", OWNER), lambda: one.weighed("s0", {"owner": 0})):
        with pytest.raises(SidestepError, match="no endpoint of s0 would take requests"):
            change()
    two = one.added("s0", Endpoint(name=Label("i1"), address="h", port=9), 1).weighed("s0", {"owner": 0})
    with pytest.raises(SidestepError, match="no endpoint of s0 would take requests"):
        two.removed("s0", "i1")
    with pytest.raises(SidestepError, match="1 endpoints besides its owner already"):
        two.added("s0", Endpoint(name=Label("i2"), address="h", port=9), 1)
    with pytest.raises(SidestepError, match="the router knows no shard s9"):
        two.drained("s9", "i1")


@given(st.integers(0, 256), st.integers(0, 256), st.integers(1, 5), st.integers(1, 5))
def test_groups_get_their_shares_whatever_their_sizes(blue: int, green: int, blues: int, greens: int) -> None:
    """S4.9: two weighted sets, blue and green."""
    ends = {
        f"{group}{i}": Endpoint(name=Label(f"{group}{i}"), address="h", port=1, group=Label(group))
        for group, count in (("blue", blues), ("green", greens))
        for i in range(count)
    }
    weights = shared(ends, {"blue": blue, "green": green})
    total = {g: sum(w for name, w in weights.items() if name.startswith(g)) for g in ("blue", "green")}
    assert all(0 <= w <= 256 for w in weights.values())
    assert (total["blue"] > 0) == (blue > 0) and (total["green"] > 0) == (green > 0)
    if blue >= 20 and green >= 20:
        assert total["blue"] / sum(total.values()) == pytest.approx(blue / (blue + green), abs=0.05)


def test_what_was_written_reads_back_and_what_was_not_is_refused() -> None:
    """S1.22: a daemon that begins anew knows what the router was told."""

    kept = d.Desired().applied(table(4, 77), 9).holding("s1", 2.5)
    assert d.read(msgspec.json.encode(kept), "file") == kept
    with pytest.raises(SidestepError, match="file: is not what was written"):
        d.read(b'{"kept": 3}', "file")


def test_commands_change_only_what_differs() -> None:
    """S1.22: an address before a state, so that nobody is sent to where nothing is."""
    have = {"owner": d.UNUSED, "e1": d.Server("h", 9, 5, 0)}
    want = {"owner": d.Server("127.0.0.1", 7000, 100, 0), "e1": d.Server("h", 9, 5, d.DRAIN)}
    assert list(changed("s0", have, want)) == [
        "set server s0/owner addr 127.0.0.1 port 7000",
        "set server s0/owner weight 100",
        "set server s0/owner state ready",
        "set server s0/e1 state drain",
    ]
    assert list(changed("s0", want, want)) == []


def test_a_map_of_any_size_is_sent_in_parts_and_switched_once() -> None:
    """S1.22: one commit, and no part larger than HAProxy takes."""
    values = {f"kv/{n:04X}": "shard" for n in range(3000)}
    *parts, last = replaced("/m", values, "7")
    assert last == "commit map @7 /m" and len(parts) > 1
    assert all(part.startswith("add map @7 /m <<\n") and len(part) <= PAYLOAD + 100 for part in parts)
    rows = [row for part in parts for row in part.splitlines()[1:]]
    assert [row for row in rows if row] == [f"{k} {v}" for k, v in values.items()]
