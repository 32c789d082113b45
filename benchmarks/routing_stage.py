"""A fleet behind HAProxy under constant load: embedded hosts, a daemon, and clients that account for every request."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Final

from benchmarks.routing_daemon import PATIENCE, Controller, ask
from sidestep.backends.embedded import http_counter
from sidestep.backends.embedded.hosts import EmbeddedFleet
from sidestep.backends.haproxy.config import CONFIG, written
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.inventory import FleetSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import KEYS
from sidestep.fleet.routing import RouterSpec

HAPROXY: Final = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin") or ""
FIRST_PORT: Final = 7401


@dataclass
class Account:
    """Every request of every client: its key, and what became of it."""

    acked: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """All that were sent."""
        return self.acked.total() + len(self.failed)


@dataclass
class Load:
    """Clients with connections that they keep, each a request at a time, together ``rate`` a second at most."""

    port: int
    clients: int = 12
    rate: float = 700.0
    account: Account = field(default_factory=Account)
    _stop: bool = False

    async def run(self) -> None:
        """Until ``stop``; then every client ends after its answer."""
        self._stop = False
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop = True

    async def _client(self, number: int) -> None:
        loop, pause = asyncio.get_running_loop(), self.clients / self.rate
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        turn, due = 0, loop.time() + pause * number / self.clients
        while not self._stop:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due, turn = max(due + pause, loop.time() - 0.5), turn + 1
            key = f"k{number}-{turn % 97}"
            began = loop.time()
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", self.port)
                status = await asyncio.wait_for(ask(*streams, f"/kv/{key}/inc"), 2 * PATIENCE)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                status = type(error).__name__
            if status == "200":
                self.account.acked[key] += 1
            else:
                self.account.failed.append(f"{key}: {status}")
                if streams is not None:
                    streams[1].close()
                streams = None
            self.account.waits.append(loop.time() - began)
        if streams is not None:
            streams[1].close()


class Stage(Controller):
    """Hosts, HAProxy and a daemon; all of them can be killed and started again."""

    def __init__(self, folder: Path, hosts: int) -> None:
        super().__init__(folder)
        self.fleet = EmbeddedFleet(folder / "fleet", hosts=hosts, cpu=2.0)
        self.spec: FleetSpec
        self.port = 0
        self.haproxy: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Everything up, and a table in HAProxy."""
        await self.fleet.start()
        self.port = _free_port()
        self.spec = _spec(self.fleet, self.folder, self.port)
        file = self.folder / "fleet.toml"
        file.write_text(dump_fleet(self.spec))
        parse_fleet(file.read_text(), str(file))
        assert self.spec.routing is not None
        os.mkdir(self.spec.routing.folder)  # noqa: PTH102 - once, before anything runs
        for name, data in written(self.spec, self.spec.routing).items():
            (Path(self.spec.routing.folder) / name).write_bytes(data)
        await self.start_haproxy()
        await self.start_daemon()

    async def start_haproxy(self) -> None:
        """A master and a worker."""
        assert self.spec.routing is not None
        folder = self.spec.routing.folder
        with (self.folder / "haproxy.log").open("ab") as log:
            self.haproxy = await asyncio.create_subprocess_exec(
                HAPROXY, "-W", "-q", "-f", f"{folder}/{CONFIG}", "-S", self.spec.routing.socket, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        await until(lambda: _listens(self.port))

    async def kill_haproxy(self) -> None:
        """Master and workers at once, without a word."""
        assert self.haproxy is not None
        os.killpg(self.haproxy.pid, signal.SIGKILL)
        await self.haproxy.wait()

    async def reload_haproxy(self) -> None:
        """A new worker; the old one ends when its clients are gone."""
        assert self.haproxy is not None
        self.haproxy.send_signal(signal.SIGUSR2)

    async def stop(self) -> None:
        """End everything."""
        await self.stop_daemon()
        if self.haproxy is not None and self.haproxy.returncode is None:
            await self.kill_haproxy()
        await self.fleet.stop()

    async def counts(self, keys: list[str]) -> dict[str, int]:
        """What the shards counted, asked through HAProxy."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = {}
        for key in keys:
            writer.write(f"GET /kv/{key} HTTP/1.1\r\nHost: kv\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.split("content-length:")[1].split()[0])
            found[key] = int((await reader.readexactly(size)).split()[2])
        writer.close()
        return found


async def audit(stage: Stage, account: Account) -> tuple[int, int]:
    """Requests that were acknowledged and are not counted, and those counted more often than sent and answered."""
    found = await stage.counts(sorted(account.acked))
    lost = sum(max(0, n - found[key]) for key, n in account.acked.items())
    return lost, sum(max(0, found[key] - n) for key, n in account.acked.items())


@asynccontextmanager
async def staged(folder: Path, hosts: int = 4) -> AsyncIterator[Stage]:
    """A stage that is up; ended whatever happens."""
    stage = Stage(folder, hosts)
    try:
        await stage.start()
        yield stage
    finally:
        await stage.stop()


async def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.02)


def _spec(fleet: EmbeddedFleet, folder: Path, port: int) -> FleetSpec:
    half = KEYS // 2
    names = [str(host.name) for host in fleet.hosts]
    return FleetSpec(
        name=scrub("routed"),
        source=str(folder / "fleet.toml"),
        ssh_config="none",
        hosts=fleet.hosts,
        shards=(
            _shard("kv-0", names[0], FIRST_PORT, (0, half)),
            _shard("kv-1", names[1], FIRST_PORT + 1, (half, KEYS)),
            _shard("kv-2", names[2 % len(names)], FIRST_PORT + 2, None),
        ),
        policy=Policy(observe=0.2, step_deadline=60.0),
        oracle=OracleSpec(enabled=False),
        known_hosts=str(fleet.known_hosts),
        identity=str(fleet.identity),
        routing=RouterSpec(
            engine="haproxy", socket=str(folder / "master.sock"), folder=str(folder / "haproxy"),
            bind=f"127.0.0.1:{port}", endpoints=2, wait=PATIENCE,
        ),
        banner=scrub("EMBEDDED"),
    )  # fmt: skip


def _shard(name: str, host: str, port: int, keys: tuple[int, int] | None) -> ShardSpec:
    program = f"python3 -S -I {quote(str(Path(http_counter.__file__).resolve()))}"
    return ShardSpec(
        name=Label(name), app=Label("kv"), host=Label(host), driver="hook",
        start=f"exec {program} serve --standby",
        save=f"exec {program} save", load=f"exec {program} load", drop=f"exec {program} drop",
        quiesce=f"exec {program} quiesce", resume=f"exec {program} resume", ready=f"exec {program} ready",
        port=port, keys=keys, spare=keys is None,
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
