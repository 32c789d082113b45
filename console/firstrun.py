"""What to do when there is no fleet yet: the ways to a first one, with what is found on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidestep.fleet.labels import scrub

#: where inventories of Ansible lie, beside the present folder
_INVENTORIES: Final = ("inventory", "inventory.ini", "inventory.yml", "inventory.yaml", "hosts.ini")
_MOST: Final = 1 << 20


def lines(fleet_file: Path, home: Path, here: Path) -> Iterator[str]:
    """What to type first, the way that fits this machine best before the others."""
    ways = list(_ways(home, here))
    width = max(len(way) for way, _ in ways)
    yield "no fleet yet. One of these makes one:"
    for way, what in ways:
        yield f"  {way:<{width}}   {what}"
    yield f"They write {scrub(str(fleet_file), 400)}"
    yield "with comments; nothing is asked. Then:"
    for way, what in (
        ("sidestep trust HOST", "look at a host's key, compare, record it"),
        ("sidestep doctor", "try every host: what works, what is missing"),
        ("sidestep", "the console; its daemon only proposes"),
    ):
        yield f"  {way:<{width}}   {what}"


def _ways(home: Path, here: Path) -> Iterator[tuple[str, str]]:
    config = home / ".ssh" / "config"
    if count := _concrete(config):
        yield "sidestep init --ssh-config", f"{count} host{'s' if count != 1 else ''} in {scrub(str(config), 200)}"
    for path in (*(here / name for name in _INVENTORIES), Path("/etc/ansible/hosts")):
        if path.is_file():
            yield f"sidestep init --ansible {scrub(str(path), 200)}", "an Ansible inventory, it seems"
    yield "sidestep init --hosts FILE", "a line per host: NAME [ADDRESS[:PORT]]"
    yield "sidestep demo", "or first look: a live fleet on this machine"


def _concrete(config: Path) -> int:
    """How many hosts an ssh_config names without a pattern; 0 if it cannot be read."""
    try:
        with config.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MOST)
    except OSError:
        return 0
    found: set[str] = set()
    for row in text.splitlines():
        word, _, rest = row.strip().replace("=", " ", 1).partition(" ")
        if word.casefold() == "host":
            found |= {name for name in rest.split() if not set(name) & set("*?!")}
    return len(found)
