"""What is wrong is said clearly, and the rest of the fleet goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ground import Ground

from sidestep.autopilot.protocol import GetSnapshot, SnapshotFrame, host_states
from sidestep.fleet.resources import DIMENSIONS

pytestmark = pytest.mark.fleet
SIDESTEP = str(Path(sys.executable).with_name("sidestep"))


@pytest.fixture
def wounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Four hosts: the key of h2 is not the one we know, h3 is unknown to us, h4 is about to die."""
    fleet = Ground(tmp_path_factory.mktemp("w"), hosts=4, shards=8)
    known = fleet.folder / "known_hosts"
    lines = known.read_text().splitlines()
    keys = [line.split(" ", 1)[1] for line in lines]
    lines[1] = f"{lines[1].split(' ', 1)[0]} {keys[0]}"
    known.write_text("\n".join(line for index, line in enumerate(lines) if index != 2) + "\n")
    fleet.order(kill="h4")
    try:
        yield fleet
    finally:
        fleet.close()


def test_hosts_that_cannot_be_trusted_or_reached_are_named_and_the_rest_goes_on(wounded: Ground) -> None:
    """S1.25: one bad host costs its own row and nothing else."""
    with wounded.daemon():
        lost = {"DEAD", "SUSPECT"}

        def settled(frame: SnapshotFrame) -> bool:
            states = dict(zip((host.name for host in frame.hosts), host_states(frame), strict=True))
            known = np.isfinite(np.frombuffer(frame.use, "<f4")[0])  # a rate needs two samples
            return states["h1"] == "READY" and known and {states[name] for name in states if name != "h1"} <= lost

        frame = wounded.until(settled)
        reasons = {frame.hosts[row].name: reason for row, reason in frame.reasons.items()}
        assert "changed" in reasons["h2"].lower()
        assert "unknown" in reasons["h3"].lower()
        assert reasons["h4"]
        use = np.frombuffer(frame.use, "<f4").reshape(4, len(DIMENSIONS))
        assert np.isfinite(use[0, 0]) and np.isnan(use[1:]).all()
        assert wounded.serving("kv-01")[0][0] == "h1"
        assert wounded.serving("kv-02") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[policy]", "[polcy]", "did you mean policy?"),
        ("quantile = ", "quantle = ", "did you mean quantile?"),
        ("cpu = ", 'cpu = "lots"\n#', "must be a number"),
        ("cpu = ", "cpu = -1\n#", "must be above 0"),
    ],
)
def test_a_wrong_fleet_file_ends_with_2_and_names_the_line(
    ground: Ground, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = ground.file.read_text()
    assert old in text
    wrong = tmp_path / "fleet.toml"
    wrong.write_text(text.replace(old, new, 1))
    line = wrong.read_text()[: wrong.read_text().index(new)].count("\n") + 1
    done = subprocess.run(
        [SIDESTEP, "autopilot", "--fleet", str(wrong)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"{wrong}:{line}" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_declared_twice_is_refused_with_its_line(ground: Ground, tmp_path: Path) -> None:
    wrong = tmp_path / "fleet.toml"
    wrong.write_text(ground.file.read_text() + '\n[hosts.h1]\naddress = "127.0.0.9"\ncpu = 1\nmemory = "1G"\n')
    done = subprocess.run(
        [SIDESTEP, "autopilot", "--fleet", str(wrong)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "twice" in done.stderr
    assert f"{wrong}:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cut_frame_ends_that_connection_and_no_other(ground: Ground) -> None:
    with ground.daemon():
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(ground.socket))
            rude.sendall((4096).to_bytes(4, "big") + b"\x81\xa2id")
            rude.shutdown(socket.SHUT_WR)
            rude.settimeout(10)
            while rude.recv(65536):
                pass
        assert isinstance(ground.call(GetSnapshot()), SnapshotFrame)


def test_commands_without_a_daemon_say_what_to_start(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [SIDESTEP, "--socket", str(tmp_path / "none.sock"), "plan", "list"],
        capture_output=True, text=True, timeout=30, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    assert "sidestep autopilot" in done.stderr
    assert "Traceback" not in done.stderr
