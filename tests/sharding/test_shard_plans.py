"""Plans of real functions, and real worker processes."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.sharder_exact import defined, result_of
from benchmarks.sharder_programs import ALIASINGS, arguments, program
from sidestep.sharding import codec
from sidestep.sharding.execute.contract import (
    BadPayload,
    ExecutorLost,
    HostShare,
    Network,
    ShardPolicy,
    ShardTask,
    plan,
    run_shard,
)
from sidestep.sharding.execute.local import InProcess, LocalProcesses
from sidestep.sharding.execute.planned import Sharded, prepare, tryable
from sidestep.sharding.score.choosing import ChosenPlan
from sidestep.sharding.score.weighing import Weighing

FACTOR = 3


def work(xs: list[float], rows: list[list[int]]) -> tuple[float, list[list[int]]]:
    total = 0.0
    for i in range(len(xs)):
        rows[i][0] = rows[i][0] + int(xs[i]) * FACTOR
        total += xs[i] * 0.1
    return total, rows


def steps(seeds: list[int], turns: int) -> tuple[list[int], int]:
    ends, total = [], 0
    for seed in seeds:
        state = seed
        for _ in range(turns):
            state = (state * 1103515245 + 12345) % 2147483648
        ends.append(state)
        total += state
    return ends, total


def luck(xs: list[float]) -> list[float]:
    out = []
    for x in xs:
        out.append(x * random.random())
    return out


def _given() -> tuple[list[float], list[list[int]]]:
    return [i * 1.7 for i in range(40)], [[i, i] for i in range(40)]


class Lost:
    workers = 2

    def run(self, payloads: Any) -> list[bytes]:
        raise ExecutorLost("gone")


def test_worker_processes_leave_what_the_loop_leaves() -> None:
    """S5.1, S1.15: the same result on one, two and three processes, and when all workers are lost."""
    expected = codec.canonical(work(*_given()))
    made = plan(work, _given(), hosts=2, force=True)
    assert made.blocks == (f"work:{work.__code__.co_firstlineno + 2}",)
    with LocalProcesses(2) as executor:
        for runner in (executor, InProcess(3), InProcess(1)):
            outcome = made.run(runner, _given())
            assert codec.canonical(outcome.value) == expected
            assert outcome.sharded == 1, outcome.fallbacks
    lost = made.run(Lost(), _given())
    assert codec.canonical(lost.value) == expected
    assert lost.fallbacks == ("executor: gone",)


def test_a_killed_worker_costs_time_only() -> None:
    expected = codec.canonical(work(*_given()))
    made = plan(work, _given(), force=True)
    with LocalProcesses(2) as executor:
        made.run(executor, _given())
        executor._processes[0].kill()
        executor._processes[0].wait()
        for _ in range(2):
            assert codec.canonical(made.run(executor, _given()).value) == expected


def test_small_calls_are_not_sharded_and_say_why() -> None:
    """S1.10: below the limits one shard."""
    made = plan(work, _given(), hosts=8)
    assert made.blocks == ()
    assert made.speedup == 1.0
    assert "no-gain" in {why.code for why in made.refusals}
    assert codec.canonical(made.run(InProcess(2), _given()).value) == codec.canonical(work(*_given()))
    eager = plan(work, _given(), hosts=2, policy=ShardPolicy(min_speedup=0.0, min_seconds=0.0))
    assert eager.score <= 1


def test_random_numbers_are_refused_by_code() -> None:
    made = plan(luck, ([1.0, 2.0],), force=True)
    assert made.blocks == ()
    assert {"rng"} == {why.code for why in made.refusals}


def test_arguments_of_other_types_run_as_they_are() -> None:
    made = plan(work, _given(), force=True)
    rows = [[0.5, 1] for _ in range(40)]
    expected = codec.canonical(work(_given()[0], [[0.5, 1] for _ in range(40)]))  # type: ignore[list-item]
    found = made.run(InProcess(2), (_given()[0], rows))
    assert found.sharded == 0
    assert codec.canonical(found.value) == expected


def test_a_module_that_was_patched_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(work, _given(), force=True)
    monkeypatch.setitem(work.__globals__, "range", lambda n: [0, 0])
    outcome = made.run(InProcess(2), _given())
    assert outcome.sharded == 0
    assert codec.canonical(outcome.value) == codec.canonical(work(*_given()))


@pytest.mark.parametrize("payload", [b"", b"SdSh", b"SdSh\x00\x00\x00\x02{}", b"x" * 64])
def test_other_bytes_are_no_shard(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        run_shard(payload)


def test_a_source_that_is_not_its_digests_is_not_run() -> None:
    task = ShardTask("0" * 64, "raise SystemExit", "f:1", b"", 0, 1)
    with pytest.raises(BadPayload, match="digest"):
        run_shard(task.payload())


def test_hosts_with_little_free_get_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5.1: the same function, other load, other cuts, the same result."""
    made: Any = plan(work, _given(), hosts=[HostShare("a"), HostShare("b", cores=0.25)], force=True)
    even: Any = plan(work, _given(), hosts=2, force=True)
    for one in (made, even):
        one.profile.loops[0].costs = [[0.01] * 40]
    assert made.cuts(0, 0, 40, 2) == [0, 32, 40]
    assert even.cuts(0, 0, 40, 2) == [0, 20, 40]
    assert codec.canonical(made.run(InProcess(2), _given()).value) == codec.canonical(work(*_given()))


def test_without_a_profile_a_loop_begins_where_it_is_and_goes_on_as_shards_where_that_pays() -> None:
    """S1.7, S1.10: nobody has to run a function beforehand; what is short, or too large to ship, stays where it is."""
    policy = ShardPolicy(min_speedup=1.2, min_seconds=0.05)

    def sharded(seeds: list[int], turns: int) -> int:
        made = plan(steps, (seeds, turns), hosts=2, policy=policy, profile=False)
        outcome = made.run(InProcess(2), (seeds, turns))
        assert outcome.value == steps(seeds, turns)
        assert not outcome.fallbacks
        return outcome.sharded

    assert sharded(list(range(200)), 10_000) == 1
    assert sharded(list(range(9)), 10) == 0
    assert sharded([], 10) == 0


def test_what_is_left_of_a_loop_pays_by_its_turns_its_values_and_the_hosts() -> None:
    """S1.8"""
    made = plan(work, _given(), hosts=2, profile=False)
    assert isinstance(made, ChosenPlan)
    assert made.sharded is not None
    (loop,) = made.sharded.loops
    small, large = {"xs": [0.5] * 9, "rows": [[1]] * 9}, {"xs": [0.5] * 9, "rows": [[1] * 900_000] * 9}

    def pays(each: float, left: int, local: dict[str, Any], *cores: float) -> bool:
        shares = [HostShare(str(n), one) for n, one in enumerate(cores)]
        return Weighing(loop, shares, Network(), ShardPolicy())(each, left, local)

    assert pays(0.01, 400, small, 1.0, 1.0)
    assert not pays(0.01, 90, small, 1.0, 1.0)
    assert not pays(0.01, 400, small, 1.0, 0.1)
    assert not pays(0.01, 400, large, 1.0, 1.0)


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_a_random_program_whose_loops_are_begun_and_then_cut_leaves_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1.11"""
    monkeypatch.setattr("sidestep.sharding.execute.trying._LOOK", 0.0)
    monkeypatch.setattr("sidestep.sharding.execute.trying._LOOKS", 99)
    text, aliasing, dice = program(seed), seed % ALIASINGS, random.Random(seed)
    prepared = prepare(defined(text), arguments(seed, aliasing), {}, text=text)
    verdicts = tryable(prepared, prepared.verdicts)
    sharded = Sharded.of(prepared, verdicts)
    sharded.pays = [lambda each, left, local: dice.random() < 0.4] * len(verdicts)
    made, _ = sharded.bound(InProcess(3))
    expected = result_of(prepared.function, arguments(seed, aliasing))
    assert result_of(made, arguments(seed, aliasing)) == expected
