"""What a broken, hostile or slow peer can do to the socket: end its own connection, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_doubles import FakeService, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep.autopilot import server as server_module
from sidestep.autopilot.client import AsyncClient, DaemonLost
from sidestep.autopilot.protocol import (
    HEADER,
    MAX_FRAME,
    VERSION,
    Done,
    Failure,
    Hello,
    ListPlans,
    PlanList,
    Reply,
    Request,
    SetLevel,
    SnapshotFrame,
    Subscribe,
    Welcome,
    frame_length,
    pack,
    parse_reply,
)
from sidestep.autopilot.server import Server
from sidestep.fleet.errors import ProtocolError

DEADLINE = 10.0


@contextlib.asynccontextmanager
async def serving(folder: Path, service: FakeService) -> AsyncIterator[Server]:
    server = Server(folder / "f.sock", service)
    server.claim()
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "run", FakeService()) as server:
        yield server


async def replies(server: Server, data: bytes, *, end: bool = True) -> list[Reply]:
    """Everything that the daemon says to these bytes until it closes."""
    reader, writer = await asyncio.open_unix_connection(server.path)
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
    said = b""
    async with asyncio.timeout(DEADLINE):
        with contextlib.suppress(ConnectionError):
            said = await reader.read(-1)
    writer.close()
    found = []
    while said:
        length = frame_length(said[:HEADER])
        found.append(parse_reply(said[HEADER : HEADER + length]))
        said = said[HEADER + length :]
    return found


HELLO = pack(Request(1, Hello()))


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(HEADER, "big") + data


async def test_a_wrong_version_is_refused_with_both_versions(server: Server) -> None:
    (reply,) = await replies(server, pack(Request(1, Hello(version=VERSION + 1))), end=False)
    assert isinstance(reply.body, Failure) and reply.body.code == "protocol"
    assert str(VERSION + 1) in reply.body.message and f"speaks {VERSION}" in reply.body.message


async def test_the_client_names_a_wrong_version(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "VERSION", 9)
    with pytest.raises(ProtocolError, match="this daemon speaks 9"):
        await AsyncClient.connect(server.path)


async def test_who_does_not_say_hello_first_is_refused(server: Server) -> None:
    (reply,) = await replies(server, pack(Request(1, ListPlans())), end=False)
    assert isinstance(reply.body, Failure) and "hello" in reply.body.message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("truncated header", b"\0\0"),
        ("truncated body", b"\0\0\0\x20abc"),
        ("empty frame", b"\0\0\0\0"),
        ("oversized", (MAX_FRAME + 1).to_bytes(HEADER, "big") + b"x"),
        ("larger than any request", (server_module.MAX_REQUEST + 1).to_bytes(HEADER, "big") + b"x"),
        ("garbage", frame(b"\xc1\xff\x00garbage")),
        ("unknown request", frame(b"\x92\x01\x81\xa4type\xa4fire")),
        ("id 0", pack(Request(0, ListPlans()))),
    ],
)
async def test_a_bad_frame_is_answered_and_closes_only_its_connection(server: Server, name: str, data: bytes) -> None:
    other = await AsyncClient.connect(server.path)
    welcome, refusal = await replies(server, HELLO + data)
    assert isinstance(welcome.body, Welcome), name
    assert isinstance(refusal.body, Failure) and refusal.body.code == "protocol", name
    assert await other.call(ListPlans()) == PlanList(())
    await other.aclose()


async def test_a_frame_that_is_never_finished_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FRAME_TIMEOUT", 0.05)
    _, refusal = await replies(server, HELLO + b"\0\0\0\x20abc", end=False)
    assert isinstance(refusal.body, Failure) and "not finished" in refusal.body.message


async def test_a_peer_that_says_nothing_is_let_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HELLO_TIMEOUT", 0.05)
    assert await replies(server, b"", end=False) == []


async def test_too_many_connections_are_refused_until_one_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 1)
    first = await AsyncClient.connect(server.path)
    (reply,) = await replies(server, HELLO)
    assert isinstance(reply.body, Failure) and reply.body.code == "forbidden"
    assert await first.call(ListPlans()) == PlanList(())
    await first.aclose()


bodies = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(frame),
    st.builds(lambda data, cut: data[:cut], st.just(pack(Request(2, SetLevel("off", "x")))), st.integers(0, 30)),
    st.builds(
        lambda data, at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
        st.just(pack(Request(2, SetLevel("off", "x")))),
        st.integers(0, 30),
        st.integers(0, 255),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(bodies, min_size=1, max_size=3).map(b"".join), greeted=st.booleans())
def test_no_bytes_at_all_end_the_daemon(tmp_path_factory: pytest.TempPathFactory, data: bytes, greeted: bool) -> None:
    """Whatever is sent, everything said back is well-formed and the next peer is served."""

    async def attempt() -> None:
        async with serving(tmp_path_factory.mktemp("fuzz"), FakeService()) as server:
            for reply in await replies(server, (HELLO if greeted else b"") + data):
                assert isinstance(reply.body, Welcome | Failure | Done), reply
            client = await AsyncClient.connect(server.path)
            assert await client.call(ListPlans()) == PlanList(())
            await client.aclose()

    asyncio.run(attempt())


async def test_a_subscriber_gets_the_present_picture_and_every_newer_one(tmp_path: Path) -> None:
    service = FakeService()
    service.newest = picture(1)
    async with serving(tmp_path / "run", service) as server, asyncio.timeout(DEADLINE):
        client = await AsyncClient.connect(server.path)
        seen = []
        async for shown in client.subscribe(20):
            seen.append(shown.number)
            if shown.number == 3:
                break
            service.newest = picture(shown.number + 1)
            server.announce()
        assert seen == [1, 2, 3]
        await client.aclose()


async def test_a_subscriber_that_does_not_read_misses_pictures_and_gets_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon keeps one picture in flight a subscriber, however many were announced."""
    monkeypatch.setattr(server_module, "MAX_RATE", 1e6)
    service = FakeService()
    service.newest = picture(1, 4_000_000)
    async with serving(tmp_path / "run", service) as server, asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(HELLO + pack(Request(2, Subscribe(1e6))))

        async def reply() -> Reply:
            return parse_reply(await reader.readexactly(frame_length(await reader.readexactly(HEADER))))

        assert isinstance((await reply()).body, Welcome)
        assert isinstance((await reply()).body, Done)
        await reader.readexactly(HEADER)  # picture 1 is being sent, and does not fit into the socket
        for number in range(2, 200):
            service.newest = picture(number, 4_000_000)
            server.announce()
        other = await AsyncClient.connect(server.path)  # meanwhile others are served
        assert await other.call(ListPlans()) == PlanList(())
        await other.aclose()
        first = parse_reply(await reader.readexactly(len(pack(Reply(0, picture(1, 4_000_000)))) - HEADER))
        assert isinstance(first.body, SnapshotFrame) and first.body.number == 1
        newest = (await reply()).body
        assert isinstance(newest, SnapshotFrame) and newest.number == 199
        writer.close()


async def test_requests_are_answered_between_pictures(tmp_path: Path) -> None:
    service = FakeService()
    service.newest = picture(1, 1_000_000)
    async with serving(tmp_path / "run", service) as server, asyncio.timeout(DEADLINE):
        client = await AsyncClient.connect(server.path)
        pictures = client.subscribe(20)
        assert (await anext(pictures)).number == 1
        for number in range(2, 6):
            service.newest = picture(number, 1_000_000)
            server.announce()
            assert await client.call(ListPlans()) == PlanList(())
        await client.aclose()


async def test_the_end_of_the_daemon_ends_calls_and_subscriptions(tmp_path: Path) -> None:
    service = FakeService()
    service.newest = picture(1)
    async with asyncio.timeout(DEADLINE):
        async with serving(tmp_path / "run", service) as server:
            client = await AsyncClient.connect(server.path)
            pictures = client.subscribe(5)
            assert (await anext(pictures)).number == 1
        with pytest.raises(DaemonLost, match="closed the connection"):
            await anext(pictures)
        with pytest.raises(DaemonLost):
            await client.call(ListPlans())
        await client.aclose()
