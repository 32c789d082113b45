"""The systemd unit: what systemd itself says of it, and that it fits the daemon."""

from __future__ import annotations

import configparser
import getpass
import grp
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sidestep.autopilot.__main__ import arguments

UNIT = Path(__file__).resolve().parents[2] / "packaging" / "sidestep.service"
#: of 10, where 0 is shut; systemd calls up to 2 "ok" with its best face
EXPOSURE = 1.7

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="NOT CHECKED: systemd-analyze is missing; on Debian it is part of the package systemd",
)


class Once(dict[str, object]):
    """Sections whose keys may stand several times, as in units: values are collected."""

    def __setitem__(self, key: str, value: object) -> None:
        if key in self and isinstance(value, list):
            value = [*self[key], *value]  # type: ignore[misc]
        super().__setitem__(key, value)


def service() -> dict[str, str]:
    parser = configparser.RawConfigParser(dict_type=Once, strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return {key: str(value) for key, value in parser["Service"].items()}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit with a program and a user that this machine has."""
    text = UNIT.read_text(encoding="utf-8")
    group = grp.getgrgid(os.getgid()).gr_name
    for old, new in (
        ("/usr/local/bin/sidestep", "/bin/true"),
        ("User=sidestep", f"User={getpass.getuser()}"),
        ("Group=sidestep", f"Group={group}"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "sidestep.service"
    path.write_text(text, encoding="utf-8")
    return path


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(here: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(here) not in done.stderr and "sidestep.service" not in done.stderr, done.stderr


@needs_systemd
def test_systemd_rates_the_sandbox_as_tight(here: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}", here],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_starts_the_daemon_with_options_that_it_has() -> None:
    """The folders are those that the unit makes writable."""
    program, command, *options = service()["ExecStart"].split()
    assert program.endswith("/sidestep") and command == "autopilot"
    parsed = arguments(options)
    assert str(parsed.state).startswith("/var/lib/" + service()["StateDirectory"])
    assert str(parsed.socket).startswith("/run/" + service()["RuntimeDirectory"])
    assert str(parsed.fleet).startswith("/etc/" + service()["ConfigurationDirectory"])


def test_the_unit_keeps_to_what_the_daemon_promises() -> None:
    said = service()
    assert said["Type"] == "notify" and said["NotifyAccess"] == "main" and float(said["WatchdogSec"]) >= 30
    assert said["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert said["Restart"] == "on-failure" and said["RestartPreventExitStatus"] == "2"
    assert said["KillMode"] == "mixed", "SIGTERM is the daemon's own; its children end with it"
    for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces", "RestrictSUIDSGID"):
        assert said[key] == "yes"
    assert said["ProtectSystem"] == "strict" and "MemoryMax" in said and "SystemCallFilter" in said
