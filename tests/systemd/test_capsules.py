"""Capsules between hosts of their own: a replica host whose disk is full is passed over, and nothing else breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import moving
import pytest
from moving import ask, shard_spec
from real_hosts import Control, RealHost

from sidestep.autopilot.capsules.budget import Budget
from sidestep.autopilot.capsules.carrying import Around, Carrier
from sidestep.autopilot.capsules.scrub import Scrubber
from sidestep.autopilot.capsules.shelf import Shelf
from sidestep.autopilot.capsules.sites import Sites
from sidestep.autopilot.capsules.taking import Taker
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.process import ProcessBackend
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState

Connect = Callable[..., Awaitable[Any]]
TALLY = "exec python3 -I -S /srv/tally.py"
PORT, OWNER = 7410, "h1"
BOX = "~root/.local/state/sidestep/test/.capsules"


class Ground:
    """All hosts of the test fleet, the shard on the first."""

    def __init__(self, hosts: dict[str, RealHost], links: dict[str, Any], folder: Path, driver: str) -> None:
        self.backend, self.said = ProcessBackend("test"), list[str]()
        self.address = hosts[OWNER].address
        self.spec: ShardSpec = shard_spec(driver, PORT, TALLY, replicas=2)
        self.journal = Journal(folder / "journal.db")
        specs = tuple(hosts[name].spec for name in links)
        fleet = FleetSpec(name=Label("test"), source="", hosts=specs, shards=(self.spec,))
        self.around = Around(
            fleet=fleet,
            shelf=Shelf(self.journal),
            sites=Sites(specs),
            budget=Budget(lambda: 0.0, Clock()),
            clock=Clock(wall=time.time),
            replicator=lambda spec: self.backend,
            transport=links.__getitem__,
            states=lambda: dict.fromkeys(links, HostState.READY),
            owner=lambda shard: (Label(OWNER), 7),
            report=self.said.append,
            fresh=0.0,
        )
        carrier = Carrier(self.around)
        self.taker, self.scrubber = Taker(self.around, carrier), Scrubber(self.around, carrier)

    def wish(self, count: int) -> tuple[Label, ...]:
        sites = self.around.sites
        return sites.choose(str(self.spec.name), count, may=sites.mask(sites.names), owner=OWNER)


@pytest.fixture(params=["hook", "restart"])
async def ground(
    request: Any, tmp_path: Path, hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> AsyncIterator[Ground]:
    async def program() -> AsyncIterator[bytes]:
        yield Path(moving.__file__).with_name("tally.py").read_bytes()

    links = {name: await connect(host) for name, host in hosts.items()}
    await links[OWNER].send("/srv/tally.py", program())
    made = Ground(hosts, links, tmp_path, request.param)
    await made.backend.start(links[OWNER], made.spec, 7, made.address)
    yield made
    await made.backend.stop(links[OWNER], made.spec, 1 << 40)
    for link in links.values():
        await link.run(f"umount {BOX} 2>/dev/null; rm -rf .local/state/sidestep /srv/tally.py")
    made.journal.close()


async def fill(fleet: Control, host: str) -> None:
    """The disk that copies lie on has no room any more: as far as df and write(2) go, a full one."""
    script = f"mkdir -p {BOX} && mount -t tmpfs -o size=64k capsules {BOX} && head -c 65536 /dev/zero >{BOX}/full"
    await asyncio.to_thread(fleet.shell, host, script)


async def test_a_replica_host_without_room_is_passed_over_and_the_shard_serves_on(
    ground: Ground, fleet: Control
) -> None:
    """S2.19: every host keeps a real copy or is left out; without any the older capsule stands, and it is told."""
    assert await ask(ground.address, PORT, "add 41") == "41"
    full, second = ground.wish(2)
    await fill(fleet, str(full))
    done = await ground.taker.round(ground.spec)
    assert done.capsule.complete and not done.lacks and full not in done.capsule.on("good")
    assert second in done.capsule.on("good") and len(done.capsule.on("good")) == 2
    for host in done.capsule.on("good"):
        found = await ground.scrubber.host(str(host))
        assert (found.read, found.bad, found.missing) == (1, 0, 0)

    assert await ask(ground.address, PORT, "add") == "42"
    names = ground.around.sites.names
    for host in names:
        if host not in {full, OWNER}:
            await fill(fleet, str(host))
    again = await ground.taker.round(ground.spec)
    assert "no room for a copy" in again.lacks and not again.capsule.complete
    newest = ground.around.shelf.newest(ground.spec.name)
    assert newest is not None and newest.seq == done.capsule.seq
    assert await ask(ground.address, PORT, "add") == "43"

    for host in names:
        if host != OWNER:
            await asyncio.to_thread(fleet.shell, str(host), f"umount {BOX}")
    healed = await ground.taker.round(ground.spec)
    assert healed.capsule.complete and not healed.lacks and healed.capsule.seq > done.capsule.seq
    assert await ask(ground.address, PORT, "get") == "43"
