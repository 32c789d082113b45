"""The control groups of a fleet: limits, freezing, counting and ending everything that is in them.

Works on machines with v1 controllers beside a cgroup2 (hybrid) and with cgroup2 alone. Every
process of a fleet is in its groups, so that emptying them ends the fleet for certain.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.testfleet.processes import Process, identify, send, wait_gone
from scripts.testfleet.shell import FleetError, Impossible

ROOT: Final = Path("/sys/fs/cgroup")
_PERIOD: Final = 100_000


class Cgroups:
    """The groups of one fleet, in every hierarchy of the machine: ``sidestep-testfleet.NAME/HOST``."""

    def __init__(self, fleet: str, root: Path = ROOT, mounts: Path = Path("/proc/self/mounts")) -> None:
        self._top = f"sidestep-testfleet.{fleet}"
        #: hierarchy's name to where it is mounted; "" is the only one of a pure cgroup2 machine
        self.hierarchies = _hierarchies(root, mounts)
        self.pure = "" in self.hierarchies

    def layouts(self) -> tuple[str, ...]:
        """The layouts that hosts of this machine can have."""
        return ("unified",) if self.pure else ("hybrid", "unified")

    def path(self, group: str, hierarchy: str) -> Path:
        """The folder of a host's group; on a pure cgroup2 machine there is only one."""
        return self.hierarchies["" if self.pure else hierarchy] / self._top / group

    def unified(self, group: str) -> Path:
        """The folder of a host's group in cgroup2."""
        return self.path(group, "unified")

    def entrances(self, group: str) -> list[Path]:
        """The files that a process writes its pid to in order to be in the group."""
        return [self.path(group, name) / "cgroup.procs" for name in self.hierarchies]

    def make(self, group: str) -> None:
        """The group in every hierarchy. Raises Impossible where cgroups cannot be written."""
        try:
            for name, mount in self.hierarchies.items():
                for folder in (mount / self._top, mount / self._top / group):
                    folder.mkdir(exist_ok=True)
                    _prepare(folder, name)
            if self.pure:
                for folder in (self.hierarchies[""], self.hierarchies[""] / self._top):
                    _delegate(folder)
            self._weigh()
        except OSError as error:
            raise Impossible(f"cannot make control groups: {error}") from error

    def _weigh(self) -> None:
        """Each host weighs as much on a busy machine as any session there, not all of them together."""
        top = self.path("", "cpu")
        many = sum(entry.is_dir() for entry in top.iterdir())
        if self.pure:
            _write(top / "cpu.weight", str(min(10_000, 100 * many)))
        else:
            _write(top / "cpu.shares", str(1024 * many))

    def limit_cpu(self, group: str, cpu: float) -> None:
        """Cap the group at ``cpu`` cores; 0 takes the cap away."""
        quota = max(1000, int(cpu * _PERIOD)) if cpu else 0
        if self.pure:
            _write(self.path(group, "") / "cpu.max", f"{quota or 'max'} {_PERIOD}")
            return
        _write(self.path(group, "cpu") / "cpu.cfs_period_us", str(_PERIOD))
        _write(self.path(group, "cpu") / "cpu.cfs_quota_us", str(quota or -1))

    def limit_memory(self, group: str, memory: int) -> None:
        """Cap the group at ``memory`` bytes; 0 takes the cap away."""
        if self.pure:
            _write(self.path(group, "") / "memory.max", str(memory or "max"))
            return
        _write(self.path(group, "memory") / "memory.limit_in_bytes", str(memory or -1))

    def freeze(self, group: str, frozen: bool) -> None:
        """Stop every process of the group where it stands, or let them go on."""
        if self.pure:
            _write(self.path(group, "") / "cgroup.freeze", str(int(frozen)))
            return
        file = self.path(group, "freezer") / "freezer.state"
        wanted = "FROZEN" if frozen else "THAWED"
        deadline = time.monotonic() + 10
        while file.read_text().strip() != wanted:
            # A group of many processes may be FREEZING for a while, and wants to be asked again.
            _write(file, wanted)
            if time.monotonic() > deadline:
                raise FleetError(f"{file} stays {file.read_text().strip()}")
            time.sleep(0.01)

    def frozen(self, group: str) -> bool:
        """Whether the group stands still."""
        if self.pure:
            file, yes = self.path(group, "") / "cgroup.freeze", "1"
        else:
            file, yes = self.path(group, "freezer") / "freezer.state", "FROZEN"
        try:
            return file.read_text().strip() == yes
        except OSError:
            return False

    def cpu_seconds(self, group: str) -> float:
        """Processor time that the group has used since it was made."""
        for line in (self.unified(group) / "cpu.stat").read_text().splitlines():
            key, value = line.split()
            if key == "usage_usec":
                return int(value) / 1e6
        return 0.0

    def pids(self, group: str = "") -> set[int]:
        """Every process in the group (or the whole fleet) and below it, in any hierarchy."""
        found: set[int] = set()
        for name in self.hierarchies:
            top = self.path(group, name)
            for folder, _, files in os.walk(top):
                if "cgroup.procs" in files:
                    with suppress(OSError):
                        found |= {int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()}
        return found

    def empty(self, group: str = "") -> None:
        """End every process in the group (or the whole fleet). Raises FleetError when some remain."""
        deadline = time.monotonic() + 15
        ended: set[Process] = set()
        while pids := self.pids(group):
            # Read again after the process is known: it is ours only while it is in our group.
            found = {p for p in map(identify, pids) if p is not None and self._ours(p.pid)}
            # All are known before the first is hit, for one end brings about others.
            for process in found:
                send(process, signal.SIGKILL)
            ended |= found
            for folder in self._frozen(group):
                with suppress(OSError):
                    (folder / "freezer.state").write_text("THAWED")
            if time.monotonic() > deadline:
                raise FleetError(f"processes of the fleet do not end: {sorted(pids)[:10]}")
            time.sleep(0.01)
        # A dying init leaves its group before it has seen the last of its children off.
        for process in ended:
            wait_gone(process, max(0.0, deadline - time.monotonic()))

    def remove(self, group: str = "") -> None:
        """End what is in the group (or the whole fleet) and remove it everywhere."""
        self.empty(group)
        for name in self.hierarchies:
            top = self.path(group, name)
            deadline = time.monotonic() + 5
            while top.exists():
                for folder, _, _ in os.walk(top, topdown=False):
                    with suppress(OSError):
                        Path(folder).rmdir()
                if top.exists() and time.monotonic() > deadline:
                    raise FleetError(f"{top} cannot be removed")
                time.sleep(0.005)

    def _ours(self, pid: int) -> bool:
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        return any(f"/{self._top}/" in f"{line.split(':', 2)[2]}/" for line in lines)

    def _frozen(self, group: str) -> list[Path]:
        if self.pure:
            return []
        return [Path(folder) for folder, _, files in os.walk(self.path(group, "freezer")) if "freezer.state" in files]


def _hierarchies(root: Path, mounts: Path) -> dict[str, Path]:
    if (root / "cgroup.controllers").exists():
        return {"": root}
    found: dict[str, Path] = {}
    for line in mounts.read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"} and Path(where).parent == root:
            found[Path(where).name] = Path(where)
    missing = {"cpu", "memory", "freezer", "unified"} - set(found)
    if missing:
        raise Impossible(f"no cgroup hierarchy for {', '.join(sorted(missing))} in {root}")
    return found


def _prepare(folder: Path, hierarchy: str) -> None:
    if hierarchy == "cpuset":
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (folder / name).read_text().strip():
                _write(folder / name, (folder.parent / name).read_text().strip())
        _write(folder / "cgroup.clone_children", "1")
    if hierarchy == "memory":
        with suppress(OSError):
            # Old kernels only: newer ones know nothing else.
            (folder / "memory.use_hierarchy").write_text("1")


def _delegate(folder: Path) -> None:
    offered = (folder / "cgroup.controllers").read_text().split()
    for controller in ("cpu", "memory", "io", "pids", "cpuset"):
        if controller in offered:
            _write(folder / "cgroup.subtree_control", f"+{controller}")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise FleetError(f"cannot write {text!r} to {file}: {error.strerror}") from error
