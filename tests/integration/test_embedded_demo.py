"""``python -m sidestep.backends.embedded``: a whole fleet under load, as the daemon finds it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidestep.backends.base import Move
from sidestep.backends.process import ProcessBackend
from sidestep.backends.routing.client import UnixRouter
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.config import parse_fleet
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, StepName
from sidestep.fleet.placement import Route, RoutingTable

pytestmark = pytest.mark.fleet


class Ground:
    """The process, its fleet file, and transports to its hosts."""

    def __init__(self, folder: Path, process: Process, ready: dict[str, Any]) -> None:
        self.folder, self.process = folder, process
        self.fleet: FleetSpec = parse_fleet(Path(ready["fleet"]).read_text(), ready["fleet"])
        self.router = UnixRouter(ready["router"])
        self.backend = ProcessBackend(str(self.fleet.name))
        keys = HostKeys.load(Path(self.fleet.known_hosts))
        self.transports = {
            str(h.name): AsyncsshTransport(plain_target(h, identity=self.fleet.identity, connect_timeout=10), keys)
            for h in self.fleet.hosts
        }
        self.routes: dict[str, Route] = {}
        self.generation = 0

    async def start_shards(self) -> None:
        for spec in self.fleet.shards:
            transport, address = self.transports[spec.host], self.fleet.host(spec.host).address
            await transport.connect()
            seen = await self.backend.start(transport, spec, 1, address)
            assert spec.keys is not None
            self.routes[spec.name] = Route(spec.app, *spec.keys, spec.name, address, seen.port, 1)
        await self.push()

    async def push(self) -> None:
        self.generation += 1
        table = RoutingTable(self.generation, tuple(sorted(self.routes.values(), key=lambda r: r.lo)))
        assert await self.router.apply(msgspec.msgpack.encode(table), table.checksum()) == self.generation

    async def move(self, shard: str, to: str) -> None:
        """All twelve steps, as the executor does them."""
        spec, address = self.fleet.shard(shard), self.fleet.host(to).address
        move = Move(
            key="demo-1", shard=spec, source=spec.host, destination=Label(to), old_token=1, new_token=2,
            destination_address=address, observe=0.2,
        )  # fmt: skip
        notes: dict[str, str] = {}
        for step in MOVE_STEPS:
            if step is StepName.FREEZE:
                await self.router.hold(shard, 10)
            if step is StepName.ROUTE:
                old = self.routes[shard]
                self.routes[shard] = msgspec.structs.replace(old, address=address, port=int(notes["port"]), token=2)
                await self.push()
            elif step is not StepName.COMMIT:
                source, destination = self.transports[spec.host], self.transports[to]
                notes |= (await self.backend.step(step, move, source, destination, notes)).notes
            if step is StepName.RESUME:
                await self.router.release(shard)

    async def order(self, **order: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        return dict(msgspec.json.decode(await asyncio.wait_for(self.process.stdout.readline(), 20)))

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(await self.router.stats()):
                await asyncio.sleep(0.05)


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sidestep.backends.embedded", "--dir", folder, "--hosts", "2", "--shards", "4"),
            stdin=PIPE,
            stdout=PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        made = Ground(Path(folder), process, msgspec.json.decode(await process.stdout.readline()))
        yield made
        await asyncio.gather(*(t.aclose() for t in made.transports.values()))
        if process.returncode is None:
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 20)
        await gone(folder)


async def gone(folder: str) -> None:
    """Nothing that has to do with the folder runs any more."""
    async with asyncio.timeout(20):
        while left(folder):
            await asyncio.sleep(0.05)


def left(folder: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if folder.encode() in text:
                found.append(entry.name)
    return found


async def test_the_fleet_file_declares_what_runs(ground: Ground) -> None:
    """The demonstration says what it is, and that its time is compressed."""
    fleet = ground.fleet
    assert fleet.banner == "EMBEDDED"
    assert "a day lasts 120 s" in fleet.notice
    assert [s.name for s in fleet.shards] == ["kv-01", "kv-02", "kv-03", "kv-04"]
    assert {s.driver for s in fleet.shards} == {"hook"}
    assert (fleet.shards[0].keys, fleet.shards[-1].keys) == ((0, 16384), (49152, 65536))
    assert (fleet.policy.threshold_cpu, fleet.oracle.season, fleet.interval) == (0.8, 120.0, 1.0)
    assert (await ground.router.stats())["load_age"] == -1.0


async def test_a_shard_moves_under_the_demo_load_and_the_audit_finds_nothing(ground: Ground) -> None:
    """S1.22 S2.28: every request exactly once, over a real move between hosts."""
    await ground.start_shards()
    await ground.until(lambda s: s["acked"] > 60)
    shard = ground.fleet.shards[0]
    await ground.move(shard.name, "h2")
    served = (await ground.router.stats())["acked"]
    await ground.until(lambda s: s["acked"] > served + 60)
    account = await ground.router.audit()
    assert account["requests"] == account["acked"] > 120
    assert (account["lost"], account["duplicated"], account["double_owner"]) == (0, 0, 0), account
    assert account["shards"][shard.name]["applied"] == account["shards"][shard.name]["acked"]
    assert await ground.router.audit() == account


async def test_the_audit_finds_what_a_killed_host_took_along(ground: Ground) -> None:
    await ground.start_shards()
    await ground.until(lambda s: s["acked"] > 60)
    assert await ground.order(kill="h1") == {"done": "kill", "host": "h1"}
    await ground.until(lambda s: s["retried"] > 0)
    assert await ground.order(revive="h1") == {"done": "revive", "host": "h1"}
    for spec in ground.fleet.shards:
        if spec.host == "h1":
            transport = ground.transports[spec.host]
            await transport.aclose()
            await transport.connect()
            await ground.backend.start(transport, spec, 1, ground.fleet.host("h1").address)
    served = (await ground.router.stats())["acked"]
    await ground.until(lambda s: s["acked"] > served + 40)
    account = await ground.router.audit()
    lost = {name for name, page in account["shards"].items() if page["lost"] > 0}
    assert lost == {s.name for s in ground.fleet.shards if s.host == "h1"}


async def test_orders_that_cannot_be_done_are_answered_with_the_reason(ground: Ground) -> None:
    assert "no host 'h9'" in (await ground.order(kill="h9"))["error"]
    assert "no such order: explode" in (await ground.order(explode="h1"))["error"]
    assert await ground.order(cut="h1") == {"done": "cut", "host": "h1"}
    assert await ground.order(heal="h1") == {"done": "heal", "host": "h1"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_nothing_is_left_however_it_ends(ground: Ground, how: signal.Signals) -> None:
    await ground.start_shards()
    assert len(left(str(ground.folder))) > 4
    ground.process.send_signal(how)
    await asyncio.wait_for(ground.process.wait(), 20)
    assert ground.process.returncode == (-how if how is signal.SIGKILL else 0)
    await gone(str(ground.folder))


async def test_a_fleet_too_small_is_refused_in_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidestep.backends.embedded", "--dir", "unused", "--hosts", "4", "--shards", "5"),
        stdout=PIPE,
        stderr=PIPE,
    )
    out, problem = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert b"nothing could be moved" in problem
    assert b"Traceback" not in problem
