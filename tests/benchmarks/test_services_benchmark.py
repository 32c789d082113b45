"""The checker of requests and the ledgers that it reads; a simulated fleet's minutes. By hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.services import days, pools, program  # noqa: E402
from benchmarks.services.load import Account  # noqa: E402
from benchmarks.violation.fleet import Fleet, policy_of  # noqa: E402
from benchmarks.violation.traces import Trace, synthetic  # noqa: E402
from benchmarks.violations import foreknown  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.fleet.snapshot import Snapshot  # noqa: E402
from sidestep.planning.load import persistence  # noqa: E402


def test_a_request_in_no_ledger_is_lost_and_one_that_is_there_twice_is_duplicated() -> None:
    account = Account(acked=["a", "b", "c"], failed={"d": "503"})
    assert account.requests == 4
    assert account.audit(["a", "b", "c", "d"]) == (0, 0)
    assert account.audit(["a", "b", "b", "b", "d", "d"]) == (1, 3)


def test_a_ledger_gives_a_range_of_its_keys_and_takes_it_back() -> None:
    """What is saved for a range and dropped here is what another one loads; nothing is counted while quiesced."""
    ours, other = program.Ledger(), program.Ledger(standby=True)
    for number in range(40):
        assert ours.answer(f"/kv/k{number}/r{number}", b"")[0] == 200
    (_, upper), (_, whole) = ours.answer("/_/save/32768/65536", b""), ours.answer("/_/save", b"")
    assert 0 < len(upper) < len(whole)
    assert ours.answer("/_/load", upper)[0] == 409
    assert other.answer("/_/load/32768/65536", upper)[0] == 200
    assert ours.answer("/_/drop/32768/65536", b"")[0] == 200
    assert other.answer("/kv/k1/x", b"")[0] == 503 == other.answer("/_/ready", b"")[0]
    both = [row for ledger in (ours, other) for row in ledger.answer("/_/save", b"")[1].splitlines()]
    assert sorted(both) == sorted(whole.splitlines())


def test_a_request_is_taken_once_it_is_whole() -> None:
    said = b"POST /_/load HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /"
    assert program.split(said[:46]) is None
    assert program.split(said) == ("/_/load", b"abc", len(said) - 5)


def test_how_far_ahead_of_every_climb_of_a_day_instances_serve() -> None:
    """Two are there early, but one ends for a moment; three come two steps late; once they never come."""
    step = pools.DAY / 40
    need = [1] * 20 + [2] * 5 + [3] * 5 + [1] * 10
    serve = [1] * 10 + [2] * 3 + [1] + [2] * 13 + [3] * 13
    day = [pools.Look(at * step, 0.0, 0.0, serve[at], serve[at], need[at]) for at in range(40)]
    assert pools.ahead(day, day) == pytest.approx([6 * step, -2 * step])
    assert pools.ahead([], []) == []
    night = [look._replace(needed=1, serving=1) for look in day]
    parts = [(number, look) for number, rows in enumerate([night, night, day]) for look in rows]
    found = pools.judged([look._replace(time=look.time + number * pools.DAY) for number, look in parts], 3)
    assert found["least_ahead_s"] == found["height_ahead_s"] == pytest.approx(-2 * step)
    assert (found["climbs"], found["climbs_in_time"]) == (2, 1)
    assert found["short_learned_days"] == pytest.approx(2 / 40) and math.isnan(found["ahead_first_day_s"])
    never = [look._replace(serving=2) for look in day]
    assert pools.ahead(never, never)[-1] == -math.inf


def test_a_recorded_peak_is_the_last_days_of_the_most_daily_series_of_requests(tmp_path: Path) -> None:
    """Means of equal parts of a day, the highest is 1; gaps at the ends are left out, and series of other things."""
    minutes = np.arange(6 * 24)
    daily = 2.0 + np.sin(2 * np.pi * minutes / 24) + 0.1 * (minutes // 24)
    noise = np.random.default_rng(1).uniform(0, 1, len(minutes))
    values = np.stack([noise, daily, 100 * daily]).astype(np.float32)[:, None]
    values[:, :, :5] = np.nan
    np.savez(tmp_path / "t.npz", values=values, step_s=3600, ids=["a-rps", "b-rps", "cpu"], metrics=["value"])
    found = days.recorded(tmp_path, 3, 12)
    assert found.name == "t/b-rps" and found.heights.shape == (3, 12) and found.heights.max() == 1.0
    whole = daily[-72:].reshape(3, 12, 2).mean(axis=2)
    assert found.heights == pytest.approx(whole / whole.max(), abs=1e-6)
    assert found.height(1 / 24) == pytest.approx(found.heights[0, :2].mean()) and found.height(3.0) == found.height(0.0)
    assert days.recorded(tmp_path, 3, 12, "t/a-rps").name == "t/a-rps"
    with pytest.raises(UsageError, match="no series t/cpu"):
        days.recorded(tmp_path, 3, 12, "t/cpu")


async def test_minutes_are_those_of_hosts_above_their_limit_and_a_move_helps_from_the_next_step_on() -> None:
    demand = np.full((6, 3), 1.0)
    demand[2:] = [4.5, 4.5, 1.0]
    trace = Trace("by hand", demand, 1, 300, np.array([0, 0, 1]), 2, 10.0)

    async def blind(snapshot: Snapshot):  # type: ignore[no-untyped-def]
        return persistence(snapshot, policy_of(trace))

    lived = await Fleet(trace, policy_of(trace)).live(blind)
    assert (lived.minutes, lived.moves, lived.steps) == (5.0, 1, 8)
    demand[1] = demand[2]  # over before anything could be decided: nobody's
    given = await Fleet(trace, policy_of(trace)).live(blind)
    assert (given.minutes, given.minutes_given, given.moves) == (0.0, 5.0, 1)


async def test_who_knows_what_will_be_has_no_violation_where_there_is_room() -> None:
    demand = np.full((6, 3), 1.0)
    demand[3:] = [4.5, 4.5, 1.0]
    trace = Trace("by hand", demand, 1, 300, np.array([0, 0, 1]), 2, 10.0)
    policy = policy_of(trace)
    fleet = Fleet(trace, policy)
    first = fleet.foreknown(fleet.present(1), 3)
    assert first.hosts[:, 0, :, 0].tolist() == [[2.0, 9.0, 9.0], [1.0, 1.0, 1.0]]
    assert fleet.foreknown(fleet.present(5), 2).shard_mean[:, 0].tolist() == [[4.5, 4.5], [4.5, 4.5], [1.0, 1.0]]
    lived = await foreknown(trace, policy, 3)
    assert (lived.minutes, lived.moves) == (0.0, 1)


@pytest.mark.parametrize("seed", [3])
def test_a_synthetic_trace_is_the_same_for_a_seed_and_fits_its_hosts(seed: int) -> None:
    one, two = (synthetic(seed, hosts=3, days=0.5, history=1.0) for _ in range(2))
    assert (one.demand == two.demand).all() and (one.home == two.home).all()
    assert one.demand.shape == (216, 18) and one.begin == 144
    assert (one.demand.sum(axis=1) < 3 * one.capacity).all()
