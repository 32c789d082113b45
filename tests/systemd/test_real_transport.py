"""The asyncssh transport on hosts with their own init, shells and limits."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from real_hosts import RealHost

from sidestep.fleet.errors import HostKeyRefused

Connect = Callable[..., Awaitable[Any]]


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 65536):
        yield data[at : at + 65536]


async def test_a_host_is_connected_to_and_runs_a_command(host: RealHost, connect: Connect) -> None:
    transport = await connect(host)
    done = await transport.run("hostname; cat >&2; exit 3", stdin=b"heard")
    assert (done.status, done.stdout, done.stderr) == (3, f"{host.name}\n".encode(), b"heard")


async def test_a_command_streams_both_ways(host: RealHost, connect: Connect) -> None:
    channel = await (await connect(host)).open('while read -r line; do echo "got $line"; done')
    for word in (b"one", b"two"):
        await channel.write(word + b"\n")
        assert await channel.readline() == b"got " + word + b"\n"
    await channel.finish_input()
    assert (await channel.wait()).status == 0


async def test_a_file_goes_there_and_comes_back_whole(host: RealHost, connect: Connect) -> None:
    transport = await connect(host)
    data = random.Random(5).randbytes(3_000_001)
    digest = await transport.send("/srv/carried", pieces(data))
    assert digest == hashlib.sha256(data).hexdigest()
    assert b"".join([c async for c in transport.fetch("/srv/carried")]) == data
    assert (await transport.run("stat -c %a /srv/carried; rm /srv/carried")).stdout == b"600\n"


async def test_the_key_of_another_host_is_refused(hosts: dict[str, RealHost], tmp_path: Any) -> None:
    first, second = list(hosts.values())[:2]
    lines = first.known_hosts.read_text().splitlines()
    key = next(line.split(" ", 1)[1] for line in lines if line.startswith(f"{second.address},"))
    swapped = tmp_path / "known_hosts"
    swapped.write_text(f"{first.address} {key}\n")
    liar = RealHost(**{**vars(first), "known_hosts": swapped})
    with pytest.raises(HostKeyRefused, match="has changed"):
        await liar.transport().connect()
