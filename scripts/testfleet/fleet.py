"""A fleet of real hosts: made, looked at, hurt and removed again."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from scripts.testfleet import disk, launch, network, rootfs
from scripts.testfleet.cgroups import Cgroups
from scripts.testfleet.plan import HostPlan
from scripts.testfleet.processes import Process, alive, send, wait_gone
from scripts.testfleet.shell import FleetError, Impossible, call
from scripts.testfleet.state import RUN, FleetState, HostState, Places, load, locked, save
from sidestep.fleet.errors import SidestepError, UsageError

#: systemd's signal for an orderly halt
_HALT = signal.SIGRTMIN + 3
BOOT_DEADLINE = 90.0


class Fleet:
    """One named fleet of this machine. Every method may be called from any process of root's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places = Places(name)
        self._groups: Cgroups | None = None

    @property
    def groups(self) -> Cgroups:
        """The fleet's control groups. Raises Impossible where the machine has none that fit."""
        if self._groups is None:
            self._groups = Cgroups(self.name)
        return self._groups

    def state(self) -> FleetState:
        """What is known of the running fleet. Raises UsageError when it is not up."""
        found = load(self.places.file)
        if found is None or not found.complete:
            raise UsageError(f"test fleet {self.name} is not up", hint="python -m scripts.testfleet up")
        return found

    def plan(self, host: str) -> HostPlan:
        """The plan of one host. Raises UsageError for a name that the fleet does not have."""
        return self._known(self.state(), host).plan

    def up(self, plans: Sequence[HostPlan], owner: Process | None = None) -> FleetState:
        """Boot the hosts and return when every sshd answers; what a crashed run left is removed first.

        Raises UsageError when the fleet is up, Impossible where it cannot be, FleetError when
        a host does not come up; then nothing is left.
        """
        check_machine()
        wrong = [p.name for p in plans if p.layout not in self.groups.layouts()]
        if wrong:
            raise Impossible(f"{', '.join(wrong)}: this machine has only the layout {self.groups.layouts()}")
        with locked(self.places.lock):
            if self._running():
                raise UsageError(f"test fleet {self.name} is up already", hint="python -m scripts.testfleet down")
            self._sweep()
            image = rootfs.ready()
            hosts = {p.name: HostState(plan=p) for p in plans}
            state = FleetState(name=self.name, rootfs=str(image), hosts=hosts, owner=owner)
            try:
                self._make(state)
                self._boot(state, list(hosts))
                state.complete = True
                save(self.places.file, state)
            except BaseException:
                self._sweep()
                raise
        return state

    def down(self) -> None:
        """Remove everything that the fleet ever made, whether it is whole, half made or crashed."""
        with locked(self.places.lock):
            self._sweep()
            self.places.lock.unlink(missing_ok=True)

    def remove_orphan(self) -> None:
        """Remove the fleet if it belongs to a ``run`` that is dead, and only then."""
        with locked(self.places.lock):
            found = load(self.places.file)
            if found is None or found.owner is None or alive(found.owner):
                return
            self._sweep()
            self.places.lock.unlink(missing_ok=True)

    def start(self, host: str) -> None:
        """Switch a host on and return when its sshd answers: same disk, same host key, everything else new."""
        with self._changing(host, on=False) as (state, _):
            self._boot(state, [host])

    def stop(self, host: str) -> None:
        """Shut a host down in good order."""
        with self._changing(host, on=True) as (_, known):
            self.groups.freeze(host, False)
            send(known.pid1, _HALT)
            wait_gone(known.pid1, 30)
            self._clear(known)

    def kill(self, host: str) -> None:
        """Pull the plug: every process and connection is gone at once, and nobody is told."""
        with self._changing(host, on=True) as (_, known):
            network.set_link(self.places.control, known.plan, up=False)
            send(known.pid1, signal.SIGKILL)
            self._clear(known)

    def freeze(self, host: str) -> None:
        """Hang a host: the kernel still answers, no process does."""
        self._running_plan(host)
        self.groups.freeze(host, True)

    def thaw(self, host: str) -> None:
        """Let a frozen host go on."""
        self._running_plan(host)
        self.groups.freeze(host, False)

    def cut(self, host: str) -> None:
        """Pull the network cable."""
        network.set_link(self.places.control, self._running_plan(host), up=False)

    def heal(self, host: str) -> None:
        """Put the network cable back."""
        network.set_link(self.places.control, self._running_plan(host), up=True)

    def limit(self, host: str, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Change what a host may use, now; 0 is no limit. Its next start has its planned limits again."""
        self._running_plan(host)
        if cpu is not None:
            self.groups.limit_cpu(host, cpu)
        if memory is not None:
            self.groups.limit_memory(host, memory)

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in a host as root, beside its systemd and without SSH."""
        known = self._known(self.state(), host)
        if known.pid1 is None:
            raise FleetError(f"{host}: is off")
        return launch.command_in(self.groups, host, known.pid1, argv)

    def exec(self, host: str, *argv: str, timeout: float = 30.0) -> str:
        """Run ``argv`` in a host as root, without SSH, and return what it printed. Raises FleetError."""
        return call(self.command(host, argv), timeout=timeout, shown=f"{host}: {' '.join(argv)}")

    def within(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` where hosts can be reached: in the control namespace."""
        # Not `ip netns exec`: that hides /sys/fs/cgroup, which faults need.
        return ["nsenter", f"--net={self.places.control}", "--", *argv]

    def is_on(self, host: str) -> bool:
        """Whether the host's PID 1 lives."""
        return alive(self._known(self.state(), host).pid1)

    def is_cut(self, host: str) -> bool:
        """Whether its cable is out."""
        return not network.link_is_up(self.places.control, self.plan(host))

    # -- making and removing

    def _running(self) -> bool:
        """Whether a whole fleet of this name runs and whoever it lives for lives too."""
        try:
            found = load(self.places.file)
        except SidestepError:
            return False
        if found is None or not found.complete or (found.owner is not None and not alive(found.owner)):
            return False
        return any(alive(h.pid1) for h in found.hosts.values())

    def _make(self, state: FleetState) -> None:
        places, plans = self.places, [h.plan for h in state.hosts.values()]
        # Written before anything is made, so that a run that dies now is seen as one that did.
        save(places.file, state)
        places.base.mkdir(mode=0o755, exist_ok=True)
        call(["mount", "-t", "tmpfs", "-o", "mode=755", "sidestep-testfleet", str(places.base)])
        call(["mount", "--make-private", str(places.base)])
        network.make_control(places.control)
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testfleet", "-f", str(places.identity)])
        authorized = places.identity.with_suffix(".pub").read_text()
        known = [f"{p.address},{p.name} {disk.make(places, Path(state.rootfs), p, plans, authorized)}\n" for p in plans]
        places.known_hosts.write_text("".join(known))
        places.ssh_config.write_text(_ssh_config(places, plans))
        reason = launch.start_lxcfs(places, self.groups)
        if reason:
            state.notes.append(reason)

    def _boot(self, state: FleetState, names: Sequence[str]) -> None:
        for name in names:
            known = state.hosts[name]
            self.groups.make(name)
            self.groups.limit_memory(name, known.plan.memory)
            network.plug(self.places.control, self.places.namespace(name), known.plan)
            known.pid1 = launch.start_host(self.places, Path(state.rootfs), self.groups, known.plan)
            save(self.places.file, state)
        network.within(self.places.control, lambda: self._await([state.hosts[name] for name in names]))
        for name in names:
            # Only now: booting within a tenth of a core would take minutes.
            self.groups.limit_cpu(name, state.hosts[name].plan.cpu)

    def _await(self, hosts: Sequence[HostState]) -> None:
        deadline = time.monotonic() + BOOT_DEADLINE
        for host in hosts:
            if not network.greeted(host.plan.address, deadline, partial(alive, host.pid1)):
                said = launch.boot_tail(self.places, host.plan.name)
                raise FleetError(f"{host.plan.name}: sshd does not answer within {BOOT_DEADLINE:g} s: {said}")

    def _clear(self, known: HostState) -> None:
        """Take away what a host that is off has no more: processes, control groups, network."""
        name = known.plan.name
        self.groups.remove(name)
        network.unplug(self.places.control, self.places.namespace(name), known.plan)
        known.pid1 = None

    def _sweep(self) -> None:
        """Remove everything by name; nothing here needs the state file to be right."""
        self.groups.remove()
        if self.places.base.exists():
            # Lazily and from the inside out: lxcfs and the namespaces' files are mounted below.
            for path in reversed(_mounted_below(self.places.base)):
                network.detach(path)
            shutil.rmtree(self.places.base)
        self.places.file.unlink(missing_ok=True)

    # -- looking up

    @contextmanager
    def _changing(self, host: str, *, on: bool) -> Iterator[tuple[FleetState, HostState]]:
        """Hold the lock, look the host up, and keep what becomes of it. Raises UsageError unless it is ``on``."""
        with locked(self.places.lock):
            state = self.state()
            known = self._known(state, host)
            if alive(known.pid1) != on:
                raise UsageError(f"{host} is {'off' if on else 'on already'}")
            yield state, known
            save(self.places.file, state)

    def _known(self, state: FleetState, host: str) -> HostState:
        if host not in state.hosts:
            raise UsageError(f"test fleet {self.name} has no host {host!r}: it has {', '.join(state.hosts)}")
        return state.hosts[host]

    def _running_plan(self, host: str) -> HostPlan:
        known = self._known(self.state(), host)
        if not alive(known.pid1):
            raise UsageError(f"{host} is off", hint=f"python -m scripts.testfleet start {host}")
        return known.plan


def remove_orphans(run: Path = RUN) -> None:
    """Remove every fleet of a ``run`` that was killed; what cannot be read is left to a ``down`` by name."""
    for file in run.glob("*.json"):
        with suppress(SidestepError):
            Fleet(file.stem).remove_orphan()


def check_machine() -> None:
    """Whether this machine lets us make hosts at all. Raises Impossible with the reason."""
    if os.geteuid() != 0:
        raise Impossible("hosts are made of namespaces and mounts: that needs root")
    tools = ("unshare", "nsenter", "setpriv", "mount", "ip", "ssh-keygen", "mmdebstrap")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        raise Impossible(
            f"not installed: {', '.join(missing)}", hint="scripts/debian-packages mmdebstrap iproute2 openssh-client"
        )
    flags = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--"]
    try:
        call(
            [*flags, "sh", "-c", "mount -t tmpfs tmpfs /mnt && mount -t proc proc /mnt && ip link add br0 type bridge"]
        )
    except FleetError as error:
        raise Impossible(f"namespaces cannot be made here: {error}") from error


def _mounted_below(base: Path) -> list[Path]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    paths = [Path(line.split()[1]) for line in lines]
    return [path for path in paths if path == base or base in path.parents]


def _ssh_config(places: Places, plans: Sequence[HostPlan]) -> str:
    hosts = "".join(f"Host {p.name}\n  HostName {p.address}\n" for p in plans)
    return (
        f"{hosts}Host *\n  User root\n  IdentityFile {places.identity}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {places.known_hosts}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
    )
