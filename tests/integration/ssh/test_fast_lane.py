"""The fast lane and asyncssh's own way must give the same: same bytes, same order, same endings."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from lane_ground import DEADLINE, Heard, _ground

from sidestep.backends.ssh import inside
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.fastlane import FastLane
from sidestep.fleet.errors import HostUnreachable


@pytest.fixture(params=["beat", "lane", "asyncssh"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read in the beat, on the lane as things arrive, or by asyncssh alone."""
    if request.param == "asyncssh":
        monkeypatch.setattr(FastLane, "lay", classmethod(lambda cls, conn: None))
    elif request.param == "lane":
        monkeypatch.setattr(FastLane, "settle", lambda self: None)
    return str(request.param)


def _lines(count: int, size: int) -> bytes:
    return b"".join(b"%08d" % number + b"x" * (size - 9) + b"\n" for number in range(count))


def _took_the_lane(way: str, transport: AsyncsshTransport, at_least: int) -> None:
    assert (transport._lane is None) == (way == "asyncssh")
    if transport._lane is not None:
        transport._lane._recall()
        assert transport._lane.consumed >= at_least


@pytest.mark.parametrize("size", [20, 330, 40_000])
async def test_a_feed_gets_every_byte_in_order_and_then_its_end(tmp_path: Path, way: str, size: int) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        await transport.feed(f"lines 200 {size}", heard)
        assert await heard.ended() == (None, b"")
        assert heard.bytes == _lines(200, size)
        _took_the_lane(way, transport, 100)


async def test_keys_may_be_renewed_in_the_middle_of_a_stream(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path, rekey_bytes=20_000) as ground:
        transport, heard = await ground.connect(), Heard()
        first = transport._conn._recv_encryption if transport._conn else None
        await transport.feed("lines 600 330", heard)
        assert await heard.ended() == (None, b"")
        assert heard.bytes == _lines(600, 330)
        assert transport._conn is not None and transport._conn._recv_encryption is not first
        _took_the_lane(way, transport, 100)


async def test_our_own_renewal_of_keys_holds_back_nothing_and_loses_nothing(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        assert transport._conn is not None
        transport._conn._rekey_bytes = 3000
        feed = await transport.feed("echo", heard)
        said = b"".join(b"%05d\n" % number for number in range(2000))
        for at in range(0, len(said), 600):
            feed.write(said[at : at + 600])
            if at % 1800 == 0:
                await heard.until(lambda at=at: len(heard.bytes) >= at)  # type: ignore[misc]
        await heard.until(lambda: len(heard.bytes) >= len(said))
        assert heard.bytes == said


@pytest.mark.parametrize("cut", [1, 3, 17, 1021])
async def test_packets_may_arrive_in_pieces_of_any_size(tmp_path: Path, way: str, cut: int) -> None:
    async with _ground(tmp_path) as ground:
        ground.wire.mangle = lambda data: [data[at : at + cut] for at in range(0, len(data), cut)]
        transport, heard = await ground.connect(), Heard()
        await transport.feed(f"lines {min(40, 4 * cut)} 330", heard)
        assert await heard.ended() == (None, b"")
        assert heard.bytes == _lines(min(40, 4 * cut), 330)


async def test_a_stream_longer_than_the_window_opens_it_again(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        await transport.feed("lines 1000 9000", heard)
        assert await heard.ended() == (None, b"")
        assert hashlib.sha256(heard.bytes).digest() == hashlib.sha256(_lines(1000, 9000)).digest()
        _took_the_lane(way, transport, 500)


@pytest.mark.parametrize("near", [True, False])
async def test_a_server_that_opens_its_window_late_gets_every_byte(
    tmp_path: Path, way: str, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncssh opens a window when half of it is used: more than we send to a host nearby before it does."""
    monkeypatch.setattr("sidestep.backends.ssh.fastlane.near", lambda transport: near)
    data = os.urandom(6 << 20)
    async with _ground(tmp_path) as ground, asyncio.timeout(DEADLINE):
        channel = await (await ground.connect()).open("digest")
        for at in range(0, len(data), 1 << 20):
            await channel.write(data[at : at + (1 << 20)])
        await channel.finish_input()
        done = await channel.wait()
    assert done.stdout.decode() == hashlib.sha256(data).hexdigest()


async def test_feeds_commands_and_channels_share_a_connection(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport = await ground.connect()
        feeds = [Heard() for _ in range(3)]
        echo = Heard()
        for heard in feeds:
            await transport.feed("lines 300 330", heard)
        talking = await transport.feed("echo", echo)
        channel = await transport.open("echo")
        said = bytearray()
        for number in range(50):
            await channel.write(b"c%d\n" % number)
            talking.write(b"f%d\n" % number)
            said += await channel.readline()
        await channel.finish_input()
        assert (await channel.wait()).status == 0
        await channel.aclose()
        assert said == b"".join(b"c%d\n" % number for number in range(50))
        for heard in feeds:
            assert await heard.ended() == (None, b"")
            assert heard.bytes == _lines(300, 330)
        await echo.until(lambda: echo.bytes.endswith(b"f49\n"))
        assert echo.bytes == b"".join(b"f%d\n" % number for number in range(50))
        await talking.aclose()
        assert echo.ends == [(None, b"")]
        last = Heard()
        await transport.feed("lines 10 330", last)
        assert await last.ended() == (None, b"")
        assert last.bytes == _lines(10, 330)


async def test_error_output_comes_with_the_end_and_not_among_the_data(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        await transport.feed("both", heard)
        error, stderr = await heard.ended()
        assert error is None
        assert heard.bytes == b"".join(b"out %d\n" % number for number in range(20))
        assert stderr == b"".join(b"err %d\n" % number for number in range(20))


async def test_a_command_that_vanishes_is_an_error_of_the_host(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        feed = await transport.feed("vanish", heard)
        await heard.until(lambda: bool(heard.bytes))
        feed.write(b"now\n")
        error, _ = await heard.ended()
        assert isinstance(error, HostUnreachable)
        assert "closed before the command ended" in str(error)


async def test_a_corrupted_packet_ends_the_connection_and_delivers_nothing(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        feed = await transport.feed("echo", heard)
        feed.write(b"good\n")
        await heard.until(lambda: heard.bytes == b"good\n")
        ground.wire.mangle = lambda data: [data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]]
        feed.write(b"bad\n")
        error, _ = await heard.ended()
        assert isinstance(error, HostUnreachable)
        assert "MAC" in str(error)
        assert heard.bytes == b"good\n"
        assert not transport.connected


async def test_a_size_that_no_packet_has_ends_the_connection(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        feed = await transport.feed("echo", heard)
        ground.wire.mangle = lambda data: [b"\xff" + data[1:]]
        feed.write(b"x\n")
        error, _ = await heard.ended()
        assert isinstance(error, HostUnreachable)
        assert not heard.bytes


@pytest.mark.parametrize("left", [2, 30])
async def test_a_server_that_hangs_up_in_a_packet_has_said_only_whole_ones(tmp_path: Path, way: str, left: int) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        feed = await transport.feed("echo", heard)
        feed.write(b"whole\n")
        await heard.until(lambda: heard.bytes == b"whole\n")

        def last(data: bytes) -> list[bytes]:
            asyncio.get_running_loop().call_later(0.05, ground.wire.writers[0].close)
            ground.wire.mangle = lambda data: []
            return [data[:left]]

        ground.wire.mangle = last
        feed.write(b"half\n")
        error, _ = await heard.ended()
        assert isinstance(error, HostUnreachable)
        assert heard.bytes == b"whole\n"


async def test_closing_a_feed_tells_its_receiver_once_and_frees_its_place(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport = await ground.connect()
        for _ in range(12):  # more than the sessions that a connection may have at a time
            heard = Heard()
            feed = await transport.feed("echo", heard)
            await feed.aclose()
            await feed.aclose()
            assert heard.ends == [(None, b"")]
            feed.write(b"lost silently")
        assert transport.connected


async def test_a_receiver_that_raises_ends_its_connection_only(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        broken, sound = await ground.connect(), await ground.connect()

        class Raising(Heard):
            def data(self, data: bytes) -> None:
                raise RuntimeError("receiver")

        bad, good = Raising(), Heard()
        await broken.feed("lines 5 330", bad)
        await sound.feed("lines 500 330", good)
        assert (await bad.ended())[0] is not None
        assert await good.ended() == (None, b"")
        assert good.bytes == _lines(500, 330)


async def test_a_silent_host_is_found_by_keepalives_and_a_talking_one_needs_none(tmp_path: Path, way: str) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(keepalive=0.4, keepalive_count=2), Heard()
        feed = await transport.feed("echo", heard)
        for _ in range(15):
            feed.write(b"tick\n")
            await asyncio.sleep(0.1)
        assert transport.connected
        ground.wire.mangle = lambda data: []
        error, _ = await heard.ended()
        assert isinstance(error, HostUnreachable)
        assert "keepalive" in str(error)


async def test_other_ciphers_go_the_long_way(tmp_path: Path) -> None:
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(ciphers=("chacha20-poly1305@openssh.com",)), Heard()
        assert transport._lane is None
        await transport.feed("lines 50 330", heard)
        assert await heard.ended() == (None, b"")
        assert heard.bytes == _lines(50, 330)


async def test_an_asyncssh_that_is_built_otherwise_goes_the_long_way_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inside._CONNECTION, "_no_such_attribute", int)
    caplog.set_level("INFO", logger=FastLane.__module__)
    async with _ground(tmp_path) as ground:
        transport, heard = await ground.connect(), Heard()
        assert transport._lane is None
        assert "_no_such_attribute" in caplog.text
        await transport.feed("lines 50 330", heard)
        assert await heard.ended() == (None, b"")
        assert heard.bytes == _lines(50, 330)
