"""What is done to shards while they serve: moved before it is too late, limited in place, drained, split and merged."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from benchmarks.harness import Sample
from benchmarks.routing_daemon import PATIENCE
from benchmarks.services.hosts import Hosts
from benchmarks.services.load import Load
from benchmarks.services.stage import CPU, scene, staged, usual
from sidestep.autopilot.protocol_control import UndoPlan
from sidestep.autopilot.protocol_hosts import DrainHosts, GetHostOrders
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.fleet.inventory import OracleSpec, Policy

APPS: Final = ("kv", "log")
FORESIGHTED: Final = Policy(horizon=60.0, min_duration=5.0, observe=0.5, step_deadline=60.0, threshold_psi_cpu=0.0)
#: a season of two minutes, learned a second at a time
ORACLE: Final = OracleSpec(model="trend", season=120.0, step=1.0, min_steps=15)
#: cores that a shard may use before it is limited further
SPIN: Final = 0.5


async def drain(hosts: Hosts, folder: Path, least: int) -> Sample:
    """A host that serves two apps is emptied."""
    async with staged(folder, hosts, usual(hosts), policy=Policy(observe=0.5, step_deadline=60.0)) as stage:

        async def act(_: Load) -> Sample:
            began, moves = time.monotonic(), 0
            await stage.call(DrainHosts((hosts.names[0],), "benchmark"))
            async with asyncio.timeout(4 * PATIENCE):
                while True:
                    (order,) = (await stage.call(GetHostOrders())).rows
                    if order.state == "DRAINED":
                        return {"moves": moves, "seconds": time.monotonic() - began}
                    # the last plan may have ended a moment before the host is called drained: there is no further one
                    view = await stage.proposal(lambda view: any(a.source == hosts.names[0] for a in view.plan.actions))
                    if view is not None:
                        moves += len((await stage.carried_out(view)).plan.actions)
                    await asyncio.sleep(0.1)

        return await scene(stage, APPS, least, act)


async def reshard(hosts: Hosts, folder: Path, least: int, kind: str) -> Sample:
    """Half of a shard's keys go to a spare on another host; ``merge`` splits before, without load, and takes back."""
    async with staged(folder, hosts, usual(hosts)) as stage:

        async def act(_: Load) -> Sample:
            began = time.monotonic()
            await stage.plan(lambda: stage.call(ProposeReshard(kind, "kv-0", reason="benchmark")))
            return {"seconds": time.monotonic() - began}

        if kind == "merge":
            await stage.plan(lambda: stage.call(ProposeReshard("split", "kv-0", reason="benchmark")))
        return await scene(stage, ("kv",), least, act)


async def split(hosts: Hosts, folder: Path, least: int) -> Sample:
    """Half of the keys go."""
    return await reshard(hosts, folder, least, "split")


async def merge(hosts: Hosts, folder: Path, least: int) -> Sample:
    """And come back."""
    return await reshard(hosts, folder, least, "merge")


async def migrate(hosts: Hosts, folder: Path, least: int) -> Sample:
    """Work that is no shard ramps up on a host: the daemon foresees contention, and what it proposes is approved."""
    async with staged(folder, hosts, usual(hosts, "--cost 0.0004"), policy=FORESIGHTED, oracle=ORACLE) as stage:

        async def act(_: Load) -> Sample:
            began = time.monotonic()
            await hosts.noise(hosts.names[0], 90.0, 0.75 * CPU)
            view = await stage.proposed(lambda view: any(a.source == hosts.names[0] for a in view.plan.actions))
            lead = min(a.evidence.lead for a in view.plan.actions if a.evidence is not None)
            proposed = time.monotonic()
            await stage.carried_out(view)
            took = time.monotonic() - proposed
            return {
                "moves": len(view.plan.actions), "proposed_after_s": proposed - began, "foreseen_ahead_s": lead,
                "seconds": took, "done_ahead_s": lead - took,
            }  # fmt: skip

        try:
            return await scene(stage, APPS, least, act)
        finally:
            await hosts.quiet(hosts.names[0])


async def resize(hosts: Hosts, folder: Path, least: int) -> Sample:
    """A shard that matters less takes all that it may: it is limited where it is, and given back what it had."""
    size = {"limit_cpu": SPIN, "limit_memory": 256 << 20, "guarantee_cpu": 0.1, "priority": 5}
    kv, *others = usual(hosts)
    kv = replace(kv, start=f"{kv.start} --spin", **size)  # type: ignore[arg-type]
    policy = replace(FORESIGHTED, kinds=("resize",), quantum_cpu=0.1, quantum_memory=64 << 20)
    others = [replace(other, priority=1) for other in others]
    async with staged(folder, hosts, (kv, *others), policy=policy, oracle=ORACLE) as stage:

        async def act(_: Load) -> Sample:
            began = time.monotonic()
            view = await stage.proposed(lambda view: all(a.kind == "resize" for a in view.plan.actions))
            proposed = time.monotonic()
            await stage.carried_out(view)
            took, lower = time.monotonic() - proposed, await quota(hosts)
            await stage.carried_out(await stage.call(UndoPlan(view.digest, "benchmark")))
            return {
                "proposed_after_s": proposed - began, "seconds": took, "cores_before": SPIN, "cores_limited": lower,
                "cores_undone": await quota(hosts),
            }  # fmt: skip

        return await scene(stage, APPS, least, act)


async def quota(hosts: Hosts) -> float:
    """Cores that the kernel gives the first shard."""
    find = (
        "find /sys/fs/cgroup/cpu*/ -path '*kv-0*' -name cpu.cfs_quota_us -exec cat {} + 2>/dev/null | sort -n | tail -1"
    )
    return int(await hosts.run(hosts.names[0], find)) / 1e5
