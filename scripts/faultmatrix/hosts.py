"""The hosts of a lane, on the embedded fleet or on the test fleet, and what can be done to them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from scripts.faultmatrix.disks import SIZE, Disk
from scripts.testfleet.fleet import Fleet
from sidestep.backends.embedded import proctree
from sidestep.backends.embedded.demo_fleet import COUNTER
from sidestep.backends.embedded.hosts import EmbeddedFleet
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

#: where shards live, below HOME
STATE: Final = ".local/state/sidestep"
_UNIT: Final = "faultdisk.service"


class Hosts(Protocol):
    """Hosts that are hurt and healed; every call is done when it returns."""

    specs: tuple[HostSpec, ...]
    known_hosts: Path
    identity: Path
    #: the shard's program on every host
    program: str
    disks: dict[str, Disk]

    async def start(self) -> None:
        """Have all hosts on, with their disks."""
        ...

    async def stop(self) -> None:
        """Leave nothing behind."""
        ...

    async def cut(self, host: str) -> None:
        """Pull the cable."""
        ...

    async def heal(self, host: str) -> None:
        """Put it back."""
        ...

    async def lose_power(self, host: str) -> None:
        """Everything on it ends at once, and what was not synced is gone."""
        ...

    async def power_on(self, host: str) -> None:
        """Boot it again; harmless if it is on."""
        ...

    async def slow(self, host: str, on: bool) -> None:
        """Make its disk slow, or fast again."""
        ...


class EmbeddedHosts:
    """Some embedded hosts; as root each has a disk of its own."""

    def __init__(self, folder: Path, *, disks: bool, count: int = 2, size: int = SIZE) -> None:
        self._folder = folder
        self._fleet = EmbeddedFleet(folder / "fleet", hosts=count, cpu=4.0, memory=4 << 30)
        self.specs: tuple[HostSpec, ...] = ()
        self.known_hosts, self.identity = self._fleet.known_hosts, self._fleet.identity
        self.program = str(COUNTER)
        homes = {name: self._fleet.folder / "hosts" / name / STATE for name in self._fleet.names}
        self.disks = {n: Disk(folder / f"{n}.img", home, size) for n, home in homes.items()} if disks else {}

    async def start(self) -> None:
        """Have all hosts on, with their disks."""
        for disk in self.disks.values():
            await asyncio.to_thread(disk.make)
        await self._fleet.start()
        self.specs = self._fleet.hosts

    async def stop(self) -> None:
        """Leave nothing behind."""
        await self._fleet.stop()
        for disk in self.disks.values():
            await asyncio.to_thread(disk.remove)

    async def cut(self, host: str) -> None:
        """Stop its SSH server: shards run on, and are reached."""
        await self._fleet.cut(host)

    async def heal(self, host: str) -> None:
        """Let it go on."""
        await self._fleet.heal(host)

    async def lose_power(self, host: str) -> None:
        """Kill its whole tree; with a disk of its own, what was not synced is gone.

        Nobody may say anything once the disk is dead, as he could not without power either: the kernel
        tells a sync that meets the shutdown half way that all is well.
        """
        for pid, _ in self._fleet.tree(host):
            proctree.send(pid, signal.SIGSTOP)
        if host in self.disks:
            self.disks[host].lose_power()
        await self._fleet.kill(host)

    async def power_on(self, host: str) -> None:
        """Boot it again."""
        if host in self.disks and self._fleet.server(host) == 0:
            self.disks[host].unmount()
            self.disks[host].mount()
        await self._fleet.revive(host)

    async def slow(self, host: str, on: bool) -> None:
        """Make its disk slow, or fast again."""
        await asyncio.to_thread(self.disks[host].slow, on)


class SystemdHosts:
    """Some hosts of a test fleet that is up, inside of whose control namespace this process runs."""

    def __init__(self, fleet: Fleet, names: Sequence[str], folder: Path, *, size: int = SIZE) -> None:
        self._fleet, self._names = fleet, tuple(names)
        state = fleet.state()
        self.specs = tuple(
            HostSpec(name=Label(n), address=state.hosts[n].plan.address, user="root", cpu=4.0, memory=4 << 30)
            for n in names
        )
        self.known_hosts, self.identity = fleet.places.known_hosts, fleet.places.identity
        self.program = "/srv/counter.py"
        self.disks = {n: Disk(folder / f"{n}.img", folder / f"disk-{n}", size) for n in names}
        self._dark: set[str] = set()

    async def start(self) -> None:
        """Put disks and program on hosts that are on."""
        for name in self._names:
            await asyncio.to_thread(self._equip, name)

    def _equip(self, name: str) -> None:
        disk = self.disks[name]
        disk.make()
        major, minor = disk.numbers
        unit = (
            f"[Unit]\nDefaultDependencies=no\nBefore=ssh.service ssh.socket\n[Service]\nType=oneshot\n"
            f"RemainAfterExit=yes\nExecStart=/bin/sh -c 'mkdir -p ~root/{STATE}; [ -b /dev/faultdisk ] ||"
            f" mknod /dev/faultdisk b {major} {minor}; mount -t ext4 /dev/faultdisk ~root/{STATE}'\n"
        )
        script = (
            f"cat >/etc/systemd/system/{_UNIT}; mkdir -p /etc/systemd/system/ssh.service.requires;"
            f" ln -sf ../{_UNIT} /etc/systemd/system/ssh.service.requires/{_UNIT};"
            f" rm -f /dev/faultdisk; systemctl daemon-reload; systemctl restart {_UNIT}; mountpoint ~root/{STATE}; sync"
        )
        self._shell(name, f"cat >/tmp/unit <<'END'\n{unit}END\n(set -e; {script}) </tmp/unit")
        for file in (COUNTER, COUNTER.with_name("counter_log.py")):
            self._shell(name, f"mkdir -p /srv; cat >/srv/{file.name} <<'ENDOFFILE'\n{file.read_text()}ENDOFFILE")

    def _shell(self, name: str, script: str) -> str:
        return self._fleet.exec(name, "sh", "-c", script)

    async def stop(self) -> None:
        """End what was started and take disks away; the hosts are their owner's."""
        for name in self._names:
            try:
                await self.power_on(name)
                await self.heal(name)
                ends = "systemctl kill --signal=KILL user.slice"  # whatever was started by SSH
                script = f"{ends}; systemctl disable {_UNIT} 2>/dev/null; umount -l ~root/{STATE}; :"
                await asyncio.to_thread(self._shell, name, script)
            finally:
                await asyncio.to_thread(self.disks[name].remove)

    def home(self, pid: int) -> str:
        """The host on which a process of this machine runs, or nothing."""
        groups = Path(f"/proc/{pid}/cgroup").read_text("ascii", "replace")
        return next((name for name in self._names if f".{self._fleet.name}/{name}/" in groups), "")

    async def cut(self, host: str) -> None:
        """Pull the cable: shards run on, and nobody reaches them."""
        await asyncio.to_thread(self._fleet.cut, host)

    async def heal(self, host: str) -> None:
        """Put it back."""
        await asyncio.to_thread(self._fleet.heal, host)

    async def lose_power(self, host: str) -> None:
        """Pull the plug; what was not synced is gone, and nothing is said after that."""
        self._dark.add(host)
        await asyncio.to_thread(self._fleet.cut, host)
        self.disks[host].lose_power()
        await self._end(host)

    async def _end(self, host: str) -> None:
        if self._fleet.is_on(host):
            await asyncio.to_thread(self._fleet.kill, host)
        await asyncio.to_thread(self.disks[host].unmount)

    async def power_on(self, host: str) -> None:
        """Switch it on: it mounts its disk before its sshd answers. One that did not go off wholly is ended first."""
        if host in self._dark:
            await self._end(host)
            await asyncio.to_thread(self._fleet.start, host)
            await asyncio.to_thread(self.disks[host].mount)
            self._dark.discard(host)

    async def slow(self, host: str, on: bool) -> None:
        """Make its disk slow, or fast again."""
        groups = self._fleet.groups.path(host, "blkio") if "blkio" in self._fleet.groups.hierarchies else None
        await asyncio.to_thread(self.disks[host].slow, on, groups)
