"""The process backend on hosts of their own: whole moves, and what a power loss leaves of a shard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import moving
import pytest
from moving import STEPS, Pair, shard_spec
from real_hosts import Control, RealHost

from sidestep.backends.process import ProcessBackend
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState, StepName

Connect = Callable[..., Awaitable[Any]]
TALLY = "exec python3 -I -S /srv/tally.py"
BASE = Path(".local/state/sidestep/test/tally.0")
PORT = 7400
#: from a host of the one cgroup layout to one of the other, and back
ways = pytest.mark.parametrize(("source", "destination"), [("h1", "h3"), ("h3", "h1")])


@pytest.fixture
async def pair(
    source: str, destination: str, hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> AsyncIterator[Pair]:
    """Two hosts that have the program of the shard, and no shard when the test ends."""

    async def program() -> AsyncIterator[bytes]:
        yield Path(moving.__file__).with_name("tally.py").read_bytes()

    ends = [await connect(hosts[name], keepalive=1.0) for name in (source, destination)]
    for transport in ends:
        await transport.send("/srv/tally.py", program())
    addresses = (hosts[source].address, hosts[destination].address)
    yield Pair(ProcessBackend("test"), *ends, BASE, BASE, PORT, {}, *addresses)
    await asyncio.to_thread(fleet.restore)
    for name in (source, destination):
        transport = await connect(hosts[name])
        for seen in await ProcessBackend("test").discover(transport):
            spec = ShardSpec(name=seen.shard, app=Label("x"), host=Label("a"), start="true")
            await ProcessBackend("test").stop(transport, spec, 1 << 40)
        await transport.run("rm -rf .local/state/sidestep /srv/tally.py")


@ways
@pytest.mark.parametrize("driver", ["hook", "restart"])
async def test_a_shard_moves_between_hosts_with_its_state(pair: Pair, driver: str) -> None:
    """It serves at the destination's address with its state, and nowhere else."""
    await pair.start(shard_spec(driver, PORT, TALLY))
    assert await pair.at_source("add 41") == "41"
    move = pair.move(shard_spec(driver, PORT, TALLY), observe=0.5)
    for name in STEPS:
        await pair.step(name, move)
    assert await pair.at_destination("add") == "42"
    shard, token, pid = (await pair.at_destination("who")).split()
    assert (shard, token) == ("tally.0", "8")
    (seen,) = await pair.backend.discover(pair.destination)
    assert (seen.state, seen.token, str(seen.pid)) == (ShardState.RUNNING, 8, pid)
    assert await pair.backend.discover(pair.source) == ()
    with pytest.raises(OSError):
        await pair.at_source("get")


@pytest.mark.parametrize(("source", "destination"), [("h1", "h3")])
async def test_a_destination_that_is_cut_off_leaves_the_source_serving(pair: Pair, fleet: Control) -> None:
    spec = shard_spec("hook", PORT, TALLY)
    await pair.start(spec)
    assert await pair.at_source("add 3") == "3"
    move = pair.move(spec)
    for name in STEPS[: STEPS.index(StepName.TRANSFER)]:
        await pair.step(name, move)
    await asyncio.to_thread(fleet.cut, "h3")
    with pytest.raises(HostUnreachable):
        await pair.step(StepName.TRANSFER, move)
    await pair.abort(StepName.FREEZE, move)
    assert await pair.at_source("add") == "4"
    with pytest.raises(HostUnreachable):  # what is there waits for it
        await pair.abort(StepName.TRANSFER, move)


@pytest.mark.parametrize(("source", "destination"), [("h3", "h1")])
async def test_after_a_power_loss_the_shard_is_found_dead_with_its_token(
    pair: Pair, hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    spec = shard_spec("restart", PORT, TALLY)
    await pair.start(spec)
    assert await pair.at_source("add 9") == "9"
    (before,) = await pair.backend.discover(pair.source)
    await asyncio.to_thread(fleet.kill, "h3")
    with pytest.raises(HostError):
        await pair.backend.discover(pair.source)
    await asyncio.to_thread(fleet.start, "h3")
    again = await connect(hosts["h3"])
    (after,) = await pair.backend.discover(again)
    assert (before.state, after.state, after.token) == (ShardState.RUNNING, ShardState.FAILED, 7)
    with pytest.raises(OSError):
        await pair.at_source("get")
    # Its files were on disk, so a newer owner of the same shard goes on from them.
    await pair.backend.start(again, spec, 8, hosts["h3"].address)
    assert await pair.at_source("get") == "9"
