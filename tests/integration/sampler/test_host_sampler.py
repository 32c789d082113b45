"""The sampler on a real host: python and awk, shards, process trees, loss and endings."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from sidestep.backends.process import ProcessBackend
from sidestep.backends.sampler import HostSample, sample
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label

pytestmark = pytest.mark.openssh
both_samplers = pytest.mark.parametrize("python", [True, False], ids=["python", "awk"])
BURN = f"exec {sys.executable} -ISc 'while True: pass'"
HOLD = f"exec {sys.executable} -ISc 'import time; kept = bytes(range(256)) * 400000; time.sleep(600)'"


async def take(transport: Any, count: int, *, python: bool, interval: float = 0.2) -> list[HostSample]:
    found = []
    async with aclosing(sample(transport, "test", interval, python=python)) as samples, asyncio.timeout(60):
        async for one in samples:
            found.append(one)
            if len(found) == count:
                break
    return found


@pytest.fixture
async def host(sshd: Callable[..., Any]) -> AsyncIterator[Any]:
    made = sshd("a")
    yield made
    if made.process.poll() is not None:
        return
    transport, backend = await made.connected(), ProcessBackend("test")
    for seen in await backend.discover(transport):
        await backend.stop(transport, spec(seen.shard, "true"), 1 << 40)


def spec(name: str, start: str) -> ShardSpec:
    return ShardSpec(name=Label(name), app=Label("app"), host=Label("a"), start=start)


@both_samplers
async def test_a_machine_is_sampled_by_its_kernels_counters(host: Any, python: bool) -> None:
    """S1.3: cpu, memory, disk and network of the whole machine, and PSI where the kernel has it."""
    found = await take(await host.connected(), 4, python=python)
    assert [s.seq for s in found] == [1, 2, 3, 4]
    assert all(math.isnan(found[0].use[d]) for d in (0, 2, 3, 4, 5))
    last = found[-1]
    assert 0 <= last.use[0] <= (os.cpu_count() or 1) * 1.5
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < last.use[1] < int(memory["MemTotal"].split()[0]) * 1024
    assert all(rate >= 0 for rate in last.use[2:4])
    if Path("/proc/pressure/cpu").exists():
        assert all(0 <= p <= 100 for p in last.pressure)
    else:
        assert all(math.isnan(p) for p in last.pressure)
    assert last.at > found[0].at


@both_samplers
async def test_shards_are_found_and_measured(host: Any, python: bool) -> None:
    """S1.16: cpu and memory of each shard's whole process tree."""
    transport, backend = await host.connected(), ProcessBackend("test")
    burning = await backend.start(transport, spec("burn", f"({BURN}) & wait"), 3, "")
    await backend.start(transport, spec("hold", HOLD), 4, "")
    await backend.start(transport, spec("still", "exec sleep 600"), 5, "")
    os.kill((still := await discovered(backend, transport, "still")), 19)
    found = (await take(transport, 8, python=python))[-1]
    burn, hold, stopped = found.shards
    assert [s.shard for s in found.shards] == ["burn", "hold", "still"]
    assert (burn.pid, burn.token, burn.running) == (burning.pid, 3, True)
    assert 0.05 < burn.cpu < 1.5
    assert 100e6 < hold.memory < 160e6
    assert hold.cpu < 0.05
    assert (stopped.pid, stopped.token, stopped.running, stopped.cpu) == (still, 5, False, 0.0)


async def discovered(backend: ProcessBackend, transport: Any, name: str) -> int:
    return next(s.pid for s in await backend.discover(transport) if s.shard == name)


@both_samplers
async def test_a_dead_shard_is_reported_as_not_running(host: Any, python: bool) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    await backend.start(transport, spec("one", "exec sleep 600"), 3, "")
    os.kill(await discovered(backend, transport, "one"), 9)
    (one,) = (await take(transport, 2, python=python))[-1].shards
    assert (one.pid, one.token, one.running) == (0, 3, False)
    assert math.isnan(one.cpu)


@both_samplers
async def test_a_shard_that_appears_while_sampling_joins(host: Any, python: bool) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    async with aclosing(sample(transport, "test", 0.1, python=python)) as samples, asyncio.timeout(60):
        assert (await anext(samples)).shards == ()
        starting = asyncio.create_task(backend.start(transport, spec("late", "exec sleep 600"), 3, ""))
        async for one in samples:
            if one.shards and one.shards[0].running:
                break
        await starting
    assert [s.shard for s in one.shards] == ["late"]


async def test_python_and_awk_agree(host: Any) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    await backend.start(transport, spec("burn", BURN), 3, "")
    await backend.start(transport, spec("hold", HOLD), 4, "")
    mine, theirs = await asyncio.gather(
        take(transport, 12, python=True, interval=0.25), take(transport, 12, python=False, interval=0.25)
    )

    def middle(samples: list[HostSample], value: Callable[[HostSample], float]) -> float:
        return statistics.fmean(value(s) for s in samples[1:])

    for value, relative, absolute in (
        (lambda s: s.use[0], 0.25, 0.3),
        (lambda s: s.use[1], 0.1, 64e6),
        (lambda s: s.shards[0].cpu, 0.25, 0.15),
        (lambda s: s.shards[1].memory, 0.05, 2e6),
    ):
        assert middle(mine, value) == pytest.approx(middle(theirs, value), rel=relative, abs=absolute)


@both_samplers
async def test_a_host_that_is_a_process_tree_counts_only_that(sshd: Callable[..., Any], python: bool) -> None:
    root = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f"({BURN}) & ({HOLD}) & sleep 600 & wait"), start_new_session=True
    )
    try:
        made = sshd("tree", env=f"SIDESTEP_HOST_TREE={root.pid}")
        found = (await take(await made.connected(), 8, python=python))[-1]
        assert 0.05 < found.use[0] < 1.5
        assert 100e6 < found.use[1] < 160e6
        assert all(math.isnan(v) for v in (*found.use[2:], *found.pressure))
    finally:
        os.killpg(root.pid, 9)
        await root.wait()


@both_samplers
async def test_the_sampler_ends_when_nobody_listens(host: Any, python: bool) -> None:
    transport = await host.connected()
    before = processes_with("test 0.200", "SIDESTEP_ROOT")
    await take(transport, 2, python=python)
    for _ in range(200):
        if processes_with("test 0.200", "SIDESTEP_ROOT") <= before:
            return
        await asyncio.sleep(0.025)
    pytest.fail("the sampler still runs")


def processes_with(*words: str) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if any(w.encode() in line for w in words):
                found.add(int(entry.name))
    return found


@both_samplers
async def test_a_lost_host_ends_the_stream_as_unreachable(host: Any, python: bool) -> None:
    transport = await host.connected()
    with pytest.raises(HostUnreachable, match="a: "):
        async with asyncio.timeout(60):
            async for one in sample(transport, "test", 0.1, python=python):
                if one.seq == 2:
                    host.cut()


async def test_a_host_whose_python_is_broken_is_sampled_with_awk(sshd: Callable[..., Any], tmp_path: Path) -> None:
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\necho 'broken' >&2\nexit 1\n")
    fake.chmod(0o755)
    transport = await sshd("broken", env=f"PATH={tmp_path}:/usr/bin:/bin").connected()
    assert (await transport.run("python3")).stderr == b"broken\n"
    assert [s.seq for s in await take(transport, 3, python=True)] == [1, 2, 3]


async def test_a_fleet_name_that_is_no_folder_name_is_refused(host: Any) -> None:
    with pytest.raises(HostError, match="cannot name a folder"):
        await anext(sample(await host.connected(), "../x", 1.0))
