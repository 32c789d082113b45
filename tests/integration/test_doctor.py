"""``sidestep doctor`` on real hosts, most of them ill: each illness is named with its remedy, and costs nobody else."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sshd_hosts import SshdHost, keygen, start_host

DEADLINE = 60
#: warnings about the machine that the tests run on
OF_THE_MACHINE = {"latency", "disk", "psi", "container"}


@dataclass
class Visit:
    """One run of the doctor over all the hosts."""

    code: int
    told: dict[str, Any]
    text: str
    seconds: float

    def finding(self, host: str, check: str) -> dict[str, str]:
        (one,) = (h for h in self.told["hosts"] if h["host"] == host)
        (finding,) = (f for f in one["findings"] if f["check"] == check)
        return dict(finding)

    def findings(self, host: str) -> list[dict[str, str]]:
        """What was found, without warnings that the machine which runs the test is to blame for."""
        one = next(h for h in self.told["hosts"] if h["host"] == host)
        return [f for f in one["findings"] if f["state"] != "warning" or f["check"] not in OF_THE_MACHINE]

    def state(self, host: str) -> str:
        states = {f["state"] for f in self.findings(host)}
        return next(state for state in ("problem", "warning", "ok") if state in states)

    def checks(self, host: str, *states: str) -> set[str]:
        return {f["check"] for f in self.findings(host) if f["state"] in states}


def doctor(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidestep.autopilot.doctor", "--fleet", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def bare_path(folder: Path, *tools: str) -> str:
    """A folder that holds just these programs."""
    bare = folder / "bin"
    bare.mkdir(parents=True)
    for tool in tools:
        found = subprocess.run(["sh", "-c", f"command -v {tool}"], capture_output=True, text=True, check=True)
        (bare / tool).symlink_to(found.stdout.strip())
    return str(bare)


def listening(stack: ExitStack, says: bytes) -> int:
    """A server that accepts, says so much and no more; returns its port."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve() -> None:
        kept = []
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            if says:
                connection.sendall(says)

    threading.Thread(target=serve, daemon=True).start()
    stack.callback(server.shutdown, socket.SHUT_RDWR)
    return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, client_identity: Path) -> Iterator[Path]:
    """The fleet file of a well host and of hosts that each have one illness."""
    folder = tmp_path_factory.mktemp("ward")
    lean = bare_path(folder, "sh", "date", "cat", "id", "uname", "dirname", "df", "tail", "sleep", "perl", "mkdir")
    with ExitStack() as stack:
        hosts: dict[str, SshdHost] = {}
        for name, env in (
            ("well1", ""), ("well2", ""), ("unknown", ""), ("changed", ""), ("stranger", ""), ("noisy", ""),
            ("lean", f"PATH={lean}"), ("readonly", ""),
            # Further lines of sshd_config.
            ("few", "A=b\nMaxSessions 3"),
            ("files", "A=b\nSubsystem sftp internal-sftp\nForceCommand internal-sftp -R"),
        ):  # fmt: skip
            host = start_host(tmp_path_factory.mktemp(f"sshd-{name}"), client_identity, name, env)
            hosts[name] = host
            stack.callback(host.process.wait)
            stack.callback(host.cut)
        (hosts["noisy"].home / ".bashrc").write_text("echo Welcome aboard\n")
        (hosts["noisy"].home / ".profile").write_text("echo Welcome aboard\n")
        (hosts["readonly"].home / ".local").write_text("in the way\n")
        known = [host.known_hosts.read_text() for name, host in hosts.items() if name not in {"unknown", "changed"}]
        known.append(f"[127.0.0.1]:{hosts['changed'].spec.port} {keygen(folder / 'other')}\n")
        (folder / "known_hosts").write_text("".join(known))
        ports = {name: host.spec.port for name, host in hosts.items()}
        with socket.create_server(("127.0.0.1", 0)) as closed:
            ports["closed"] = closed.getsockname()[1]
        ports["silent"] = listening(stack, b"")
        ports["web"] = listening(stack, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        (folder / "ssh_config").write_text("Host misread.invalid\n  Port many\nHost *\n  ServerAliveInterval 7\n")
        users = {"stranger": "nobody-of-that-name"}
        samplers = {"files": "sftp"}
        rows = [
            f'[fleet]\nname = "ward"\n[ssh]\nidentity = "{client_identity}"\nknown_hosts = "known_hosts"\n'
            f'user = "{hosts["well1"].spec.user}"\nconnect_timeout = 3\nconfig = "ssh_config"\n'
            '[groups.ill]\nhosts = ["unknown", "changed", "closed"]\n',
            *(
                f'[hosts.{name}]\naddress = "127.0.0.1"\nport = {port}\nuser = "{users.get(name, "")}"\n'
                f'sampler = "{samplers.get(name, "auto")}"\n'
                for name, port in ports.items()
            ),
            f'[hosts.inner]\naddress = "127.0.0.1"\nport = {ports["well2"]}\njump = "127.0.0.1:{ports["well1"]}"\n',
            f'[hosts.behind]\naddress = "127.0.0.1"\nport = {ports["well2"]}\njump = "127.0.0.1:{ports["unknown"]}"\n',
            '[hosts.lost]\naddress = "no-such-host.invalid"\n',
            '[hosts.misread]\naddress = "misread.invalid"\n',
        ]
        file = folder / "fleet.toml"
        file.write_text("".join(rows))
        yield file


@pytest.fixture(scope="module")
def visit(ward: Path) -> Visit:
    began = time.monotonic()
    ran = doctor(ward, "--json", "--deadline", str(DEADLINE))
    seconds = time.monotonic() - began
    assert ran.stderr == ""
    return Visit(ran.returncode, json.loads(ran.stdout), ran.stdout, seconds)


def test_a_well_host_is_well_in_every_respect(visit: Visit) -> None:
    assert visit.checks("well1", "problem") == set()
    well = visit.checks("well1", "ok")
    expected = {"host key", "login", "login shell", "tools", "state folder", "sampler", "facts", "clock"}
    assert expected <= well, visit.told
    facts = next(h["facts"] for h in visit.told["hosts"] if h["host"] == "well1")
    assert float(facts["cpus"]) > 0
    assert int(facts["memory"]) > 1 << 20
    assert 0 < facts["latency"] < DEADLINE


@pytest.mark.parametrize(
    ("host", "check", "text", "remedy"),
    [
        ("unknown", "host key", "unknown", "sidestep trust unknown"),
        ("changed", "host key", "changed", "sidestep trust changed"),
        ("stranger", "login", "our identity is refused", "authorized_keys"),
        ("closed", "connection", "the port is closed", "start sshd there"),
        ("silent", "connection", "accepts connections but stays silent", "what listens there?"),
        ("web", "connection", "something other than sshd answers", "correct the port"),
        ("lost", "name", "the address cannot be resolved", "correct the address"),
        ("behind", "jump host", "jump host 127.0.0.1: connect: host key of", "try the jump host"),
        ("misread", "ssh_config", "ssh_config:2: port = 'many'", "correct"),
        ("readonly", "state folder", "cannot be written", "XDG_STATE_HOME"),
        ("lean", "tools", "shards cannot be run or moved here without", "install them"),
    ],
)
def test_each_illness_is_a_problem_with_its_remedy(visit: Visit, host: str, check: str, text: str, remedy: str) -> None:
    assert visit.state(host) == "problem"
    assert visit.checks(host, "problem") == {check}
    finding = visit.finding(host, check)
    assert text in finding["text"], finding
    assert remedy in finding["remedy"], finding


def test_a_refused_key_is_named_with_its_fingerprint(visit: Visit) -> None:
    assert "SHA256:" in visit.finding("unknown", "host key")["detail"]
    assert visit.finding("changed", "host key")["detail"].count("SHA256:") == 2


def test_a_login_shell_that_talks_is_a_warning_and_the_sampler_runs_all_the_same(visit: Visit) -> None:
    assert visit.state("noisy") == "warning"
    finding = visit.finding("noisy", "login shell")
    assert "Welcome aboard" in finding["detail"]
    assert "~/.bashrc" in finding["remedy"]
    assert visit.finding("noisy", "sampler")["state"] == "ok"


def test_a_host_whose_path_has_no_python_is_sampled_all_the_same(visit: Visit) -> None:
    assert "setsid (util-linux) or python3" in visit.finding("lean", "tools")["text"]
    assert visit.finding("lean", "sampler")["state"] == "ok"


def test_a_host_behind_a_jump_host_is_looked_at_through_it(visit: Visit) -> None:
    assert visit.state("inner") == "ok"
    assert "through 127.0.0.1" in visit.finding("inner", "login")["text"]
    assert visit.finding("inner", "sampler")["state"] == "ok"


def test_an_sshd_that_allows_few_sessions_is_a_warning(visit: Visit) -> None:
    assert visit.checks("few", "warning", "problem") == {"MaxSessions"}
    finding = visit.finding("few", "MaxSessions")
    assert (finding["state"], finding["text"]) == ("warning", "only 3 sessions on one connection, 8 are used")
    assert "set MaxSessions 10" in finding["remedy"]


def test_a_host_that_shows_nothing_but_files_is_sampled(visit: Visit) -> None:
    assert visit.state("files") == "ok"
    assert visit.finding("files", "sampler")["text"] == "runs (sftp)"


def test_people_see_how_far_it_is(ward: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sidestep.autopilot.doctor", "--fleet", str(ward), "closed", "lost"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)
    assert process.stdout is not None
    with process.stdout as said:
        assert b"2 hosts of fleet ward" in said.read()
    assert process.wait() == 1
    assert b"trying hosts" in shown
    assert b"2/2" in shown


def test_hosts_that_hang_cost_only_their_own_time(visit: Visit) -> None:
    assert visit.code == 1
    assert visit.told["state"] == "problem"
    assert visit.told["version"] == 1
    assert len(visit.told["hosts"]) == 17


def test_a_login_shell_that_hangs_is_told_within_the_deadline(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, client_identity: Path
) -> None:
    host = start_host(tmp_path_factory.mktemp("sshd-stuck"), client_identity, "stuck")
    try:
        (host.home / ".bashrc").write_text("sleep 60\n")
        (tmp_path / "f.toml").write_text(
            f'[fleet]\nname = "f"\n[ssh]\nidentity = "{client_identity}"\nknown_hosts = "{host.known_hosts}"\n'
            f'user = "{host.spec.user}"\nconfig = "none"\n'
            f'[hosts.stuck]\naddress = "127.0.0.1"\nport = {host.spec.port}\n'
        )
        ran = doctor(tmp_path / "f.toml", "--json", "--deadline", "2")
    finally:
        host.cut()
        host.process.wait()
    assert ran.returncode == 1
    (told,) = json.loads(ran.stdout)["hosts"]
    problem = next(f for f in told["findings"] if f["state"] == "problem")
    assert (problem["check"], problem["text"]) == ("deadline", "not done within 2 s")
    assert problem["detail"] == "while running a command"


def test_people_read_each_thing_once(ward: Path) -> None:
    ran = doctor(ward, "well[1-2]", "ill")
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert "ok       host key: known: 2 hosts: well[1-2]" in lines
    (at,) = (n for n, line in enumerate(lines) if line.startswith("problem  unknown: host key: unknown ("))
    assert lines[at + 1] == (
        "         remedy: compare the fingerprint with the host's own, then: sidestep trust unknown"
    )
    assert lines[-1].startswith("5 hosts of fleet ward: ")
    assert lines[-1].endswith("3 with problems")


def test_all_well_is_exit_code_0_and_bad_input_2(ward: Path) -> None:
    assert doctor(ward, "well[1-2]").returncode == 0
    nobody = doctor(ward, "web[1-9]x")
    assert nobody.returncode == 2
    assert "is no host and no group of fleet ward" in nobody.stderr
    none = doctor(ward.with_name("none.toml"))
    assert none.returncode == 2
    assert "there is no such file" in none.stderr
