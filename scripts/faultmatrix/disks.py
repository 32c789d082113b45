"""A real disk for a host: ext4 on a loop device, that fills up, becomes slow, and loses power.

Power loss is the kernel's own: after EXT4_IOC_SHUTDOWN without a flush, what was not synced is gone at the next mount.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.testfleet.shell import FleetError, call

SIZE: Final = 32 << 20
#: of hosts that keep capsules, which are to leave 256 MiB free
LARGE: Final = 300 << 20
#: writes a second of a slow disk; a sync of a file takes three or four
SLOW: Final = 10
_RELEASED: Final = 60.0
_SHUTDOWN: Final = 0x8004587D
_LOSE_THE_REST: Final = 2
_BLKIO: Final = Path("/sys/fs/cgroup/blkio")
_THROTTLE: Final = "blkio.throttle.write_iops_device"


def throttled() -> bool:
    """Whether this machine's kernel can make a disk slow for us."""
    return os.access(_BLKIO / _THROTTLE, os.W_OK)


class Disk:
    """One host's disk, mounted at ``folder`` for us; ``node`` is the block device for whoever mounts it, too."""

    def __init__(self, image: Path, folder: Path, size: int = SIZE) -> None:
        self.folder, self._image, self._size = folder, image, size
        self.node = ""
        self._ballast = folder / "ballast"

    def make(self) -> None:
        """Make, format and mount it. Raises FleetError where that is not possible."""
        with self._image.open("wb") as file:
            file.truncate(self._size)
        call(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024", str(self._image)])
        self.node = call(["losetup", "--find", "--show", str(self._image)]).strip()
        self.mount()

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor number of the device."""
        device = Path(self.node).stat().st_rdev
        return os.major(device), os.minor(device)

    def mount(self) -> None:
        """Mount it for us; what was not synced before a power loss is gone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        call(["mount", "-t", "ext4", self.node, str(self.folder)])

    def lose_power(self) -> None:
        """From now on nothing reaches the disk."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _LOSE_THE_REST))
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Unmount ours, and wait until nobody else has it, such as a host that boots with a copy of our mounts.

        Else the next mount would find the file system that was shut down. May be repeated. Raises FleetError.
        """
        end = time.monotonic() + _RELEASED
        while f" {self.folder} " in Path("/proc/self/mountinfo").read_text("utf-8", "replace"):
            try:
                call(["umount", str(self.folder)])
                break
            except FleetError:  # a process that is just being made may hold a file of ours for a moment
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        while True:
            try:
                os.close(os.open(self.node, os.O_RDONLY | os.O_EXCL))
            except OSError as error:
                if time.monotonic() > end:
                    raise FleetError(f"{self.node}: somebody still has it mounted: {error.strerror}") from error
                time.sleep(0.05)
            else:
                return

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 10, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def clear(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def slow(self, on: bool, groups: Path | None = None) -> None:
        """Let few writes a second through, or all; ``groups`` is the blkio group of whoever writes, if not ours."""
        major, minor = self.numbers
        for folder in [_BLKIO, *([Path(f) for f, _, _ in os.walk(groups)] if groups is not None else [])]:
            with suppress(OSError):
                (folder / _THROTTLE).write_text(f"{major}:{minor} {SLOW if on else 0}")

    def remove(self) -> None:
        """Unmount and forget it; harmless at any time."""
        for argv in (["umount", "-l", str(self.folder)], ["losetup", "-d", self.node]):
            if argv[-1]:
                subprocess.run(argv, capture_output=True, check=False)
        self._image.unlink(missing_ok=True)


def possible() -> str:
    """Why hosts get no disks of their own here, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    missing = [tool for tool in ("mkfs.ext4", "losetup", "mount") if not _there(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if Path("/dev/loop-control").exists() else "no loop devices"


def _there(tool: str) -> bool:
    return any(Path(folder, tool).exists() for folder in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"))


__all__ = ["SLOW", "Disk", "FleetError", "possible", "throttled"]
