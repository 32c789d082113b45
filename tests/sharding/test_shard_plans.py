"""Plans of real functions, and real worker processes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sidestep.sharding import codec
from sidestep.sharding.execute.contract import (
    BadPayload,
    ExecutorLost,
    HostShare,
    ShardPolicy,
    ShardTask,
    plan,
    run_shard,
)
from sidestep.sharding.execute.local import InProcess, LocalProcesses

FACTOR = 3


def work(xs: list[float], rows: list[list[int]]) -> tuple[float, list[list[int]]]:
    total = 0.0
    for i in range(len(xs)):
        rows[i][0] = rows[i][0] + int(xs[i]) * FACTOR
        total += xs[i] * 0.1
    return total, rows


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
