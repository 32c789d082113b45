"""What every transport must do, whatever library it is made of and whatever server answers.

Import all tests from here next to a fixture ``transport`` (connected, its host is named
"shared"). Nothing is looked at but through the transport itself, so the host may be
anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from shlex import quote
from typing import Any

import pytest

from sidestep.backends.ssh.base import Channel, Transport
from sidestep.fleet.errors import HostError

__all__ = [
    "place",
    "test_a_cancelled_command_is_killed_with_its_group",
    "test_a_channel_streams_lines_and_ends_at_end_of_input",
    "test_a_closed_channel_gives_the_command_end_of_file",
    "test_a_closed_feed_ends_its_command_and_tells_its_receiver_once",
    "test_a_command_killed_by_a_signal_has_a_negative_status",
    "test_a_command_over_its_time_is_killed_with_its_group",
    "test_a_command_returns_its_status_and_both_streams",
    "test_a_command_that_ignores_its_input_still_ends",
    "test_a_failed_command_of_a_feed_tells_why",
    "test_a_feed_pushes_every_byte_in_order",
    "test_a_line_over_the_limit_is_an_error_not_a_memory_leak",
    "test_a_ninth_session_waits_for_one_of_eight",
    "test_a_sent_file_is_private_whole_and_replaced_at_once",
    "test_connecting_twice_is_one_connection",
    "test_fetching_a_missing_file_says_so",
    "test_input_and_output_larger_than_every_window_pass",
    "test_sending_into_a_missing_folder_says_so",
]


@pytest.fixture
async def place(transport: Transport) -> AsyncIterator[str]:
    """A folder of the test's own on the host."""
    made = await transport.run("mktemp -d /tmp/contract.XXXXXXXX")
    path = made.stdout.decode().strip()
    yield path
    await transport.run(f"rm -rf {quote(path)}")


class Heard:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.bytes, self.ends = bytearray(), list[tuple[HostError | None, bytes]]()
        self.changed = asyncio.Event()

    def data(self, data: bytes) -> None:
        self.bytes += data
        self.changed.set()

    def end(self, error: HostError | None, stderr: bytes) -> None:
        self.ends.append((error, stderr))
        self.changed.set()

    async def until(self, what: Any) -> None:
        async with asyncio.timeout(20):
            while not what(self):
                self.changed.clear()
                await self.changed.wait()


async def chunks(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def content(transport: Transport, path: str) -> bytes:
    return (await transport.run(f"cat {quote(path)} 2>/dev/null")).stdout


async def ends(transport: Transport, pid: int) -> bool:
    """Whether the process of that number is gone soon."""
    for _ in range(100):
        done = await transport.run(f"case $(cat /proc/{pid}/stat 2>/dev/null) in '' | *') Z '*) echo gone;; esac")
        if done.stdout == b"gone\n":
            return True
        await asyncio.sleep(0.05)
    return False


async def test_connecting_twice_is_one_connection(transport: Transport) -> None:
    await asyncio.gather(transport.connect(), transport.connect())
    parents = [(await transport.run("echo $PPID")).status for _ in range(2)]
    assert parents == [0, 0]
    assert isinstance(transport, Transport)


async def test_a_command_returns_its_status_and_both_streams(transport: Transport) -> None:
    done = await transport.run("cat; echo oops >&2; exit 3", stdin=b"\xff\x00\n")
    assert (done.status, done.stdout, done.stderr) == (3, b"\xff\x00\n", b"oops\n")


async def test_a_command_killed_by_a_signal_has_a_negative_status(transport: Transport) -> None:
    assert (await transport.run("kill -TERM $$")).status == -15


async def test_a_command_that_ignores_its_input_still_ends(transport: Transport) -> None:
    assert (await transport.run("true", stdin=b"x" * 5_000_000)).status == 0


async def test_input_and_output_larger_than_every_window_pass(transport: Transport) -> None:
    data = random.Random(1).randbytes(9_000_000)
    assert (await transport.run("cat", stdin=data, timeout=60)).stdout == data


async def test_a_command_over_its_time_is_killed_with_its_group(transport: Transport, place: str) -> None:
    with pytest.raises(HostError, match=r"shared: run: did not end within 1 s.*command.*log: working") as caught:
        await transport.run(f"echo working >&2; sleep 600 & echo $! > {place}/pid; wait", timeout=1)
    assert caught.value.step == "run"
    assert await ends(transport, int(await content(transport, f"{place}/pid")))


async def test_a_cancelled_command_is_killed_with_its_group(transport: Transport, place: str) -> None:
    task = asyncio.create_task(transport.run(f"sleep 600 & echo $! > {place}/pid; wait", timeout=60))
    async with asyncio.timeout(20):
        while not (pid := (await content(transport, f"{place}/pid")).strip()):
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ends(transport, int(pid))


async def test_a_channel_streams_lines_and_ends_at_end_of_input(transport: Transport) -> None:
    channel = await transport.open("cat")
    assert isinstance(channel, Channel)
    await channel.write(b"one\ntwo\nrest")
    assert await channel.readline() == b"one\n"
    assert await channel.readline() == b"two\n"
    await channel.finish_input()
    assert await channel.readline() == b"rest"
    assert await channel.readline() == b""
    assert (await channel.wait()).status == 0


async def test_a_line_over_the_limit_is_an_error_not_a_memory_leak(transport: Transport) -> None:
    channel = await transport.open("head -c 300000 /dev/zero; sleep 5")
    with pytest.raises(ValueError, match=r"longer than 262144"):
        await channel.readline()
    await channel.aclose()


async def test_a_closed_channel_gives_the_command_end_of_file(transport: Transport) -> None:
    channel = await transport.open("echo $$; exec cat")
    pid = int(await channel.readline())
    await channel.aclose()
    assert await ends(transport, pid)


async def test_a_ninth_session_waits_for_one_of_eight(transport: Transport) -> None:
    channels = [await transport.open("cat") for _ in range(8)]
    ninth = asyncio.create_task(transport.run("echo ninth"))
    await asyncio.sleep(0)
    assert not ninth.done()
    await channels[0].aclose()
    assert (await ninth).stdout == b"ninth\n"
    await asyncio.gather(*(c.aclose() for c in channels))
    done = await asyncio.gather(*(transport.run("echo x") for _ in range(20)))
    assert all(d.stdout == b"x\n" for d in done)


async def test_a_feed_pushes_every_byte_in_order(transport: Transport) -> None:
    heard, size = Heard(), 3_000_000
    feed = await transport.feed("read go; head -c 3000000 /dev/zero | tr '\\0' x; echo; exec cat", heard)
    feed.write(b"go\n")
    await heard.until(lambda h: len(h.bytes) >= size + 1)
    feed.write(b"echoed\n")
    await heard.until(lambda h: h.bytes.endswith(b"echoed\n"))
    assert bytes(heard.bytes) == b"x" * size + b"\nechoed\n"
    assert heard.ends == []
    await feed.aclose()


async def test_a_closed_feed_ends_its_command_and_tells_its_receiver_once(transport: Transport) -> None:
    heard = Heard()
    feed = await transport.feed("echo $$; exec cat", heard)
    await heard.until(lambda h: h.bytes.endswith(b"\n"))
    await feed.aclose()
    await feed.aclose()
    feed.write(b"nobody reads this\n")
    await heard.until(lambda h: h.ends)
    assert len(heard.ends) == 1
    assert await ends(transport, int(heard.bytes))


async def test_a_failed_command_of_a_feed_tells_why(transport: Transport) -> None:
    heard = Heard()
    feed = await transport.feed("echo broken >&2; exit 4", heard)
    await heard.until(lambda h: h.ends)
    assert b"broken" in heard.ends[0][1]
    await feed.aclose()
    assert len(heard.ends) == 1


async def test_a_sent_file_is_private_whole_and_replaced_at_once(transport: Transport, place: str) -> None:
    """S3.6: state arrives whole or not at all."""
    target = f"{place}/it's a $(file)\nname"
    await transport.run(f"echo old > {quote(target)}")
    data = random.Random(2).randbytes(3_000_001)
    digest = await transport.send(target, chunks(data))
    assert digest == hashlib.sha256(data).hexdigest()
    assert b"".join([c async for c in transport.fetch(target)]) == data
    found = await transport.run(f"stat -c %a {quote(target)}; ls -A {quote(place)} | wc -l")
    assert found.stdout.split() == [b"600", b"2"]  # one name of two lines


async def test_sending_into_a_missing_folder_says_so(transport: Transport, place: str) -> None:
    with pytest.raises(HostError, match=r"shared: (send|write): .*(No such file|nonexistent|Directory)"):
        await transport.send(f"{place}/no/file", chunks(b"x"))


async def test_fetching_a_missing_file_says_so(transport: Transport, place: str) -> None:
    with pytest.raises(HostError, match=r"shared: fetch: cannot read"):
        _ = [c async for c in transport.fetch(f"{place}/missing")]
