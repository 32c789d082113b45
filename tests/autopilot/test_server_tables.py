"""What seldom changes travels when it changes, and no subscriber ever misses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_doubles import FakeService, picture
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot import server as server_module
from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import (
    HEADER,
    GetSnapshot,
    Hello,
    HostStrings,
    Reply,
    Request,
    SnapshotFrame,
    Subscribe,
    frame_length,
    pack,
    parse_reply,
)
from sidestep.autopilot.protocol_tables import with_tables
from sidestep.autopilot.server import Server
from sidestep.fleet.labels import Label

DEADLINE = 10.0


def named(number: int, tables: int, size: int = 0) -> SnapshotFrame:
    """A picture whose one host is named after its tables."""
    return picture(number, size, tables=tables, hosts=(HostStrings(Label(f"host-{tables}"), Label("")),))


class Raw:
    """A subscriber that sees what really travels."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def subscribe(cls, server: Server) -> Raw:
        raw = cls(*await asyncio.open_unix_connection(server.path))
        raw.writer.write(pack(Request(1, Hello())) + pack(Request(2, Subscribe(1e6))))
        await raw.reply()
        await raw.reply()
        return raw

    async def reply(self) -> Reply:
        return parse_reply(await self.reader.readexactly(frame_length(await self.reader.readexactly(HEADER))))

    async def frame(self) -> SnapshotFrame:
        body = (await self.reply()).body
        assert isinstance(body, SnapshotFrame)
        return body


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.newest = named(1, 1)
    return service


@pytest.fixture
async def server(tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(server_module, "MAX_RATE", 1e6)
    server = Server(tmp_path / "run" / "f.sock", service)
    server.claim()
    await server.start()
    async with asyncio.timeout(DEADLINE):
        yield server
    await server.aclose()


async def test_tables_travel_with_the_first_picture_and_when_they_change(server: Server, service: FakeService) -> None:
    raw = await Raw.subscribe(server)
    seen = [await raw.frame()]
    for number, tables in ((2, 1), (3, 2), (4, 2)):
        service.newest = named(number, tables)
        server.announce()
        seen.append(await raw.frame())
    assert [(f.number, f.tables, [h.name for h in f.hosts]) for f in seen] == [
        (1, 1, ["host-1"]), (2, 1, []), (3, 2, ["host-2"]), (4, 2, []),
    ]  # fmt: skip
    raw.writer.close()


async def test_who_misses_the_picture_in_which_tables_changed_gets_them_with_the_next(
    server: Server, service: FakeService
) -> None:
    """Only what was really sent counts: pictures 2 to 99 never leave the daemon."""
    service.newest = named(1, 1, 4_000_000)
    raw = await Raw.subscribe(server)
    await raw.reader.readexactly(1)  # picture 1 is on its way and does not fit into the socket
    for number in range(2, 100):
        service.newest = named(number, 1 if number < 50 else 2)
        server.announce()
    rest = frame_length(b"\0" + await raw.reader.readexactly(HEADER - 1))
    await raw.reader.readexactly(rest)
    newest = await raw.frame()
    assert (newest.number, newest.tables, newest.hosts) == (99, 2, named(99, 2).hosts)
    raw.writer.close()


async def test_subscribing_again_begins_with_a_whole_picture(server: Server, service: FakeService) -> None:
    raw = await Raw.subscribe(server)
    assert (await raw.frame()).hosts
    raw.writer.write(pack(Request(3, Subscribe(1e6))))
    await raw.reply()
    assert (await raw.frame()).hosts == named(1, 1).hosts
    raw.writer.close()


async def test_the_client_gives_whole_pictures_with_the_same_words(server: Server, service: FakeService) -> None:
    client = await AsyncClient.connect(server.path)
    shown = []
    async for frame in client.subscribe(1e6):
        shown.append(frame)
        if frame.number == 4:
            break
        service.newest = named(frame.number + 1, 1 if frame.number < 3 else 2)
        server.announce()
    assert shown == [named(1, 1), named(2, 1), named(3, 1), named(4, 2)]
    assert shown[0].hosts is shown[1].hosts is shown[2].hosts
    assert await client.call(GetSnapshot()) == named(4, 2)
    await client.aclose()


async def test_a_client_that_skips_the_picture_with_new_tables_has_them_all_the_same(
    server: Server, service: FakeService
) -> None:
    """The screen was busy while three pictures came; the one in the middle brought the tables."""
    client = await AsyncClient.connect(server.path)
    pictures = client.subscribe(1e6)
    assert (await anext(pictures)).number == 1
    for number in (2, 3, 4):
        service.newest = named(number, 1 if number == 2 else 2)
        server.announce()
        while client._latest is None or client._latest.number < number:
            await asyncio.sleep(0)
    assert await anext(pictures) == named(4, 2)
    await client.aclose()


async def test_a_picture_is_made_and_packed_once_for_all_subscribers(
    server: Server, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    packed: list[bool] = []
    frame = service.frame

    def counted() -> SnapshotFrame | None:
        made.append(1)
        return frame()

    def packing(message: Request | Reply) -> bytes:
        if isinstance(message, Reply) and isinstance(message.body, SnapshotFrame):
            packed.append(bool(message.body.hosts))
        return pack(message)

    monkeypatch.setattr(service, "frame", counted)
    monkeypatch.setattr(server_module, "pack", packing)
    peers = [await Raw.subscribe(server) for _ in range(4)]
    assert all([(await peer.frame()).hosts for peer in peers])
    assert (len(made), packed) == (1, [True])
    service.newest = named(2, 1)
    server.announce()
    assert [(await peer.frame()).number for peer in peers] == [2] * 4
    assert (len(made), packed) == (2, [True, False])
    for peer in peers:
        peer.writer.close()


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_whatever_is_skipped_every_peer_sees_every_picture_that_it_gets_as_it_was_made(
    ticks: list[tuple[int, bool, bool]],
) -> None:
    """Tables come and go as they like; two peers keep up or not."""
    service = FakeService()
    server = Server(Path("unused.sock"), service)
    known: list[SnapshotFrame | None] = [None, None]
    for number, (tables, *reads) in enumerate(ticks, 1):
        service.newest = named(number, tables)
        server.announce()
        for peer, reading in enumerate(reads):
            if not reading:
                continue
            before = known[peer]
            sent = server.picture(None if before is None else before.tables)
            assert sent is not None and sent[1] == tables
            body = parse_reply(sent[0][HEADER:]).body
            assert isinstance(body, SnapshotFrame)
            known[peer] = with_tables(body, before)
            assert known[peer] == service.newest
            assert bool(body.hosts) is (before is None or before.tables != tables)
