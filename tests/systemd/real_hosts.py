"""Real hosts of the test fleet as tests see them, and the hand that hurts and heals them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.testfleet.fleet import Fleet
from scripts.testfleet.plan import Interpreter, Layout
from scripts.testfleet.shell import FleetError
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import SshTarget, plain_target
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

#: the fleet that ``python -m scripts.testfleet run`` made for us
NAME = os.environ.get("SIDESTEP_TESTFLEET", "")


@dataclass(frozen=True)
class RealHost:
    """One host: systemd as PID 1, sshd on port 22, root lets ``identity`` in."""

    name: str
    address: str
    layout: Layout
    interpreter: Interpreter
    #: planned limits; 0 is none
    cpu: float
    memory: int
    spec: HostSpec
    known_hosts: Path
    identity: Path

    def target(self, *, connect_timeout: float = 10.0, keepalive: float = 5.0) -> SshTarget:
        """How it is reached, without any ssh_config."""
        plain = plain_target(self.spec, identity=str(self.identity), connect_timeout=connect_timeout)
        return SshTarget(**{f: getattr(plain, f) for f in plain.__struct_fields__} | {"keepalive": keepalive})

    def transport(self, *, connect_timeout: float = 10.0, keepalive: float = 5.0) -> AsyncsshTransport:
        """A transport to it, not yet connected; the caller closes it."""
        target = self.target(connect_timeout=connect_timeout, keepalive=keepalive)
        return AsyncsshTransport(target, HostKeys.load(self.known_hosts))


def inside() -> bool:
    """Whether this process runs in the control namespace of a fleet, where hosts can be reached."""
    if not NAME:
        return False
    try:
        return Path("/proc/self/ns/net").stat().st_ino == Fleet(NAME).places.control.stat().st_ino
    except (OSError, SidestepError):
        return False


def real_hosts() -> dict[str, RealHost]:
    """All hosts of our fleet by name, in the order of their names; empty outside of one."""
    if not inside():
        return {}
    fleet = Fleet(NAME)
    found = {}
    for state in fleet.state().hosts.values():
        plan = state.plan
        # Capacity is left to the host to say, as most fleets do.
        spec = HostSpec(name=Label(plan.name), address=plan.address, user="root")
        found[plan.name] = RealHost(
            *(plan.name, plan.address, plan.layout, plan.interpreter, plan.cpu, plan.memory),
            *(spec, fleet.places.known_hosts, fleet.places.identity),
        )
    return found


class Control:
    """Faults for the length of a test: what was hurt is healed by ``restore``. All calls block."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._hurt: dict[str, None] = {}

    def exec(self, host: str, *argv: str, timeout: float = 30.0) -> str:
        """Run as root in the host, without SSH; what it printed. Raises FleetError."""
        return self.fleet.exec(host, *argv, timeout=timeout)

    def shell(self, host: str, script: str, *, timeout: float = 30.0) -> str:
        """Run a shell script as root in the host, without SSH."""
        return self.exec(host, "sh", "-c", script, timeout=timeout)

    def notes(self) -> list[str]:
        """Why something is less real than it could be."""
        return self.fleet.state().notes

    def limit(self, host: str, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Change what the host may use."""
        self._hurt[host] = None
        self.fleet.limit(host, cpu=cpu, memory=memory)

    def cut(self, host: str) -> None:
        """Pull the network cable."""
        self._do(self.fleet.cut, host)

    def heal(self, host: str) -> None:
        """Put it back."""
        self._do(self.fleet.heal, host)

    def freeze(self, host: str) -> None:
        """Hang the host."""
        self._do(self.fleet.freeze, host)

    def thaw(self, host: str) -> None:
        """Let it go on."""
        self._do(self.fleet.thaw, host)

    def kill(self, host: str) -> None:
        """Pull the plug."""
        self._do(self.fleet.kill, host)

    def stop(self, host: str) -> None:
        """Shut it down in good order."""
        self._do(self.fleet.stop, host)

    def start(self, host: str) -> None:
        """Switch it on."""
        self._do(self.fleet.start, host)

    def restore(self) -> None:
        """Every host that was hurt is as planned again."""
        for host in self._hurt:
            if not self.fleet.is_on(host):
                self.fleet.start(host)
            plan = self.fleet.plan(host)
            self.fleet.thaw(host)
            self.fleet.heal(host)
            self.fleet.limit(host, cpu=plan.cpu, memory=plan.memory)
        self._hurt.clear()

    def _do(self, change: Callable[[str], None], host: str) -> None:
        self._hurt[host] = None
        change(host)


def sessions(control: Control, host: str) -> list[str]:
    """The processes on a host that SSH logins of root's started, sshd's own included: ``pid name``."""
    script = """
for file in /sys/fs/cgroup/user.slice/user-0.slice/session-*/cgroup.procs \
            /sys/fs/cgroup/systemd/user.slice/user-0.slice/session-*/cgroup.procs; do
    [ -e "$file" ] || continue
    while read -r pid; do read -r name </proc/$pid/comm && echo "$pid $name"; done <"$file"
done 2>/dev/null
exit 0"""
    return control.shell(host, script).splitlines()


__all__ = ["NAME", "Control", "FleetError", "RealHost", "inside", "real_hosts", "sessions"]
