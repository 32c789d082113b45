"""Where blocks go on: what hosts have left, what the oracle says of it, and the move that it leads to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.functions.foresight import HORIZON, Foresight
from sidestep.backends.functions.steering import COST, LEAST, SHARE, Load, choose, done_in
from sidestep.backends.functions.vitals import Vitals, busy_ticks, free_cores, limit_of
from sidestep.backends.functions.words import Beat

FLAT = np.ones(HORIZON)


def proc(folder: Path, *, busy: int, ran: int, waited: int, group: str = "0::/app") -> None:
    """A /proc with one process of ours, pid 7."""
    (folder / "7").mkdir(parents=True, exist_ok=True)
    (folder / "self").mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {busy} 0 0 500 9 0 0 0 0 0\ncpu0 1\n")
    (folder / "7" / "schedstat").write_text(f"{ran} {waited} 5\n")
    (folder / "self" / "cgroup").write_text(f"{group}\n")


def test_a_host_says_what_ours_got_and_what_they_waited_for(tmp_path: Path) -> None:
    """S1.16: differences of the kernel's counters between two looks; a process that ended costs nothing."""
    proc(tmp_path / "proc", busy=1000, ran=0, waited=0)
    vitals = Vitals(tmp_path / "proc", tmp_path / "groups")
    begin = vitals.look([7], now=1e6)
    assert begin.cores >= 1
    proc(tmp_path / "proc", busy=1300, ran=int(1e9), waited=int(3e9))
    beat = vitals.look([7, 8], now=1e6 + 2)
    assert (beat.busy, beat.ours, beat.waited) == (1.5, 0.5, 1.5)
    assert vitals.look([], now=1e6 + 3).ours == 0.0


@pytest.mark.parametrize(
    ("group", "file", "text", "cores"),
    [
        ("0::/app/inner", "app/cpu.max", "30000 100000", 0.3),
        ("0::/app", "app/cpu.max", "max 100000", math.inf),
        ("4:cpu,cpuacct:/app", "cpu,cpuacct/app/cpu.cfs_quota_us", "40000", 0.4),
        ("4:cpu:/app", "cpu/cpu.cfs_quota_us", "-1", math.inf),
    ],
)
def test_a_limit_above_is_a_limit(tmp_path: Path, group: str, file: str, text: str, cores: float) -> None:
    """S1.3: cores are what all control groups above leave of them, in either layout."""
    proc(tmp_path / "proc", busy=0, ran=0, waited=0, group=group)
    path = tmp_path / "groups" / file
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    path.with_name("cpu.cfs_period_us").write_text("100000\n")
    found = Vitals(tmp_path / "proc", tmp_path / "groups").cores()
    assert found == pytest.approx(cores) if math.isfinite(cores) else found >= 1


def test_idle_cores_that_somebody_waits_for_are_not_there() -> None:
    """What a hypervisor or a limit holds back looks idle from inside."""
    assert free_cores(Beat(cores=4, busy=1, ours=0.5, waited=0)) == 3.5
    assert free_cores(Beat(cores=4, busy=1, ours=0.5, waited=2.5)) == 1.0
    assert free_cores(Beat(cores=1, busy=1, ours=0.2, waited=0.8)) == 0.2
    assert busy_ticks("cpu  1 2 3 400 50 6 7 8 9 9\n") == 27.0
    assert limit_of({"cpu.max": "no number"}) == math.inf


def test_the_oracle_sees_a_host_fall(tmp_path: Path) -> None:
    """S5.5, S5.6: of a host whose cores fall less is expected than of one whose do not, and less than it has."""
    foresight = Foresight(["falls", "stays", "never"])
    for step in range(12):
        foresight.observe({"falls": 1.0 - 0.07 * step, "stays": 1.0})
    said = foresight.said()
    assert set(said) == {"falls", "stays"}
    assert said["falls"][9] < 0.5 < said["stays"][9]
    assert said["falls"].shape == (HORIZON,)


def test_a_host_is_done_when_its_work_is() -> None:
    """Work over cores, of which a block uses one at most; past the horizon the last value holds."""
    assert done_in([], FLAT) == 0.0
    assert done_in([4.0], FLAT * 0.5) == pytest.approx(8.0)
    assert done_in([4.0, 4.0], FLAT * 4) == pytest.approx(4.0)
    assert done_in([40.0], FLAT) == pytest.approx(40.0)


def test_work_leaves_a_squeezed_host_and_not_a_good_one() -> None:
    """S1.19, S2.12, S5.10: the longest stay is cut; little gain, a block that cannot move, equal hosts: nothing."""
    free = {"a": FLAT * 0.1, "b": FLAT}
    choice = choose([Load("x", "a", 5.0), Load("y", "b", 5.0)], free)
    assert choice is not None and (choice.block, choice.target) == ("x", "b")
    assert choose([Load("x", "a", 5.0, moves=False), Load("y", "b", 5.0)], free) is None
    assert choose([Load("x", "a", 5.0), Load("y", "b", 5.0)], {"a": FLAT, "b": FLAT}) is None
    assert choose([Load("x", "a", 0.05)], free) is None
    assert choose([], free) is None
    assert choose([Load("x", "a", 5.0, hosts=("a", "c"))], free) is None


def test_a_busy_host_takes_over_nothing_short_while_calls_wait() -> None:
    """Whoever leaves a slow host makes room there for the next call, and the busy one would only be slower."""
    free = {"a": FLAT * 0.2, "b": FLAT * 0.35, "c": FLAT * 4.0}
    here, there = Load("x", "a", 4.0), Load("y", "b", 1.0)
    assert choose([here, there], {h: free[h] for h in "ab"}) is not None
    assert choose([here, there], {h: free[h] for h in "ab"}, waiting=3) is None
    idle = choose([here], {h: free[h] for h in "ab"}, waiting=3)
    assert idle is not None and idle.target == "b"
    roomy = choose([here, Load("y", "c", 9.0)], {h: free[h] for h in "ac"}, waiting=3)
    assert roomy is not None and roomy.target == "c", "a core is free there"
    kept = choose([Load("x", "a", 40.0), there], {h: free[h] for h in "ab"}, waiting=3)
    assert kept is not None, "it would be kept for minutes"


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 60)), max_size=6),
    st.tuples(*[st.floats(0, 3)] * 3),
)
def test_a_choice_is_what_it_says_and_stays_so(work: list[tuple[str, float]], cores: tuple[float, ...]) -> None:
    """S5.10: the two hosts are done by as much earlier as is said, and the same forecast moves nothing back."""
    free = {host: FLAT * each for host, each in zip("abc", cores, strict=True)}
    loads = [Load(f"b{i}", host, each) for i, (host, each) in enumerate(work)]
    choice = choose(loads, free)
    if choice is None:
        return

    def done(loads: list[Load], host: str) -> float:
        return done_in([load.work for load in loads if load.host == host], free[host])

    after = [Load(one.block, choice.target, one.work) if one.block == choice.block else one for one in loads]
    before = done(loads, choice.source)
    later = max(done(after, choice.source), done(after, choice.target) + COST)
    assert before - later == pytest.approx(choice.saves)
    assert choice.saves >= max(LEAST, SHARE * before)
    again = choose(after, free)
    assert again is None or (again.block, again.target) != (choice.block, choice.source)
