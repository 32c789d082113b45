"""The capsule of a shard that waits is all that there is of it: it outlives a power loss (S5.10, S5.19)."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidestep.autopilot.queue import parked
from sidestep.fleet.errors import HostError

#: writes down what it is told to sync, and whether the kept capsule has its name by then; an old one takes no names
SYNC = """#!/bin/sh
[ -z "$OLD" ] || [ $# -eq 0 ] || exit 1
[ -f "$FOLDER/parked.2" ] && there=named || there=unnamed
echo "$there $*" >>"$FOLDER/synced"
"""


@dataclass
class Shell:
    """Runs commands here, with that ``sync`` in front of the machine's."""

    folder: Path
    old: str = ""
    host = "h1"

    async def run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "FOLDER": str(self.folder), "OLD": self.old}
        done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, check=False)
        done.status = done.returncode  # type: ignore[attr-defined]
        return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sync").write_text(SYNC)
    (tmp_path / "bin" / "sync").chmod(0o755)
    (tmp_path / "capsule.k").write_bytes(b"state")
    (tmp_path / "parked.1").write_bytes(b"of before")
    return tmp_path


async def keep(shell: Shell) -> list[str]:
    kept = parked.name_of(str(shell.folder / "capsule.k"), 2)
    await parked.keep(shell, str(shell.folder / "capsule.k"), kept)  # type: ignore[arg-type]
    assert Path(kept).read_bytes() == b"state"
    assert not (shell.folder / "parked.1").exists()
    return (shell.folder / "synced").read_text().splitlines()


async def test_the_bytes_and_then_the_name_are_brought_to_the_disk(folder: Path) -> None:
    """Without the second, a host that lost its power after the commit came back without the only copy."""
    new = folder / "parked.2.new"
    assert await keep(Shell(folder)) == [f"unnamed {new}", f"named {folder}"]


async def test_where_sync_takes_no_names_everything_is_synced(folder: Path) -> None:
    assert await keep(Shell(folder, old="yes")) == ["unnamed ", "named "]


async def test_a_disk_that_cannot_be_synced_fails_the_step(folder: Path) -> None:
    (folder / "bin" / "sync").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(HostError, match="exit status 1"):
        await keep(Shell(folder))
    assert (folder / "parked.1").exists(), "the older one is removed only after that"
