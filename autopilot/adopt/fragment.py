"""What the fleet file has to say of units that were taken over, and putting it there. Nothing is ever replaced."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidestep.autopilot.config_file import load_fleet
from sidestep.fleet.config_dump import table
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


def name_of(unit: str) -> str:
    """The shard's name for a unit: ``kv@1.service`` is ``kv-1``."""
    return _NOT_IN_NAMES.sub("-", unit.removesuffix(".service")).strip("-._") or "unit"


def fragment(
    name: str, *, host: str, start: str, driver: str = "restart", port: int = 0, state_path: str = "", ready: str = "",
    unit: str = "", left: Sequence[str] = (),
) -> str:  # fmt: skip
    """One table of the fleet file, with what a move would not carry as comments."""
    values: dict[str, object] = {"app": name, "host": host, "backend": "systemd", "driver": driver, "start": start}
    if port:
        values["port"] = port
    if ready:
        values["ready"] = ready
    if state_path:
        values["state_path"] = state_path
    lines = [f"# {unit} on {host}, taken over as it ran"] if unit else []
    if driver == "restart" and not state_path:
        values["pinned"] = True
        lines.append("# pinned: where its state is was not said (--state), and it would move without it")
    if driver == "hook":
        values |= {"save": "exit 1", "load": "exit 1"}
        lines.append("# write save and load before it moves: until then every move is given up while it still serves")
    lines += [f"# not in a unit of sidestep's: {one}" for one in left]
    return "\n".join([*lines, table(f"shards.{name}", values)])


def checked(path: Path, fleet: FleetSpec, names: Sequence[str]) -> None:
    """Raise UsageError for names that the fleet has already."""
    known = {str(shard.name) for shard in fleet.shards}
    for name in names:
        if name in known:
            raise UsageError(f"{path} has a shard {name} already", hint="choose another name with --name")


def put(path: Path, text: str) -> None:
    """Append to the fleet file, which is read back first: it is whole and right, or as before. Raises SidestepError."""
    before = path.read_text("utf-8")
    new = path.with_name(f".{path.name}.adopt")
    mode = stat.S_IMODE(path.stat().st_mode)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{before.rstrip()}\n\n{text}")
            file.flush()
            os.fsync(file.fileno())
        load_fleet(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
