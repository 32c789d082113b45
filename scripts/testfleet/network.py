"""The fleet's network: a bridge in a control namespace without a way out, and a cable to every host.

Namespaces are held by files on the fleet's own tmpfs, so nothing appears in /run/netns and
nothing is left when that is unmounted. No interface ever exists in the machine's namespace.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from scripts.testfleet.plan import GATEWAY, HostPlan
from scripts.testfleet.shell import FleetError, call

_CLONE_NEWNET: Final = 0x40000000
_MNT_DETACH: Final = 2
_libc: Final = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


def make_control(control: Path) -> None:
    """The control namespace with its bridge."""
    _namespace(control)
    _ip(
        control,
        "link set lo up",
        "link add br0 type bridge",
        f"addr add {GATEWAY}/24 dev br0",
        "link set br0 up",
    )


def plug(control: Path, namespace: Path, host: HostPlan) -> None:
    """A namespace for the host, and a cable from it to the bridge; an old cable is replaced."""
    unplug(control, namespace, host)
    _namespace(namespace)
    # Both ends are made where they belong: names cannot collide with anything of the machine.
    _ip(
        control,
        f"link add {host.link} type veth peer name eth0 address {host.mac} netns {namespace}",
        f"link set {host.link} master br0 up",
    )
    _ip(namespace, "link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up")


def unplug(control: Path, namespace: Path, host: HostPlan) -> None:
    """Remove the cable first, so that nobody hears the host's connections die, then the namespace."""
    with suppress(FleetError):
        _ip(control, f"link del {host.link}")
    if namespace.exists():
        detach(namespace)
        namespace.unlink()


def set_link(control: Path, host: HostPlan, *, up: bool) -> None:
    """Cut or heal the host's cable at the bridge's end."""
    _ip(control, f"link set {host.link} {'up' if up else 'down'}")


def link_is_up(control: Path, host: HostPlan) -> bool:
    """Whether the cable is there and not cut."""
    try:
        said = call(["nsenter", f"--net={control}", "ip", "-o", "link", "show", host.link])
    except FleetError:
        return False
    return "UP" in said.partition("<")[2].partition(">")[0].split(",")


def within(control: Path, work: Callable[[], Result]) -> Result:
    """Do ``work`` in a thread that has entered the namespace; sockets made there stay in it."""

    def enter() -> Result:
        handle = os.open(control, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(handle, _CLONE_NEWNET):
                raise FleetError(f"cannot enter {control}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(handle)
        return work()

    # A pool for this once: a thread that has entered must not come back to anybody else.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


def greeted(address: str, deadline: float, still: Callable[[], bool]) -> bool:
    """Whether sshd says its first word before ``deadline`` (monotonic) while ``still`` holds."""
    while time.monotonic() < deadline and still():
        with suppress(OSError), socket.create_connection((address, 22), timeout=1) as link:
            link.settimeout(5)
            if link.recv(4) == b"SSH-":
                return True
        time.sleep(0.02)
    return False


def detach(path: Path) -> None:
    """Unmount lazily; what is not mounted is left alone."""
    _libc.umount2(os.fsencode(path), _MNT_DETACH)


def _namespace(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    call(["unshare", f"--net={file}", "true"])


def _ip(namespace: Path, *commands: str) -> None:
    call(["nsenter", f"--net={namespace}", "ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
