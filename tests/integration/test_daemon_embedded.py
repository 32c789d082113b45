"""The daemon as a process of its own over real hosts: shards come up, a plan runs, shards outlive it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shlex import quote

import pytest

from sidestep.autopilot.client import AsyncClient, Refused
from sidestep.autopilot.history_segments import read_segment
from sidestep.autopilot.protocol import (
    Approve,
    EventList,
    GetLog,
    GetPlan,
    GetSnapshot,
    PlanView,
    ProposeMove,
    Shutdown,
    SnapshotFrame,
    host_states,
    shard_states,
)
from sidestep.autopilot.protocol_oracle import GetRoundTrips, RoundTripList
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState

pytestmark = pytest.mark.fleet

TALLY = f"exec {quote(sys.executable)} -I -S {quote(str(Path(__file__).parent / 'process' / 'tally.py'))}"
DEADLINE = 20.0


class Stage:
    """An embedded fleet, its fleet file, and daemons over it."""

    def __init__(self, hosts: EmbeddedFleet, folder: Path) -> None:
        self.hosts, self.folder, self.socket = hosts, folder, folder / "d.sock"
        self.port = free_port()
        self.file = folder / "fleet.toml"
        self.daemons: list[Process] = []

    def write(self) -> None:
        lines = [
            "[fleet]", 'name = "test"', "interval = 0.2",
            "[ssh]", f'known_hosts = "{self.hosts.known_hosts}"', f'identity = "{self.hosts.identity}"',
            "[policy]", "observe = 0", "[oracle]", "enabled = false", "min_steps = 2",
        ]  # fmt: skip
        for host in self.hosts.hosts:
            lines += [f"[hosts.{host.name}]", f'address = "{host.address}"', f"port = {host.port}"]
            lines += [f'user = "{host.user}"', "cpu = 2", 'memory = "2G"']
        lines += ["[shards.tally-0]", 'app = "tally"', 'host = "a"', 'driver = "hook"', f"port = {self.port}"]
        lines += [f'start = """{TALLY} serve --closed"""', f'ready = """{TALLY} ready"""']
        lines += [f'{verb} = """{TALLY} {verb}"""' for verb in ("save", "load", "quiesce", "resume")]
        self.file.write_text("\n".join(lines) + "\n")

    async def daemon(self, *options: str) -> Process:
        """A daemon that says it is ready."""
        process = await self.spawn(*options)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        assert line.decode().strip() == f"ready {self.socket}", (self.folder / "daemon.log").read_text()
        return process

    async def spawn(self, *options: str) -> Process:
        with (self.folder / "daemon.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.file), "--socket", str(self.socket),
                "--state", str(self.folder / "state"), *options, stdout=PIPE, stderr=log,
            )  # fmt: skip
        self.daemons.append(process)
        return process

    async def log_has(self, text: str) -> None:
        await until(lambda: text in (self.folder / "daemon.log").read_text())

    def samplers(self) -> list[str]:
        """Command lines of samplers on the hosts: they have the fleet and the interval in them."""
        return [line for host in self.hosts.names for _, line in self.hosts.tree(host) if " test 0.200" in line]

    def transport(self, name: str) -> AsyncsshTransport:
        (spec,) = (h for h in self.hosts.hosts if h.name == name)
        keys = HostKeys.load(self.hosts.known_hosts)
        return AsyncsshTransport(plain_target(spec, identity=str(self.hosts.identity), connect_timeout=10), keys)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(address: str, port: int, text: str) -> str:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text.encode() + b"\n")
    line = await reader.readline()
    writer.close()
    return line.decode().strip()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.05)


async def picture(client: AsyncClient, condition: Callable[[SnapshotFrame], bool]) -> SnapshotFrame:
    """The first picture that fulfils the condition."""
    async with asyncio.timeout(DEADLINE):
        async for frame in client.subscribe(20):
            if condition(frame):
                return frame
    raise AssertionError("unreachable")


def measured(frame: SnapshotFrame) -> bool:
    """Whether everything is up and the shard's use is known."""
    return ready(frame) and not any(math.isnan(value) for value in struct.unpack_from("<2f", frame.shard_use))


def ready(frame: SnapshotFrame) -> bool:
    return set(host_states(frame)) == {"READY"} and set(shard_states(frame)) == {"RUNNING"}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    hosts = EmbeddedFleet(tmp_path / "fleet", names=("a", "b"), cpu=2.0, memory=2 << 30)
    await hosts.start()
    stage = Stage(hosts, tmp_path)
    stage.write()
    yield stage
    for process in stage.daemons:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await hosts.stop()


async def end(process: Process) -> int:
    process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(process.wait(), DEADLINE)


async def where(stage: Stage) -> tuple[str, int]:
    """Which shard answers at its first endpoint, under which token."""
    name, token, _ = (await ask(stage.hosts.hosts[0].address, stage.port, "who")).split()
    return name, int(token)


async def test_an_operators_move_is_proposed_approved_and_run(stage: Stage) -> None:
    """S3.6, S2.27: the whole way of one move, and the state arrives with it."""
    await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    first = await picture(client, measured)
    assert [h.name for h in first.hosts] == ["a", "b"]
    assert await where(stage) == ("tally-0", 1)
    assert await ask(stage.hosts.hosts[0].address, stage.port, "add 41") == "41"
    trips = await client.call(GetRoundTrips())
    assert isinstance(trips, RoundTripList) and [row.host for row in trips.hosts] == ["a", "b"]
    said = (stage.folder / "daemon.log").read_text()
    assert said.count("no trainer runs: disabled in the fleet file") == 1 and "trainer ended" not in said

    proposed = await client.call(ProposeMove("tally-0", "b", "maintenance"))
    assert isinstance(proposed, PlanView) and proposed.status.state is PlanState.PROPOSED
    await client.call(Approve(proposed.digest, "go"))

    async def status() -> PlanView:
        answer = await client.call(GetPlan(proposed.digest))
        assert isinstance(answer, PlanView)
        return answer

    async with asyncio.timeout(DEADLINE):
        while (view := await status()).status.state in (PlanState.APPROVED, PlanState.RUNNING):
            await asyncio.sleep(0.05)
    assert view.status.state is PlanState.SUCCEEDED, view.status
    assert view.status.approved_by == client.welcome.actor  # type: ignore[union-attr]
    moved = await picture(client, lambda f: ready(f) and f.shard_host == (1).to_bytes(4, "little"))
    assert moved.generation == 2
    assert await ask(stage.hosts.hosts[1].address, stage.port, "add") == "42"
    log = await client.call(GetLog())
    assert isinstance(log, EventList)
    assert any("release DONE" in e.text for e in log.events)
    with pytest.raises(Refused, match="cannot be approved"):
        await client.call(Approve(proposed.digest))
    with pytest.raises(UsageError, match="no host nowhere"):
        await client.call(ProposeMove("tally-0", "nowhere"))
    await client.aclose()


async def test_shards_outlive_the_daemon_and_are_kept_by_the_next_one(stage: Stage) -> None:
    """S4.8: an owner that serves is not touched by a controller that comes and goes."""
    first = await stage.daemon()
    await ask(stage.hosts.hosts[0].address, stage.port, "add 7")
    before = await ask(stage.hosts.hosts[0].address, stage.port, "who")
    assert await end(first) == 0
    assert not stage.socket.exists()
    (segment,) = (stage.folder / "state" / "history" / "open").glob("*.segment")
    kept = read_segment(segment)
    assert {"host a cpu", "host b memory", "shard tally-0 cpu"} <= set(kept.names) and kept.block.count.any()
    await until(lambda: not stage.samplers())
    assert await ask(stage.hosts.hosts[0].address, stage.port, "who") == before
    second = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, ready)
    assert await ask(stage.hosts.hosts[0].address, stage.port, "who") == before
    await client.call(Shutdown())
    assert await asyncio.wait_for(second.wait(), DEADLINE) == 0
    await client.aclose()
    assert await ask(stage.hosts.hosts[0].address, stage.port, "add") == "8"


async def test_a_copy_with_an_older_token_is_stopped_and_the_owners_own_is_kept(stage: Stage) -> None:
    """S2.27: after a partition the old owner's process is no owner."""
    await end(await stage.daemon())
    stray = stage.transport("b")
    await stray.connect()
    backend = ProcessBackend("test")
    spec = ShardSpec(name=Label("tally-0"), app=Label("tally"), host=Label("b"), start=f"{TALLY} serve")
    await backend.start(stray, spec, 0, stage.hosts.hosts[1].address)
    assert len(await backend.discover(stray)) == 1
    owner = await ask(stage.hosts.hosts[0].address, stage.port, "who")
    await stage.daemon()
    await stage.log_has("b: stopped tally-0: token 0 is older than 1")
    assert [o.pid for o in await backend.discover(stray) if o.state == "RUNNING"] == []
    assert await ask(stage.hosts.hosts[0].address, stage.port, "who") == owner
    await stray.aclose()


async def test_a_host_that_was_down_is_settled_when_it_comes_back(stage: Stage) -> None:
    await stage.hosts.kill("a")
    await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    frame = await client.call(GetSnapshot())
    assert isinstance(frame, SnapshotFrame)
    await picture(client, lambda f: host_states(f)[0] in ("SUSPECT", "DEAD") and host_states(f)[1] == "READY")
    await stage.hosts.revive("a")
    await picture(client, ready)
    assert await where(stage) == ("tally-0", 1)
    await client.aclose()


async def test_a_second_daemon_is_refused_with_the_process_that_serves(stage: Stage) -> None:
    """S1.23: one writer."""
    first = await stage.daemon()
    second = await stage.spawn()
    assert await asyncio.wait_for(second.wait(), DEADLINE) == 1
    assert f"a daemon already runs (process {first.pid}" in (stage.folder / "daemon.log").read_text()
    assert first.returncode is None
    assert "Traceback" not in (stage.folder / "daemon.log").read_text()


async def test_a_bad_fleet_file_ends_with_code_2_and_no_traceback(stage: Stage) -> None:
    stage.file.write_text(stage.file.read_text().replace("cpu = 2", 'cpu = "many"', 1))
    process = await stage.spawn()
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 2
    said = (stage.folder / "daemon.log").read_text()
    assert "fleet.toml:" in said and "many" in said and "Traceback" not in said


async def test_a_daemon_that_was_killed_leaves_nothing_that_stops_the_next(stage: Stage) -> None:
    first = await stage.daemon()
    assert len(stage.samplers()) == 2
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()
    assert stage.socket.exists()
    await until(lambda: not stage.samplers())
    await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, ready)
    await client.aclose()


async def test_a_hangup_signal_reads_the_host_keys_again_and_a_broken_file_ends_nothing(stage: Stage) -> None:
    known = stage.hosts.known_hosts
    right = known.read_text()
    first, second = right.splitlines()
    names = [line.split()[0] for line in (first, second)]
    # b is known by the key of a
    known.write_text(f"{first}\n{first.replace(names[0], names[1])}\n")
    process = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    frame = await picture(client, lambda f: host_states(f)[0] == "READY" and 1 in f.reasons)
    assert "host key" in frame.reasons[1] and "has changed" in frame.reasons[1]

    known.write_text("this is \x1b[2J no known_hosts file\n")
    process.send_signal(signal.SIGHUP)
    await stage.log_has("known_hosts:1")
    assert "\x1b" not in (stage.folder / "daemon.log").read_text()
    frame = await picture(client, lambda f: host_states(f)[0] == "READY")
    assert "has changed" in frame.reasons[1]

    stage.file.write_text("no fleet file any more")
    known.write_text(right)
    process.send_signal(signal.SIGHUP)
    await stage.log_has("trying 1 refused hosts again")
    await picture(client, ready)
    assert process.returncode is None
    await client.aclose()
