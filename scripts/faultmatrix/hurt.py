"""What each fault really does while a move stands still, and how the world is put right afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from shlex import quote
from typing import TYPE_CHECKING, Final

from scripts.faultmatrix.cells import SOURCE, Cell, Fault
from scripts.faultmatrix.daemon import HarnessError
from scripts.faultmatrix.processes import Found, kill

if TYPE_CHECKING:
    from scripts.faultmatrix.lane import Lane

HOUR: Final = 3600.0
#: seconds for which a fault lasts that does not end by itself, unless the move ends before
LASTS: Final[dict[Fault, float]] = {
    Fault.CUT_LINK: 4.0,
    Fault.POWER_LOSS: 1.5,
    Fault.DISK_FULL: 6.0,
    Fault.SLOW_DISK: 8.0,
    Fault.CLOCK_AHEAD: 20.0,
    Fault.CLOCK_BACK: 20.0,
}
_START: Final = """
d=$HOME/.local/state/sidestep/{fleet}/{shard}
mkdir -p "$d/state" && cd "$d/state" || exit 9
SHARD={shard} TOKEN={token} PORT={port} ADDRESS={address} STATE=$d/state
export SHARD TOKEN PORT ADDRESS STATE
exec setsid sh -c '
    read -r line <"/proc/$$/stat"; set -f; set -- ${{line##*") "}}; shift 19
    printf "%s %s %s %s %s\\n" "$$" "$1" "$TOKEN" "$PORT" "$ADDRESS" >"$0"
    exec python3 -S -I {program} serve --durable' "$d/pid" </dev/null >/dev/null 2>&1 &
"""


class Hurt:
    """One fault of one cell."""

    kill = staticmethod(kill)

    def __init__(
        self, lane: Lane, cell: Cell, shard: str, source: str, destination: str, *, token: int, port: int
    ) -> None:
        """``token`` and ``port`` are those of the shard as it served before the action."""
        self._lane, self._cell, self._shard, self.destination = lane, cell, shard, destination
        self._host = source if cell.side in (SOURCE, "") else destination
        self._token, self._port = token, port
        self._hurt = False

    async def do(self) -> None:
        """Make the fault. Raises HarnessError if there is nothing that it could meet."""
        self._hurt = True
        hosts, host = self._lane.hosts, self._host
        match self._cell.fault:
            case Fault.KILL_DAEMON:
                self._lane.daemon.kill()
            case Fault.KILL_SHARD:
                for found in self._processes():
                    kill(found)
            case Fault.CUT_LINK:
                await hosts.cut(host)
            case Fault.POWER_LOSS:
                await hosts.lose_power(host)
            case Fault.DISK_FULL:
                await asyncio.to_thread(hosts.disks[host].fill)
            case Fault.SLOW_DISK:
                await hosts.slow(host, True)
            case Fault.CLOCK_AHEAD:
                self._lane.daemon.shift(HOUR)
            case Fault.CLOCK_BACK:
                self._lane.daemon.shift(-HOUR)
            case Fault.STALE_OWNER:
                await self._come_back()

    def _processes(self) -> list[Found]:
        address = self._lane.address(self._host)
        found = [f for f in self._lane.processes(self._shard) if f.address == address]
        if not found:
            raise HarnessError(f"no process of {self._shard} on {self._host}")
        return found

    async def _come_back(self) -> None:
        """An older owner runs again: thawed where it was stopped, or started anew with an older token."""
        if self._cell.side == SOURCE:
            await self._lane.come_back(self._host)
        address = self._lane.address(self._host)
        there = [f for f in self._lane.processes(self._shard) if f.address == address]
        if self._cell.side == SOURCE and there:
            for found in there:
                kill(found, signal.SIGCONT)
            return
        token = self._token if self._cell.side == SOURCE else self._token - 1
        await start(self._lane, self._shard, self._host, token, self._port)

    async def wait(self, over: Callable[[], Awaitable[bool]]) -> None:
        """Let a fault that lasts meet the move for a while."""
        end = time.monotonic() + LASTS.get(self._cell.fault, 0.0)
        while time.monotonic() < end and not await over():  # noqa: ASYNC110 - the daemon is another process
            await asyncio.sleep(0.1)

    async def heal(self) -> None:
        """The world is sound again; done twice it changes nothing."""
        if not self._hurt:
            return
        self._hurt = False
        hosts, host = self._lane.hosts, self._host
        match self._cell.fault:
            case Fault.CUT_LINK:
                await hosts.heal(host)
            case Fault.POWER_LOSS:
                await hosts.power_on(host)
            case Fault.DISK_FULL:
                await asyncio.to_thread(hosts.disks[host].clear)
            case Fault.SLOW_DISK:
                await hosts.slow(host, False)
            case Fault.CLOCK_AHEAD | Fault.CLOCK_BACK:
                self._lane.daemon.shift(0.0)

    @staticmethod
    async def help(lane: Lane, shard: str) -> bool:
        """What a person does about a shard that was left to people: start the owner from its own files."""
        host, token = lane.daemon.owner(shard)
        if lane.running(shard):
            return False
        _, port = lane.daemon.endpoint(shard)
        await start(lane, shard, host, token, port)
        return True


async def start(lane: Lane, shard: str, host: str, token: int, port: int) -> None:
    """Start a process of the shard by hand on a host, from the files that are there. Raises HarnessError."""
    transport = await lane.transport(host)
    script = _START.format(
        fleet=lane.fleet,
        shard=shard,
        token=token,
        port=port,
        address=lane.address(host),
        program=quote(lane.hosts.program),
    )
    done = await transport.run("exec sh -s", stdin=script.encode(), timeout=20.0)
    if done.status:
        raise HarnessError(f"{host}: cannot start {shard} by hand: {done.stderr.decode(errors='replace')}")
    address = lane.address(host)

    async def runs() -> bool:
        found = await asyncio.to_thread(lane.processes, shard)
        return any((f.address, f.token) == (address, token) for f in found)

    await lane.until(runs, f"{shard} does not start on {host}", 10.0)
