"""The process that keeps the hosts: ``python -m sidestep.backends.embedded.keeper``.

It imports asyncssh once and never runs an event loop, so that forking a host is safe and
takes milliseconds. Controlled by JSON lines on standard input, answered one by one on
standard output; its end, or that of its parent, is the end of every host.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
import zlib
from pathlib import Path
from typing import Final

import asyncssh
import msgspec

from sidestep.backends.embedded import proctree
from sidestep.backends.embedded.host import HostSetup, be_host
from sidestep.backends.embedded.orders import HostState, Order, Report
from sidestep.fleet.errors import SidestepError

PORT: Final = 2222
_READY_SECONDS: Final = 20.0


class Keeper:
    """Forks, kills and revives the hosts of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._setups: dict[str, HostSetup] = {}
        self._pids: dict[str, int] = {}
        self._subnet: socket.socket | None = None
        self.parent = os.getppid()

    def obey(self, order: Order) -> Report:
        """Do what is asked. Raises SidestepError or OSError."""
        self.reap()  # a host that has just died by itself must not pass for a living one
        if order.do == "start":
            self._start(order.names)
            return self._report()
        if order.host not in self._setups:
            raise SidestepError(f"no host {order.host!r}", hint=f"hosts are {', '.join(self._setups)}")
        {"kill": self._kill, "revive": self._revive, "cut": self._stop, "heal": self._continue}[order.do](order.host)
        return self._report()

    def reap(self) -> None:
        """Notice hosts that died by themselves, and end what they left to us."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for name in [n for n, p in self._pids.items() if p == pid]:
                del self._pids[name]
        proctree.end_orphans(self._pids.values())

    def close(self) -> None:
        """End every host."""
        for pid in list(self._pids.values()):
            for process in proctree.descendants(pid):
                proctree.send(process.pid, signal.SIGKILL)
        self._pids.clear()
        proctree.end_orphans()

    def _start(self, names: tuple[str, ...]) -> None:
        self._subnet, prefix = reserve_subnet(str(self._folder))
        public = make_key(self._folder / "id_ed25519")
        authorized = self._folder / "authorized_keys"
        write_private(authorized, public)
        known = []
        for index, name in enumerate(names, 1):
            key = self._folder / "keys" / f"{name}_ed25519"
            address = f"{prefix}.{index}"
            known.append(f"[{address}]:{PORT} {make_key(key)}")
            self._setups[name] = HostSetup(
                name=name,
                address=address,
                port=PORT,
                home=str(self._folder / "hosts" / name),
                host_key=str(key),
                authorized=str(authorized),
            )
        write_private(self._folder / "known_hosts", "".join(known))
        for name in names:
            self._revive(name)

    def _revive(self, name: str) -> None:
        if name in self._pids:
            return
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._child(self._setups[name], reading, writing)
        os.close(writing)
        self._pids[name] = pid
        with os.fdopen(reading, "rb") as pipe:
            select.select([pipe], [], [], _READY_SECONDS)
            os.set_blocking(reading, False)
            if pipe.read(1) != b"+":
                self._kill(name)
                log = self._folder / "logs" / f"{name}.log"
                raise SidestepError(f"host {name} does not start", hint=f"look at {log}")

    def _child(self, setup: HostSetup, reading: int, writing: int) -> None:
        """Become the host, and never return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(reading)
            if self._subnet is not None:
                self._subnet.close()
            self._redirect(setup.name)
            be_host(setup, lambda: os.close(writing) if os.write(writing, b"+") else None)
            status = 0
        except BaseException:  # noqa: BLE001 - a fork must never run on into its parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _redirect(self, name: str) -> None:
        logs = self._folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)

    def _kill(self, name: str) -> None:
        pid = self._pids.pop(name, None)
        if pid is not None and not proctree.end_tree(pid, self._pids.values()):
            raise SidestepError(f"host {name} does not die", hint="a process may hang in the kernel")

    def _stop(self, name: str) -> None:
        # a stopped server neither reads nor writes, while the kernel still completes new
        # connections: exactly the silence of a network that swallows packets
        proctree.send(self._alive(name), signal.SIGSTOP)

    def _continue(self, name: str) -> None:
        proctree.send(self._alive(name), signal.SIGCONT)

    def _alive(self, name: str) -> int:
        pid = self._pids.get(name)
        if pid is None:
            raise SidestepError(f"host {name} is dead", hint="revive it first")
        return pid

    def _report(self) -> Report:
        return Report(
            tuple(HostState(s.name, s.address, s.port, self._pids.get(n, 0)) for n, s in self._setups.items())
        )


def reserve_subnet(name: str) -> tuple[socket.socket, str]:
    """A /24 of loopback that no other fleet holds, and the socket that reserves it while it is open."""
    first = zlib.crc32(name.encode())
    for step in range(1024):
        prefix = f"127.{78 + step // 256}.{(first + step) % 256}"
        reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reservation.bind((f"{prefix}.254", PORT))
        except OSError:
            reservation.close()
            continue
        return reservation, prefix
    raise SidestepError("no free /24 under 127.78.0.0/14 for the embedded hosts", hint="stop other embedded fleets")


def make_key(path: Path) -> str:
    """Make an ed25519 key pair unless it is there; returns the public half as a line of text."""
    if path.exists():
        return asyncssh.read_private_key(path).export_public_key().decode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    write_private(path, key.export_private_key().decode())
    return key.export_public_key().decode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _answer(keeper: Keeper, line: bytes) -> Report:
    try:
        return keeper.obey(msgspec.json.decode(line, type=Order))
    except (SidestepError, OSError, msgspec.DecodeError) as error:
        return Report(error=str(error))


def _converse(keeper: Keeper, wakeup: int) -> None:
    """Obey line after line until standard input or the parent ends."""
    pending = b""
    while os.getppid() == keeper.parent:
        ready, _, _ = select.select([0, wakeup], [], [], 1.0)
        if wakeup in ready:
            if signal.SIGTERM in os.read(wakeup, 512):
                return
            keeper.reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                os.write(1, msgspec.json.encode(_answer(keeper, line)) + b"\n")


def main() -> None:
    """Keep the hosts of the folder named by the only argument."""
    folder = Path(sys.argv[1]).resolve()
    proctree.become_subreaper()
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    keeper = Keeper(folder)
    try:
        _converse(keeper, reading)
    finally:
        keeper.close()


if __name__ == "__main__":
    main()
