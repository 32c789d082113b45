"""The process that asks nodes what they make their clients wait; told what to ask on its standard input, which ends it.

python -m sidestep.backends.redis_cluster.listen
"""

from __future__ import annotations

import contextlib
import select
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from sidestep.backends.redis_cluster.access import Access
from sidestep.backends.secret import secret

if TYPE_CHECKING:
    from redis.connection import Connection

#: seconds between two lines of answers; and for which a node that does not answer is left alone
LINE: Final = 0.02
AGAIN: Final = 1.0


class Order(Struct, frozen=True, kw_only=True):
    """Whom to ask, how they are reached (references, no secret), and seconds between two questions."""

    nodes: tuple[tuple[str, int], ...]
    access: Access
    every: float


class Asked:
    """One node, over a connection that is made anew when it broke."""

    def __init__(self, host: str, port: int, access: Access) -> None:
        self._where, self._access = (host, port), access
        self._connection: Connection | None = None
        self._rests = 0.0

    def ask(self) -> float | None:
        """Seconds until it answered; None where it did not."""
        from redis.exceptions import RedisError  # noqa: PLC0415

        if time.monotonic() < self._rests:
            return None
        try:
            connection = self._connection or self._open()
            began = time.monotonic()
            connection.send_command("PING", check_health=False)  # type: ignore[no-untyped-call]
            connection.read_response()
        except (RedisError, OSError):
            if self._connection is not None:
                with contextlib.suppress(RedisError, OSError):
                    self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection, self._rests = None, time.monotonic() + AGAIN
            return None
        return time.monotonic() - began

    def _open(self) -> Connection:
        from redis.connection import Connection, SSLConnection  # noqa: PLC0415

        access = self._access
        options: dict[str, Any] = {
            "host": self._where[0], "port": self._where[1], "username": access.user or None,
            "password": secret(access.password, "--password") or None, "socket_timeout": AGAIN,
            "socket_connect_timeout": AGAIN, "protocol": 2,
        }  # fmt: skip
        if access.tls:
            connection: Connection = SSLConnection(
                **options, ssl_ca_certs=access.ca or None, ssl_certfile=access.cert or None,
                ssl_keyfile=access.key or None,
            )  # fmt: skip
        else:
            connection = Connection(**options)  # type: ignore[no-untyped-call]
        connection.connect()  # type: ignore[no-untyped-call]
        self._connection = connection
        return connection


def main() -> None:
    """Ask one node after the other until standard input ends; print microseconds, apart by blanks."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    nodes = [Asked(host, port, order.access) for host, port in order.nodes]
    told, due, said = list[str](), time.monotonic(), time.monotonic()
    at = 0
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due = max(due + order.every, time.monotonic())
        if nodes and (took := nodes[at % len(nodes)].ask()) is not None:
            told.append(str(int(took * 1e6)))
        at += 1
        if told and time.monotonic() > said + LINE:
            print(" ".join(told), flush=True)
            told, said = [], time.monotonic()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
