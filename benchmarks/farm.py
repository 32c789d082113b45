"""A farm of real OpenSSH servers on loopback, one address and one host key each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import asyncssh

from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

PORT = 2222
#: seconds in which a server has to listen
PATIENCE = 30.0
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Farm:
    """Running servers, and the files that every client is given."""

    hosts: tuple[HostSpec, ...]
    folder: Path

    @property
    def identity(self) -> Path:
        """The private key that all let in."""
        return self.folder / "identity"

    @property
    def known_hosts(self) -> Path:
        """The keys of all."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """The same for OpenSSH's own client."""
        return self.folder / "ssh_config"


@contextmanager
def farm(count: int, folder: Path) -> Iterator[Farm]:
    """``count`` servers for as long as the block lasts. Raises RuntimeError where sshd is not installed."""
    if SSHD is None:
        raise RuntimeError("OpenSSH's sshd is not installed (Debian: apt install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    hosts = tuple(_spec(number) for number in range(count))
    public = _key(folder / "identity")
    (folder / "authorized").write_text(public)
    known = [f"[{host.address}]:{PORT} {_key(folder / f'{host.name}.key')}" for host in hosts]
    (folder / "known_hosts").write_text("".join(known))
    (folder / "ssh_config").write_text(
        f"Host *\n  Port {PORT}\n  User {getuser()}\n  IdentityFile {folder}/identity\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
        "  LogLevel ERROR\n"
    )
    servers = [_serve(folder, host) for host in hosts]
    try:
        for host in hosts:
            _await(host)
        yield Farm(hosts, folder)
    finally:
        for server in servers:
            _end(server)


def _spec(number: int) -> HostSpec:
    address = f"127.77.{number // 250}.{number % 250 + 1}"
    return HostSpec(name=Label(f"h{number:04d}"), address=address, port=PORT, user=getuser(), cpu=2.0, memory=1 << 30)


def _key(path: Path) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    return key.export_public_key().decode()


def _serve(folder: Path, host: HostSpec) -> subprocess.Popen[bytes]:
    home = folder / host.name
    home.mkdir()
    config = folder / f"{host.name}.conf"
    config.write_text(
        f"Port {PORT}\nListenAddress {host.address}\nHostKey {folder}/{host.name}.key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nUseDNS no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\nLogLevel ERROR\n"
        f"Subsystem sftp internal-sftp\nSetEnv HOME={home} XDG_STATE_HOME={home}\n"
    )
    assert SSHD is not None
    return subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(config)],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _await(host: HostSpec) -> None:
    """Wait until it listens. Raises OSError."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host.address, PORT), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _end(server: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    sessions = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    server.kill()
    server.wait()
    for pid in sessions:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
