"""Connections share what is equal among them, and go on working."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
