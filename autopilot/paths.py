"""Where things live: sockets, state and configuration, by the XDG rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def runtime_dir() -> Path:
    """The folder of sockets: ``$XDG_RUNTIME_DIR/sidestep``, or one of our own under the temporary folder.

    Made 0700 if it is missing; the caller relies on that for the sockets in it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base, "sidestep") if base else Path(tempfile.gettempdir(), f"sidestep-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} must belong to you and be closed to others (chmod 700)")
    return folder


def socket_path(fleet: str) -> Path:
    """The daemon's socket of that fleet."""
    return runtime_dir() / f"{fleet}.sock"


def state_dir(fleet: str) -> Path:
    """The daemon's state (journal, logs): ``$XDG_STATE_HOME/sidestep/<fleet>``."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base, "sidestep", fleet)


def config_path() -> Path:
    """The fleet file that is used when none is named: ``$XDG_CONFIG_HOME/sidestep/fleet.toml``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "sidestep", "fleet.toml")


def fleet_cache(config: Path) -> Path:
    """Where a fleet file's parsed form is kept: a file of its own in ``$XDG_CACHE_HOME/sidestep``, made 0700."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(config.absolute())).hexdigest()[:32]
    return Path(base, "sidestep", f"fleet-{name}.cache")
