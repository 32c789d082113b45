"""Ours: what the daemon does with hosts from the first handshake to the decoded column."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.clients import Job, resident
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.target import plain_target
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label

#: seconds between two looks at the loop
_LOOK = 0.25


def fleet_of(job: Job) -> FleetSpec:
    """The job's hosts as a fleet without shards."""
    hosts = tuple(
        HostSpec(name=Label(name), address=address, port=port, user=job.user, cpu=4.0, memory=8 << 30)
        for name, address, port in job.hosts
    )
    return FleetSpec(name=Label("bench"), source="", hosts=hosts, shards=(), interval=1.0)


async def _observe(job: Job) -> dict[str, float]:
    fleet = fleet_of(job)
    keys, ring, tunnels = HostKeys.load(Path(job.folder) / "known_hosts"), KeyRing(), Tunnels()

    def transport(host: HostSpec) -> Transport:
        target = plain_target(host, identity=f"{job.folder}/identity", connect_timeout=15.0)
        return AsyncsshTransport(target, keys, ring=ring, tunnels=tunnels)

    world = World(fleet, transport, clock=Clock(), report=lambda _: None)
    began, cpu_began = time.perf_counter(), time.process_time()
    running = asyncio.create_task(world.run())
    wanted = int(np.ceil(0.99 * len(fleet.hosts)))
    while np.isfinite(world.panel.seen).sum() < wanted and time.perf_counter() < began + 240:
        await asyncio.sleep(0.05)
        world.decode()
    first = time.perf_counter() - began
    cpu_connecting = time.process_time() - cpu_began
    await asyncio.sleep(3.0)
    world.decode()
    gc.collect()
    gc.freeze()
    found = await _window(world, job)
    found |= {"first_99_s": first, "connect_ms": cpu_connecting / len(fleet.hosts) * 1000}
    running.cancel()
    await asyncio.wait([running], timeout=10)
    return found


async def _window(world: World, job: Job) -> dict[str, float]:
    """Decode once a second, as the daemon does, and look how late the loop is a few times between."""
    own, at, seqs = time.process_time(), time.perf_counter(), world.panel.seq.copy()
    lags = []
    while (now := time.perf_counter()) < at + job.seconds:
        pause = min(_LOOK, at + job.seconds - now)
        await asyncio.sleep(pause)
        lags.append(time.perf_counter() - now - pause)
        if len(lags) % round(1 / _LOOK) == 0:
            world.decode()
    seconds, used = time.perf_counter() - at, time.process_time() - own
    world.decode()
    alive = world.panel.seq - seqs
    samples = int(alive[alive > 0].sum())
    return {
        "us_per_sample": used / max(samples, 1) * 1e6,
        "cpu_percent": used / seconds * 100,
        "of_due_percent": samples / seconds / len(job.hosts) * 100,
        "rss_mb": resident(),
        "loop_lag_p99_ms": float(np.quantile(lags, 0.99)) * 1000,
    }


def observe(job: Job) -> dict[str, float]:
    """Run the job on uvloop; SIDESTEP_LOOP=asyncio is the standard loop."""
    if os.environ.get("SIDESTEP_LOOP") == "asyncio":
        return asyncio.run(_observe(job))
    import uvloop  # noqa: PLC0415 - only here

    return uvloop.run(_observe(job))
