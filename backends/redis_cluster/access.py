"""How nodes are reached: addresses, and references to secrets and certificates, which are read when they are needed."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub


class Access(Struct, frozen=True, kw_only=True):
    """One way in for all nodes of a cluster, without a secret: ``password`` is ``file:PATH`` or ``command:LINE``."""

    user: str = ""
    password: str = ""
    tls: bool = False
    #: PEM files: whom we trust (the system's authorities without), and who we are
    ca: str = ""
    cert: str = ""
    key: str = ""
    #: seconds until a connection, and until an answer
    timeout: float = 10.0


def address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{scrub(text)!r} is no address of a node", hint="write HOST:PORT, such as 10.0.0.1:6379")
    return host, int(port)


def written(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets where the host needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
