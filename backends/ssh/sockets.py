"""A socket on a host whose connections come to a socket of ours, over the connection that is there anyway."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Awaitable, Callable
from shlex import quote
from typing import Final

import asyncssh

from sidestep.backends.ssh.base import Completed
from sidestep.fleet.errors import HostError

_STEP: Final = "carry a socket"
_HINT: Final = (
    "let its sshd forward sockets: AllowStreamLocalForwarding, DisableForwarding, and permitlisten of the key"
)

_OTHER: Final = "name another path for locks, or take away what is there"


class CarriedSocket:
    """Implements ``Carried``."""

    def __init__(
        self, conn: asyncssh.SSHClientConnection, listener: asyncssh.SSHListener, settle: Callable[[], None]
    ) -> None:
        self._conn, self._listener = conn, listener
        self._settle: Callable[[], None] | None = settle

    async def wait_closed(self) -> None:
        """Return when the connection has ended, and the socket with it."""
        await self._conn.wait_closed()
        self.close()

    def close(self) -> None:
        """Take the socket away; once is enough."""
        settle, self._settle = self._settle, None
        if settle is not None:
            self._listener.close()
            settle()


async def carry_socket(
    host: str,
    conn: asyncssh.SSHClientConnection,
    run: Callable[[str], Awaitable[Completed]],
    attend: Callable[[], Callable[[], None]],
    path: str,
    local: str,
) -> CarriedSocket:
    """Listen there (0600, as sshd makes it) and connect whoever comes to ``local`` here. Raises HostError.

    ``path`` is a link to the socket, whose own name no connection has twice: the sshd of a connection that was lost
    may notice that late, and then removes what it listened at. Anything at ``path`` that is no link is an error. The
    folder is made for this user alone if there is none.
    """
    own = f"{path}.{secrets.token_hex(4)}"
    folder, link, at = quote(posixpath.dirname(path)), quote(path), quote(own)
    made = await run(f"mkdir -p -m 700 -- {folder} && {{ test ! -e {link} || test -L {link}; }}")
    if made.status:
        raise HostError(host, _STEP, f"{path} is there, and is no link of ours", tail=made.stderr, hint=_OTHER)
    settle = attend()
    try:
        listener = await conn.forward_remote_path(own, local)
        carried = CarriedSocket(conn, listener, settle)
    except (OSError, asyncssh.Error, asyncssh.ChannelListenError) as error:
        settle()
        raise HostError(host, _STEP, f"nothing listens at {path}: {error}", hint=_HINT) from error
    except BaseException:
        settle()
        raise
    try:
        others = f'for s in {link}.????????; do test "$s" = {at} || test ! -S "$s" || rm -f -- "$s"; done'
        linked = await run(f"ln -sfn -- {at} {link} && {others}")
    except BaseException:
        carried.close()
        raise
    if linked.status:
        carried.close()
        raise HostError(host, _STEP, f"{path} cannot be made", tail=linked.stderr)
    return carried
