"""A full disk: nothing new begins, what runs ends where its shard serves, and all goes on when there is room.

The disk is a real one: a small filesystem in memory where the tests may mount one, else a limit
on the size of files.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_doubles import Scene
from move_doubles import OPERATOR, Bench, FaultsAt, an_action

from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_room import LOW, RESERVE, Room
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.journal_watch import JournalWatch, alerts
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import ActionState, PlanState

MIB = 1 << 20
SMALL = 512 * 1024


class Disk:
    """A small filesystem that can be filled to the last byte, and emptied again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, leave: int = 0) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            status = os.statvfs(self.folder)
            left = status.f_bavail * status.f_frsize - leave
            while left > 0:
                try:
                    left -= file.write(b"\0" * min(left, MIB))
                except OSError:
                    return

    def empty(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT CHECKED: no filesystem can be mounted here")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def keep(journal: Journal) -> None:
    """A reserve that fits the small disk."""
    journal.room.size, journal.room.low = SMALL, SMALL // 2
    journal.room.keep()


class Controller:
    """What of a daemon has to do with the journal, over a world in memory."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.said = bench, io.StringIO()
        keep(bench.journal)
        self.log = Log(bench.journal, stream=self.said)
        self.executor = bench.executor()
        self.clock = Clock(wall=lambda: bench.now)
        self.runs = Runs(bench.journal, self.executor, self.clock, self.log)
        self.watch = JournalWatch(bench.journal, self.log, self.clock, put_right=self.executor.recover)
        self.approvals = Approvals(bench.journal, self.runs, self.clock, bench.basis)


@pytest.fixture
async def controller(disk: Disk) -> Controller:
    return Controller(await Bench(disk.folder).ready())


def broken(journal: Journal) -> None:
    """Write until the disk is full to the last page."""
    for _ in range(2000):
        try:
            journal.record("host", "x" * 2000)
        except JournalError:
            return
    raise AssertionError("the disk never filled")


async def test_too_little_room_is_trouble_before_a_write_fails(controller: Controller, disk: Disk) -> None:
    journal = controller.bench.journal
    assert alerts(journal) == ()
    disk.fill(leave=SMALL // 4)
    await controller.watch.once()
    assert "free in" in journal.trouble
    (alert,) = alerts(journal)
    assert alert.startswith("nothing new begins: only ")
    assert controller.said.getvalue().count("nothing new begins") == 1
    await controller.watch.once()
    assert controller.said.getvalue().count("nothing new begins") == 1, "said once"
    disk.empty()
    await controller.watch.once()
    assert (journal.trouble, alerts(journal)) == ("", ())
    assert "can be written again" in controller.said.getvalue()


async def test_nothing_is_approved_while_the_journal_cannot_be_written(controller: Controller, disk: Disk) -> None:
    bench = controller.bench
    digest = bench.journal.add(bench.plan()).digest
    disk.fill()
    broken(bench.journal)
    with pytest.raises(SidestepError, match=r"plan 1 is not approved: .*full") as caught:
        controller.approvals.approve(digest, actor=OPERATOR, reason="now")
    assert "make room" in caught.value.hint
    assert bench.journal.status(digest).state is PlanState.PROPOSED
    disk.empty()
    await controller.watch.once()
    controller.approvals.approve(digest, actor=OPERATOR, reason="now")
    await controller.runs.finish()
    assert bench.journal.status(digest).state is PlanState.SUCCEEDED
    bench.at_rest("s1", "h3")


async def test_actions_that_have_not_begun_do_not_begin(controller: Controller, disk: Disk) -> None:
    bench = controller.bench
    digest = bench.approved(an_action(1, "s1"), an_action(2, "s2"))

    def full() -> None:
        if bench.backend.done[-1:] == ["release"]:
            bench.world.watch = lambda: None
            disk.fill()
            broken(bench.journal)

    bench.world.watch = full
    status = await controller.executor.run(digest)
    first, second = status.actions
    assert (first.state, second.state) == (ActionState.DONE, ActionState.CANCELLED)
    assert "nothing new begins: " in second.note
    bench.at_rest("s1", "h3")
    bench.at_rest("s2", "h1")


@pytest.mark.parametrize(
    "point", ["prepare", "precopy", "freeze", "capture", "transfer", "restore", "verify", "resume", "observe"]
)
async def test_a_move_that_a_full_disk_meets_leaves_its_shard_serving(
    controller: Controller, disk: Disk, point: str
) -> None:
    """Whatever step it was in: back where it was before the commit, or forward after it; nobody waits."""
    bench = controller.bench

    def full() -> None:
        if bench.backend.done[-1:] == [point]:
            bench.world.watch = lambda: None
            disk.fill()
            broken(bench.journal)

    digest = bench.approved()
    bench.world.watch = full
    await controller.executor.run(digest)
    assert bench.journal.trouble
    owner = bench.world.owner_of("s1")
    assert owner == ("h3" if point in ("resume", "observe") else "h1")
    assert bench.world.serving_host("s1") == owner
    assert not bench.router.held, "requests wait"
    disk.empty()
    await controller.watch.once()
    assert not bench.journal.trouble
    state = bench.journal.status(digest).state
    assert state in (PlanState.SUCCEEDED, PlanState.FAILED, PlanState.PARTIAL)
    bench.at_rest("s1", owner)
    again = bench.approved(an_action(1, "s2", "h1", "h3"))
    assert (await controller.executor.run(again)).state is PlanState.SUCCEEDED
    bench.journal.close()
    assert verify(disk.folder).whole


async def test_a_plan_that_could_not_even_be_ended_is_ended_when_there_is_room(disk: Disk) -> None:
    """No reserve, no room: the shard serves, the plan is left RUNNING, and is put right by itself."""
    bench = await Bench(disk.folder).ready()
    controller = Controller(bench)
    bench.journal.room.kept = False
    (disk.folder / "journal.reserve").unlink()

    def full() -> None:
        if bench.backend.done[-1:] == ["capture"]:
            bench.world.watch = lambda: None
            disk.fill()
            broken(bench.journal)

    digest = bench.approved()
    bench.world.watch = full
    with pytest.raises(JournalError):
        await controller.executor.run(digest)
    assert bench.journal.status(digest).state is PlanState.RUNNING
    assert bench.world.serving_host("s1") == "h1"
    await controller.watch.once()
    assert bench.journal.status(digest).state is PlanState.RUNNING, "nothing can be written yet"
    disk.empty()
    await controller.watch.once()
    assert bench.journal.status(digest).state is PlanState.FAILED
    bench.at_rest("s1", "h1")


async def test_observing_and_pictures_go_on_and_say_so(disk: Disk) -> None:
    scene = Scene(disk.folder)
    keep(scene.journal)
    await scene.tick(3)
    disk.fill()
    broken(scene.journal)
    await scene.tick(3)
    picture = scene.loop.picture
    assert picture is not None
    assert picture.alerts[0].startswith("nothing new begins: ")
    assert picture.snapshot.time == scene.clock.wall()
    await scene.tick(1)
    assert scene.loop.picture is not None
    assert scene.loop.picture.snapshot.number == picture.snapshot.number + 1
    disk.empty()
    scene.journal.recheck()
    await scene.tick(1)
    assert scene.loop.picture.alerts == ()


def test_a_level_may_be_lowered_and_not_raised(disk: Disk) -> None:
    journal = Journal(disk.folder / "journal.db")
    said = io.StringIO()
    log = Log(journal, stream=said)
    disk.fill()
    broken(journal)
    log.act("level", "level full -> off", actor="operator", always=True)
    assert "level full -> off (not in the journal" in said.getvalue()
    with pytest.raises(SidestepError):
        log.act("level", "level off -> full", actor="operator")


def test_an_audit_log_that_could_not_follow_does_so_later(disk: Disk) -> None:
    journal = Journal(disk.folder / "journal.db")
    journal.act("level", actor="operator")
    disk.fill()
    before = (disk.folder / "audit.log").read_bytes()
    for number in range(50):  # as far as the journal still has pages, the file has none
        try:
            journal.act("level", actor="operator", reason=f"{number} " + "x" * 1000)
        except JournalError:
            break
    entries = journal.audit_head().n
    after = (disk.folder / "audit.log").read_bytes()
    assert after.startswith(before)
    assert after.endswith(b"\n"), "no half line"
    disk.empty()
    assert journal.recheck()
    assert journal.flush()
    journal.close()
    verdict = verify(disk.folder)
    assert (verdict.whole, verdict.entries) == (True, entries)


def test_the_reserve_is_held_given_up_and_held_again(disk: Disk) -> None:
    room = Room(disk.folder / "journal.reserve", size=SMALL, low=SMALL // 2)
    assert room.look()
    assert not room.path.exists(), "nobody asked for one"
    room.keep()
    assert room.path.stat().st_blocks * 512 >= SMALL
    room.failed("disk I/O error")
    assert (room.trouble, room.path.exists()) == ("disk I/O error", False)
    disk.fill()
    assert not room.look()
    assert room.trouble == "disk I/O error", "why is not forgotten"
    disk.empty()
    assert room.look()
    assert room.path.stat().st_size == SMALL
    assert room.trouble, "only a write ends it"


def test_a_daemon_that_starts_on_a_full_disk_says_so_and_begins_nothing(disk: Disk) -> None:
    Journal(disk.folder / "journal.db").close()
    disk.fill(leave=256 * 1024)
    journal = Journal(disk.folder / "journal.db")
    journal.room.keep()
    assert RESERVE > LOW
    assert "no room for a reserve" in journal.trouble


LIMITED = """
import resource, signal, sys
from pathlib import Path
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
count = 0
try:
    while count < 5000:
        journal.record("host", "x" * 1000)
        count += 1
except JournalError as error:
    print("refused:", error)
assert journal.trouble, "no trouble"
assert not journal.recheck()
assert len(journal.events(0, 5000)) == count, "reading goes on, and nothing half is there"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert journal.recheck() and not journal.trouble
journal.record("host", "again")
journal.verify_chain()
print("went on")
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert "went on" in done.stdout


async def test_faults_and_a_full_disk_together(controller: Controller, disk: Disk) -> None:
    """A step fails while nothing can be written: the thaw comes first all the same."""
    bench = controller.bench
    executor = bench.executor(FaultsAt(("capture:before", "error")))
    digest = bench.approved()

    def full() -> None:
        if bench.backend.done[-1:] == ["freeze"]:
            bench.world.watch = lambda: None
            disk.fill()
            broken(bench.journal)

    bench.world.watch = full
    await executor.run(digest)
    assert bench.world.serving_host("s1") == "h1"
    assert not bench.router.held
