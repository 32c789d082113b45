"""The cells of the fault matrix: none is forgotten, and none is counted that cannot be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scripts.faultmatrix.cells import (
    DRIVERS,
    IMAGE,
    IMAGED,
    KNOWN,
    ORDER,
    Cell,
    Fault,
    choose,
    generate,
    not_applicable,
)
from sidestep.autopilot.executor_kinds import RUNNABLE
from sidestep.fleet.machines import StepName, steps_of

FREEZING = [cell for cell in generate(["migrate"]) if cell.step is StepName.FREEZE]


def test_every_step_of_every_kind_meets_every_fault_with_every_driver() -> None:
    """Issue 6, show 1: generated from what the executor declares that it runs."""
    found = {(c.kind, c.step, c.fault, c.driver) for c in generate(RUNNABLE) if c.when == "after"}
    assert found == {
        (kind, step, fault, driver)
        for kind in RUNNABLE
        for step in steps_of(kind)
        for fault in Fault
        for driver in (*DRIVERS, *((IMAGE,) if kind in IMAGED else ()))
    }  # fmt: skip
    assert KNOWN >= RUNNABLE
    assert set(ORDER) >= RUNNABLE


def test_another_kind_changes_no_cells_of_those_that_were_there() -> None:
    """What was run of them stays what there is to run."""
    for count in range(len(ORDER)):
        assert set(generate(ORDER[:count])) <= set(generate(ORDER))


def test_the_points_before_and_recorded_are_sampled_the_same_every_time() -> None:
    cells = generate(["migrate"])
    assert cells == generate(["migrate"])
    assert len(set(map(str, cells))) == len(cells)
    when = Counter(cell.when for cell in cells)
    assert when["after"] > when["before"] > 0
    assert when["recorded"] > 0


@given(st.integers(1, 20), st.integers(0, 99))
def test_a_sample_is_of_what_was_asked_for(count: int, seed: int) -> None:
    some = choose(FREEZING, only="migrate/freeze:*/kill-*", sample=count, seed=seed)
    every = choose(FREEZING, only="migrate/freeze:*/kill-*")
    assert len(some) == min(count, len(every))
    assert [cell for cell in every if cell in some] == list(some)
    assert all(cell.step is StepName.FREEZE and "kill" in cell.fault for cell in every)


def migrate(step: StepName, when: str, fault: Fault, side: str, driver: str) -> Cell:
    return Cell("migrate", step, when, fault, side, driver)  # type: ignore[arg-type]


def why(cell: Cell) -> str:
    return not_applicable(cell, disks=True, throttle=True)


def test_a_process_is_killed_only_where_there_is_one() -> None:
    kill = Fault.KILL_SHARD
    assert why(migrate(StepName.RESTORE, "before", kill, "destination", "hook"))
    assert not why(migrate(StepName.RESTORE, "after", kill, "destination", "hook"))
    assert why(migrate(StepName.RESTORE, "after", kill, "destination", "restart"))
    assert not why(migrate(StepName.RESUME, "after", kill, "destination", "restart"))
    assert not why(migrate(StepName.RESTORE, "after", kill, "destination", IMAGE))
    assert not why(migrate(StepName.RELEASE, "before", kill, "source", "hook"))
    assert why(migrate(StepName.RELEASE, "after", kill, "source", "hook"))


def test_an_older_owner_comes_back_only_where_it_is_older() -> None:
    stale = Fault.STALE_OWNER
    assert why(migrate(StepName.FREEZE, "after", stale, "source", "hook"))
    assert not why(migrate(StepName.FREEZE, "after", stale, "source", "restart"))
    assert not why(migrate(StepName.RELEASE, "after", stale, "source", "hook"))
    assert not why(migrate(StepName.TRANSFER, "after", stale, "destination", "hook"))
    assert why(migrate(StepName.RESTORE, "after", stale, "destination", "hook"))


def test_cells_without_a_disk_or_a_way_are_not_applicable_and_say_why() -> None:
    full = migrate(StepName.FREEZE, "after", Fault.DISK_FULL, "source", "hook")
    slow = migrate(StepName.FREEZE, "after", Fault.SLOW_DISK, "source", "hook")
    assert "root" in not_applicable(full, disks=False, throttle=False)
    assert "throttle" in not_applicable(slow, disks=True, throttle=False)
    memory = migrate(StepName.FREEZE, "after", Fault.KILL_DAEMON, "", IMAGE)
    assert "real hosts" in not_applicable(memory, disks=True, throttle=True, units=False)
    unknown = Cell("levitate", StepName.FREEZE, "after", Fault.KILL_DAEMON, "", "hook")
    assert "cannot bring about a levitate" in why(unknown)


def test_other_kinds_lack_what_their_hosts_have_not() -> None:
    """A lost host comes back; who gives way goes nowhere; who waits runs nowhere."""
    kill, cut, stale = Fault.KILL_SHARD, Fault.CUT_LINK, Fault.STALE_OWNER
    assert why(Cell("failover", StepName.FENCE, "after", cut, "source", "hook"))
    assert not why(Cell("failover", StepName.FENCE, "after", cut, "destination", "hook"))
    assert not why(Cell("failover", StepName.COMMIT, "after", stale, "source", "hook"))
    assert why(Cell("preempt", StepName.CAPTURE, "after", cut, "destination", "hook"))
    assert why(Cell("preempt", StepName.CAPTURE, "after", stale, "source", "hook"))
    assert not why(Cell("preempt", StepName.RELEASE, "after", stale, "source", "hook"))
    assert why(Cell("place", StepName.TRANSFER, "after", kill, "source", "hook"))
    assert not why(Cell("place", StepName.RESTORE, "after", kill, "destination", "hook"))
    assert why(Cell("place", StepName.RESTORE, "after", kill, "destination", "restart"))


def test_who_stays_where_it_is_has_no_older_owner_and_divided_keys_have_two_sides() -> None:
    kill, cut, stale = Fault.KILL_SHARD, Fault.CUT_LINK, Fault.STALE_OWNER
    resize = Cell("resize", StepName.RESIZE, "after", kill, "source", "restart")
    assert not why(resize)
    assert "unit" in not_applicable(resize, disks=True, throttle=True, units=False)
    assert why(Cell("resize", StepName.RESIZE, "after", cut, "destination", "hook"))
    assert why(Cell("resize", StepName.RESIZE, "after", stale, "source", "hook"))
    assert why(Cell("split", StepName.COMMIT, "after", cut, "source", "restart"))
    assert why(Cell("split", StepName.TRANSFER, "after", kill, "destination", "hook"))
    assert not why(Cell("split", StepName.TRANSFER, "after", stale, "destination", "hook"))
    assert not why(Cell("split", StepName.TRANSFER, "after", stale, "source", "hook"))
    assert why(Cell("split", StepName.ROUTE, "after", stale, "source", "hook"))
    assert not why(Cell("merge", StepName.RELEASE, "after", stale, "destination", "hook"))
    assert why(Cell("merge", StepName.RELEASE, "after", kill, "destination", "hook"))
    assert not why(Cell("merge", StepName.RELEASE, "after", kill, "source", "hook"))
