"""A host's own disk: what differs from the shared image, written before its first start and kept until ``down``."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.testfleet.plan import INTERPRETERS, HostPlan
from scripts.testfleet.shell import call
from scripts.testfleet.state import Places

#: programs of the image that make an interpreter, as shell patterns below /usr/bin
_PROGRAMS: Final = {
    "python": ("python*", "py3*"),
    "perl": ("perl*",),
    "awk": ("awk", "mawk", "gawk", "nawk"),
    "sh": (),
}
#: what makes no sense without hardware, or would only disturb
_MASKED: Final = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "getty@tty1.service", "console-getty.service"),
    *("systemd-timesyncd.service", "systemd-networkd.service", "systemd-resolved.service"),
    *("systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket"),
    *("systemd-udev-trigger.service", "modprobe@.service", "dev-hugepages.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount"),
)


def make(places: Places, image: Path, host: HostPlan, hosts: Sequence[HostPlan], authorized: str) -> str:
    """Write the disk of a new host; returns the public half of its host key."""
    folder = places.host(host.name)
    for part in ("upper", "work", "root"):
        (folder / part).mkdir(parents=True)
    (folder / "console").touch()
    upper = folder / "upper"
    _put(upper / "etc/hostname", f"{host.name}\n")
    _put(upper / "etc/machine-id", f"{uuid.uuid4().hex}\n")
    _put(upper / "etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{h.address} {h.name}\n" for h in hosts))
    _put(upper / "root/.ssh/authorized_keys", authorized, 0o600)
    (upper / "root").chmod(0o700)
    key = upper / "etc/ssh/ssh_host_ed25519_key"
    key.parent.mkdir(parents=True, exist_ok=True)
    call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key)])
    units = upper / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in _MASKED:
        (units / unit).symlink_to("/dev/null")
    _hide(image, upper, host)
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _hide(image: Path, upper: Path, host: HostPlan) -> None:
    """Take away the interpreters that the host shall not have: a 0/0 device hides the file below it."""
    for better in INTERPRETERS[: INTERPRETERS.index(host.interpreter)]:
        for pattern in _PROGRAMS[better]:
            for program in (image / "usr/bin").glob(pattern):
                cover = upper / "usr/bin" / program.name
                cover.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                os.mknod(cover, stat.S_IFCHR, os.makedev(0, 0))
