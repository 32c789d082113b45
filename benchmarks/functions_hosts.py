"""Hosts that run functions, for benchmarks: those of a test fleet, or embedded ones where none can be.

A test fleet's hosts (docs/testfleet.md) have a small image of their own, so they are lent this machine's Python and
this repository, read-only, into their mount namespaces; nothing of it is left when a host is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn, Protocol

from scripts.testfleet.fleet import Fleet, check_machine
from scripts.testfleet.shell import Impossible
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.functions.agents import Site
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_MOUNT_SETATTR: Final = 442
_NEW_MOUNTS: Final = 0x20000
ENGINE: Final = "sidestep.backends.functions.engine"
NURSERY: Final = "sidestep.backends.functions.nursery"


class Hosts(Protocol):
    """What a benchmark does with hosts."""

    names: Sequence[str]
    #: what kind they are, for the report
    kind: str

    def sites(self) -> list[Site]:
        """Where workers are started, in order."""

    def home(self, host: str) -> Path:
        """Where the host's ``~`` is on this machine; it outlives the host's processes."""

    def processes(self, host: str) -> dict[int, str]:
        """Command lines of what runs on the host, by this machine's pids."""

    async def crash(self, host: str) -> None:
        """Kill every process of the host at once."""

    async def cut_power(self, host: str) -> None:
        """The same, and nobody is told: the network goes first."""


def worker_of(hosts: Hosts, host: str) -> int:
    """The pid of the host's worker: the engine that has a nursery. Raises LookupError."""
    there = hosts.processes(host)
    engines = {pid for pid, line in there.items() if ENGINE in line}
    for pid, line in there.items():
        if NURSERY in line and (parent := parent_of(pid)) in engines:
            return parent
    raise LookupError(f"no worker on {host}")


def parent_of(pid: int) -> int:
    """The parent's pid; 0 of a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


class RealHosts:
    """The hosts of the test fleet that this process was started in."""

    kind = "systemd hosts in namespaces"

    def __init__(self, fleet: Fleet, names: Sequence[str] = ()) -> None:
        self.fleet = fleet
        self.plans = {name: host.plan for name, host in fleet.state().hosts.items() if not names or name in names}
        self.names = tuple(self.plans)
        for name in self.names:
            self.lend(name)

    def lend(self, host: str) -> None:
        """Give a host this Python and this repository, to read."""
        known = self.fleet.state().hosts[host].pid1
        if known is None:
            raise UsageError(f"{host} is off")
        here = Path(__file__).resolve().parents[1]
        wanted = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), here}
        paths = [path for path in sorted(wanted) if not any(other in path.parents for other in wanted)]
        if Path("/usr") in paths:
            raise UsageError(
                "this Python is the system's, and cannot be lent to hosts that have a /usr of their own",
                hint="use a Python of its own prefix, or --embedded",
            )
        words = [sys.executable, "-m", "benchmarks.functions_hosts", str(known.pid), *map(str, paths)]
        subprocess.run(words, check=True, cwd=here)

    def sites(self) -> list[Site]:
        """Where workers are started, in order."""
        keys = HostKeys.load(self.fleet.places.known_hosts)
        specs = [HostSpec(name=Label(plan.name), address=plan.address, user="root") for plan in self.plans.values()]
        return [_site(spec, self.fleet.places.identity, keys) for spec in specs]

    def home(self, host: str) -> Path:
        """Root's home on the host's own disk."""
        return self.fleet.places.host(host) / "upper" / "root"

    def processes(self, host: str) -> dict[int, str]:
        """What is in the host's control group."""
        return {pid: _command_line(pid) for pid in self.fleet.groups.pids(host)}

    async def crash(self, host: str) -> None:
        """End its PID 1, and with it everything; its network says goodbye as a kernel does."""
        known = self.fleet.state().hosts[host].pid1
        assert known is not None
        os.kill(known.pid, signal.SIGKILL)

    async def cut_power(self, host: str) -> None:
        """Pull the plug."""
        await asyncio.to_thread(self.fleet.kill, host)


class EmbeddedHosts:
    """Hosts that are real to everything but the kernel."""

    kind = "embedded hosts"

    def __init__(self, fleet: EmbeddedFleet) -> None:
        self.fleet, self.names = fleet, fleet.names

    def sites(self) -> list[Site]:
        """Where workers are started, in order."""
        keys = HostKeys.load(self.fleet.known_hosts)
        return [_site(spec, self.fleet.identity, keys) for spec in self.fleet.hosts]

    def home(self, host: str) -> Path:
        """Its HOME."""
        return self.fleet.folder / "hosts" / host

    def processes(self, host: str) -> dict[int, str]:
        """What its SSH server started."""
        return dict(self.fleet.tree(host))

    async def crash(self, host: str) -> None:
        """End its processes."""
        await self.fleet.kill(host)

    async def cut_power(self, host: str) -> None:
        """Cut the link first."""
        await self.fleet.cut(host)
        await self.fleet.kill(host)


@asynccontextmanager
async def hosts_of(count: int, *, embedded: bool = False) -> AsyncIterator[Hosts]:
    """Hosts of the test fleet, or so many embedded ones. Raises UsageError when the fleet has fewer."""
    name = os.environ.get("SIDESTEP_TESTFLEET", "")
    if name and not embedded:
        found = RealHosts(Fleet(name))
        if len(found.names) < count:
            raise UsageError(
                f"test fleet {name} has {len(found.names)} hosts, {count} are needed", hint=f"run -n {count} -- ..."
            )
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as folder:
        async with EmbeddedFleet(Path(folder) / "fleet", hosts=count) as fleet:
            yield EmbeddedHosts(fleet)


def in_a_fleet(module: str, count: int, *options: str) -> None:
    """Begin this benchmark again inside a test fleet of its own, where one is possible; else return.

    Never returns when it does: the process becomes the fleet's.
    """
    if os.environ.get("SIDESTEP_TESTFLEET"):
        return
    try:
        check_machine()
    except Impossible as error:
        print(f"no test fleet ({error}): embedded hosts instead", file=sys.stderr)
        return
    _become(
        *("-m", "scripts.testfleet", "run", "-n", str(count), "--interpreter", "python", *options, "--"),
        *(sys.executable, "-m", f"benchmarks.{module}", *sys.argv[1:]),
    )


def _become(*words: str) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *words])


def _site(spec: HostSpec, identity: Path, keys: HostKeys) -> Site:
    target = plain_target(spec, identity=str(identity), connect_timeout=30)
    return Site(str(spec.name), spec.address, AsyncsshTransport(target, keys), sys.executable)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _lend(pid: int, paths: Sequence[str]) -> None:
    """Mount folders of this machine at the same place in another mount namespace, read-only (Linux 5.12).

    Runs in a process of its own: whoever enters a mount namespace does not come back.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *words: object) -> int:
        found = int(libc.syscall(number, *words))
        if found < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot lend folders to a host: {os.strerror(error)}")
        return found

    clone, recursive, empty_path, here = 1, 0x8000, 0x1000, -100
    trees = []
    for path in paths:
        tree = call(_OPEN_TREE, here, path.encode(), clone | recursive | os.O_CLOEXEC)
        read_only = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
        call(_MOUNT_SETATTR, tree, b"", empty_path | recursive, ctypes.byref(read_only), 32)
        trees.append((path, tree))
    space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(space, _NEW_MOUNTS) < 0:
        raise OSError(ctypes.get_errno(), "cannot enter a host")
    for path, tree in trees:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - in the other namespace, with strings at hand
        call(_MOVE_MOUNT, tree, b"", here, path.encode(), 4)


if __name__ == "__main__":
    _lend(int(sys.argv[1]), sys.argv[2:])
