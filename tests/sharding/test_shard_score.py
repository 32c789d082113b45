"""The shardability score, and whether it is worth it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.sharder_exact import defined
from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.planned import outermost, prepare
from sidestep.sharding.execute.rewriting import LoopPlan, planned
from sidestep.sharding.score.predict import Score, forecast_loop, score, worth_it
from sidestep.sharding.score.profile import LoopProfile, Profile, measure

_TEXT = """
def f(xs, ys, n):
    for i in range(n):
        xs[i] = i * 2
    for i in range(n):
        ys[i] = i * 3
"""


def _plans() -> list[LoopPlan]:
    prepared = prepare(defined(_TEXT), ([0] * 4, [0] * 4, 4), {}, text=_TEXT)
    return [planned(prepared.context, v, n) for n, v in enumerate(outermost(prepared.verdicts))]


PLANS = _plans()
_SECONDS = st.floats(0.001, 5.0)


def _loop(seconds: float, shipped: float = 0.0) -> LoopProfile:
    return LoopProfile(costs=[[seconds / 40] * 40], shipped=shipped)


@settings(max_examples=50, deadline=None)
@given(_SECONDS, _SECONDS, st.integers(2, 9), st.floats(0, 1e8))
def test_a_loop_less_or_more_bytes_never_raise_the_score(one: float, other: float, hosts: int, shipped: float) -> None:
    """S1.8: between 0 and 1; a shared write makes a loop no candidate, which never raises it."""
    shares, network = [HostShare(str(n)) for n in range(hosts)], Network()
    both = score(Profile(one + other, [_loop(one), _loop(other)]), PLANS, shares, network)
    first = score(Profile(one + other, [_loop(one)]), PLANS[:1], shares, network)
    heavy = score(Profile(one + other, [_loop(one, shipped), _loop(other)]), PLANS, shares, network)
    assert 0 <= first.value <= both.value + 1e-9
    assert both.value <= 1
    assert heavy.value <= both.value + 1e-9
    assert 1 <= both.speedup <= hosts + 1e-9


def test_cores_that_are_forecast_busy_do_not_count() -> None:
    profile = Profile(4.0, [_loop(2.0), _loop(2.0)])
    free = score(profile, PLANS, [HostShare("a"), HostShare("b")], Network())
    busy = score(profile, PLANS, [HostShare("a"), HostShare("b", cores=0.2)], Network())
    assert busy.speedup < free.speedup
    assert busy.seconds == free.seconds


def test_what_is_sharded_stays_so_within_the_hysteresis() -> None:
    """S1.10: at the threshold less epsilon one shard, above it several; in between, what there was."""
    policy = ShardPolicy(min_speedup=1.5, min_seconds=1.0, hysteresis=0.1)

    def at(speedup: float, seconds: float) -> Score:
        return Score(0.5, speedup, seconds, (0,), ())

    assert worth_it(at(1.5, 1.0), policy)
    assert not worth_it(at(1.49, 1.0), policy)
    assert worth_it(at(1.49, 1.0), policy, sharded_before=True)
    assert not worth_it(at(1.3, 1.0), policy, sharded_before=True)
    assert not worth_it(at(9.0, 0.5), policy)
    assert not worth_it(Score(0.5, 9.0, 9.0, (), ()), policy)


def test_a_loop_that_is_entered_very_often_is_measured_in_bounded_memory_and_forecast_as_a_whole() -> None:
    """S1.8: a loop in the middle of others may be entered a million times; of each of those only the sums are kept."""
    text = """
def f(xs, n):
    x = 0
    while x < n:
        for i in range(4):
            xs[i] = x * i
        x += 1
"""
    prepared = prepare(defined(text), ([0] * 4, 40_000), {}, text=text)
    plans = [planned(prepared.context, v, n) for n, v in enumerate(outermost(prepared.verdicts))]
    (loop,) = measure(prepared, plans, ([0] * 4, 40_000), {}).loops
    assert (loop.entries, loop.iterations) == (40_000, 160_000)
    assert sum(map(len, loop.costs)) == 100_000
    found = forecast_loop(loop, plans[0], [HostShare("a"), HostShare("b")], Network())
    assert found.before < 10
    assert found.after > 40_000 * 1e-3, "each entry would be shipped by itself"
    assert found.gain == 0


def _measured(text: str, *args: Any) -> LoopProfile:
    prepared = prepare(defined(text), args, {}, text=text)
    plans = [planned(prepared.context, v, n) for n, v in enumerate(outermost(prepared.verdicts))]
    (loop,) = measure(prepared, plans, args, {}).loops
    return loop


@pytest.mark.parametrize("over", ["rows", "enumerate(rows)", "zip(rows, rows)"])
def test_rows_that_a_loop_goes_over_are_shipped_as_well(over: str) -> None:
    """S1.8: a loop over rows that is cheap for their size would lose by shards."""
    text = f"""
def f(rows):
    sums = []
    for row in {over}:
        sums.append(len(row))
    return sums
"""
    loop = _measured(text, [[0.5 + i + k for k in range(9)] for i in range(500)])
    assert loop.shipped > 500 * 9 * 8
    assert loop.entries == 1 and loop.iterations == 500


def test_what_is_counted_by_keys_is_written_down_in_every_turn() -> None:
    text = """
def f(items):
    found = {}
    for item in items:
        found[item] = found.get(item, 0) + 1
    return found
"""
    assert _measured(text, [i % 7 for i in range(300)]).terms == 300


def test_terms_that_hold_values_of_their_own_are_weighed_with_them() -> None:
    """S1.8: a loop that makes a small row of everything ships rows, each of which costs more than a number."""
    text = """
def f(xs):
    rows = []
    for x in xs:
        rows.append([x, x * 2, x * 3])
    return rows
"""
    loop = _measured(text, list(range(100)))
    assert loop.terms == 100
    assert loop.inside >= 300
    assert _measured(text.replace("[x, x * 2, x * 3]", "x"), list(range(100))).inside == 0
