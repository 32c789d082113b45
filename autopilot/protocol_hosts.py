"""Orders about hosts, on the daemon's socket: closed, emptied, open again; part of ``protocol_control``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class CordonHosts(Struct, frozen=True, tag="cordon-hosts"):
    """These hosts accept no new shards, until they are lifted or that unix time (0: never). Answered by HostOrders."""

    hosts: tuple[str, ...]
    reason: str = ""
    until: float = 0.0


class DrainHosts(Struct, frozen=True, tag="drain-hosts"):
    """These hosts are closed, all at once, and then emptied by plans like any other. Answered by HostOrders."""

    hosts: tuple[str, ...]
    reason: str = ""
    until: float = 0.0


class UncordonHosts(Struct, frozen=True, tag="uncordon-hosts"):
    """These hosts accept shards again and are emptied no further. Answered by HostOrders."""

    hosts: tuple[str, ...]
    reason: str = ""


class GetHostOrders(Struct, frozen=True, tag="get-host-orders"):
    """Which hosts are closed or emptied, and by whom. Answered by HostOrders."""


class OrderedHost(Struct, frozen=True, kw_only=True):
    """One host about which there is an order. Times are unix times; ``until`` 0 is until somebody lifts it."""

    host: Label
    #: cordon or drain
    wish: str
    state: str
    #: shards that the host still owns
    shards: int
    since: float
    until: float
    by: Label
    reason: Label


class HostOrders(Struct, frozen=True, tag="host-orders", kw_only=True):
    """Every order that stands, by host; ``text`` says what was done."""

    rows: tuple[OrderedHost, ...]
    text: Label = Label("")


HostRequest = CordonHosts | DrainHosts | UncordonHosts | GetHostOrders
HostReply = HostOrders
