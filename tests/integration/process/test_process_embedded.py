"""The same backend and sampler on the embedded fleet's hosts, which are process trees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from moving import BEFORE_COMMIT, STEPS, Pair, shard_spec

from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.process import ProcessBackend
from sidestep.backends.sampler import follow
from sidestep.backends.sampler import panel_views as views
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import SHARD
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import SamplerKind
from sidestep.fleet.machines import ShardState, StepName
from sidestep.fleet.resources import CPU, MEMORY, PLANNED

pytestmark = pytest.mark.fleet


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[EmbeddedFleet]:
    made = EmbeddedFleet(tmp_path, names=("a", "b"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def embedded_pair(fleet: EmbeddedFleet) -> AsyncIterator[Pair]:
    keys = HostKeys.load(fleet.known_hosts)
    targets = [plain_target(h, identity=str(fleet.identity), connect_timeout=10) for h in fleet.hosts]
    a, b = (AsyncsshTransport(target, keys) for target in targets)
    await asyncio.gather(a.connect(), b.connect())
    base = ".local/state/sidestep/test/tally.0"
    yield Pair(ProcessBackend("test"), a, b, fleet.folder / "hosts/a" / base, fleet.folder / "hosts/b" / base)
    await asyncio.gather(a.aclose(), b.aclose())


@pytest.mark.parametrize("driver", ["hook", "restart"])
async def test_a_shard_moves_between_embedded_hosts(embedded_pair: Pair, driver: str) -> None:
    """S3.6: the embedded default runs the same backend as any Linux host."""
    spec = shard_spec(driver, embedded_pair.port)
    await embedded_pair.start(spec)
    assert await embedded_pair.at_source("add 41") == "41"
    move = embedded_pair.move(spec)
    for name in STEPS:
        await embedded_pair.step(name, move)
    assert await embedded_pair.at_destination("add") == "42"
    (seen,) = await embedded_pair.backend.discover(embedded_pair.destination)
    assert (seen.state, seen.token) == (ShardState.RUNNING, 8)


async def test_an_abort_on_embedded_hosts_leaves_the_source_serving(embedded_pair: Pair) -> None:
    spec = shard_spec("hook", embedded_pair.port)
    await embedded_pair.start(spec)
    move = embedded_pair.move(spec)
    for name in BEFORE_COMMIT:
        await embedded_pair.step(name, move)
    await embedded_pair.abort(StepName.VERIFY, move)
    assert await embedded_pair.at_source("add") == "1"
    assert await embedded_pair.backend.discover(embedded_pair.destination) == ()


async def test_a_host_that_dies_while_it_restores_leaves_the_source_serving(
    embedded_pair: Pair, fleet: EmbeddedFleet
) -> None:
    """S3.9: a failure before the commit point keeps the old owner."""
    spec = shard_spec("hook", embedded_pair.port)
    await embedded_pair.start(spec)
    move = embedded_pair.move(spec)
    for name in BEFORE_COMMIT[:-2]:
        await embedded_pair.step(name, move)
    restoring = asyncio.create_task(embedded_pair.step(StepName.RESTORE, move))
    await asyncio.sleep(0)
    await fleet.kill("b")
    with pytest.raises(HostError, match="b: "):
        await restoring
    with pytest.raises(HostError, match="b: "):
        await embedded_pair.abort(StepName.RESTORE, move)
    assert await embedded_pair.at_source("add") == "1"


async def test_a_destination_that_is_silent_keeps_nobody_from_serving(
    embedded_pair: Pair, fleet: EmbeddedFleet
) -> None:
    """S3.9: the source is thawed before anything is asked of the destination, which is given up in time."""
    spec = shard_spec("hook", embedded_pair.port)
    await embedded_pair.start(spec)
    move = embedded_pair.move(spec, deadline=1.0)
    for name in BEFORE_COMMIT:
        await embedded_pair.step(name, move)
    await fleet.cut("b")
    try:
        async with asyncio.timeout(60):
            await embedded_pair.abort(StepName.FREEZE, move)
            assert await embedded_pair.at_source("add") == "1"
            with pytest.raises(HostUnreachable, match=r"b: verify: was not cleaned up within 0.5 s; command"):
                await embedded_pair.abort(StepName.VERIFY, move)
    finally:
        await fleet.heal("b")
    # the same move; a busy machine needs more than half a second for it
    await embedded_pair.abort(StepName.VERIFY, embedded_pair.move(spec, deadline=60.0))
    assert await embedded_pair.backend.discover(embedded_pair.destination) == ()


@pytest.mark.parametrize("kind", ["python", "perl", "awk"])
async def test_an_embedded_host_is_sampled_as_its_process_tree(embedded_pair: Pair, kind: SamplerKind) -> None:
    """S1.3: the shard and its host are told apart from everything else on the machine."""
    spec = shard_spec("hook", embedded_pair.port)
    await embedded_pair.start(spec)
    panel = Panel(["a"])
    following = asyncio.create_task(follow(embedded_pair.source, "test", 0.2, lambda: panel.intake(0), kind=kind))
    try:
        async with asyncio.timeout(30):
            while panel.seq[0] < 4 or "tally.0" not in panel.shard_names:
                assert not following.done(), following
                await asyncio.sleep(0.05)
                assert panel.decode(time.time()) == ()
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert panel.shard_names == ("tally.0",)
    (shard,), ((cores, memory),) = panel.shard_values, views.shard_use(panel)
    used = views.use(panel)[0]
    assert (shard[SHARD["token"]], shard[SHARD["running"]]) == (7, 1)
    assert 0 < memory <= used[MEMORY] < 512 << 20
    assert 0 <= cores <= used[CPU] + 0.1
    assert np.isnan(used[PLANNED:]).all()
    assert np.isnan(views.pressure(panel)).all()
