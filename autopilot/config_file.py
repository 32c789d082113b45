"""Reads the fleet file; ``fleet.config`` checks what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidestep.fleet.config import parse_fleet
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec

#: a fleet of thousands of hosts is well below it; a device or a wrong file is not read into memory
MAX_BYTES: Final = 16 << 20


def load_fleet(path: Path) -> FleetSpec:
    """The fleet that a file declares. Raises ConfigError naming file, line, key and remedy."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(name, 0, "", None, "there is no such file", hint="name it with --fleet FILE") from None
    except OSError as error:
        raise ConfigError(
            name, 0, "", None, f"cannot be read: {error.strerror}", hint="check its permissions"
        ) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(name, 0, "", None, f"is larger than {MAX_BYTES} bytes", hint="name a fleet file with --fleet")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(name, line, "", None, "is not UTF-8 text", hint="save the file as UTF-8") from None
    return parse_fleet(text, name)
