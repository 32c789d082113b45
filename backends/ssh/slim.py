"""What a connection keeps from its handshake and never looks at again, shared or dropped.

With a thousand connections it is such leftovers that fill the memory. Everything here is
looked for before it is touched: with an asyncssh that keeps it elsewhere, nothing happens.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import asyncssh

#: lists and sets of algorithm names, which a later key exchange only reads or replaces
_LISTS: Final = (
    "_kex_algs", "_enc_algs", "_mac_algs", "_cmp_algs", "_sig_algs", "_server_host_key_algs",
    "_server_sig_algs", "_rsa_sig_algs",
)  # fmt: skip
#: equal values of all connections, once; algorithms come in a handful of combinations
_same: Final[dict[tuple[str, Hashable], Any]] = {}
_MOST: Final = 256
#: options that opening a session reads, and what every connection of ours has there
_SESSION: Final = ("command", "subsystem", "env", "send_env", "request_pty", "encoding", "window", "max_pktsize")


def slim(conn: asyncssh.SSHClientConnection) -> None:
    """Share what is equal among connections, and let go of the options that only the handshake needed."""
    held = vars(conn)
    for name in _LISTS:
        value = held.get(name)
        if isinstance(value, list | set) and len(_same) < _MOST:
            key: Hashable = tuple(value) if isinstance(value, list) else frozenset(value)
            held[name] = _same.setdefault((name, key), value)
    # The key that the host showed is one that we know: keep ours, not both.
    shown = held.get("_server_host_key")
    for known in held.get("_trusted_host_keys") or ():
        if known == shown:
            held["_server_host_key"] = known
    # Asked only while logging in, and closed since.
    if held.get("_agent") is not None and not held.get("_agent_forward_path"):
        held["_agent"] = None
    options = held.get("_options")
    if not isinstance(options, asyncssh.SSHClientConnectionOptions):
        return
    try:
        session = tuple(repr(getattr(options, name)) for name in _SESSION)
    except AttributeError:
        return
    if len(_same) < _MOST:
        held["_options"] = _same.setdefault(("_options", session), options)
