"""Hosts for integration tests: OpenSSH's own sshd on loopback, each with its own key and home."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.target import SshTarget, plain_target
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen")


@dataclass
class SshdHost:
    """One sshd: where it listens, what it may be trusted by, and the home its commands see."""

    spec: HostSpec
    folder: Path
    home: Path
    identity: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]
    transports: list[AsyncsshTransport] = field(default_factory=list)

    def target(self, *, identity: str | None = None, connect_timeout: float = 10.0) -> SshTarget:
        """How this host is reached; ``identity`` None is the one that it lets in."""
        chosen = str(self.identity) if identity is None else identity
        return plain_target(self.spec, identity=chosen, connect_timeout=connect_timeout)

    def transport(
        self,
        *,
        keys: HostKeys | None = None,
        identity: str | None = None,
        connect_timeout: float = 10.0,
        ring: KeyRing | None = None,
        tunnels: Tunnels | None = None,
    ) -> AsyncsshTransport:
        """A transport to this host, not yet connected; closed when the test ends."""
        target = self.target(identity=identity, connect_timeout=connect_timeout)
        keys = keys or HostKeys.load(self.known_hosts)
        transport = AsyncsshTransport(target, keys, ring=ring, tunnels=tunnels)
        self.transports.append(transport)
        return transport

    async def connected(self) -> AsyncsshTransport:
        """A transport to this host, connected."""
        transport = self.transport()
        await transport.connect()
        return transport

    def drop(self) -> None:
        """Kill every session; new ones are welcome."""
        for child in self._sessions():
            subprocess.run(["kill", "-KILL", child], check=False, stderr=subprocess.DEVNULL)

    def cut(self) -> None:
        """Kill the daemon and every session of it, as a pulled plug would."""
        children = self._sessions()
        self.process.kill()
        for child in children:
            subprocess.run(["kill", "-KILL", child], check=False, stderr=subprocess.DEVNULL)

    def _sessions(self) -> list[str]:
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()


def keygen(path: Path, kind: str = "ed25519") -> str:
    """Make a key pair; returns the public half as ``type base64``."""
    subprocess.run([str(KEYGEN), "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], check=True)
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(folder: Path, home: Path, port: int, env: str, more: str = "") -> subprocess.Popen[bytes]:
    config = folder / "sshd_config"
    config.write_text(
        f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PrintMotd no
SetEnv HOME={home} XDG_STATE_HOME={home}/.local/state {env}
{more}
"""
    )
    log = (folder / "log").open("ab")
    with log:
        return subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log)


def _listening(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0 and probe.recv(4) == b"SSH-":
                return True
        time.sleep(0.02)
    return False


def start_host(
    folder: Path, identity: Path, name: str, env: str = "", certificate: tuple[Path | str, ...] = ()
) -> SshdHost:
    """Start an sshd; ``certificate`` is an authority's key that signs the host's, and ssh-keygen's options."""
    home = folder / "home"
    home.mkdir(parents=True)
    public = keygen(folder / "host")
    shutil.copy(identity.with_name(f"{identity.name}.pub"), folder / "authorized")
    more = ""
    if certificate:
        words = [str(KEYGEN), "-q", "-s", str(certificate[0]), "-I", name, "-h", *map(str, certificate[1:])]
        subprocess.run([*words, str(folder / "host.pub")], check=True)
        more = f"HostCertificate {folder}/host-cert.pub"
    for _ in range(5):
        port = _free_port()
        process = _start(folder, home, port, env, more)
        if _listening(port, process):
            break
        process.kill()
        process.wait()
    else:
        pytest.fail(f"sshd does not start: {(folder / 'log').read_text()[-2000:]}")
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {public}\n")
    spec = HostSpec(name=Label(name), address="127.0.0.1", port=port, user=getpass.getuser(), cpu=2.0, memory=1 << 30)
    return SshdHost(spec, folder, home, identity, known, process)
