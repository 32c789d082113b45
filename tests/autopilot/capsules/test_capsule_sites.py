"""Where copies go: into domains of their own while there are enough, evenly, and always the same ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.capsules.sites import Sites, quorum
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

Where = list[tuple[int, int]]
#: zone and rack of every host; 0 is none declared
fleets = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=14)


def hosts_of(where: Where) -> list[HostSpec]:
    return [
        HostSpec(name=Label(f"h{n}"), address="a", zone=Label(f"z{z}" if z else ""), rack=Label(f"r{r}" if r else ""))
        for n, (z, r) in enumerate(where)
    ]


def chosen(hosts: list[HostSpec], shard: str, count: int, without: str = "", have: tuple[str, ...] = ()) -> list[str]:
    sites = Sites(hosts)
    may = sites.mask(str(h.name) for h in hosts if h.name != without)
    return [str(name) for name in sites.choose(shard, count, may=may, owner="h0", have=have)]


@given(fleets, st.integers(0, 5), st.text(max_size=4))
def test_copies_are_in_domains_of_their_own_while_there_are_enough(where: Where, count: int, shard: str) -> None:
    """S2.19: k copies in distinct failure domains, none beside the owner unless nothing else is left."""
    hosts = hosts_of(where)
    picked = chosen(hosts, shard, count)
    assert len(picked) == len(set(picked)) == min(count, len(hosts) - 1) and "h0" not in picked
    by_name = {str(h.name): h for h in hosts}
    zones = Counter(by_name[name].zone for name in picked)
    others = {h.zone for h in hosts} - {hosts[0].zone}
    assert len(zones.keys() - {hosts[0].zone}) == min(len(picked), len(others))
    if len(picked) <= len(others):
        assert hosts[0].zone not in zones and max(zones.values(), default=1) == 1
    # in one zone the same holds of its racks
    if len({h.zone for h in hosts}) == 1:
        racks = Counter(by_name[name].rack for name in picked)
        apart = {h.rack for h in hosts} - {hosts[0].rack}
        assert len(racks.keys() - {hosts[0].rack}) == min(len(picked), len(apart))


@given(fleets, st.integers(1, 4), st.text(max_size=4), st.data())
def test_a_host_that_was_not_chosen_changes_nothing_when_it_goes_or_comes(
    where: Where, count: int, shard: str, data: st.DataObject
) -> None:
    hosts = hosts_of(where)
    picked = chosen(hosts, shard, count)
    rest = [str(h.name) for h in hosts[1:] if h.name not in picked]
    if rest:
        gone = data.draw(st.sampled_from(rest))
        assert chosen([h for h in hosts if h.name != gone], shard, count) == picked
        assert chosen(hosts, shard, count, without=gone) == picked


@given(st.integers(2, 12), st.integers(1, 4), st.text(max_size=4), st.data())
def test_a_host_that_was_chosen_is_replaced_by_one_and_the_others_stay(
    size: int, count: int, shard: str, data: st.DataObject
) -> None:
    hosts = hosts_of([(n, 0) for n in range(size)])
    picked = chosen(hosts, shard, count)
    gone = data.draw(st.sampled_from(picked))
    assert len(set(picked) - set(chosen(hosts, shard, count, without=gone))) == 1


@given(fleets, st.integers(1, 4), st.text(max_size=4), st.integers(0, 3))
def test_what_is_there_already_counts_towards_the_domains(where: Where, count: int, shard: str, held: int) -> None:
    """A repair adds what a choice from nothing would have had as its next."""
    hosts = hosts_of(where)
    whole = chosen(hosts, shard, held + count)
    assert chosen(hosts, shard, count, have=tuple(whole[:held])) == whole[held:]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_copies_of_many_shards_are_spread_evenly(seed: int) -> None:
    hosts = hosts_of([(n % 4 + 1, 0) for n in range(20)])
    sites = Sites(hosts)
    may = sites.mask(sites.names)
    load = Counter(
        host for n in range(600) for host in sites.choose(f"s{seed}-{n}", 2, may=may, owner=str(hosts[n % 20].name))
    )
    assert len(load) == 20 and max(load.values()) < 2 * 1200 / 20


def test_a_quorum_is_more_than_half() -> None:
    assert [quorum(n) for n in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
