"""The embedded fleet: N hosts on loopback, each one process with an SSH server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from sidestep.backends.embedded import proctree
from sidestep.backends.embedded.orders import Order, Report
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import scrub

_STOP_SECONDS: Final = 15.0


class EmbeddedFleet:
    """Hosts that are real to everything but the kernel: own address, host key, HOME and process tree.

    Everything lives in ``folder``: the client's key ``id_ed25519``, ``known_hosts``, and each
    host's HOME ``hosts/<name>``, which survives ``kill`` and ``revive`` as a disk does. The
    hosts end with this process, however it ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hosts: int = 4,
        cpu: float = 0.3,
        memory: int = 256 << 20,
        seed: int = 7,
        names: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.names = tuple(names) if names is not None else tuple(f"h{i}" for i in range(1, hosts + 1))
        self.seed = seed
        self.hosts: tuple[HostSpec, ...] = ()
        self._cpu, self._memory = cpu, memory
        self._pids: dict[str, int] = {}
        self._keeper: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        if not 1 <= len(self.names) <= 250 or len(set(self.names)) != len(self.names):
            raise ValueError(f"an embedded fleet has 1 to 250 hosts of different names, not {self.names!r}")

    @property
    def known_hosts(self) -> Path:
        """The host keys of this fleet, to verify against."""
        return self.folder / "known_hosts"

    @property
    def identity(self) -> Path:
        """The private key that the hosts accept."""
        return self.folder / "id_ed25519"

    async def start(self) -> None:
        """Start every host; returns when all of them accept connections. Raises SidestepError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._keeper = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sidestep.backends.embedded.keeper", str(self.folder)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            report = await self._ask(Order("start", names=self.names))
        except BaseException:
            await self.stop()
            raise
        self.hosts = tuple(
            HostSpec(
                name=scrub(state.name),
                address=state.address,
                port=state.port,
                user="ops",
                cpu=self._cpu,
                memory=self._memory,
            )
            for state in report.hosts
        )

    async def stop(self) -> None:
        """End every host and everything on them; harmless when done twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None
        keeper.stdin.close()
        try:
            await asyncio.wait_for(keeper.wait(), _STOP_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                keeper.kill()
            await keeper.wait()
        self._pids.clear()

    async def kill(self, host: str) -> None:
        """Pull the plug: end the host and everything on it at once, without a word."""
        await self._ask(Order("kill", host))

    async def revive(self, host: str) -> None:
        """Boot a dead host again: same address, key and HOME, nothing running. A no-op on a living one."""
        await self._ask(Order("revive", host))

    async def cut(self, host: str) -> None:
        """Cut the host's SSH link: connections stall silently, new ones get nothing; shards run on."""
        await self._ask(Order("cut", host))

    async def heal(self, host: str) -> None:
        """Undo ``cut``."""
        await self._ask(Order("heal", host))

    def tree(self, host: str) -> list[tuple[int, str]]:
        """Pid and command line of everything alive on the host, without its SSH server."""
        pid = self._pids.get(host, 0)
        found = [(p.pid, proctree.command_line(p.pid)) for p in proctree.descendants(pid)] if pid else []
        return [(pid, line) for pid, line in found if line]

    def server(self, host: str) -> int:
        """Pid of the host's SSH server, the root of its tree; 0 when the host is dead."""
        return self._pids.get(host, 0)

    @property
    def _log(self) -> Path:
        return self.folder / "keeper.log"

    async def _ask(self, order: Order) -> Report:
        if self._keeper is None or self._keeper.stdin is None or self._keeper.stdout is None:
            raise SidestepError("the embedded fleet is not running", hint="start() it first")
        async with self._turn:
            line = b""
            with contextlib.suppress(OSError):
                self._keeper.stdin.write(msgspec.json.encode(order) + b"\n")
                await self._keeper.stdin.drain()
                line = await self._keeper.stdout.readline()
        if not line:
            raise SidestepError("the keeper of the embedded hosts has ended", hint=f"look at {self._log}")
        report = msgspec.json.decode(line, type=Report)
        if report.error:
            raise SidestepError(report.error)
        self._pids = {state.name: state.pid for state in report.hosts}
        return report

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
