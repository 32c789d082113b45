"""Connections share what is equal among them, and go on working."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sidestep.fleet.errors import HostError

pytestmark = pytest.mark.openssh


async def test_connections_share_algorithms_and_options_and_still_agree_on_new_keys(sshd: Callable[..., Any]) -> None:
    first, second = [await sshd(name).connected() for name in ("a", "b")]
    one, other = first._conn, second._conn
    for name in ("_options", "_kex_algs", "_enc_algs", "_mac_algs", "_server_sig_algs"):
        assert getattr(one, name) is getattr(other, name), name
    assert one._server_host_key in one._trusted_host_keys
    assert one._server_host_key != other._server_host_key
    for transport in (first, second):
        keys = transport._conn._session_id, transport._conn._recv_encryption
        # a little of ours on the way is enough for new keys
        transport._conn._rekey_bytes = 3000
        assert (await transport.run("wc -c", stdin=bytes(3_000_000))).stdout == b"3000000\n"
        assert transport._conn._session_id == keys[0]
        assert transport._conn._recv_encryption is not keys[1]


async def test_a_feed_that_floods_its_standard_error_is_ended(shared_sshd: Any) -> None:
    transport = await shared_sshd.connected()
    told: asyncio.Future[tuple[HostError | None, bytes]] = asyncio.get_running_loop().create_future()

    class Deaf:
        def data(self, data: bytes) -> None:
            raise AssertionError("nothing was said")

        def end(self, error: HostError | None, stderr: bytes) -> None:
            told.set_result((error, stderr))

    feed = await transport.feed("exec yes complaint >&2", Deaf())
    async with asyncio.timeout(20):
        error, stderr = await told
    assert "more than 1 MiB to standard error" in str(error)
    assert b"complaint" in stderr
    await feed.aclose()
    assert (await transport.run("echo well")).stdout == b"well\n"
    await transport.aclose()
