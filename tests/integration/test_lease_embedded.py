"""S2.19-S2.22: leases that hosts keep by themselves, on hosts whose links are really cut."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.fencing.keeper import LeaseKeeper
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Lease
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import HostError, UsageError
from sidestep.fleet.inventory import FailoverSpec, FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner

pytestmark = pytest.mark.fleet

DEADLINE = 40.0
LEASE = 4.0


def shard(name: str, mark: int, *, failover: str = "restart") -> ShardSpec:
    start = f"echo x >>starts; exec sleep {mark}"
    return ShardSpec(name=Label(name), app=Label("a"), host=Label("h1"), start=start, failover=failover)  # type: ignore[arg-type]


LEASED, FREE = shard("a.0", 987651), shard("a.1", 987652, failover="wait")


class Given:
    """Leases as somebody wrote them down."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def hold(self, host: str, shard: str) -> Lease:
        return self._lease


class Stage:
    """A keeper over an embedded fleet of one host, with a leased shard and one that waits."""

    def __init__(self, hosts: EmbeddedFleet, folder: Path, lease: float) -> None:
        self.hosts, self.folder = hosts, folder
        self.fleet = FleetSpec(
            name=Label("lease"),
            source="test",
            hosts=hosts.hosts,
            shards=(LEASED, FREE),
            failover=FailoverSpec(lease=lease, margin=0.5),
        )
        self.journal = Journal(folder / "journal.db")
        self.backend = ProcessBackend("lease")
        self.clock, self.heard = Clock(), -float("inf")
        keys = HostKeys.load(hosts.known_hosts)
        (spec,) = hosts.hosts
        self.transport = AsyncsshTransport(plain_target(spec, identity=str(hosts.identity)), keys)
        self.keeper = self.keep()

    def keep(self) -> LeaseKeeper:
        return LeaseKeeper(
            self.fleet,
            self.journal,
            {"process": self.backend},
            lambda _: self.transport,
            Log(self.journal, stream=io.StringIO()),
            clock=self.clock,
            heard=lambda _: self.heard,
        )

    def own(self, *shards: ShardSpec) -> None:
        self.journal.adopt({s.name: Owner(Label("h1"), 1) for s in shards}, Label("test"))

    async def start(self, spec: ShardSpec = LEASED, token: int = 1) -> None:
        await self.transport.connect()
        await self.backend.start(self.transport, spec, token, "127.0.0.1")

    def starts(self) -> str:
        return self.file("a.0/state/starts").read_text()

    def runs(self, spec: ShardSpec = LEASED) -> bool:
        return any(line.endswith(spec.start.rpartition(" ")[2]) for _, line in self.hosts.tree("h1"))

    def guards(self) -> list[int]:
        return [pid for pid, line in self.hosts.tree("h1") if "sidestep-guard lease" in line]

    def file(self, name: str) -> Path:
        return self.hosts.folder / "hosts/h1/.local/state/sidestep/lease" / name

    async def cut(self) -> None:
        await self.hosts.cut("h1")
        await self.transport.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(keeper: LeaseKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.aclose()


@pytest.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with EmbeddedFleet(tmp_path / "fleet", hosts=1) as hosts:
        stage = Stage(hosts, tmp_path, getattr(request, "param", LEASE))
        yield stage
        await stage.transport.aclose()
        stage.journal.close()


async def test_a_host_that_is_cut_off_kills_what_is_leased_and_nothing_else(stage: Stage) -> None:
    """The proof comes only once the shard is dead; its state stays, and the old owner serves never again."""
    async with running(stage.keeper):
        stage.own(LEASED, FREE)
        await stage.start()
        await stage.start(FREE)
        await until(lambda: "a.0" in stage.journal.leased().get("h1", ()))
        await stage.cut()
        how = await stage.keeper.fence("h1", LEASED, 1)
        assert not stage.runs()
        assert how.startswith("its lease ran out")
        assert stage.runs(FREE)
        assert stage.file("a.0/expired").read_text().split()[0] == "1"
        assert stage.starts() == "x\n"
        await until(lambda: not stage.guards())
        with pytest.raises(HostError, match="is being fenced"):
            await stage.keeper.hold("h1", "a.0")
        await stage.hosts.heal("h1")
        await stage.transport.connect()
        (seen,) = (s for s in await stage.backend.discover(stage.transport) if s.shard == "a.0")
        assert (seen.state, seen.token) == (ShardState.FAILED, 1)


@pytest.mark.parametrize("stage", [12.0], indirect=True)
async def test_a_lease_that_is_renewed_keeps_the_shard_alive_and_its_guard_is_started_again(stage: Stage) -> None:
    """The guard is killed in between."""
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        (guard,) = stage.guards()
        os.kill(guard, signal.SIGKILL)
        await until(lambda: stage.guards() and stage.guards() != [guard])
        before = stage.file(".lease/until").read_text()
        await until(lambda: stage.file(".lease/until").read_text() != before)
        assert stage.runs()
        assert len(stage.guards()) == 1
        assert stage.starts() == "x\n"


async def test_nothing_that_may_fail_over_starts_without_a_lease(stage: Stage) -> None:
    """Not before the host is leased, not without a guard, not by an order that comes too late; nor after the lease."""
    stage.backend.leases = None
    with pytest.raises(HostError, match="no lease is in force"):
        await stage.start()
    lease = await stage.keeper.hold("h1", "a.0")
    stage.backend.leases = Given(replace(lease, by=lease.by - int(LEASE) - 1))
    with pytest.raises(HostError, match="came too late"):
        await stage.start()
    (guard,) = stage.guards()
    os.kill(guard, signal.SIGKILL)
    await until(lambda: not stage.guards())
    stage.backend.leases = Given(lease)
    with pytest.raises(HostError, match="no guard watches"):
        await stage.start()
    assert not stage.runs()
    await stage.keeper.aclose()
    stage.backend.leases = stage.keeper = stage.keep()
    await stage.start()
    assert stage.starts() == "x\n"
    await until(lambda: not stage.runs())  # nobody renews it
    stage.backend.leases = None
    with pytest.raises(HostError, match="no lease is in force"):
        await stage.start()


async def test_a_guard_whose_folder_is_removed_while_it_waits_to_end_does_end(stage: Stage) -> None:
    """Somebody else works on the lease just then: the guard waits, and what it waits for goes with all else."""
    await stage.keeper.hold("h1", "a.0")
    await stage.keeper.aclose()
    assert stage.guards()
    began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    stage.file(".lease/lock").symlink_to(f"{os.getpid()}:{began}")
    await until(lambda: any(line.endswith("sleep 0.1") for _, line in stage.hosts.tree("h1")))
    shutil.rmtree(stage.file(""))
    await until(lambda: not stage.guards())


async def test_no_host_hears_of_leases_while_nothing_may_fail_over(stage: Stage) -> None:
    async with running(stage.keeper):
        stage.own(FREE)
        await stage.start(FREE)
        for _ in range(8):
            stage.keeper.look()
            await asyncio.sleep(0.05)
        assert not stage.file(".lease").exists()
        assert not stage.guards()


async def test_a_host_that_answers_stops_the_shard_at_once_and_keeps_its_lease(stage: Stage) -> None:
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        assert "it answers" in await stage.keeper.fence("h1", LEASED, 2)
        assert not stage.runs()
        await stage.keeper.hold("h1", "a.0")
        with pytest.raises(HostError, match="fenced: token 1 is older than 2"):
            await stage.start()


class Old:
    """A lease as an order carries it that was given a while ago."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease

    async def hold(self, host: str, shard: str) -> Lease:
        return self.lease


@pytest.mark.parametrize("stage", [20.0], indirect=True)
async def test_an_order_that_was_under_way_while_the_host_was_fenced_starts_nothing_and_a_later_one_does(
    stage: Stage,
) -> None:
    """S2.21: the same token; the failover is given up, and the shard comes back where it was."""
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        order = await stage.keeper.hold("h1", "a.0")
        assert "it answers" in await stage.keeper.fence("h1", LEASED, 1)
        late = ProcessBackend("lease")
        late.leases = Old(order)
        with pytest.raises(HostError, match="was given before it was fenced here"):
            await late.start(stage.transport, LEASED, 1, "127.0.0.1")
        assert not stage.runs()
        stage.keeper.release("h1")
        async with asyncio.timeout(DEADLINE):
            while (await stage.keeper.hold("h1", "a.0")).by <= order.by:
                await asyncio.sleep(0.2)
        for _ in range(40):  # the first renewal after it may still be one that was known by then
            with contextlib.suppress(HostError):
                await stage.start()
                break
            await asyncio.sleep(0.5)
        assert stage.runs()


@pytest.mark.parametrize("stage", [20.0], indirect=True)
async def test_a_host_that_answers_while_its_lease_is_waited_for_keeps_what_else_it_runs(stage: Stage) -> None:
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        await stage.cut()
        fencing = asyncio.create_task(stage.keeper.fence("h1", LEASED, 2))
        await until(lambda: stage.keeper.host("h1").stopped)
        await stage.hosts.heal("h1")
        await stage.transport.connect()
        assert "it answers" in await fencing
        assert not stage.runs()
        before = stage.file(".lease/until").read_text()
        await until(lambda: stage.file(".lease/until").read_text() != before)


async def test_what_was_never_leased_is_proven_by_no_waiting(stage: Stage) -> None:
    """A declaration, or the host's fence command, proves it; the first ends when the host is heard again."""
    async with running(stage.keeper):
        stage.own(FREE)
        await stage.start(FREE)
        await stage.cut()
        with pytest.raises(HostError, match=r"fence: does not answer.*never acknowledged a lease of a\.1") as caught:
            await stage.keeper.fence("h1", FREE, 1)
        assert "sidestep fenced h1 --reason TEXT" in caught.value.hint
        stage.heard = stage.clock.monotonic()
        with pytest.raises(UsageError, match="was heard"):
            stage.keeper.declare_off("h1", actor="me", reason="pulled the plug")
        stage.heard = -float("inf")
        stage.keeper.declare_off("h1", actor="me", reason="pulled the plug")
        assert "declared to be off" in await stage.keeper.fence("h1", FREE, 1)
        assert stage.journal.hosts_off()["h1"].how == "pulled the plug"
        stage.heard = stage.clock.monotonic() + 60
        await until(lambda: not stage.journal.hosts_off())
        with pytest.raises(HostError, match="fence: does not answer"):
            await stage.keeper.fence("h1", FREE, 1)


@pytest.mark.parametrize(("command", "says"), [("echo secret; exit 3", "status 3"), ('test "$HOST" = h1', "")])
async def test_a_fence_command_proves_by_its_status_alone(stage: Stage, command: str, says: str) -> None:
    (host,) = stage.fleet.hosts
    stage.keeper.switch(replace(stage.fleet, hosts=(replace(host, fence=command),)))
    if says:
        with pytest.raises(HostError, match=says):
            await stage.keeper.fence("h1", FREE, 1)
        assert not stage.journal.hosts_off()
    else:
        assert "declared to be off" in await stage.keeper.fence("h1", FREE, 1)
        assert stage.journal.hosts_off()["h1"].said_by == "autopilot"


async def test_a_daemon_that_begins_while_the_host_is_cut_off_knows_what_was_leased(stage: Stage) -> None:
    """Nothing is known of the last renewal: a whole lease passes before the proof."""
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        await until(lambda: "a.0" in stage.journal.leased().get("h1", ()))
    await stage.cut()
    began = stage.clock.monotonic()
    again = stage.keep()
    async with running(again):
        assert again.remaining("h1") > LEASE
        await again.fence("h1", LEASED, 1)
        assert stage.clock.monotonic() - began > LEASE
        assert not stage.runs()


@pytest.mark.parametrize("stage", [7.0], indirect=True)
async def test_the_end_in_good_order_leaves_everything_running(stage: Stage) -> None:
    """What may fail over is leased no more; a shard that may no longer fail over neither."""
    async with running(stage.keeper):
        stage.own(LEASED)
        await stage.start()
        await stage.keeper.end()
    assert not stage.file("a.0/leased").exists()
    assert stage.journal.leased().get("h1") is None
    await until(lambda: not stage.guards())
    assert stage.runs()
    again = stage.keep()
    async with running(again):
        await until(lambda: "a.0" in stage.journal.leased().get("h1", ()))
        again.switch(replace(stage.fleet, shards=(replace(LEASED, failover="wait"), FREE)))
        assert stage.journal.leased().get("h1") is None
        await until(lambda: not stage.file("a.0/leased").exists())
        assert stage.runs()
