"""Fleet files: any text is a fleet or a ConfigError, and a fleet is written and read back as it is."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.errors import ConfigError

PARTS = ("sidestep.fleet", "tomli")

_FLEET = """\
[fleet]
name = "demo"
interval = "2s"
[policy]
horizon = "15m"
[defaults.host]
port = 2222
[hosts.h1]
address = "127.0.0.1"
cpu = 4
memory = "512M"
labels = { role = "db" }
[hosts."web[01-03]"]
address = "10.0.0.{}"
[groups.front]
hosts = ["web*"]
[shards.kv-01]
app = "kv"
host = "h1"
start = "serve"
keys = [0, 65536]
avoid = ["kv"]
"""


def seeds() -> Iterator[bytes]:
    """A fleet that uses most tables, and its parts."""
    yield _FLEET.encode()
    yield b'[fleet]\nname = "x"\n[hosts.a]\naddress = "h"\n'
    yield b'include = ["more.toml"]\n[fleet]\nname = "x"\n'
    yield b'[fleet]\nname = """\nx"""\n[hosts]\na = { address = \'h\', memory = 1.5 }\n[ssh]\nuser = "\\u001b"\n'


def run(data: bytes) -> None:
    """Read a fleet as the daemon does, and write what was read."""
    try:
        fleet = parse_fleet(data.decode("utf-8", "replace"), "fleet.toml")
    except ConfigError as error:
        # the remedy and every further problem stand on lines of their own
        assert all(line.isprintable() for line in str(error).split("\n")), "an error is not printable"
        return
    again = parse_fleet(dump_fleet(fleet), "fleet.toml")
    assert msgspec.structs.asdict(again) == msgspec.structs.asdict(fleet), "a fleet is not written as it was read"
