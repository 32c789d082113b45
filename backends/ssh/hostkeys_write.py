"""Writing to known_hosts: one line at a time, whole, by one writer, readable by nobody else."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import asyncssh

from sidestep.backends.ssh.hostkeys import HostKeys, host_name
from sidestep.fleet.errors import ConfigError


def record(path: Path, name: str, port: int, key: asyncssh.SSHKey) -> bool:
    """Add a line that trusts ``key`` for a host; whether it was missing.

    The file is made 0600, and locked while it is read and written: of two writers the second
    sees what the first wrote. Raises ConfigError when the file cannot be written, may be
    written by others, or knows the host by another key meanwhile: nothing is ever replaced.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(str(path), 0, "", None, f"cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "rb+") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _check(path, os.fstat(descriptor))
        known = HostKeys.load(path).trust(name, port)
        if key in known.revoked:
            raise ConfigError(str(path), 0, "", None, f"the key of {host_name(name, port)} is revoked")
        if key in known.trusted:
            return False
        if known.trusted:
            raise ConfigError(str(path), 0, "", None, f"knows {host_name(name, port)} by another key meanwhile")
        before = file.read()
        public = b" ".join(key.export_public_key().split()[:2]).decode()
        line = f"{host_name(name.lower(), port)} {public}\n"
        # A last line without an end must not swallow ours. One write: a reader sees all of the line or none.
        data = (line if not before or before.endswith(b"\n") else f"\n{line}").encode()
        try:
            _append(descriptor, data)
        except OSError as error:
            # Half a line would make the whole file unreadable.
            os.ftruncate(descriptor, len(before))
            raise ConfigError(str(path), 0, "", None, f"cannot be written: {error.strerror}") from error
    return True


def _append(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(
            str(path),
            0,
            "",
            None,
            "is no file that keys could be kept in",
            hint="set known_hosts under [ssh]",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(str(path), 0, "", None, "may be written by others", hint=f"chmod go-w {path}")
