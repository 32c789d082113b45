"""Carrying a big file between two hosts: through the console and directly, beside scp and rsync.

200 MiB of random bytes between two real OpenSSH servers on loopback, files in memory where the
machine has such a file system. The floor is TCP with AES-128-GCM in 32 KiB records between two
plain processes, which neither read nor write a file nor digest anything; beside it stands the same
that does what a transfer is for: read a file, digest what arrives, and write it. Our direct way digests
at the destination; so does the one in which we join two hosts that only we reach, and what passes through
us stays encrypted. The relay over SSH alone opens and digests all of it here, and has the destination
read back and digest what it wrote. The peers digest nothing.

``all_cpu_ms_per_mb`` is the time of everybody: both ends with their servers, and this process; where the
cores are fewer than those who work, it is what bounds the rate.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.farm import Farm, farm
from benchmarks.harness import Goal, Report, Sample, interleave, main
from sidestep.backends.ssh import carry, direct
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target

try:
    import uvloop as loops
except ImportError:
    loops = asyncio  # type: ignore[misc]

SIZE: Final = 200 << 20
QUICK_SIZE: Final = 64 << 20
_RECORD: Final = 32 << 10
_HEAD, _TAG = 4, 16


def _clocked(size: int, work: Callable[[], None]) -> Sample:
    """MB/s by the wall, and this process's and its children's CPU for each MB."""
    before, began = _cpu(), time.perf_counter()
    work()
    wall = time.perf_counter() - began
    return {"mb_per_s": size / 1e6 / wall, "client_cpu_ms_per_mb": (_cpu() - before) * 1e9 / size}


def _with_all(size: int, run: Callable[[], Sample]) -> Sample:
    """The same, and everybody's CPU for each MB."""
    before = _all_cpu()
    found = run()
    return {**found, "all_cpu_ms_per_mb": (_all_cpu() - before) * 1e9 / size}


def _all_cpu() -> float:
    """Seconds of this process, of all below it, and of those below it that have ended."""
    total, queue = 0, [os.getpid()]
    while queue:
        entry = Path(f"/proc/{queue.pop()}")
        with suppress(OSError):
            total += sum(map(int, (entry / "stat").read_text().rpartition(")")[2].split()[11:15]))
            for task in (entry / "task").iterdir():
                queue += map(int, (task / "children").read_text().split())
    return total / os.sysconf("SC_CLK_TCK")


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def floor(size: int, here: Path | None = None, there: Path | None = None) -> Sample:
    """TCP and AES-128-GCM, nothing else; the clock runs from the first byte to the last.

    With files the same, from ``here`` to ``there``, and what arrives is digested.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        with socket.create_connection(listener.getsockname()) as sock:
            cipher, record = AESGCM(bytes(16)), os.urandom(_RECORD)
            head = _RECORD.to_bytes(_HEAD, "big")
            file = here.open("rb", buffering=0) if here is not None else None
            for number in range(size // _RECORD):
                if file is not None:
                    record = file.read(_RECORD)
                sock.sendall(head + cipher.encrypt(number.to_bytes(12, "big"), record, head))
        os._exit(0)
    with listener, listener.accept()[0] as sock:
        view = memoryview(bytearray(_HEAD + _RECORD + _TAG))
        cipher = AESGCM(bytes(16))
        digest = hashlib.sha256()

        def receive() -> None:
            file = there.open("wb", buffering=0) if there is not None else None
            for number in range(size // _RECORD):
                at = 0
                while at < len(view):
                    at += sock.recv_into(view[at:])
                plain = cipher.decrypt(number.to_bytes(12, "big"), view[_HEAD:], view[:_HEAD])
                if file is not None:
                    digest.update(plain)
                    file.write(plain)

        found = _clocked(size, receive)
    os.waitpid(child, 0)
    return found


class Bench:
    """The two hosts, their file, and everybody who carries it."""

    def __init__(self, servers: Farm, folder: Path, size: int) -> None:
        self._farm, self._size = servers, size
        self._here, self._there = folder / "source", folder / "target"
        with self._here.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))

    def floor(self) -> Sample:
        """What TCP and AES-GCM alone take."""
        return _with_all(self._size, lambda: floor(self._size))

    def floor_with_files(self) -> Sample:
        """The same from file to file, with one digest."""
        self._there.unlink(missing_ok=True)
        return _with_all(self._size, lambda: floor(self._size, self._here, self._there))

    def relay(self) -> Sample:
        """Ours, through this process."""
        return self._ours(lambda a, b: carry.relay(a, str(self._here), b, str(self._there), timeout=300))

    def direct(self) -> Sample:
        """Ours, from host to host."""
        return self._ours(lambda a, b: direct.direct(a, str(self._here), b, str(self._there), timeout=300))

    def joined(self) -> Sample:
        """Ours, from host to host through this process, which does not open what passes."""
        return self._ours(lambda a, b: direct.direct(a, str(self._here), b, str(self._there), timeout=300, join=True))

    def scp_through(self) -> Sample:
        """``scp -3``: through this machine, as our relay."""
        return self._peer("scp", "-q", "-3", "-F", str(self._farm.ssh_config), *self._remote(0), *self._remote(1))

    def scp(self) -> Sample:
        """``scp`` started on the source: from host to host, as our direct way."""
        return self._peer("scp", "-q", "-F", str(self._farm.ssh_config), str(self._here), *self._remote(1))

    def rsync(self) -> Sample:
        """``rsync`` over ssh, started on the source, whole files."""
        shell = f"ssh -F {self._farm.ssh_config}"
        return self._peer("rsync", "-q", "--whole-file", "-e", shell, str(self._here), *self._remote(1))

    def _remote(self, host: int) -> list[str]:
        return [f"{self._farm.hosts[host].address}:{self._here if host == 0 else self._there}"]

    def _peer(self, *command: str) -> Sample:
        self._there.unlink(missing_ok=True)
        return _with_all(self._size, lambda: _clocked(self._size, lambda: _run(command)))

    def _ours(self, carried: Callable[[Any, Any], Coroutine[Any, Any, str]]) -> Sample:
        self._there.unlink(missing_ok=True)

        async def timed() -> Sample:
            keys = HostKeys.load(self._farm.known_hosts)
            ends = [
                AsyncsshTransport(plain_target(host, identity=str(self._farm.identity)), keys)
                for host in self._farm.hosts
            ]
            await asyncio.gather(*(end.connect() for end in ends))
            try:
                before, began = _cpu(), time.perf_counter()
                await carried(*ends)
                wall = time.perf_counter() - began
                return {
                    "mb_per_s": self._size / 1e6 / wall,
                    "client_cpu_ms_per_mb": (_cpu() - before) * 1e9 / self._size,
                }
            finally:
                await asyncio.gather(*(end.aclose() for end in ends))

        return _with_all(self._size, lambda: dict(loops.run(timed())))


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr[-500:]}")


def run(quick: bool) -> Report:
    """200 MiB from host to host: ours through the console and directly, scp, rsync, and the floor."""
    runs, size = (2, QUICK_SIZE) if quick else (5, SIZE)
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="ss-transfer-", dir=where) as name,
        farm(2, Path(name)) as servers,
    ):
        _ready(servers)
        bench = Bench(servers, Path(name), size)
        figures = interleave(
            {
                "floor": bench.floor,
                "floor, files and a digest": bench.floor_with_files,
                "relay": bench.relay,
                "joined": bench.joined,
                "scp -3": bench.scp_through,
                "direct": bench.direct,
                "scp": bench.scp,
                "rsync": bench.rsync,
            },
            runs,
        )
    speed = {name: rows["mb_per_s"].median for name, rows in figures.items()}
    against = {name: value / speed["floor"] for name, value in speed.items()}
    # Beside what is neither read, digested nor written: the same bytes with all that, in the least code.
    duty = {"same duty": against["floor, files and a digest"]}
    goals = (
        Goal("relay, joined, against TCP + AES-GCM", against["joined"], "of its rate", 0.45, ">=",
             peers={**duty, "scp -3": against["scp -3"]}),
        Goal("relay over SSH alone against TCP + AES-GCM", against["relay"], "of its rate", 0.45, ">=",
             peers={**duty, "scp -3": against["scp -3"]}),
        Goal("direct against TCP + AES-GCM", against["direct"], "of its rate", 0.8, ">=",
             peers={**duty, "scp": against["scp"], "rsync": against["rsync"]}),
    )  # fmt: skip
    notes = [
        f"{size >> 20} MiB, loopback, two OpenSSH servers; files in {'memory' if where else 'the temporary folder'}"
    ]
    if (os.cpu_count() or 1) < 4:
        notes.append(
            "fewer than four cores: the two servers, their commands and the console of a relay share them, "
            "so the sum of their work bounds the rate, not the slowest of them"
        )
    work = {name: rows["all_cpu_ms_per_mb"].median for name, rows in figures.items()}
    notes.append(
        f"processor time of everybody, ms a MB: floor {work['floor']:.2f}, from file to file with a digest"
        f" {work['floor, files and a digest']:.2f}, direct {work['direct']:.2f}, joined {work['joined']:.2f},"
        f" relay {work['relay']:.2f}, scp {work['scp']:.2f}, scp -3 {work['scp -3']:.2f}, rsync {work['rsync']:.2f}"
    )
    return Report("transfer", goals, figures, runs, quick, tuple(notes))


def _ready(servers: Farm) -> None:
    for host in servers.hosts:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((host.address, host.port), timeout=1):
                break
            time.sleep(0.05)


if __name__ == "__main__":
    main("transfer", run)
