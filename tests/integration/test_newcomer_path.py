"""The newcomer's path: what the tutorial says, line by line, on three hosts with OpenSSH's own server.

The demonstration that stands before it is walked by tests/endtoend/test_story.py.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sshd_hosts import KEYGEN, SshdHost

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: more cores than there are, so that there is room for the shard however busy this machine is
ROOM = "\n[defaults.host]\ncpu = 64.0\nmemory = '64G'\n"


class Newcomer:
    """Somebody with a home folder, keys to three hosts, and the program."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "run").mkdir(mode=0o700)
        self.environment = os.environ | {
            "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "XDG_STATE_HOME": str(home / ".local/state"),
            "XDG_CACHE_HOME": str(home / ".cache"), "XDG_RUNTIME_DIR": str(home / "run"), "COLUMNS": "200",
        }  # fmt: skip
        self.file = home / ".config" / "sidestep" / "fleet.toml"
        self.daemon: subprocess.Popen[bytes] | None = None

    def types(self, line: str) -> str:
        """Run a line; what it printed."""
        words = shlex.split(line, comments=True)
        ran = subprocess.run(
            [sys.executable, "-m", *words], env=self.environment, cwd=self.home, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    def starts(self, line: str) -> None:
        """Run a line in the background, instead of the one before, and wait until it says that it is ready."""
        self.ends()
        log = (self.home / "daemon.log").open("wb")
        with log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", *shlex.split(line.removesuffix("&"))],
                env=self.environment, cwd=self.home, stdout=log, stderr=log,
            )  # fmt: skip
        self.waits(lambda: "ready " in (self.home / "daemon.log").read_text(), "the daemon to be ready")

    def waits(self, until: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not until():
            assert time.monotonic() < deadline, f"waited for {what}: {(self.home / 'daemon.log').read_text()}"
            assert self.daemon is not None and self.daemon.poll() is None, (self.home / "daemon.log").read_text()
            time.sleep(1)

    def ends(self) -> None:
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(timeout=120)
            self.daemon = None


def fingerprint(host: SshdHost) -> str:
    said = subprocess.run(
        [str(KEYGEN), "-lf", str(host.folder / "host.pub")], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[1]


def steps() -> list[tuple[str, str]]:
    """The blocks of the tutorial's second part: their language and text."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return _BLOCK.findall(page.partition("\n## 2.")[2].partition("\n## 3.")[0])


def lines() -> list[str]:
    return [line for kind, block in steps() if kind != "toml" for line in block.splitlines()]


def test_the_readme_goes_the_same_way() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own fleet")[2]
    block = _BLOCK.search(readme)
    assert block is not None
    said = [tuple(line.partition("#")[0].split()[:2]) for line in block[2].splitlines()]
    walked = [tuple(line.split()[:2]) for line in lines()]
    assert [each for each in said if len(each) == 2] == [each for each in dict.fromkeys(walked) if each in said]
    assert ("sidestep", "init") in said and ("sidestep", "doctor") in said


@pytest.mark.slow
async def test_the_tutorial_leads_to_a_fleet_of_three_hosts_and_a_shard_that_moved(
    sshd: Callable[..., SshdHost], tmp_path: Path
) -> None:
    """Every command as it stands; `beats` on the new host begins with what the old one wrote."""
    me = Newcomer(tmp_path)
    hosts = [sshd(name) for name in ("web1", "web2", "web3")]
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        "".join(
            f"Host {each.spec.name}\n  HostName {each.spec.address}\n  Port {each.spec.port}\n"
            f"  User {each.spec.user}\n  IdentityFile {each.identity}\n"
            for each in hosts
        )
    )
    (tmp_path / "fingerprints.txt").write_text("".join(f"{each.spec.name} {fingerprint(each)}\n" for each in hosts))
    printed: dict[str, str] = {}
    states = [each.home / ".local/state/sidestep/fleet/clock/state/beats" for each in hosts[:2]]
    try:
        for kind, block in steps():
            if kind == "toml":
                me.ends()
                me.file.write_text(me.file.read_text() + "\n" + block + ROOM)
                continue
            for line in block.splitlines():
                if line.endswith("&"):
                    me.starts(line)
                    continue
                if line.startswith("sidestep plan move"):
                    me.waits(lambda: "RUNNING" in me.types("sidestep shards"), "the shard to run")
                    me.waits(states[0].exists, "the first beat")
                printed[line] = me.types(line)
                if line.startswith("sidestep plan approve"):
                    before = states[0].read_text().splitlines()[0]
                    me.waits(lambda: "SUCCEEDED" in me.types("sidestep plan show 1"), "the plan to end")
        assert "3 hosts" in printed["sidestep fleet check"] and "1 shards" in printed["sidestep fleet check"]
        assert "0 with problems" in printed["sidestep doctor"]
        assert "hosts: 3 ready" in printed["sidestep status"]
        assert re.search(r"clock +clock +web2 ", me.types("sidestep shards"))
        assert states[1].read_text().splitlines()[0] == before
    finally:
        me.ends()
        for file in (pid for each in hosts for pid in each.home.glob(".local/state/sidestep/fleet/clock/pid")):
            os.killpg(int(file.read_text().split()[0]), signal.SIGKILL)
