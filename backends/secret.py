"""Secrets by reference: where one is to be had is written down, never what it is.

``file:PATH`` is a file that only its owner may read (or a pipe), ``command:LINE`` a line for the shell that writes the
secret to its standard output. Neither a secret nor such a line is in any error.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Final

from sidestep.fleet.errors import UsageError

#: seconds that a command may take to say it, and bytes that are read
SECONDS: Final = 60.0
LONGEST: Final = 1 << 20


def open_to_others(found: os.stat_result) -> bool:
    """Whether a regular file may be read or written by others than its owner."""
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def fetched(reference: str, what: str, folder: Path | None = None) -> bytes:
    """What a reference leads to; ``what`` it is said to be ("passphrase"), paths are relative to ``folder``.

    Blocks. Raises ValueError saying why there is nothing.
    """
    kind, _, rest = reference.partition(":")
    folder = folder or Path.cwd()
    if kind == "file" and rest.strip():
        return _from_file(folder / Path(rest.strip()).expanduser(), what)
    if kind == "command" and rest.strip():
        return _from_command(rest, what, folder)
    raise ValueError(f"the {what} is given by reference: write file:PATH or command:LINE, never the {what} itself")


def _from_file(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if open_to_others(found) or found.st_uid not in {os.geteuid(), 0}:
                raise ValueError(f"{what} file {path} may be read by others; chmod 600 {path}")
            return file.read(LONGEST)
    except OSError as error:
        raise ValueError(f"{what} file {path} cannot be read: {error.strerror}") from error


def _from_command(line: str, what: str, folder: Path) -> bytes:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=SECONDS, check=False, cwd=folder,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"the {what} command gives no answer: {type(error).__name__}") from None
    if done.returncode:
        raise ValueError(f"the {what} command ended with status {done.returncode}")
    return done.stdout[:LONGEST]


def secret(reference: str, option: str) -> str:
    """The one line that a reference leads to; "" for no reference. ``option`` is what it was given by.

    Blocks. Raises UsageError.
    """
    if not reference:
        return ""
    try:
        lines = fetched(reference, "secret").decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{option}: the secret is no text") from None
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if len(lines) != 1 or not lines[0]:
        raise UsageError(f"{option}: it must give one line", hint="put the secret alone in the file")
    return lines[0]
