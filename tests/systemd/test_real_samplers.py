"""Samplers on real hosts: every cgroup layout, every interpreter, and numbers that are the host's own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from real_hosts import Control, RealHost

from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST
from sidestep.backends.sampler.stream import follow
from sidestep.fleet.errors import HostUnreachable

Connect = Callable[..., Awaitable[Any]]
Watch = Callable[..., Awaitable[Panel]]
DEADLINE = 30.0


@pytest.fixture
async def watch(connect: Connect) -> AsyncIterator[Watch]:
    """``await watch(host, ...)``: a panel that has heard of every host at least twice and goes on hearing."""
    tasks: list[asyncio.Task[None]] = []

    async def watched(*some: RealHost) -> Panel:
        panel = Panel([host.name for host in some])
        for row, host in enumerate(some):
            transport = await connect(host, keepalive=1.0)
            tasks.append(asyncio.create_task(follow(transport, "test", 0.25, lambda row=row: panel.intake(row))))
        await until(panel, lambda: bool((panel.seq >= 2).all()), tasks)
        return panel

    yield watched
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(panel: Panel, true: Callable[[], bool], tasks: list[asyncio.Task[None]] | None = None) -> None:
    """Decode until ``true``; bad records and ended samplers are failures."""
    deadline = time.monotonic() + DEADLINE
    while True:
        assert panel.decode(time.time()) == ()
        if true():
            return
        for task in tasks or ():
            if task.done():
                task.result()
        assert time.monotonic() < deadline, f"{panel.seq} {panel.kinds} {panel.values} {panel.rates}"
        await asyncio.sleep(0.05)


async def test_the_best_interpreter_samples_and_says_where_it_is(host: RealHost, watch: Watch) -> None:
    panel = await watch(host)
    assert panel.kinds == [host.interpreter]
    assert panel.gaps[0] == 0
    (facts,) = panel.facts
    assert facts["cgroup"] in ({"v2"} if host.layout == "unified" else {"hybrid"})
    assert facts["os"] == "debian"
    # A host that is younger than its machine still tells the time, in every language.
    assert abs(panel.skew[0]) < 2.0


async def test_a_sampler_reports_the_hosts_own_memory(
    hosts: dict[str, RealHost], watch: Watch, needs_own_numbers: None
) -> None:
    some = [host for host in hosts.values() if host.memory]
    assert {host.layout for host in some} == {"hybrid", "unified"}
    panel = await watch(*some)
    assert panel.values[:, HOST["mem_total"]].tolist() == [host.memory for host in some]
    assert (panel.values[:, HOST["mem_used"]] < [host.memory for host in some]).all()


async def test_work_on_one_host_shows_there_and_on_no_other(
    layout_host: RealHost, hosts: dict[str, RealHost], watch: Watch, fleet: Control, needs_own_numbers: None
) -> None:
    idle = next(h for h in hosts.values() if h.layout != layout_host.layout and h.interpreter == "python")
    panel = await watch(layout_host, idle)
    with burning(fleet, layout_host.name):
        user = HOST["cpu_user"]
        await until(panel, lambda: bool(panel.rates[0, user] > 300_000))
        assert panel.rates[1, user] < panel.rates[0, user] / 2


async def test_a_squeeze_shows_as_pressure_of_that_host(layout_host: RealHost, watch: Watch, fleet: Control) -> None:
    panel = await watch(layout_host)
    fleet.limit(layout_host.name, cpu=0.1)
    with burning(fleet, layout_host.name):
        # Microseconds of standing still a second: most of the time, whatever the machine does.
        await until(panel, lambda: bool(panel.rates[0, HOST["psi_cpu_some"]] > 500_000))


async def test_a_host_that_comes_back_from_a_power_loss_is_sampled_as_a_new_boot(
    hosts: dict[str, RealHost], connect: Connect, fleet: Control
) -> None:
    name = "h4"
    panel = Panel([name])

    async def sampled() -> asyncio.Task[None]:
        transport = await connect(hosts[name], keepalive=1.0)
        before = panel.seen[0]
        task = asyncio.create_task(follow(transport, "test", 0.25, lambda: panel.intake(0)))
        await until(panel, lambda: bool(panel.seen[0] > before and panel.seq[0] >= 2), [task])
        return task

    running = await sampled()
    assert panel.restarts[0] == 0
    await asyncio.to_thread(fleet.kill, name)
    with pytest.raises(HostUnreachable):
        await asyncio.wait_for(running, DEADLINE)
    await asyncio.to_thread(fleet.start, name)
    again = await sampled()
    assert panel.restarts[0] == 1
    # Counters of the new boot began at nothing, and no rate was made of the difference.
    assert not (panel.rates[0] < 0).any()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


@contextlib.contextmanager
def burning(fleet: Control, host: str) -> Any:
    """Two tasks that want a core each, ended with the block."""
    script = "for i in 1 2; do while :; do :; done & done; wait"
    pid = fleet.shell(host, f"setsid sh -c '{script}' >/dev/null 2>&1 & echo $!").strip()
    try:
        yield
    finally:
        fleet.exec(host, "kill", "-KILL", "--", f"-{pid}")
