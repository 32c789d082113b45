"""Where and how one host is reached: everything that dialling it needs, resolved beforehand."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

#: seconds between keepalives, and how many may be missed
KEEPALIVE = 5.0
KEEPALIVE_COUNT = 2


class SshTarget(Struct, frozen=True, kw_only=True):
    """One host as SSH sees it: fleet file and ssh_config already merged, paths absolute.

    Frozen and hashable, so that connections to jump hosts can be shared by target.
    """

    name: Label
    address: str
    port: int = 22
    #: empty is the user who runs the controller
    user: str = ""
    #: the name that known_hosts knows the host by, when it is not the address
    host_key_alias: str = ""
    #: private key files; empty is the agent and the default files, "none" alone is the agent alone
    identities: tuple[str, ...] = ()
    #: a missing identity is passed over, as ssh does with those of ssh_config
    identities_optional: bool = False
    #: certificate files beside those that lie next to an identity
    certificates: tuple[str, ...] = ()
    #: only ``identities``, even if the agent holds more
    identities_only: bool = False
    #: the agent's socket; empty is SSH_AUTH_SOCK, "none" is no agent
    agent: str = ""
    #: hosts to go through, outermost first
    jumps: tuple[SshTarget, ...] = ()
    family: Literal["any", "inet", "inet6"] = "any"
    connect_timeout: float = 5.0
    keepalive: float = KEEPALIVE
    keepalive_count: int = KEEPALIVE_COUNT
    #: algorithms that ssh_config asks for; empty is ours
    ciphers: tuple[str, ...] = ()
    kex: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    host_key_algorithms: tuple[str, ...] = ()
    #: known_hosts files that ssh_config names for this host; empty is the fleet's
    known_hosts: tuple[str, ...] = ()


def plain_target(spec: HostSpec, *, identity: str = "", connect_timeout: float = 5.0) -> SshTarget:
    """The target of a host without any ssh_config: what the fleet file says and nothing else."""
    chosen = spec.identity or identity
    return SshTarget(
        name=spec.name,
        address=spec.address,
        port=spec.port,
        user=spec.user,
        identities=(chosen,) if chosen else (),
        connect_timeout=connect_timeout,
    )
