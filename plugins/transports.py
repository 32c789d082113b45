"""The transport of a host, made by the one that the fleet file names; ours are found like anybody's."""

from __future__ import annotations

from typing import Any, Protocol, cast

from sidestep.backends.ssh.base import Transport
from sidestep.fleet.extensions import TRANSPORTS, PluginError, load
from sidestep.fleet.inventory import HostSpec


class Connector(Protocol):
    """What an entry point of ``sidestep.transports`` leads to; nothing is connected yet.

    ``target`` is the ``SshTarget`` (where, and as whom), ``keys`` the ``HostKeys`` that decide whom to
    trust before anything is accepted, ``ring`` the identities and ``tunnels`` the jump hosts that all
    transports of a fleet share. A transport that blocks does so in threads of its own.
    """

    def __call__(self, target: Any, keys: Any, *, ring: Any = None, tunnels: Any = None) -> Transport:
        """A transport that is not connected. Raises nothing that is about the host."""


class Connectors:
    """Makes transports, each by what its host names; a name is looked up once, however many hosts have it.

    A lookup reads what every installed distribution declares: milliseconds, and a fleet has a thousand hosts.
    """

    def __init__(self) -> None:
        self._known: dict[str, Connector] = {}

    def connect(self, host: HostSpec, target: object, keys: object, *, ring: object, tunnels: object) -> Transport:
        """The transport of a host. Raises PluginError if there is none of that name, or it makes none."""
        maker = self._known.get(host.transport)
        if maker is None:
            maker = self._known[host.transport] = cast(Connector, load(TRANSPORTS, host.transport))
        try:
            made = maker(target, keys, ring=ring, tunnels=tunnels)
        except Exception as error:  # a plugin may raise anything
            raise PluginError(
                f"transport {host.transport} cannot be made: {type(error).__name__}: {error}",
                hint='leave out transport = "..." for ours',
            ) from error
        if not isinstance(made, Transport):
            raise PluginError(
                f"transport {host.transport} is none: {type(made).__name__} lacks methods of Transport",
                hint="see sidestep.plugins.Transport",
            )
        return made
