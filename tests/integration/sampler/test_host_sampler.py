"""The samplers on a real host: in every language, shards, process trees, loss and endings."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from watching import KINDS, Watched

from sidestep.backends.process import ProcessBackend
from sidestep.backends.sampler import starts
from sidestep.backends.sampler.protocol import HOST_COLUMNS
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label

pytestmark = pytest.mark.openssh
every_kind = pytest.mark.parametrize("kind", KINDS)
BURN = f"exec {sys.executable} -ISc 'while True: pass'"
HOLD = f"exec {sys.executable} -ISc 'import time; kept = bytes(range(256)) * 400000; time.sleep(600)'"


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


@every_kind
async def test_a_machine_is_sampled_by_its_kernels_counters(host: Any, kind: str) -> None:
    """S1.3: cpu, memory, disk and network of the whole machine, and PSI where the kernel has it."""
    seen = await Watched().samples(await host.connected(), 4, kind=kind)
    assert seen.panel.kinds == [kind]
    assert seen.panel.restarts[0] == seen.panel.gaps[0] == 0
    assert 0 <= seen.busy() <= (os.cpu_count() or 1) * 1.5
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(memory["MemTotal"].split()[0]) * 1024
    if seen.panel.facts[0]["container"] == "none":
        assert seen.value("mem_total") == total
    assert 0 < seen.value("mem_used") < total
    assert 0 <= seen.value("mem_cached") < total
    assert seen.value("load1") >= 0
    assert abs(seen.value("wall_ms") / 1e3 - time.time()) < 60
    assert all(seen.value(name) >= 0 for name in ("disk_reads", "disk_write_bytes", "net_rx_bytes", "net_tx_packets"))
    if Path("/proc/pressure/cpu").exists():
        assert all(seen.value(f"psi_{name}_some") >= 0 for name in ("cpu", "memory", "io"))
    else:
        assert math.isnan(seen.value("psi_cpu_some"))
    facts = seen.panel.facts[0]
    assert 0 < float(facts["cpus"]) <= (os.cpu_count() or 1)
    assert 0 < int(facts["memory"]) <= total
    assert facts["psi"] == ("yes" if Path("/proc/pressure/cpu").exists() else "no")


@every_kind
async def test_shards_are_found_and_measured(host: Any, kind: str) -> None:
    """S1.16: cpu and memory of each shard's whole process tree."""
    transport, backend = await host.connected(), ProcessBackend("test")
    burning = await backend.start(transport, spec("burn", f"({BURN}) & wait"), 3, "")
    await backend.start(transport, spec("hold", HOLD), 4, "")
    await backend.start(transport, spec("still", "exec sleep 600"), 5, "")
    os.kill((still := await discovered(backend, transport, "still")), signal.SIGSTOP)
    seen = await Watched().samples(transport, 10, kind=kind)
    assert seen.shards() == ("burn", "hold", "still")
    assert [seen.shard("burn", column) for column in ("pid", "token", "running")] == [burning.pid, 3, 1]
    assert 0.05e6 < seen.shard_rate("burn", "cpu") < 1.5e6
    assert 100e6 < seen.shard("hold", "memory") < 160e6
    assert seen.shard_rate("hold", "cpu") < 0.05e6
    assert [seen.shard("still", column) for column in ("pid", "token", "running")] == [still, 5, 0]
    assert seen.shard_rate("still", "cpu") == 0


async def discovered(backend: ProcessBackend, transport: Any, name: str) -> int:
    return next(s.pid for s in await backend.discover(transport) if s.shard == name)


@every_kind
async def test_a_shard_that_dies_is_reported_as_not_running(host: Any, kind: str) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    await backend.start(transport, spec("one", "exec sleep 600"), 3, "")
    pid = await discovered(backend, transport, "one")
    seen = Watched()

    def dead() -> bool:
        if seen.running("one"):
            os.kill(pid, signal.SIGKILL)
            return False
        return seen.shards() == ("one",) and seen.panel.seq[0] > 1

    await seen.follow(transport, dead, kind=kind)
    assert [seen.shard("one", column) for column in ("pid", "token", "running")] == [0, 3, 0]
    assert math.isnan(seen.shard("one", "cpu"))


@every_kind
async def test_a_shard_joins_and_leaves_while_sampling(host: Any, kind: str) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    seen, tasks = Watched(), []
    late = spec("late", "exec sleep 600")

    def step() -> bool:
        if not tasks:
            assert seen.shards() == ()
            tasks.append(asyncio.create_task(backend.start(transport, late, 3, "")))
        elif len(tasks) == 1 and seen.running("late") and tasks[0].done():
            tasks.append(asyncio.create_task(backend.stop(transport, late, 4)))
        return len(tasks) == 2 and tasks[1].done() and not seen.running("late")

    await seen.follow(transport, step, kind=kind, interval=0.1)
    await asyncio.gather(*tasks)


async def test_all_kinds_agree(host: Any) -> None:
    transport, backend = await host.connected(), ProcessBackend("test")
    await backend.start(transport, spec("burn", BURN), 3, "")
    await backend.start(transport, spec("hold", HOLD), 4, "")
    seen = [Watched() for _ in KINDS]
    started = [float("nan")] * len(KINDS)

    def enough(row: int) -> Callable[[], bool]:
        def check() -> bool:
            panel = seen[row].panel
            if panel.seq[0] >= 2 and math.isnan(started[row]):
                started[row] = seen[row].shard("burn", "cpu") - panel.at_ms[0] * 500.0
            return all(s.panel.seq[0] >= 8 for s in seen)

        return check

    following = (
        s.follow(transport, enough(row), kind=kind, interval=0.25)
        for row, (s, kind) in enumerate(zip(seen, KINDS, strict=True))
    )
    await asyncio.gather(*following)
    first = seen[0]
    for other in seen[1:]:
        passed = (other.panel.at_ms[0] - first.panel.at_ms[0]) * 1e3
        for column, kind in HOST_COLUMNS:
            mine, theirs = first.value(column), other.value(column)
            if math.isnan(theirs):
                assert column.startswith(("mem_", "disk", "net")) is False, column
                continue
            assert not math.isnan(mine), column
            if column.startswith(("psi_", "cpu_")):
                assert abs(mine - theirs) < 3 * abs(passed) + 2e6, column
            elif column == "mem_used":
                assert theirs == pytest.approx(mine, rel=0.2, abs=256e6)
            elif column in ("mem_total", "swap_total"):
                assert theirs == mine
            elif kind == "counter":
                assert theirs == pytest.approx(mine, rel=0.2, abs=1e9 if "bytes" in column else 1e6), column
        assert other.shard("burn", "cpu") == pytest.approx(first.shard("burn", "cpu") + passed, abs=1.5e6)
        assert other.shard("hold", "memory") == pytest.approx(first.shard("hold", "memory"), rel=0.05, abs=4e6)


@every_kind
async def test_a_host_that_is_a_process_tree_counts_only_that(sshd: Callable[..., Any], kind: str) -> None:
    root = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f"({BURN}) & ({HOLD}) & sleep 600 & wait"), start_new_session=True
    )
    try:
        made = sshd("tree", env=f"SIDESTEP_HOST_TREE={root.pid}")
        seen = await Watched().samples(await made.connected(), 8, kind=kind)
        assert 0.05 < seen.busy() < 1.5
        assert 100e6 < seen.value("mem_used") < 160e6
        assert math.isnan(seen.value("disk_reads"))
        assert math.isnan(seen.value("psi_cpu_some"))
        assert seen.panel.facts[0]["tree"] == str(root.pid)
    finally:
        os.killpg(root.pid, 9)
        await root.wait()


@every_kind
async def test_the_sampler_ends_when_nobody_listens(host: Any, kind: str) -> None:
    transport = await host.connected()
    before = processes_of(host)
    await Watched().samples(transport, 2, kind=kind)
    await until(lambda: processes_of(host) <= before)


def processes_of(host: Any) -> set[int]:
    """Processes whose home is the host's: what its sshd started for somebody."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"HOME={host.home}\0".encode() in environment:
                found.add(int(entry.name))
    return found


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so"
        await asyncio.sleep(0.02)


@every_kind
async def test_a_lost_host_ends_the_stream_as_unreachable(host: Any, kind: str) -> None:
    seen = Watched()

    def cut() -> bool:
        if seen.panel.seq[0] >= 2 and host.process.poll() is None:
            host.cut()
        return False

    with pytest.raises(HostUnreachable, match="a: "):
        await seen.follow(await host.connected(), cut, kind=kind, interval=0.1)


async def test_what_does_not_start_is_followed_by_the_next_kind(
    sshd: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken python3 and no perl leave awk; where awk is broken too, the shell is left."""
    monkeypatch.setattr(starts, "PYTHONS", ())
    for name in ("python3", "perl"):
        broken(tmp_path / name)
    transport = await sshd("broken", env=f"PATH={tmp_path}:/usr/bin:/bin").connected()
    assert (await transport.run("python3")).stderr == b"broken\n"
    assert (await Watched().samples(transport, 3)).panel.kinds == ["awk"]
    broken(tmp_path / "awk")
    assert (await Watched().samples(transport, 3)).panel.kinds == ["sh"]
    with pytest.raises(HostError, match=r"no sampler starts; the last was perl.*broken"):
        await Watched().samples(transport, 3, kind="perl")


def broken(path: Path) -> None:
    path.write_text("#!/bin/sh\necho 'broken' >&2\nexit 1\n")
    path.chmod(0o755)


async def test_no_sampler_outlives_a_controller_that_is_killed(host: Any) -> None:
    """kill -9 of the controller: nothing of it is left on the host a moment later."""
    before = processes_of(host)
    script = Path(__file__).with_name("controller.py")
    argv = [str(v) for v in (host.spec.port, host.identity, host.known_hosts, len(KINDS))]
    controller = await asyncio.create_subprocess_exec(
        sys.executable, str(script), *argv, stdout=asyncio.subprocess.PIPE
    )
    assert controller.stdout is not None
    async with asyncio.timeout(60):
        assert await controller.stdout.readline() == b"sampling\n"
    assert len(processes_of(host) - before) >= len(KINDS)
    controller.kill()
    killed = time.monotonic()
    await controller.wait()
    await until(lambda: processes_of(host) <= before, 10.0)
    # One second is what is promised; a machine that runs other tests beside this one may take some more.
    assert time.monotonic() - killed < 5.0


async def test_a_fleet_name_that_is_no_folder_name_is_refused(host: Any) -> None:
    with pytest.raises(HostError, match="cannot name a folder"):
        from sidestep.backends.sampler.stream import follow

        await follow(await host.connected(), "../x", 1.0, lambda: Watched().panel.intake(0))
