"""``[router]`` of the fleet file: which engine routes requests, and where it is."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class RouterSpec(Struct, frozen=True, kw_only=True):
    """The router of a fleet. ``engine`` is the name of a plugin of ``sidestep.routers``.

    ``embedded`` needs its ``socket`` only. ``haproxy`` has its runtime API at ``socket`` and its files in ``folder``,
    both on ``host``, a host of the fleet, or on the controller where that is "".
    """

    engine: str = "embedded"
    socket: str = ""
    folder: str = ""
    host: Label = Label("")
    #: where HAProxy listens, and how it finds the app and the key of a request
    bind: str = "127.0.0.1:8080"
    app: str = "path,field(2,/)"
    key: str = "path,field(3,/)"
    #: endpoints that a shard may have besides its owner
    endpoints: int = 8
    #: seconds that a request of a held shard waits at most, before it is answered with 503
    wait: float = 30.0
