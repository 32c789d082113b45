"""A look at a fleet's router from outside the daemon: nothing is changed."""

from __future__ import annotations

from sidestep.autopilot.doctor.examine import surgery
from sidestep.autopilot.doctor.findings import Examined, found
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.resolve import resolve
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.plugins.routers import load_router, router_spec

#: seconds that the host of the router may take
DEADLINE = 30.0
_NAME = Label("router")


async def looked_at(fleet: FleetSpec) -> tuple[str, ...]:
    """What the router has otherwise than it was told. Raises SidestepError, also if it does not answer."""
    if router_spec(fleet) is None:
        raise UsageError(f"{fleet.source}: fleet {fleet.name} has no router", hint="write a [router] table")
    async with surgery(fleet, DEADLINE) as shared:
        opened: list[Transport] = []

        def transport(name: str) -> Transport:
            if not opened:
                target = resolve(fleet.host(name), fleet, shared.config)
                opened.append(AsyncsshTransport(target, shared.keys, ring=shared.ring, tunnels=shared.tunnels))
            return opened[0]

        router = load_router(fleet, transport)
        assert router is not None
        try:
            await router.generation()
            return await router.differences()
        finally:
            await router.aclose()
            for each in opened:
                await each.aclose()


async def examined(fleet: FleetSpec) -> Examined | None:
    """What the doctor says of the router; None for a fleet without one."""
    spec = router_spec(fleet)
    if spec is None:
        return None
    try:
        differs = await looked_at(fleet)
    except SidestepError as error:
        wrong = found(_NAME, "router", "problem", str(error.args[0]), remedy=str(error.hint))
        return Examined(host=_NAME, findings=(wrong,))
    if differs:
        said = found(
            _NAME, "router", "warning", "has something else than it was told", detail="; ".join(differs),
            remedy="a running daemon puts it right; sidestep router check lists all",
        )  # fmt: skip
    else:
        said = found(_NAME, "router", "ok", f"{spec.engine} answers and has what it was told")
    return Examined(host=_NAME, findings=(said,))
