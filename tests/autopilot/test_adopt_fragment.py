"""What ``sidestep adopt`` writes reads back as the shard that was taken over, and nothing else changes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sidestep.autopilot.adopt.fragment import checked, fragment, name_of, put
from sidestep.autopilot.config_file import load_fleet
from sidestep.backends.systemd.adopt import refusal
from sidestep.fleet.errors import SidestepError, UsageError

FLEET = """[fleet]
name = "f"  # a comment that stays

[hosts.h1]
address = "10.0.0.1"

[shards.old]
app = "old"
host = "h1"
start = "true"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    path.chmod(0o640)
    return path


def test_a_unit_is_appended_and_reads_back(file: Path) -> None:
    start = "cd '/srv/k v' && exec setpriv --reuid=kv /usr/bin/kv --say 'a \"b\" \\ c'"
    put(file, fragment("kv-1", host="h1", start=start, port=7000, state_path="/var/lib/kv", unit="kv@1.service"))
    fleet = load_fleet(file)
    shard = fleet.shard("kv-1")
    assert (shard.start, shard.port, shard.state_path, shard.pinned) == (start, 7000, "/var/lib/kv", False)
    assert (shard.backend, shard.driver, shard.host, shard.app) == ("systemd", "restart", "h1", "kv-1")
    assert file.read_text().startswith(FLEET.rstrip()) and stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [p.name for p in file.parent.iterdir()] == ["fleet.toml"]


def test_a_shard_that_would_lose_its_state_stays_where_it_is(file: Path) -> None:
    put(file, fragment("kv", host="h1", start="true", left=("PrivateTmp=yes",)))
    assert load_fleet(file).shard("kv").pinned and "# not in a unit of sidestep's: PrivateTmp=yes" in file.read_text()
    text = fragment("kv2", host="h1", start="true", driver="hook")
    put(file, text)
    assert load_fleet(file).shard("kv2").save == "exit 1"


def test_what_would_break_the_file_is_not_written(file: Path) -> None:
    with pytest.raises(SidestepError):
        put(file, fragment("kv", host="nowhere", start="true"))
    assert file.read_text() == FLEET and [p.name for p in file.parent.iterdir()] == ["fleet.toml"]
    with pytest.raises(UsageError, match="a shard old already"):
        checked(file, load_fleet(file), ["old"])


def test_units_are_named_and_refused_by_what_they_are() -> None:
    assert [name_of(u) for u in ("kv@1.service", "a b.service", "@.service")] == ["kv-1", "a-b", "unit"]
    assert not refusal("kv@1.service")
    assert all(refusal(u) for u in ("ssh.service", "systemd-logind.service", "user@0.service", "dbus.service"))
    assert all(refusal(u) for u in ("kv", "../kv.service", "kv.socket", "-x y.service"))
