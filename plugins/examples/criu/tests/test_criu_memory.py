"""Memory goes along where both hosts can, exactly once; and the contract holds where none can."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from sidestep_criu import CriuBackend

from sidestep.plugins import HostError, Label, ShardSpec
from sidestep.testing import CounterSubject, check_backend_now

WALK = Path(__file__).with_name("walk.sh")
#: a command that enters a root file system with a criu for this kernel, where the machine's own has none
INSIDE = shlex.split(os.environ.get("SIDESTEP_CRIU_INSIDE", ""))
#: its name is in its memory alone
APP = "id=$(cat /proc/sys/kernel/random/uuid) i=0; while :; do i=$((i + 1)); echo $id $i >>beats; sleep 0.1; done"


def clock(driver: str = "restart") -> ShardSpec:
    return ShardSpec(name=Label("clock"), app=Label("clock"), host=Label("h1"), start=APP, driver=driver)


def test_the_backend_keeps_the_contract_also_where_memory_cannot_go_along() -> None:
    """One step of each rule; both hosts share this machine's process numbers, so that no image can be brought back."""
    subject = CounterSubject(make=lambda: CriuBackend("kit"), driver="restart", state_bytes=0)
    card = check_backend_now(subject, sample=1)
    assert card.ok, card.text()


def test_a_shard_that_keeps_its_state_in_memory_alone_is_refused() -> None:
    with pytest.raises(HostError, match="driver has to be restart"):
        CriuBackend("kit").commands(clock("hook"))


class Host:
    """The shard's folder, and what is done with it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        shard = CriuBackend("kit").commands(clock())
        self.words = {"START": shard.start, "QUIESCE": shard.quiesce, "RESUME": shard.resume, "STATE": str(self.state)}

    def walks(self, *words: str) -> str:
        ran = subprocess.run(
            [*INSIDE, "/bin/sh", str(WALK), *words], env=os.environ | self.words, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        return ran.stdout + ran.stderr

    def beats(self) -> list[tuple[str, int]]:
        lines = [line.split() for line in (self.state / "beats").read_text().splitlines()]
        return [(name, int(number)) for name, number in lines]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Skipped with the reason where no image can be made here."""
    try:
        ran = subprocess.run([*INSIDE, "criu", "check"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("NO CRIU: criu is not installed")
    if ran.returncode:
        pytest.skip(f"NO CRIU: criu check says: {ran.stderr.strip().splitlines()[0]}")
    return Host(tmp_path)


def test_what_is_in_memory_goes_on_at_the_next_owner_and_only_there(host: Host) -> None:
    assert "its memory goes along" in host.walks("first")
    before = host.beats()
    said = host.walks("second", "8")
    assert "in the group of its leader" in said and "its memory goes along" in said
    after = host.beats()
    assert after[: len(before)] == before and len(after) > len(before)
    assert [number for _, number in after] == list(range(1, len(after) + 1)), "it went on where it stood"
    assert len({name for name, _ in after}) == 1, "its memory is the same"
    # what has been used once, and files that have changed since, begin anew
    again = host.walks("second", "9")
    assert "started from its files: no image of its memory came" in again
    assert len({name for name, _ in host.beats()}) == 2


def test_an_image_is_of_no_use_to_its_own_owner_or_when_files_have_changed(host: Host) -> None:
    host.walks("first")
    assert "started from its files: its image is of this owner" in host.walks("second", "7")
    (host.state / "beats").unlink()
    host.walks("first")
    (host.state / "more").write_text("written since")
    assert "started from its files: its files have changed" in host.walks("second", "8")
