"""When capsules are taken, what is put off, what is said, and what the socket and the metrics show."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from capsule_hosts import Place, sha
from msgspec.structs import replace
from prometheus_client.core import Metric

from sidestep.autopilot.capsules.budget import Budget
from sidestep.autopilot.capsules.carrying import LOST_AFTER
from sidestep.autopilot.capsules.desk import CapsuleDesk
from sidestep.autopilot.capsules.keeper import MEND, SCRUB, CapsuleKeeper
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.metrics_capsules import of_capsules
from sidestep.autopilot.protocol import Done
from sidestep.autopilot.protocol_capsules import CapsuleList, GetCapsules, ScrubCapsules
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.queue import Waiting

EVERY = 10.0


class Kept:
    """A place with a keeper; ``after`` lets time pass and everything that is begun end."""

    def __init__(self, path: Path, **options: int) -> None:
        self.place = Place(path, **options)
        self.busy: frozenset[str] = frozenset()
        self.strained, self.held = "", ""
        self.keeper = CapsuleKeeper(
            self.place.around,
            busy=lambda: self.busy,
            strain=lambda host: self.strained,
            held=lambda: self.held,
            seed=1,
        )
        self.desk = CapsuleDesk(self.keeper, Log(self.place.journal, stream=io.StringIO()))

    async def after(self, seconds: float) -> None:
        self.place.time += seconds
        self.keeper.beat()
        while self.keeper._tasks:
            await asyncio.gather(*self.keeper._tasks.values())
            await asyncio.sleep(0)

    def listed(self) -> CapsuleList:
        answer = self.desk.answer(GetCapsules(), Label("ops"))
        assert isinstance(answer, CapsuleList)
        return answer


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    made = Kept(tmp_path / "journal.db", replicas=2)
    yield made
    await made.keeper.aclose()
    made.place.journal.close()


def test_nothing_happens_while_no_shard_has_replicas(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "journal.db", replicas=0)
    kept.place.time += 1e6
    kept.keeper.beat()  # outside of any loop: it could not even begin a task
    assert kept.keeper.notices() == () and list(of_capsules(kept.keeper)) == []
    assert kept.listed().rows == () and not any(disk.files for disk in kept.place.disks.values())
    with pytest.raises(SidestepError, match="no capsules are kept"):
        kept.desk.answer(ScrubCapsules(), Label("ops"))


async def test_a_capsule_is_taken_every_period_and_its_age_is_shown(kept: Kept) -> None:
    """S5.15: the age of the newest capsule, which is what a loss would cost, is shown live."""
    await kept.after(EVERY)
    first = kept.keeper.newest("kv")
    assert first is not None and kept.listed().rows[0].age == 0.0
    kept.place.state = b"1"
    await kept.after(EVERY / 2)
    assert kept.keeper.newest("kv") == first and kept.keeper.ages() == {"kv": EVERY / 2}
    await kept.after(EVERY / 2)
    second = kept.keeper.newest("kv")
    assert second is not None and second.seq > first.seq and kept.keeper.ages() == {"kv": 0.0}
    row = kept.listed().rows[0]
    assert (row.owner, row.replicas, len(row.copies), row.stale) == ("h0", 2, 2, False)
    assert msgspec.json.decode(msgspec.json.encode(kept.listed()), type=CapsuleList) == kept.listed()


async def test_a_shard_that_moves_waits_and_a_strained_host_gives_one_only_when_it_is_urgent(kept: Kept) -> None:
    kept.busy = frozenset({"kv"})
    await kept.after(EVERY)
    assert kept.keeper.newest("kv") is None
    kept.busy, kept.strained = frozenset(), "tasks stand still"
    await kept.after(EVERY / 2)
    assert kept.keeper.newest("kv") is None
    await kept.after(EVERY / 2)
    assert kept.keeper.newest("kv") is not None  # twice as old as it should be


async def test_nothing_begins_while_the_journal_cannot_be_written(kept: Kept) -> None:
    kept.held = "the disk is full"
    await kept.after(EVERY)
    assert kept.keeper.newest("kv") is None
    kept.held = ""
    await kept.after(1.0)
    assert kept.keeper.newest("kv") is not None


async def test_an_old_capsule_is_told_once_with_its_reason_and_no_longer_when_there_is_a_new_one(kept: Kept) -> None:
    await kept.after(EVERY)
    kept.place.disks["h0"].up = False
    kept.place.states_of = {"h0": kept.place.states()["h1"]}  # the host seems well
    kept.place.owner = "h5"
    for _ in range(8):
        kept.place.token = -1  # refused
        await kept.after(EVERY / 2)
    (notice,) = kept.keeper.notices()
    assert "capsules are old: 1 of 1 shards" in notice and "kv" in notice and kept.listed().rows[0].stale
    assert sum("token 1 is known already" in line for line in kept.place.said) == 1
    kept.place.token, kept.place.state = 3, b"new"
    await kept.after(EVERY)
    assert kept.keeper.notices() == ()


async def test_a_host_that_stays_away_is_replaced_after_a_while_and_read_when_it_is_back(kept: Kept) -> None:
    await kept.after(EVERY)
    first = kept.keeper.hosts_of("kv")
    kept.place.disks[first[0]].up = False
    kept.busy = frozenset()
    await kept.after(1.0)
    assert kept.keeper.hosts_of("kv") == first
    kept.place.owner, kept.place.disks["h0"].up = "h0", False  # no new capsule does it
    for _ in range(8):
        await kept.after(LOST_AFTER / 4)
    now = kept.keeper.hosts_of("kv")
    assert len(now) == 2 and first[0] not in now and first[1] in now
    kept.place.disks[first[0]].up = True
    await kept.after(MEND)
    assert first[0] in kept.keeper.hosts_of("kv")


async def test_every_copy_is_read_within_a_period_and_on_request(kept: Kept) -> None:
    """S2.19: scrub."""
    await kept.after(EVERY)
    host = str(kept.keeper.hosts_of("kv")[0])
    (path,) = kept.place.disks[host].files
    kept.place.disks[host].files[path] = b"rotten"
    answer = kept.desk.answer(ScrubCapsules(), Label("ops"))
    assert isinstance(answer, Done) and "reading 2 copies on 2 hosts" in answer.text
    while kept.keeper._tasks:
        await asyncio.sleep(0)
    assert (kept.listed().read, kept.listed().bad) == (2, 1) and kept.listed().rows[0].bad == (host,)
    await kept.after(1.0)
    assert kept.listed().repaired == 1 and kept.listed().rows[0].bad == ()
    kept.place.disks[host].files[path] = b"rotten again"
    kept.busy = frozenset({"kv"})  # no round does it
    await kept.after(SCRUB)
    await kept.after(SCRUB)
    assert any("is damaged" in line for line in kept.place.said)
    assert kept.listed().bad + kept.listed().missing >= 0 and kept.listed().scrubbed > 1000.0
    with pytest.raises(UsageError, match="no capsules are kept of nobody"):
        kept.desk.answer(ScrubCapsules("nobody"), Label("ops"))


async def test_the_metrics_name_no_shard_and_no_host(kept: Kept) -> None:
    await kept.after(EVERY)
    found: dict[str, Metric] = {family.name: family for family in of_capsules(kept.keeper)}
    assert found["sidestep_replicated_shards"].samples[0].value == 1
    assert found["sidestep_capsule_age_max_seconds"].samples[0].value == 0.0
    rounds = {sample.labels["result"]: sample.value for sample in found["sidestep_capsule_rounds"].samples}
    assert rounds == {"taken": 1, "unchanged": 0, "failed": 0}
    assert {label for family in found.values() for s in family.samples for label in s.labels} == {"result"}


async def test_a_fleet_file_that_is_read_again_begins_and_ends_it(kept: Kept) -> None:
    spec = msgspec.structs.replace(kept.place.spec, replicas=0)
    off: FleetSpec = msgspec.structs.replace(kept.place.fleet, shards=(spec,))
    kept.keeper.switch(off)
    await kept.after(EVERY)
    assert kept.keeper.newest("kv") is None
    kept.keeper.switch(kept.place.fleet)
    await kept.after(EVERY)
    assert kept.keeper.newest("kv") is not None
    kept.place.disks["h0"].up = False
    kept.keeper.switch(off)  # what is kept stays while the shard's host is gone, and is listed with the reason
    await kept.after(10 * EVERY)
    assert kept.listed().rows[0].trouble == "is not replicated any more" and kept.keeper.notices() == ()


async def test_the_budget_holds_on_average_whatever_the_sizes() -> None:
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    budget = Budget(lambda: 1000.0, Clock(monotonic=lambda: now[0], sleep=sleep))
    for size in (5000, 100, 2000, 900):
        await budget.take(size)
    assert now[0] == pytest.approx(7.1, abs=0.02)  # all but the last one are paid for
    free = Budget(lambda: 0.0, Clock(monotonic=lambda: now[0], sleep=sleep))
    await asyncio.gather(*(free.take(1 << 40) for _ in range(3)))
    assert now[0] == pytest.approx(7.1, abs=0.02)


async def test_what_a_shard_waits_with_in_the_queue_is_copied_elsewhere_and_is_its_newest(kept: Kept) -> None:
    """S5.10, S5.15: the loss of the host on which it gave way costs nothing, and its older capsules do not count."""
    place, keeper = kept.place, kept.keeper
    await kept.after(EVERY)
    older = keeper.newest("kv")
    assert older is not None
    place.disks["h0"].files["parked.2"] = b"when it gave way"
    waiting = Waiting(
        shard=Label("kv"), since=place.time, cause="preempted", token=2, host=Label("h0"), path="parked.2",
        digest=sha(b"when it gave way"), bytes=16,
    )  # fmt: skip
    place.around.owner = lambda shard: None
    place.around.parked = lambda shard: waiting
    kept.busy = frozenset({"kv"})
    await kept.after(2 * EVERY)
    assert keeper.newest("kv") == older  # a plan has it in its hands
    kept.busy = frozenset()
    await kept.after(2 * EVERY)
    newest = keeper.newest("kv")
    assert newest is not None and (newest.token, newest.digest) == (2, waiting.digest)
    assert len(newest.hosts) == place.spec.replicas and "h0" not in newest.hosts
    await kept.after(20 * EVERY)
    assert keeper.newest("kv") == newest and keeper.stale() == ()
    lost = str(newest.hosts[0])
    place.disks[lost].up = False
    await kept.after(MEND)
    for _ in range(8):
        await kept.after(LOST_AFTER)
    mended = keeper.newest("kv")
    assert mended is not None and mended.digest == waiting.digest
    assert len(mended.hosts) == place.spec.replicas and not {"h0", lost} & set(mended.hosts)
    there = place.disks["h0"]
    assert await keeper.bring(mended, there, "brought")  # type: ignore[arg-type]
    assert there.files["brought"] == b"when it gave way"
    (row,) = [one for one in place.journal.capsules() if one.seq == mended.seq]
    assert row.complete


async def test_capsules_of_a_shard_that_is_not_replicated_any_more_are_removed_from_every_host(kept: Kept) -> None:
    """But not while the shard itself is on a host that is gone, and of a host that is away once it is back."""
    place, keeper = kept.place, kept.keeper
    await kept.after(EVERY)
    ref = keeper.newest("kv")
    assert ref is not None
    away = str(ref.hosts[0])
    spec = replace(place.spec, replicas=0)
    keeper.switch(replace(place.fleet, shards=(spec,)))
    place.disks["h0"].up = False
    await kept.after(MEND)
    assert keeper.newest("kv") is not None
    place.disks["h0"].up, place.disks[away].up = True, False
    await kept.after(2 * LOST_AFTER)
    await kept.after(2 * LOST_AFTER)
    assert keeper.newest("kv") is None and keeper.lost("kv") is None
    assert [host for host, disk in place.disks.items() if disk.files] == [away]
    place.disks[away].up = True
    await kept.after(MEND)
    assert not any(disk.files for disk in place.disks.values()) and place.journal.capsules() == ()
    assert place.said[-1] == "kv is not replicated any more: its capsules are removed"


async def test_capsules_of_a_shard_that_is_not_in_the_fleet_file_are_kept(kept: Kept) -> None:
    """A slip of the pen in a file costs no state."""
    await kept.after(EVERY)
    kept.keeper.switch(replace(kept.place.fleet, shards=()))
    await kept.after(10 * LOST_AFTER)
    assert kept.keeper.newest("kv") is not None
