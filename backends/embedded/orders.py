"""What the embedded fleet and the keeper of its hosts say to each other: JSON lines."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Order(Struct, frozen=True, omit_defaults=True):
    """One line of control."""

    do: Literal["start", "kill", "revive", "cut", "heal"]
    host: str = ""
    #: for ``start``: the names of the hosts
    names: tuple[str, ...] = ()


class HostState(Struct, frozen=True):
    """Where a host listens, and the root of its process tree; pid 0 is a dead host."""

    name: str
    address: str
    port: int
    pid: int


class Report(Struct, frozen=True):
    """The answer to one Order; ``error`` is "" when it was done."""

    hosts: tuple[HostState, ...] = ()
    error: str = ""
