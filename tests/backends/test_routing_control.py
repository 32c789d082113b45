"""The router's control socket, from the daemon's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from counters import CounterProcess, table

from sidestep.backends.base import Router
from sidestep.backends.routing import client, wire
from sidestep.backends.routing.client import UnixRouter
from sidestep.backends.routing.control import ControlServer
from sidestep.backends.routing.router import RouterCore
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Route, RoutingTable

ROUTE = Route(Label("kv"), 0, 65536, Label("kv-01"), "127.0.0.1", 1, 1)
TABLE = RoutingTable(4, (ROUTE,))
Make = Callable[..., CounterProcess]


async def account() -> dict[str, Any]:
    return {"requests": 3, "lost": 0}


@pytest.fixture
async def core() -> RouterCore:
    return RouterCore()


@pytest.fixture
async def server(core: RouterCore, tmp_path: Path) -> AsyncIterator[ControlServer]:
    control = ControlServer(core, tmp_path / "r.sock", audit=account)
    await control.start()
    yield control
    await control.aclose()
    await core.aclose()


@pytest.fixture
def router(server: ControlServer, tmp_path: Path) -> UnixRouter:
    return UnixRouter(tmp_path / "r.sock")


async def test_it_is_the_router_that_the_executor_expects(router: UnixRouter) -> None:
    assert isinstance(router, Router)
    assert await router.generation() == 0
    assert await router.apply(msgspec.msgpack.encode(TABLE), TABLE.checksum()) == 4
    await router.hold("kv-01", 1)
    assert (await router.stats())["shards"]["kv-01"]["held"] is True
    await router.hold("kv-01", 1)
    await router.release("kv-01")
    await router.release("kv-01")
    assert (await router.stats())["shards"]["kv-01"]["held"] is False
    assert await router.generation() == 4
    assert await router.audit() == {"requests": 3, "lost": 0}


async def test_the_socket_is_closed_to_others(router: UnixRouter, tmp_path: Path) -> None:
    assert (tmp_path / "r.sock").stat().st_mode & 0o777 == 0o600


async def test_refusals_name_the_socket_and_the_reason(router: UnixRouter) -> None:
    with pytest.raises(SidestepError, match=r"r\.sock: .*CRC-32"):
        await router.apply(msgspec.msgpack.encode(TABLE), 0)
    with pytest.raises(SidestepError, match=r"r\.sock: .*no shard kv-99"):
        await router.hold("kv-99", 1)


async def test_a_router_that_restarts_meanwhile_is_waited_for(core: RouterCore, tmp_path: Path) -> None:
    router = UnixRouter(tmp_path / "r.sock")
    asking = asyncio.create_task(router.generation())
    await asyncio.sleep(0)
    control = ControlServer(core, tmp_path / "r.sock")
    await control.start()
    assert await asyncio.wait_for(asking, 10) == 0
    await control.aclose()


async def test_a_dead_router_is_an_error_that_names_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.0)
    with pytest.raises(SidestepError, match=r"none\.sock: the router does not answer"):
        await UnixRouter(tmp_path / "none.sock").generation()


async def test_a_second_router_on_the_same_socket_is_refused(server: ControlServer, tmp_path: Path) -> None:
    with pytest.raises(SidestepError, match="another router serves there"):
        await ControlServer(RouterCore(), tmp_path / "r.sock").start()


async def test_the_socket_of_a_dead_router_is_replaced(core: RouterCore, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    dead = await asyncio.start_unix_server(lambda r, w: None, path)
    dead.close()
    assert path.exists()
    control = ControlServer(core, path)
    await control.start()
    assert await UnixRouter(path).generation() == 0
    await control.aclose()
    assert not path.exists()


async def test_a_hold_whose_caller_dies_is_taken_back(
    core: RouterCore, server: ControlServer, tmp_path: Path, counter: Make
) -> None:
    """A daemon killed while it waits for the drain leaves no shard held for ever."""
    one = counter(standby=True)
    new = table(1, one)
    core.apply(msgspec.msgpack.encode(new), new.checksum())
    gate = core._gates["kv-01"]
    await gate.enter()
    _, writer = await asyncio.open_unix_connection(tmp_path / "r.sock")
    writer.write(wire.pack(wire.Hold("kv-01", 60.0)))
    await writer.drain()
    await _until(lambda: gate.held)
    writer.close()
    await _until(lambda: not gate.held)
    gate.leave()


async def test_nonsense_is_refused_and_others_are_served(router: UnixRouter, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "r.sock")
    writer.write(len(b"junk").to_bytes(4, "big") + b"junk")
    answer = wire.parse_answer(await asyncio.wait_for(wire.read_frame(reader), 10))
    writer.close()
    assert isinstance(answer, wire.Refused)
    assert await router.generation() == 0


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
