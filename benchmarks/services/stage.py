"""A fleet of real hosts, HAProxy and a daemon for one scene; requests under it, and what became of them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Sample
from benchmarks.routing_daemon import PATIENCE, Controller
from benchmarks.services.hosts import FILES, PROGRAM, SOCKET, Hosts
from benchmarks.services.load import Load
from sidestep.autopilot.protocol import Approve, ListPlans, PlanView
from sidestep.backends.haproxy.config import written
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.inventory import FleetSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.placement import KEYS
from sidestep.fleet.pools import PoolSpec
from sidestep.fleet.routing import RouterSpec

PORT: Final = 8080
FIRST: Final = 7401
#: cores that hosts with shards have
CPU: Final = 0.6


class Stage(Controller):
    """One scene's fleet file, router and daemon on hosts that are up."""

    def __init__(self, folder: Path, hosts: Hosts, shards: tuple[ShardSpec, ...], **more: Any) -> None:
        super().__init__(folder)
        folder.mkdir(mode=0o700)
        self.hosts = hosts
        self.spec = _spec(hosts, folder, shards, **more)
        self.probes: set[str] = set()

    async def start(self) -> None:
        """Everything up."""
        file = self.folder / "fleet.toml"
        file.write_text(dump_fleet(self.spec))
        parse_fleet(file.read_text(), str(file))
        assert self.spec.routing is not None
        for name in self.hosts.names:
            await asyncio.to_thread(self.hosts.fleet.limit, name, cpu=CPU)
        await self.hosts.start_haproxy(written(self.spec, self.spec.routing))
        await self.start_daemon(level="advise")

    async def routed(self, apps: Iterable[str]) -> None:
        """Wait until every app answers."""
        for app in apps:
            probe = Load((self.hosts.address[self.hosts.router], PORT), (app,), clients=1, mark="probe-")
            async with asyncio.timeout(PATIENCE / 3):
                running = asyncio.create_task(probe.run())
                while not probe.account.acked:  # noqa: ASYNC110 - of another task
                    await asyncio.sleep(0.1)
            probe.stop()
            await running
            self.probes |= set(probe.account.acked)

    async def proposed(self, matches: Callable[[PlanView], bool]) -> PlanView:
        """The newest plan that the daemon proposed by itself and that is such. Raises TimeoutError."""
        async with asyncio.timeout(2 * PATIENCE):
            while (view := await self.proposal(matches)) is None:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.3)
            return view

    async def proposal(self, matches: Callable[[PlanView], bool]) -> PlanView | None:
        """The same, if there is one now."""
        for view in (await self.call(ListPlans())).plans:
            if view.status.state is PlanState.PROPOSED and matches(view):
                assert isinstance(view, PlanView)
                return view
        return None

    async def carried_out(self, view: PlanView) -> PlanView:
        """Approved, and done. Raises RuntimeError."""
        await self.call(Approve(view.digest, "the stage approves"))
        return await self.ended(view.digest)


def shard(
    name: str, app: str, host: str, port: int, keys: tuple[int, int] | None, *,
    driver: str = "hook", options: str = "", **more: Any,
) -> ShardSpec:  # fmt: skip
    """A ledger as a systemd unit: ``hook`` has it in memory, ``restart`` in files."""
    run = f"exec python3 -S -I {PROGRAM}"
    hooks = {verb: f"{run} {verb}" for verb in ("save", "load", "drop", "quiesce", "resume")}
    own = "serve --standby" if driver == "hook" else "serve --durable"
    return ShardSpec(
        name=Label(name), app=Label(app), host=Label(host), backend="systemd", driver=driver,
        start=f"{run} {own} {options}".strip(), ready=f"{run} ready", port=port, keys=keys, spare=keys is None,
        **(hooks if driver == "hook" else {}), **more,
    )  # fmt: skip


def usual(hosts: Hosts, options: str = "") -> tuple[ShardSpec, ...]:
    """Two shards of one app and a spare, which carry their state by hooks; and one which carries files."""
    half, at = KEYS // 2, hosts.names
    return (
        shard("kv-0", "kv", at[0], FIRST, (0, half), options=options),
        shard("kv-1", "kv", at[1], FIRST + 1, (half, KEYS), options=options),
        shard("kv-2", "kv", at[2], FIRST + 2, None, options=options),
        shard("log", "log", at[0], FIRST + 3, (0, KEYS), driver="restart", options=options),
    )


async def scene(
    stage: Stage, apps: tuple[str, ...], least: int, act: Callable[[Load], Awaitable[Sample]], **load: Any
) -> Sample:
    """Act in the middle of at least so many requests; then every one of them is looked for in the ledgers."""
    await stage.routed(apps)
    made = Load((stage.hosts.address[stage.hosts.router], PORT), apps, mark="r-", **load)
    began, running = time.monotonic(), asyncio.create_task(made.run())
    await made.reached(least // 4)
    more = await act(made)
    await made.reached(least)
    made.stop()
    await running
    seconds = time.monotonic() - began
    ports = [one.port for one in stage.spec.shards]
    entries = [name for name in await stage.hosts.ledger(ports) if name not in stage.probes]
    lost, twice = made.account.audit(entries)
    waits = sorted(made.account.waits)
    for name, why in list(made.account.failed.items())[:5]:
        print(f"failed: {name}: {why}", flush=True)
    return {
        "requests": made.account.requests, "failed": len(made.account.failed), "lost": lost, "duplicated": twice,
        "a_second": made.account.requests / seconds, "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[len(waits) * 99 // 100] * 1e3, "longest_ms": waits[-1] * 1e3,
        "load_of_machine": os.getloadavg()[0], **more,
    }  # fmt: skip


@asynccontextmanager
async def staged(folder: Path, hosts: Hosts, shards: tuple[ShardSpec, ...], **more: Any) -> AsyncIterator[Stage]:
    """A stage that is up; ended whatever happens, with nothing left on hosts."""
    stage = Stage(folder, hosts, shards, **more)
    try:
        await hosts.clean()
        await stage.start()
        yield stage
    except BaseException:
        log = folder / "daemon.log"
        print((log.read_text() if log.exists() else "")[-6000:], file=sys.stderr, flush=True)
        raise
    finally:
        await stage.stop_daemon()
        await hosts.clean()


def _spec(
    hosts: Hosts, folder: Path, shards: tuple[ShardSpec, ...], *, policy: Policy | None = None,
    oracle: OracleSpec | None = None, pools: tuple[PoolSpec, ...] = (),
) -> FleetSpec:  # fmt: skip
    return FleetSpec(
        name=scrub("served"),
        source=str(folder / "fleet.toml"),
        ssh_config="none",
        hosts=hosts.specs(CPU),
        shards=shards,
        pools=pools,
        policy=policy or Policy(observe=0.5, step_deadline=60.0),
        oracle=oracle or OracleSpec(enabled=False),
        interval=1.0,
        known_hosts=str(hosts.fleet.places.known_hosts),
        identity=str(hosts.fleet.places.identity),
        routing=RouterSpec(
            engine="haproxy", host=Label(hosts.router), socket=SOCKET, folder=FILES, bind=f"0.0.0.0:{PORT}",
            endpoints=8, wait=PATIENCE,
        ),
    )  # fmt: skip
