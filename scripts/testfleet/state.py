"""What is remembered about a running fleet: a small file that is replaced as a whole, and a lock beside it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from scripts.testfleet.plan import HostPlan
from scripts.testfleet.processes import Process
from sidestep.fleet.errors import SidestepError

RUN: Final = Path("/run/sidestep-testfleet")
#: raised when the file's meaning changes; another version is cleaned away like a crashed run
VERSION: Final = 1


class HostState(Struct, kw_only=True):
    """One host; without ``pid1`` it is off."""

    plan: HostPlan
    pid1: Process | None = None


class FleetState(Struct, kw_only=True):
    """A fleet. Not ``complete`` means that the run which made it never finished."""

    version: int = VERSION
    name: str
    rootfs: str
    hosts: dict[str, HostState]
    complete: bool = False
    #: the ``run`` that it lives and dies with
    owner: Process | None = None
    #: why something is less real than it could be
    notes: list[str] = []


class Places:
    """Where a fleet keeps its things. Everything in ``base`` is on one tmpfs of its own."""

    def __init__(self, name: str, run: Path = RUN) -> None:
        self.name = name
        self.base = run / name
        self.file = run / f"{name}.json"
        self.lock = run / f"{name}.lock"
        self.identity = self.base / "identity"
        self.known_hosts = self.base / "known_hosts"
        self.ssh_config = self.base / "ssh_config"
        self.lxcfs = self.base / "lxcfs"
        self.control = self.base / "net" / "control"

    def host(self, name: str) -> Path:
        """The folder of one host: its disk (``upper``), its logs."""
        return self.base / "hosts" / name

    def namespace(self, name: str) -> Path:
        """The file that holds a host's network namespace."""
        return self.base / "net" / f"host-{name}"


def load(path: Path) -> FleetState | None:
    """The state in ``path``; None without one. Raises SidestepError for a file that is none."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=FleetState)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SidestepError(f"{path} is no state of a test fleet: {error}") from error
    if state.version != VERSION:
        raise SidestepError(f"{path} was written by another version ({state.version}, not {VERSION})")
    return state


def save(path: Path, state: FleetState) -> None:
    """Replace the file at once, so that nobody ever reads half of one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    part.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock: one command at a time changes the fleet. Whoever holds it may unlink the file."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is(path, handle):
                # Removed while we waited: others may lock a new file already.
                continue
            yield
            return
        finally:
            os.close(handle)


def _is(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False
