"""Round trips: few are measured, the rest is estimated from them."""

from __future__ import annotations

import numpy as np
import pytest

from sidestep.fleet.rtt import FRESH, MOST, PEERS, SOURCES, RoundTrips


class Land:
    """Hosts in three towns far apart, with uplinks of their own and a little noise."""

    def __init__(self, hosts: int = 60, seed: int = 1) -> None:
        self.chance = np.random.default_rng(seed)
        self.town = np.arange(hosts) % 3
        self.spot = np.array([[0.0, 0.0], [0.03, 0.0], [0.0, 0.08]])[self.town]
        self.spot = self.spot + self.chance.normal(0, 0.001, (hosts, 2))
        self.uplink = self.chance.uniform(0.0001, 0.002, hosts)
        self.zones = [f"town{town}" for town in self.town]

    def truth(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        apart = np.linalg.norm(self.spot[ones] - self.spot[others], axis=1)
        return apart + self.uplink[ones] + self.uplink[others]

    def measured(self, table: RoundTrips, rounds: int = PEERS) -> None:
        for number in range(rounds):
            ones = np.arange(len(self.zones))
            others = (ones + self.chance.integers(1, len(ones), len(ones))) % len(ones)
            noise = self.chance.uniform(1.0, 1.05, len(ones))
            table.record(ones, others, self.truth(ones, others) * noise, float(number))


def everybody(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(count, 1)


def source(name: str) -> int:
    return SOURCES.index(name)


def test_a_pair_that_was_measured_is_known_in_both_directions() -> None:
    """S1.16, S2.5: network latency between hosts."""
    table = RoundTrips(["a", "a", "b"])
    table.record(np.array([0]), np.array([2]), np.array([0.02]), 100.0)
    found = table.between(np.array([0, 2, 1, 1]), np.array([2, 0, 2, 1]), 160.0)
    assert found.seconds[:2].tolist() == [0.02, 0.02]
    assert found.age[:2].tolist() == [60.0, 60.0]
    assert found.source.tolist() == [source("measured")] * 2 + [source("zones"), source("measured")]
    assert found.seconds[3] == 0.0


def test_the_newest_measurement_counts_from_whichever_side_it_came() -> None:
    table = RoundTrips(["a", "a"])
    for now, (one, other), took in ((0.0, (0, 1), 0.01), (5.0, (1, 0), 0.03), (9.0, (0, 1), 0.02)):
        table.record(np.array([one]), np.array([other]), np.array([took]), now)
    found = table.between(np.array([1]), np.array([0]), 10.0)
    assert (found.seconds[0], found.age[0]) == (0.02, 1.0)
    assert len(table.pairs(10.0)[0]) == 1


def test_nothing_measured_is_nothing_known_and_one_measurement_is_a_guess_for_all() -> None:
    table = RoundTrips(["a", "a", "b", "c"])
    assert np.isnan(table.between(np.array([0]), np.array([1]), 0.0).seconds).all()
    table.record(np.array([0]), np.array([2]), np.array([0.02]), 0.0)
    found = table.between(np.array([1, 3]), np.array([2, 0]), 0.0)
    assert found.seconds.tolist() == [0.02, 0.02]
    assert found.source.tolist() == [source("zones"), source("fleet")]


def test_pairs_that_were_not_measured_are_estimated_far_better_than_by_zones_or_the_median() -> None:
    land = Land()
    table = RoundTrips(land.zones)
    land.measured(table)
    ones, others = everybody(60)
    found = table.between(ones, others, 10.0)
    unmeasured = found.source == source("coordinates")
    assert unmeasured.sum() > 1000
    truth = land.truth(ones, others)
    wrong = np.abs(found.seconds / truth - 1)[unmeasured]
    medians = np.abs(np.median(truth) / truth - 1)[unmeasured]
    zones = np.empty(len(ones))
    pair = land.town[ones] * 3 + land.town[others]
    for kind in np.unique(pair):
        zones[pair == kind] = np.median(truth[pair == kind])
    by_zone = np.abs(zones / truth - 1)[unmeasured]
    assert np.median(wrong) < 0.12
    assert wrong.mean() < medians.mean() / 3
    assert wrong.mean() < by_zone.mean(), "better than medians of zones that knew every pair"


def test_without_zones_towns_are_told_apart_all_the_same() -> None:
    land = Land(seed=3)
    table = RoundTrips(["" for _ in land.zones])
    land.measured(table)
    ones, others = everybody(60)
    wrong = np.abs(table.between(ones, others, 10.0).seconds / land.truth(ones, others) - 1)
    assert np.median(wrong) < 0.2


def test_what_was_measured_too_long_ago_is_no_longer_true() -> None:
    table = RoundTrips(["a", "a"])
    table.record(np.array([0]), np.array([1]), np.array([0.01]), 0.0)
    assert table.between(np.array([0]), np.array([1]), FRESH).seconds[0] == 0.01
    assert np.isnan(table.between(np.array([0]), np.array([1]), FRESH + 1).seconds[0])


def test_a_host_remembers_its_newest_peers_only() -> None:
    """Memory does not grow with the square of the fleet."""
    table = RoundTrips(["a"] * 40)
    for other in range(1, 40):
        table.record(np.array([0]), np.array([other]), np.array([0.01]), float(other))
    _, others, _, ages = table.pairs(40.0)
    assert sorted(others.tolist()) == list(range(40 - PEERS, 40))
    assert ages.max() == PEERS


@pytest.mark.parametrize("took", [np.nan, -1.0, np.inf, MOST * 2], ids=["unknown", "negative", "endless", "absurd"])
def test_what_cannot_be_is_left_out(took: float) -> None:
    table = RoundTrips(["a", "a"])
    table.record(np.array([0, 0]), np.array([1, 0]), np.array([took, 0.01]), 0.0)
    assert len(table.pairs(0.0)[0]) == 0


def test_the_matrix_is_symmetric_with_nothing_on_the_diagonal() -> None:
    land = Land(12)
    table = RoundTrips(land.zones)
    land.measured(table, 3)
    matrix = table.matrix(5.0)
    np.testing.assert_allclose(matrix, matrix.T)
    assert (np.diag(matrix) == 0).all()
    assert np.isfinite(matrix).all()
    assert RoundTrips([]).matrix(0.0).shape == (0, 0)


def test_equal_measurements_give_equal_estimates() -> None:
    tables = []
    for _ in range(2):
        land = Land(20)
        tables.append(RoundTrips(land.zones))
        land.measured(tables[-1])
    np.testing.assert_array_equal(tables[0].matrix(9.0), tables[1].matrix(9.0))
