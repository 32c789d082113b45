"""A fleet's hosts as workers of functions, from opening to closing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sidestep.autopilot.functions.reporting import Reporter
from sidestep.autopilot.functions.showing import showing
from sidestep.autopilot.functions.steerer import Steered, steered
from sidestep.autopilot.paths import socket_path
from sidestep.backends.functions.agents import Site
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.job import Conductor
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.resolve import fleet_known_hosts, fleet_ssh_config, resolve
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec


def chosen(fleet: FleetSpec, names: Sequence[str]) -> tuple[HostSpec, ...]:
    """The hosts that are meant, in the order given; all without. Raises UsageError."""
    known = {str(host.name): host for host in fleet.hosts}
    for name in names:
        if name not in known:
            raise UsageError(
                f"{name} is no host of fleet {fleet.name}", hint=f"it has {', '.join(list(known)[:20]) or 'none'}"
            )
    return tuple(known[name] for name in names) or fleet.hosts


@asynccontextmanager
async def session(
    fleet: FleetSpec,
    hosts: Sequence[str] = (),
    *,
    python: str = "python3",
    log: Path | None = None,
    moves: bool = True,
    told: Callable[[Steered], None] = lambda steered: None,
) -> AsyncIterator[Conductor]:
    """Workers on hosts of a fleet, ended with everything on them at the end. Raises SidestepError.

    With ``moves`` running blocks leave hosts that are forecast to have too little left for them; ``told`` of each.
    """
    specs = chosen(fleet, hosts)
    config = await asyncio.to_thread(fleet_ssh_config, fleet)
    keys = await asyncio.to_thread(HostKeys.load, *fleet_known_hosts(fleet))
    ring, tunnels = KeyRing.of(fleet), Tunnels()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(ring.aclose)
        stack.push_async_callback(tunnels.aclose)
        sites = []
        for spec in specs:
            target = resolve(spec, fleet, config)
            transport = AsyncsshTransport(target, keys, ring=ring, tunnels=tunnels)
            stack.push_async_callback(transport.aclose)
            sites.append(Site(spec.name, await numeric(target.address), transport, python))
        cluster = await stack.enter_async_context(Cluster(sites, name=fleet.name, log=log))
        daemon = Path(os.environ.get("SIDESTEP_SOCKET") or socket_path(fleet.name))
        conductor = Conductor(cluster, told=Reporter(daemon).tell)
        await stack.enter_async_context(showing(conductor, daemon))
        if moves and len(sites) > 1:
            await stack.enter_async_context(steered(conductor, told))
        yield conductor


async def numeric(address: str) -> str:
    """The address that workers of a host listen at: as it is, or as its name resolves here. Raises UsageError."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(address))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(
            f"{address} has no address: {error}", hint="give the host an address in the fleet file"
        ) from None
    return str(found[0][4][0])
