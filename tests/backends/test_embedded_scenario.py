"""The plot of a demonstration holds for every seed and size."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.backends.embedded.scenario import Scenario, scenario
from sidestep.backends.embedded.traffic import key_range, keys_of
from sidestep.fleet.errors import UsageError
from sidestep.fleet.placement import KEYS, key_slot


@st.composite
def plots(draw: st.DrawFn) -> Scenario:
    hosts = draw(st.integers(2, 6))
    return scenario(draw(st.integers(0, 10_000)), hosts, draw(st.integers(2 * hosts, 6 * hosts)))


@settings(deadline=None, max_examples=50)
@given(plots())
def test_one_host_passes_the_threshold_in_time_and_no_other_does(plot: Scenario) -> None:
    """the contention comes late enough to be foretold, and surely."""
    at = plot.placement()
    crossing = plot.crosses(plot.hot, at)
    assert crossing is not None
    assert 60 <= crossing <= 90
    assert all(plot.crosses(h, at) is None for h in range(plot.hosts) if h != plot.hot)
    height = plot.host_demand(plot.hot, plot.end - 1, at) / plot.capacity
    assert 0.95 <= height <= 1.25


@settings(deadline=None, max_examples=50)
@given(plots())
def test_one_shard_can_move_to_a_host_that_stays_below_with_it(plot: Scenario) -> None:
    """there is something to decide: one move is enough, and there is room for it."""
    at = plot.placement()
    good = []
    for shard in (i for i, host in enumerate(at) if host == plot.hot):
        for destination in (h for h in range(plot.hosts) if h != plot.hot):
            after = [destination if i == shard else host for i, host in enumerate(at)]
            if plot.crosses(plot.hot, after) is None and plot.crosses(destination, after) is None:
                good.append((shard, destination))
    assert good


@given(st.integers(0, 10_000))
def test_the_same_seed_plans_the_same_schedule(seed: int) -> None:
    one, two = scenario(seed), scenario(seed)
    assert one == two
    assert list(islice(one.gaps(3), 50)) == list(islice(two.gaps(3), 50))


@given(st.integers(0, 10_000), st.integers(0, 11))
def test_requests_come_at_the_planned_rate_one_after_the_other(seed: int, shard: int) -> None:
    gaps = list(islice(scenario(seed).gaps(shard), 500))
    assert min(gaps) > 0
    assert abs(sum(gaps) - 500) <= 1


@given(plots(), st.integers(1, 20), st.randoms(use_true_random=False))
def test_later_surges_find_another_host_wherever_the_shards_are(plot: Scenario, number: int, chance: object) -> None:
    at = [chance.randrange(plot.hosts) for _ in plot.loads]  # type: ignore[attr-defined]
    crowded = {h for h in at if at.count(h) >= 2}
    surge = plot.later_surge(number, at, before=plot.hot)
    assert surge.host in crowded
    assert surge.host != plot.hot or crowded == {plot.hot}
    assert all((extra > 0) <= (host == surge.host) for extra, host in zip(surge.extra, at, strict=True))
    assert plot.height(surge, surge.start + plot.cycle, endless=True) == 0.0


def test_all_hosts_together_ask_for_little_more_than_half_a_core() -> None:
    plot = scenario()
    at = plot.placement()
    total = [sum(plot.host_demand(h, t, at) for h in range(plot.hosts)) for t in range(int(plot.end))]
    assert max(total) < 0.6


@pytest.mark.parametrize(("hosts", "shards"), [(1, 12), (4, 7), (0, 0)])
def test_a_fleet_with_nothing_to_move_is_refused(hosts: int, shards: int) -> None:
    with pytest.raises(UsageError, match="nothing could be moved"):
        scenario(1, hosts, shards)


@given(st.integers(1, 64))
def test_ranges_cover_every_key_once_and_shards_get_their_own_keys(shards: int) -> None:
    ranges = [key_range(i, shards) for i in range(shards)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == KEYS
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    last = shards - 1
    assert all(ranges[last][0] <= key_slot(k) < ranges[last][1] for k in keys_of(last, shards))
