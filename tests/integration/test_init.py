"""``sidestep init``: a fleet file from what there is, which the doctor then finds well on real hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sshd_hosts import SshdHost

from sidestep.autopilot.config_file import load_fleet

CONFIG = """\
Host web* !web9
  User ops
Host a1 a1.example
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {identity}
  UserKnownHostsFile {known}
Host forge.example
  User git
Host broken
  Port many
Host *.example *
  ServerAliveInterval 9
Include more
"""


def sidestep(*arguments: str, home: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "sidestep", *arguments], input=stdin, capture_output=True, text=True, timeout=120,
        env=environment, check=False,
    )  # fmt: skip


async def test_an_ssh_config_becomes_a_fleet_that_the_doctor_finds_well(
    sshd: Callable[..., SshdHost], tmp_path: Path
) -> None:
    host = sshd("a1")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "b").write_text("Host included\n  HostName 192.0.2.1\n")
    config = tmp_path / "ssh_config"
    config.write_text(
        CONFIG.format(port=host.spec.port, user=host.spec.user, identity=host.identity, known=host.known_hosts).replace(
            "Include more", f"Include {tmp_path}/config.d/*"
        )
    )
    ran = sidestep("init", "--ssh-config", str(config), home=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    file = tmp_path / "config" / "sidestep" / "fleet.toml"
    spec = load_fleet(file)
    assert [h.name for h in spec.hosts] == ["a1", "included"]
    assert spec.ssh_config == str(config)
    for said in ("a1.example (is a1)", "a place for code, where no command runs: forge.example", "port = 'many'"):
        assert said in ran.stderr
    checked = sidestep("doctor", "a1", home=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ok       a1: sampler: runs" in checked.stdout


def test_a_file_that_is_there_is_only_replaced_by_force(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("precious")
    hosts = "web1 10.0.0.1\nweb2 10.0.0.2:2222\n"
    refused = sidestep("init", "--hosts", "-", "--fleet", str(file), home=tmp_path, stdin=hosts)
    assert refused.returncode == 2
    assert "--force replaces it" in refused.stderr
    assert file.read_text() == "precious"
    forced = sidestep("init", "--hosts", "-", "--fleet", str(file), "--force", "--name", "farm", "--user", "ops",
                      home=tmp_path, stdin=hosts)  # fmt: skip
    assert forced.returncode == 0, forced.stderr
    assert f"sidestep doctor --fleet {file}" in forced.stderr
    spec = load_fleet(file)
    assert spec.name == "farm"
    assert [(h.name, h.port, h.user) for h in spec.hosts] == [("web1", 22, "ops"), ("web2", 2222, "ops")]
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


def test_nothing_is_written_for_a_source_without_hosts(tmp_path: Path) -> None:
    ran = sidestep("init", "--hosts", "-", "--fleet", str(tmp_path / "f.toml"), home=tmp_path, stdin="# none\n")
    assert ran.returncode == 2
    assert "no host that can be taken over" in ran.stderr
    assert list(tmp_path.iterdir()) == []
    for wrong in (["init"], ["init", "--ansible", "/nowhere"], ["init", "--hosts", "x", "--ssh-config"], ["init", "x"]):
        assert sidestep(*wrong, home=tmp_path).returncode == 2


def test_an_ini_inventory_is_read_without_ansible(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[web]\nweb[1:2] ansible_user=ops\n")
    ran = sidestep("init", "--ansible", str(tmp_path / "hosts"), "--print", home=tmp_path)
    assert ran.returncode == 0
    assert '[groups.web]\nhosts = ["web[1-2]"]' in ran.stdout


def test_yaml_without_ansible_names_the_way_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = sidestep("init", "--ansible", str(tmp_path / "hosts.yml"), "--print", home=tmp_path)
    assert ran.returncode == 2
    assert "--list > inventory.json, then: --ansible inventory.json" in ran.stderr
    (tmp_path / "inventory.json").write_text('{"_meta": {"hostvars": {}}, "web": {"hosts": ["w1"]}}')
    ran = sidestep("init", "--ansible", str(tmp_path / "inventory.json"), "--print", home=tmp_path)
    assert "[hosts.w1]" in ran.stdout


@pytest.mark.parametrize(
    ("answer", "said"),
    [("echo '[]'", "is no inventory"), ("echo {", "prints no JSON"), ("echo bad >&2; exit 3", "refuses")],
)
def test_an_ansible_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str) -> None:
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    (tmp_path / "ansible-inventory").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "ansible-inventory").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = sidestep("init", "--ansible", str(tmp_path / "hosts.yml"), "--print", home=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr


def test_a_yaml_inventory_is_read_by_ansible_itself(tmp_path: Path) -> None:
    if shutil.which("ansible-inventory") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("ansible-inventory is not installed")
    (tmp_path / "hosts.yml").write_text(
        "all:\n  children:\n    web:\n      hosts:\n        web[1:2]:\n          ansible_port: 2222\n"
        "      vars:\n        ansible_user: ops\n    db:\n      hosts: {db1: {ansible_host: 10.0.0.1}}\n"
    )
    file = tmp_path / "f.toml"
    ran = sidestep("init", "--ansible", str(tmp_path / "hosts.yml"), "--fleet", str(file), home=tmp_path)
    assert ran.returncode == 0, ran.stderr
    seen = [(h.name, h.address, h.port, h.user, h.groups) for h in load_fleet(file).hosts]
    assert sorted(seen) == [
        ("db1", "10.0.0.1", 22, "", ("db",)),
        ("web1", "web1", 2222, "ops", ("web",)),
        ("web2", "web2", 2222, "ops", ("web",)),
    ]
