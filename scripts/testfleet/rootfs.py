"""The image that all hosts share: a small Debian with systemd and sshd, built once and kept.

Built beside its place and renamed into it, so that it is whole or not there; named by what
it was built from, so that a change builds a new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from scripts.testfleet.shell import FleetError, Impossible, call
from scripts.testfleet.sources import machine_sources, machine_suite
from scripts.testfleet.state import locked

#: perl is perl-base, awk is mawk and python3 is the minimal one: what the leanest hosts have
PACKAGES: Final = (
    "dbus",
    "iproute2",
    "libpam-systemd",
    "mawk",
    "openssh-server",
    "procps",
    "python3-minimal",
    "systemd",
    "systemd-sysv",
)
_OPTIONS: Final = (
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    # No two hosts may share these: each gets its own at its first start.
    '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id',
)
_PROXIES: Final = ("Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until", "Acquire::Retries")


def cache() -> Path:
    """The folder that images are kept in."""
    return Path(os.environ.get("SIDESTEP_TESTFLEET_CACHE") or "/var/cache/sidestep-testfleet")


def suite() -> str:
    """The release that hosts run: the machine's own unless SIDESTEP_TESTFLEET_SUITE says another."""
    found = os.environ.get("SIDESTEP_TESTFLEET_SUITE") or machine_suite()
    if not found:
        raise Impossible("/etc/os-release names no VERSION_CODENAME; set SIDESTEP_TESTFLEET_SUITE, such as bookworm")
    return found


def place(folder: Path, release: str, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Where the image made from these packages lies."""
    recipe = "\n".join((release, *packages, *_OPTIONS))
    return folder / f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ready() -> Path:
    """The image, built if it is not there. Raises Impossible when it cannot be built here."""
    folder, release = cache(), suite()
    image = place(folder, release)
    if image.is_dir():
        return image
    if not shutil.which("mmdebstrap"):
        raise Impossible("mmdebstrap is not installed (Debian: apt install mmdebstrap)")
    sources = machine_sources(release)
    if not sources:
        raise Impossible(f"no APT source of this machine serves {release}")
    with locked(folder / ".lock"):
        # Whoever held the lock before may have built it; what a killed build left is nobody's now.
        for left in folder.glob(".building-*"):
            shutil.rmtree(left, ignore_errors=True)
        if not image.is_dir():
            _build(folder, release, sources, image)
    return image


def _build(folder: Path, release: str, sources: dict[str, str], image: Path) -> None:
    part = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        files: list[str] = []
        for name, text in sources.items():
            (part / name).write_text(text)
            files.append(str(part / name))
        root = part / "root"
        try:
            call(
                [
                    *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
                    f"--include={','.join(PACKAGES)}",
                    *_OPTIONS,
                    *_machine_options(),
                    *(release, str(root), *files),
                ],
                timeout=600,
            )
        except FleetError as error:
            raise Impossible(f"the hosts' image cannot be built: {error}") from error
        root.rename(image)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _machine_options() -> list[str]:
    """How the machine's APT reaches its archive: proxies and the like go for the image as well."""
    said = call(["apt-config", "dump", "--format", '%f "%v";%n'])
    return [
        f"--aptopt={line}"
        for line in said.splitlines()
        if line.startswith(_PROXIES) and not line.endswith(' "";') and "Languages" not in line
    ]
