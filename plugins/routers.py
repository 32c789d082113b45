"""The router of a fleet, made by the engine that its file names."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sidestep.backends.routing.engine import RouterEngine
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.extensions import ROUTERS, load
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.routing import RouterSpec


def router_spec(fleet: FleetSpec) -> RouterSpec | None:
    """What the fleet file says of its router; a socket alone is the embedded one's. None if nobody routes."""
    return fleet.routing or (RouterSpec(socket=fleet.router) if fleet.router else None)


def load_router(fleet: FleetSpec, transport_for: Callable[[str], Transport]) -> RouterEngine | None:
    """The fleet's router; nothing is asked of it yet. Raises PluginError."""
    spec = router_spec(fleet)
    return None if spec is None else cast(RouterEngine, load(ROUTERS, spec.engine)(spec, transport_for))
