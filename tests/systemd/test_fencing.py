"""S2.21, S2.22: leases on hosts of their own, with a network cable that is pulled and a host that stands still."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from real_hosts import Control, RealHost

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.fencing.keeper import LeaseKeeper
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.process import ProcessBackend
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import FailoverSpec, FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner

Connect = Callable[..., Awaitable[Any]]
LEASE = 5.0
#: writes the host's uptime ten times a second: what it did, and when
BEATS = "while :; do read -r up _ </proc/uptime; echo $up >>beats; sleep 0.1; done"
SHARD = ShardSpec(
    name=Label("beat.0"), app=Label("beat"), host=Label("h1"), start=BEATS, failover="restart", ready="test -s beats"
)
FOLDER = "~root/.local/state/sidestep/fenced"


class Stage:
    """A keeper over two real hosts; ``beat.0`` is h1's at first."""

    def __init__(self, hosts: dict[str, RealHost], control: Control, folder: Path) -> None:
        self.hosts, self.control = hosts, control
        specs = (hosts["h1"].spec, hosts["h3"].spec)
        self.fleet = FleetSpec(
            name=Label("fenced"),
            source="test",
            hosts=specs,
            shards=(SHARD,),
            failover=FailoverSpec(lease=LEASE, margin=0.5),
        )
        self.journal = Journal(folder / "journal.db")
        self.journal.adopt({SHARD.name: Owner(Label("h1"), 1)}, Label("test"))
        self.log = Log(self.journal, stream=io.StringIO())
        self.backend = ProcessBackend("fenced")
        self.transports = {name: hosts[name].transport(keepalive=1.0) for name in ("h1", "h3")}
        self.keeper = LeaseKeeper(
            self.fleet,
            self.journal,
            {"process": self.backend},
            self.transports.__getitem__,
            self.log,
            clock=Clock(),
            heard=lambda _: -float("inf"),
        )

    async def start(self, host: str, token: int) -> None:
        await self.transports[host].connect()
        await self.backend.start(self.transports[host], SHARD, token, self.hosts[host].address)

    def beats(self, host: str) -> list[float]:
        return [float(line) for line in self.control.shell(host, f"cat {FOLDER}/beat.0/state/beats").split()]

    def alive(self, host: str) -> bool:
        script = f"read -r pid _ <{FOLDER}/beat.0/pid && [ -e /proc/$pid/stat ] && echo yes; exit 0"
        return "yes" in self.control.shell(host, script)

    def uptime(self, host: str) -> float:
        return float(self.control.shell(host, "cat /proc/uptime").split()[0])

    async def leased(self) -> None:
        async with asyncio.timeout(20):
            while SHARD.name not in self.journal.leased().get("h1", ()):
                await asyncio.sleep(0.05)


@pytest.fixture
async def stage(hosts: dict[str, RealHost], fleet: Control, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(hosts, fleet, tmp_path)
    task = asyncio.create_task(stage.keeper.run())
    yield stage
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(fleet.restore)
    await stage.keeper.aclose()
    for name, transport in stage.transports.items():
        await transport.aclose()
        again = hosts[name].transport()
        await again.connect()
        await stage.backend.stop(again, SHARD, 1 << 40)
        await again.run(f"rm -rf {FOLDER}")
        await again.aclose()
    stage.journal.close()


async def test_a_host_that_is_cut_off_has_stopped_the_shard_before_it_starts_elsewhere(stage: Stage) -> None:
    """And when the cable is back the old owner does not serve, is fenced, and takes no late order."""
    await stage.start("h1", 1)
    await stage.leased()
    await asyncio.to_thread(stage.control.cut, "h1")
    cut = time.monotonic()
    how = await stage.keeper.fence("h1", SHARD, 1)
    proven = await asyncio.to_thread(stage.uptime, "h1")
    assert how.startswith("its lease ran out")
    assert not await asyncio.to_thread(stage.alive, "h1")
    assert max(await asyncio.to_thread(stage.beats, "h1")) < proven
    assert time.monotonic() - cut >= LEASE / 3
    await stage.start("h3", 2)
    with pytest.raises(HostError, match="being fenced"):
        await stage.keeper.hold("h1", SHARD.name)

    await asyncio.to_thread(stage.control.heal, "h1")
    await stage.transports["h1"].connect()
    stage.keeper.release("h1")
    (seen,) = await stage.backend.discover(stage.transports["h1"])
    assert (seen.state, seen.token) == (ShardState.FAILED, 1)
    other = Journal(stage.journal.path.with_name("after.db"))
    other.adopt({SHARD.name: Owner(Label("h3"), 2)}, Label("test"))
    settlement = Settlement(
        stage.fleet, other, {"process": stage.backend}, stage.transports.__getitem__, Log(other, stream=io.StringIO())
    )
    assert await settlement.settle(("h1", "h3")) == {SHARD.name}
    other.close()
    with pytest.raises(HostError, match="fenced: token 1 is older than 2"):
        await stage.start("h1", 1)
    assert not await asyncio.to_thread(stage.alive, "h1")
    assert await asyncio.to_thread(stage.alive, "h3")


async def test_a_host_that_stood_still_kills_the_shard_as_soon_as_it_goes_on(stage: Stage) -> None:
    """The guard stands still with it; what it does then lasts no longer than the guard's look."""
    await stage.start("h1", 1)
    await stage.leased()
    await asyncio.to_thread(stage.control.freeze, "h1")
    await stage.transports["h1"].aclose()
    assert (await stage.keeper.fence("h1", SHARD, 1)).startswith("its lease ran out")
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    await asyncio.to_thread(stage.control.thaw, "h1")
    deadline = time.monotonic() + 30
    while await asyncio.to_thread(stage.alive, "h1"):
        assert time.monotonic() < deadline
    late = time.clock_gettime(time.CLOCK_BOOTTIME) - before
    expired = await asyncio.to_thread(stage.control.shell, "h1", f"cat {FOLDER}/beat.0/expired")
    assert expired.split()[0] == "1"
    beats = await asyncio.to_thread(stage.beats, "h1")
    times = [*beats, await asyncio.to_thread(stage.uptime, "h1")]  # it may have been ended before any further beat
    gap = max(range(1, len(times)), key=lambda n: times[n] - times[n - 1])
    print(f"thawed for at most {late:.2f} s, with {len(beats) - gap} beats")
    assert times[gap] - times[gap - 1] >= LEASE / 3
