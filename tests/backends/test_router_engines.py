"""One contract for every router engine, each with real shards behind it; and HAProxy killed, reloaded and changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from counters import CounterProcess, free_port
from shell import Shell

from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.autopilot.pool.routes import EngineRoutes
from sidestep.backends.embedded import http_counter
from sidestep.backends.haproxy import HaproxyRouter
from sidestep.backends.haproxy.config import CONFIG, written
from sidestep.backends.haproxy.desired import ROUTES
from sidestep.backends.haproxy.place import Here, There
from sidestep.backends.routing.client import EmbeddedRouter
from sidestep.backends.routing.control import ControlServer
from sidestep.backends.routing.engine import Endpoint, RouterEngine
from sidestep.backends.routing.router import RouterCore, Unanswered
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.config import parse_fleet
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.instances import InstanceState
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import KEYS, Route, RoutingTable
from sidestep.fleet.routing import RouterSpec
from sidestep.plugins import ROUTERS, load

BINARY = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
needs_haproxy = pytest.mark.skipif(BINARY is None, reason="NOT CHECKED: haproxy is not installed here")


def nowhere(name: str) -> Transport:
    raise AssertionError(f"{name} was asked for")


class Ground:
    """An engine, and shards that say who answered. ``start`` gives the port of a new one."""

    engine: RouterEngine

    def __init__(self) -> None:
        self._processes: list[Any] = []

    def table(self, generation: int, *ports: int) -> tuple[bytes, int]:
        """Shards s0, s1, ... with equal parts of the keys; tokens are generations."""
        n = len(ports)
        made = RoutingTable(
            generation,
            tuple(
                Route(Label("kv"), KEYS * i // n, KEYS * (i + 1) // n, Label(f"s{i}"), "127.0.0.1", port, 1)
                for i, port in enumerate(ports)
            ),
        )
        return msgspec.msgpack.encode(made), made.checksum()

    def start(self) -> int:
        raise NotImplementedError

    async def ask(self, key: str) -> str:
        """Who answers a request for that key: a port."""
        raise NotImplementedError

    async def who(self, count: int) -> Counter[str]:
        """Who answers requests for so many keys."""
        return Counter([await self.ask(f"k{i}") for i in range(count)])

    def lose(self, number: int) -> None:
        """One of those started answers nobody any more, and closes nothing."""
        self._processes[number].send_signal(signal.SIGSTOP)

    def return_(self, number: int) -> None:
        """It goes on where it was."""
        self._processes[number].send_signal(signal.SIGCONT)

    async def aclose(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


class Embedded(Ground):
    """Our own router on its socket, TCP counters."""

    async def begin(self, folder: Path) -> None:
        self.folder = folder
        self.core = RouterCore(file=folder / "table")
        self._server = ControlServer(self.core, folder / "router.sock")
        await self._server.start()
        self.engine = load(ROUTERS, "embedded")(RouterSpec(socket=str(folder / "router.sock")), nowhere)
        assert isinstance(self.engine, EmbeddedRouter)

    def start(self) -> int:
        counter = CounterProcess(self.folder)
        self._processes.append(counter.process)
        return counter.port

    async def ask(self, key: str) -> str:
        answered = self._answered()
        await self.core.request("kv", key)
        return next(str(port) for port, n in self._answered().items() if n > answered.get(port, 0))

    def _answered(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for route in self.core.table.routes:
            for load_ in self.core.balance.endpoints(route):
                found[load_.endpoint.port] = found.get(load_.endpoint.port, 0) + load_.answered
        return found

    async def aclose(self) -> None:
        await self._server.aclose()
        await self.core.aclose()
        await super().aclose()


class Haproxy(Ground):
    """Real HAProxy with a master, HTTP counters that are named by their ports."""

    async def begin(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        shards = "".join(
            f'[shards.s{i}]\napp = "kv"\nhost = "h"\nstart = "x"\nport = {7000 + i}\nkeys = [{lo}, {lo + 32768}]\n'
            for i, lo in enumerate((0, 32768))
        )
        self.fleet = parse_fleet(
            f'[fleet]\nname = "f"\n[router]\nengine = "haproxy"\nsocket = "{folder}/master.sock"\nfolder = "{folder}"\n'
            f'bind = "127.0.0.1:{self.port}"\nendpoints = 3\nwait = 20\n[hosts.h]\naddress = "127.0.0.1"\n{shards}',
            "fleet.toml",
        )
        assert self.fleet.routing is not None
        for name, data in written(self.fleet, self.fleet.routing).items():
            (folder / name).write_bytes(data)
        self.router()
        self.boot()

    def router(self) -> RouterEngine:
        """A new engine, as after a restart of the daemon."""
        self.engine = load(ROUTERS, "haproxy")(self.fleet.routing, nowhere)
        return self.engine

    def boot(self) -> None:
        assert BINARY is not None
        self.haproxy = subprocess.Popen(
            [BINARY, "-W", "-q", "-f", self.folder / CONFIG, "-S", self.folder / "master.sock"],
            start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.until(lambda: self.connects(self.port))

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.haproxy.pid, signal.SIGKILL)
        self.haproxy.wait()

    def start(self) -> int:
        port = free_port()
        environment = {"SHARD": str(port), "TOKEN": "1", "ADDRESS": "127.0.0.1", "PORT": str(port)}
        command = [sys.executable, "-S", "-I", http_counter.__file__, "serve"]
        self._processes.append(subprocess.Popen(command, env=environment))
        self.until(lambda: self.connects(port))
        return port

    async def ask(self, key: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET /kv/{key}/inc HTTP/1.1\r\nHost: kv\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
        assert head.startswith(b"HTTP/1.1 200"), head
        return body.split()[0].decode()

    def worker(self, line: str) -> None:
        """Say something to the worker that nobody told it to."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.folder / "worker.sock"))
            peer.sendall(line.encode() + b"\n")
            while peer.recv(65536):
                pass

    @staticmethod
    def connects(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    @staticmethod
    def until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    async def aclose(self) -> None:
        self.kill()
        await super().aclose()


@pytest.fixture(params=["embedded", pytest.param("haproxy", marks=needs_haproxy)])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    made: Embedded | Haproxy = Embedded() if request.param == "embedded" else Haproxy()
    await made.begin(tmp_path)
    yield made
    await made.aclose()


@pytest.fixture
async def haproxy(tmp_path: Path) -> AsyncIterator[Haproxy]:
    made = Haproxy()
    await made.begin(tmp_path)
    yield made
    await made.aclose()


async def test_an_engine_routes_holds_weighs_and_drains(ground: Ground) -> None:
    """S1.14 S1.22 S1.31 S4.9: the whole contract, in the order in which a fleet needs it."""
    engine = ground.engine
    assert isinstance(engine, RouterEngine)
    one, two, three = (ground.start() for _ in range(3))
    assert await engine.generation() == 0
    assert await engine.apply(*ground.table(2, one, two)) == 2
    assert set(await ground.who(20)) == {str(one), str(two)}

    # tables: an older one changes nothing, a contradiction and damage are refused
    assert await engine.apply(*ground.table(1, three)) == 2
    with pytest.raises(SidestepError, match="in force with other contents"):
        await engine.apply(*ground.table(2, three))
    with pytest.raises(SidestepError, match="damaged on its way"):
        await engine.apply(ground.table(3, three)[0], 1)

    # a move: requests wait, and go where the new table says
    await engine.apply(*ground.table(3, one))
    await engine.hold("s0", 10)
    await engine.hold("s0", 10)
    waiting = [asyncio.create_task(ground.ask(f"k{i}")) for i in range(3)]
    assert not (await asyncio.wait(waiting, timeout=0.2))[0]
    assert (await engine.stats())["shards"]["s0"]["held"]
    await engine.apply(*ground.table(4, two))
    await engine.release("s0")
    await asyncio.gather(*waiting)
    assert set(await ground.who(3)) == {str(two)}

    # endpoints: by weight, then groups, then drained and gone
    await engine.add(
        "s0", Endpoint(name=Label("i1"), address="127.0.0.1", port=three, weight=100, group=Label("green"))
    )
    assert await ground.who(20) == {str(two): 10, str(three): 10}
    await engine.weigh("s0", {"owner": 0})
    assert set(await ground.who(5)) == {str(three)}
    with pytest.raises(SidestepError, match="would take requests any more"):
        await engine.drain("s0", "i1", 5)
    await engine.weigh("s0", {"owner": 90})
    await engine.add("s0", Endpoint(name=Label("b1"), address="127.0.0.1", port=one, group=Label("blue")))
    await engine.shift("s0", {"blue": 0, "green": 100})
    assert str(one) not in await ground.who(12)
    await engine.drain("s0", "i1", 10)
    assert str(three) not in await ground.who(8)
    states = {str(x.endpoint.name): (x.state, x.in_flight) for x in await engine.endpoints("s0")}
    assert states == {"owner": ("ready", 0), "i1": ("draining", 0), "b1": ("ready", 0)}
    await engine.remove("s0", "i1")
    await engine.remove("s0", "i1")
    with pytest.raises(SidestepError, match="never removed"):
        await engine.remove("s0", "owner")
    with pytest.raises(SidestepError, match="knows no shard s9"):
        await engine.hold("s9", 1)
    assert await engine.differences() == ()
    assert await engine.generation() == 4


async def test_a_firm_hold_gives_up_what_a_lost_owner_has_and_passes_no_late_answer_on(ground: Ground) -> None:
    """S2.21 S4.9: the requests of a shard whose host is lost wait for its next owner, whatever the old one does."""
    engine = ground.engine
    one, two = ground.start(), ground.start()
    await engine.apply(*ground.table(1, one))
    await ground.ask("k0")
    ground.lose(0)
    asked = asyncio.create_task(ground.ask("k1"))
    async with asyncio.timeout(20):
        while not (await engine.stats())["shards"]["s0"]["in_flight"]:
            await asyncio.sleep(0.01)
    with pytest.raises(SidestepError, match="still unanswered after"):
        await engine.hold("s0", 0.1)
    await engine.hold("s0", 0.1, firm=True)
    with pytest.raises((Unanswered, AssertionError)):
        await asyncio.wait_for(asked, 20)
    waiting = asyncio.create_task(ground.ask("k2"))
    ground.return_(0)  # it answers what it had queued
    assert not (await asyncio.wait([waiting], timeout=0.3))[0]
    assert (await engine.stats())["shards"]["s0"]["held"]
    await engine.apply(*ground.table(2, two))
    await engine.release("s0")
    await waiting
    assert set(await ground.who(3)) == {str(two)}


@needs_haproxy
async def test_what_haproxy_was_told_outlives_its_death_and_what_others_told_it_is_put_right(haproxy: Haproxy) -> None:
    """S1.22 S1.24: kill -9 of HAProxy, a new daemon, somebody else's hand: the newest table holds."""
    one, two = haproxy.start(), haproxy.start()
    await haproxy.engine.apply(*haproxy.table(5, one))
    await haproxy.engine.add("s0", Endpoint(name=Label("i1"), address="127.0.0.1", port=two))
    haproxy.kill()
    with pytest.raises(SidestepError, match="HAProxy does not answer"):
        await haproxy.engine.generation()
    haproxy.boot()  # and nobody tells it anything
    assert await haproxy.who(20) == {str(one): 10, str(two): 10}
    engine = haproxy.router()
    assert await engine.generation() == 5
    assert await engine.differences() == ()
    for line in (
        "set server s0/owner state maint",
        f"set server s0/e1 addr 127.0.0.1 port {one}",
        f"set map {haproxy.folder}/{ROUTES} kv/ s1",
    ):
        haproxy.worker(line)
    (haproxy.folder / ROUTES).unlink()
    found = await engine.repair()
    assert [line for line in found if "s0/owner" in line and "maint" in line]
    assert [line for line in found if "kv/ is s1, should be s0" in line]
    assert [line for line in found if "is missing" in line]
    assert await engine.differences() == ()
    assert await haproxy.who(20) == {str(one): 10, str(two): 10}
    with pytest.raises(SidestepError, match="no backend for s2"):
        await engine.apply(*haproxy.table(6, one, two, one))
    assert await engine.generation() == 5


@needs_haproxy
async def test_requests_that_an_old_worker_holds_over_a_reload_go_where_the_new_table_says(haproxy: Haproxy) -> None:
    """S1.22: a reload in the middle of a move; nothing fails, nothing goes to the old owner."""
    one, two = haproxy.start(), haproxy.start()
    await haproxy.engine.apply(*haproxy.table(1, one))
    await haproxy.engine.hold("s0", 10)
    before = [asyncio.create_task(haproxy.ask(f"k{i}")) for i in range(3)]
    assert not (await asyncio.wait(before, timeout=0.2))[0]
    haproxy.haproxy.send_signal(signal.SIGUSR2)
    engine = haproxy.engine
    assert isinstance(engine, HaproxyRouter)
    async with asyncio.timeout(60):
        while len(await engine._runtime.processes()) < 2:
            await asyncio.sleep(0.05)
    after = [asyncio.create_task(haproxy.ask(f"k{i}")) for i in range(3)]
    assert not (await asyncio.wait([*before, *after], timeout=0.2))[0]
    await engine.apply(*haproxy.table(2, two))
    await engine.release("s0")
    assert set(await asyncio.gather(*before, *after)) == {str(two)}


async def test_instances_of_a_pool_serve_beside_the_owner_and_leave_drained(ground: Ground) -> None:
    """S4.7, S4.9, S4.11: twice joined is once."""
    one, two = ground.start(), ground.start()
    await ground.engine.apply(*ground.table(1, one))
    routes, name = EngineRoutes(ground.engine, ["s0"]), Label("s0")
    known: Any = {"pool": name, "host": name, "app": name, "state": InstanceState.ACTIVE, "since": 0.0, "checked": 0.0}
    instance = PoolInstance(id=1, port=two, pid=1, **known)
    for _ in range(2):
        await routes.join(instance, "127.0.0.1")
    assert await ground.who(8) == {str(one): 4, str(two): 4} and await routes.load("s0") == 0
    await routes.leave(instance, 5)
    assert await ground.who(4) == {str(one): 4}


@needs_haproxy
async def test_a_master_on_a_host_answers_as_one_here_does_also_in_a_reload(haproxy: Haproxy) -> None:
    """S4.9: the end of each command is told to the master, which answers nothing before."""
    path = str(haproxy.folder / "master.sock")
    shell = Shell()
    there = There(path, lambda: shell)
    for place in (there, Here(path)):
        first, second = await place.ask(["show proc", "@1 show info"])
        assert "worker" in first and "Uptime_sec" in second
    haproxy.haproxy.send_signal(signal.SIGUSR2)
    assert all("worker" in answer for answer in await there.ask(["show proc"] * 5))
    await there.aclose()
    assert len(shell.started) == 1 and await shell.started[0].process.wait() == 0
