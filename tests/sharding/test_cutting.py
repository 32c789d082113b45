"""Cuts of a loop for the hosts at hand."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.sharding.execute.contract import HostShare, Network
from sidestep.sharding.partition.cutting import Costs, Resources, cut, resources_of

_COSTS = st.lists(st.integers(0, 20), min_size=1, max_size=7)


def _costs(cpu: list[int], io: int = 0, memory: int = 0) -> Costs:
    count = len(cpu)
    return Costs(np.array(cpu, float), np.full(count, float(io)), np.full(count, float(memory)))


def _makespan(costs: Costs, hosts: list[Resources], bounds: tuple[int, ...]) -> float:
    spans = [0.0]
    for a, b, h in zip(bounds, bounds[1:], hosts, strict=False):
        if b > a and (h.rate <= 0 or costs.memory[a:b].sum() > h.memory):
            return float("inf")
        spans.append(costs.cpu[a:b].sum() / h.rate + costs.io[a:b].sum() / h.link if b > a else 0.0)
    return max(spans)


@settings(max_examples=60, deadline=None)
@given(_COSTS, st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=3), st.integers(0, 3))
def test_no_other_cut_is_shorter(cpu: list[int], rates: list[float], io: int) -> None:
    """S5.4: the optimum over CPU, memory and I/O, against every cut there is."""
    costs = _costs(cpu, io, memory=1)
    hosts = [Resources(rate, 10.0, memory=4.0) for rate in rates]
    found = cut(costs, hosts)
    middles = itertools.combinations_with_replacement(range(len(cpu) + 1), len(hosts) - 1)
    best = min(_makespan(costs, hosts, (0, *m, len(cpu))) for m in middles)
    if found is None:
        assert best == float("inf")
    else:
        assert found.bounds[0] == 0
        assert found.bounds[-1] == len(cpu)
        assert found.makespan <= best * (1 + 1e-6) + 1e-9
        assert abs(_makespan(costs, hosts, tuple(found.bounds)) - found.makespan) < 1e-9


def test_other_hosts_get_other_cuts_of_the_same_loop() -> None:
    """S5.1, S5.2: two hosts, eight hosts, and eight of which one is busy."""
    costs = _costs(list(range(64)))
    network = Network()
    two = cut(costs, resources_of([HostShare("a"), HostShare("b")], network))
    eight = cut(costs, resources_of([HostShare(str(n)) for n in range(8)], network))
    busy = cut(costs, resources_of([HostShare(str(n), cores=0.1 if n == 3 else 1.0) for n in range(8)], network))
    assert two is not None
    assert eight is not None
    assert busy is not None
    assert len(two.bounds) == 3
    assert len(eight.bounds) == len(busy.bounds) == 9
    parts = np.diff(eight.bounds), np.diff(busy.bounds)
    assert parts[1][3] < parts[0][3]
    assert busy.makespan > eight.makespan


def test_only_what_has_not_begun_is_cut_again() -> None:
    """S5.3: from an iteration on."""
    costs = _costs([1] * 40)
    found = cut(costs, [Resources(1.0), Resources(3.0)], first=20)
    assert found is not None
    assert found.bounds == [20, 25, 40]


def test_a_host_without_free_cores_gets_nothing() -> None:
    found = cut(_costs([1, 2, 3]), resources_of([HostShare("a", cores=0.01), HostShare("b")], Network()))
    assert found is not None
    assert found.bounds == [0, 0, 3]
    assert cut(_costs([1]), resources_of([HostShare("a", cores=0.0)], Network())) is None
