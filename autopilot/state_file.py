"""Small values that survive a restart: one private JSON file each, replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from sidestep.autopilot.private_file import claim
from sidestep.backends.durable import replace_file
from sidestep.fleet.errors import SidestepError

T = TypeVar("T")


class StateError(SidestepError):
    """A file of the state folder cannot be read or written; nothing was changed."""


def read_state(path: Path, kind: type[T]) -> T | None:
    """What the file holds, None where there is none. Raises StateError for a file that cannot be used."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}", hint="put its permissions right") from error
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"{path}: is not what was written: {error}", hint="move it away to begin anew") from error


def write_state(path: Path, value: object) -> None:
    """Write the file anew, 0600, durable when this returns. Raises StateError."""
    fresh = path.with_name(f"{path.name}.new")
    claim(fresh, StateError)
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}", hint="make room on its disk") from error
