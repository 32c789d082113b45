"""Requests and answers over a real socket: who may ask, and what a refusal says."""

from __future__ import annotations

import asyncio
import getpass
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_doubles import FakeService, picture

from sidestep.autopilot.client import AsyncClient, Client, DaemonMissing, Refused
from sidestep.autopilot.protocol import (
    Approve,
    DemandList,
    Done,
    GetDemand,
    GetPlan,
    GetSnapshot,
    Hello,
    ListPlans,
    PlanList,
    ProposeMove,
    Reject,
    SetLevel,
    SnapshotFrame,
    Subscribe,
    Welcome,
)
from sidestep.autopilot.server import Server
from sidestep.autopilot.server_lock import DaemonRunning
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def server(tmp_path: Path, service: FakeService) -> AsyncIterator[Server]:
    server = Server(tmp_path / "run" / "f.sock", service)
    server.claim()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncClient]:
    client = await AsyncClient.connect(server.path)
    yield client
    await client.aclose()


async def test_a_request_gets_its_answer_and_the_actor_is_the_peer(service: FakeService, client: AsyncClient) -> None:
    """S3.18: who did it is taken from the peer's credentials, not from what the peer says."""
    assert client.welcome is not None and client.welcome.actor == getpass.getuser()
    assert await client.call(SetLevel("off", "night")) == Done(Label("level off"))
    assert service.asked == [(SetLevel("off", "night"), getpass.getuser())]


async def test_many_requests_at_once_each_get_their_own_answer(client: AsyncClient) -> None:
    answers = await asyncio.gather(*(client.call(SetLevel(f"level-{n}")) for n in range(50)))
    assert answers == [Done(Label(f"level level-{n}")) for n in range(50)]


async def test_a_plan_that_does_not_exist_is_a_usage_error(client: AsyncClient) -> None:
    with pytest.raises(UsageError, match="no plan 99") as caught:
        await client.call(GetPlan("99"))
    assert caught.value.exit_code == 2 and "sidestep plan list" in str(caught.value)


async def test_a_stale_plan_is_refused_with_its_differences(client: AsyncClient) -> None:
    with pytest.raises(Refused) as caught:
        await client.call(Approve("0" * 64))
    assert (caught.value.code, caught.value.exit_code) == ("stale", 1)
    assert caught.value.differences == ("shard s1: was on h1 (token 3), now on h2 (token 9)",)
    assert str(caught.value).count("was on h1") == 1


async def test_a_refusal_by_state_is_not_a_usage_error(client: AsyncClient) -> None:
    with pytest.raises(Refused, match="cannot be rejected") as caught:
        await client.call(Reject("0" * 64))
    assert caught.value.code == "state"


async def test_a_bug_in_one_request_leaves_the_connection_and_the_daemon_alive(client: AsyncClient) -> None:
    with pytest.raises(Refused, match="RuntimeError: a bug") as caught:
        await client.call(ProposeMove("s1", "h2"))
    assert caught.value.code == "internal"
    assert await client.call(ListPlans()) == PlanList(())


async def test_a_snapshot_before_the_first_tick_is_refused_and_then_given(
    service: FakeService, client: AsyncClient
) -> None:
    with pytest.raises(Refused, match="no picture"):
        await client.call(GetSnapshot())
    service.newest = picture(3)
    answer = await client.call(GetSnapshot())
    assert isinstance(answer, SnapshotFrame) and answer.number == 3


async def test_a_rate_that_is_no_rate_is_a_usage_error(client: AsyncClient) -> None:
    for rate in (0.0, -1.0, 1e9, float("nan")):
        with pytest.raises(UsageError, match="rate"):
            await client.call(Subscribe(rate))


async def test_a_second_hello_is_answered_too(client: AsyncClient) -> None:
    assert isinstance(await client.call(Hello()), Welcome)


async def test_the_blocking_client_says_and_gets_the_same(server: Server) -> None:
    def talk() -> tuple[object, ...]:
        with Client.connect(server.path) as client:
            return client.call(SetLevel("full")), client.call(GetDemand()), client.welcome

    done, demand, welcome = await asyncio.to_thread(talk)
    assert done == Done(Label("level full")) and demand == DemandList(('{"a":1}',))
    assert isinstance(welcome, Welcome)


async def test_the_socket_is_closed_to_others(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700


async def test_an_open_folder_is_refused(tmp_path: Path, service: FakeService) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(UsageError, match="chmod 700"):
        Server(tmp_path / "open" / "f.sock", service).claim()


async def test_a_second_daemon_is_refused_and_the_first_goes_on(
    server: Server, service: FakeService, client: AsyncClient
) -> None:
    with pytest.raises(DaemonRunning, match=str(os.getpid())):
        Server(server.path, service).claim()
    assert isinstance(await client.call(Hello()), Welcome)


async def test_a_socket_left_by_a_dead_daemon_is_replaced(tmp_path: Path, service: FakeService) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    dead = await asyncio.start_unix_server(lambda r, w: None, folder / "f.sock")
    inode = (folder / "f.sock").stat().st_ino
    os.link(folder / "f.sock", folder / "kept")  # so that the number is not used again
    dead.close()
    server = Server(folder / "f.sock", service)
    server.claim()
    await server.start()
    assert server.path.stat().st_ino != inode
    client = await AsyncClient.connect(server.path)
    await client.aclose()
    await server.aclose()
    assert not server.path.exists()


async def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path, service: FakeService) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    (folder / "f.sock").write_text("precious")
    server = Server(folder / "f.sock", service)
    server.claim()
    with pytest.raises(UsageError, match="not a socket"):
        await server.start()
    await server.aclose()
    assert (folder / "f.sock").read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path, service: FakeService) -> None:
    with pytest.raises(UsageError, match="107 bytes"):
        Server(tmp_path / ("x" * 120) / "f.sock", service).claim()


async def test_another_user_is_refused_by_the_daemon(tmp_path: Path, service: FakeService) -> None:
    told: list[str] = []
    server = Server(tmp_path / "run" / "f.sock", service, peer=lambda _: 4242, report=told.append)
    server.claim()
    await server.start()
    with pytest.raises(Refused, match="another user") as caught:
        await AsyncClient.connect(server.path)
    assert caught.value.code == "forbidden" and "4242" in told[0]
    await server.aclose()


async def test_root_may_ask_every_daemon(tmp_path: Path, service: FakeService) -> None:
    server = Server(tmp_path / "run" / "f.sock", service, peer=lambda _: 0)
    server.claim()
    await server.start()
    client = await AsyncClient.connect(server.path)
    assert client.welcome is not None and client.welcome.actor == "root"
    await client.aclose()
    await server.aclose()


def test_no_daemon_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DaemonMissing, match="no daemon at") as caught:
        Client.connect(tmp_path / "none.sock")
    assert "sidestep autopilot" in str(caught.value)


async def test_a_socket_nobody_serves_is_no_daemon(tmp_path: Path) -> None:
    path = tmp_path / "f.sock"
    dead = await asyncio.start_unix_server(lambda r, w: None, path)
    os.link(path, tmp_path / "kept.sock")
    dead.close()
    await dead.wait_closed()
    with pytest.raises(DaemonMissing):
        Client.connect(tmp_path / "kept.sock")


async def test_a_socket_of_somebody_else_is_refused_by_the_client(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(SidestepError, match="belongs to user"):
        Client.connect(server.path)


def test_a_file_that_is_no_socket_is_refused_by_the_client(tmp_path: Path) -> None:
    (tmp_path / "f.sock").write_text("")
    with pytest.raises(UsageError, match="not a socket"):
        Client.connect(tmp_path / "f.sock")
