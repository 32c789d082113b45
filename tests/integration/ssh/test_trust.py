"""``sidestep trust``: keys are recorded after a comparison, and never replaced."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest
from sshd_hosts import SshdHost, keygen

from sidestep.autopilot.audit import read_line
from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.server_lock import InstanceLock
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.hostkeys_write import record
from sidestep.fleet.errors import ConfigError

MakeHost = Callable[..., SshdHost]


class Operator:
    """Runs ``python -m sidestep.autopilot.trust`` on a fleet of given hosts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.known = folder, folder / "known_hosts"
        self.fleet = folder / "fleet.toml"

    def declare(self, *hosts: SshdHost, jump: str = "", extra: str = "") -> None:
        """Write the fleet file."""
        text = f'[fleet]\nname = "t"\n[ssh]\nknown_hosts = "known_hosts"\nidentity = "{hosts[0].identity}"\n'
        text += f'config = "ssh_config"\n{extra}'
        (self.folder / "ssh_config").touch()
        for host in hosts:
            text += f'[hosts.{host.spec.name}]\naddress = "127.0.0.1"\nport = {host.spec.port}\n'
            text += f'jump = "{jump}"\n' if jump else ""
        self.fleet.write_text(text)

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Without a terminal: exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            *self._words(*words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=self._environment(),
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def answer(self, said: str, *words: str) -> tuple[int, str]:
        """On a terminal, with one answer to the question: exit code and all that is shown."""
        return await asyncio.to_thread(self._answer, said, *words)

    def _answer(self, said: str, *words: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self._words(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment()
        )
        os.close(theirs)
        shown = ""
        answered = False
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            shown += data.decode()
            if not answered and "[y/N]" in shown:
                os.write(ours, f"{said}\n".encode())
                answered = True
        os.close(ours)
        return process.wait(30), shown

    def _words(self, *words: str) -> list[str]:
        fleet = ["--fleet", str(self.fleet)] if self.fleet.exists() else []
        return [sys.executable, "-m", "sidestep.autopilot.trust", *fleet, *words]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")}


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def shown_by(host: SshdHost) -> str:
    """The fingerprint that the host's own console shows."""
    done = subprocess.run(
        ["ssh-keygen", "-lf", str(host.folder / "host.pub")], check=True, capture_output=True, text=True
    )
    return done.stdout.split()[1]


async def test_a_person_compares_the_fingerprint_and_says_yes(sshd: MakeHost, operator: Operator) -> None:
    host = sshd("a")
    operator.declare(host)
    code, shown = await operator.answer("y", "a")
    assert code == 0, shown
    assert f"ssh-ed25519 {shown_by(host)}" in shown and "SSHFP" in shown and "own console" in shown
    assert operator.known.read_text() == host.known_hosts.read_text()
    assert operator.known.stat().st_mode & 0o777 == 0o600
    await host.transport(keys=HostKeys.load(operator.known)).connect()
    code, out, _ = await operator.run("--fingerprint", shown_by(host), "a")
    assert (code, "trusted already" in out) == (0, True)


async def test_an_accepted_key_is_in_the_audit_log_where_a_daemon_has_run(
    sshd: MakeHost, operator: Operator, tmp_path: Path
) -> None:
    """S3.23: who decided whom we believe. A daemon that runs and cannot be asked is said."""
    host, state = sshd("a"), tmp_path / "state"
    operator.declare(host)
    state.mkdir(mode=0o700)
    Journal(state / "journal.db").close()
    where = ("--state", str(state), "--socket", str(tmp_path / "none.sock"))
    code, _, err = await operator.run(*where, "--fingerprint", shown_by(host), "a")
    assert (code, err) == (0, "")
    journal = Journal(state / "journal.db")
    (entry,) = [found for line in journal.audit_lines() if (found := read_line(line)).act == "trust"]
    assert entry.subject == "a" and shown_by(host) in entry.detail and entry.actor
    journal.close()
    assert verify(state).whole
    operator.known.unlink()
    lock = InstanceLock(state / "daemon.lock")
    lock.acquire()
    code, _, err = await operator.run(*where, "--fingerprint", shown_by(host), "a")
    lock.release()
    assert code == 0 and "not written into the audit log" in err and operator.known.exists()


@pytest.mark.parametrize("said", ["n", "", "yo"])
async def test_anything_but_yes_is_no(sshd: MakeHost, operator: Operator, said: str) -> None:
    operator.declare(sshd("a"))
    code, shown = await operator.answer(said, "a")
    assert (code, operator.known.exists()) == (1, False)
    assert "a: not trusted" in shown


async def test_without_a_terminal_nothing_is_trusted_unless_the_fingerprint_is_given(
    sshd: MakeHost, operator: Operator
) -> None:
    host, other = sshd("a"), sshd("b")
    operator.declare(host)
    code, _, err = await operator.run("a")
    assert code == 2 and "no terminal" in err and "--fingerprint" in err
    code, _, err = await operator.run("--fingerprint", shown_by(other), "a")
    assert code == 1 and "not what is expected" in err and not operator.known.exists()
    code, _, err = await operator.run("--fingerprint", "SHA256:short", "a")
    assert code == 2 and "is no fingerprint" in err
    code, _, _ = await operator.run("--fingerprint", shown_by(host), "a")
    assert code == 0 and operator.known.exists()


async def test_a_changed_or_revoked_key_is_refused_with_the_line_and_nothing_overrides_it(
    sshd: MakeHost, operator: Operator, tmp_path: Path
) -> None:
    host = sshd("a")
    operator.declare(host)
    place, key = host.known_hosts.read_text().split(" ", 1)
    for text, words in (
        (f"# mine\n{place} {keygen(tmp_path / 'other')}\n", f"then remove {operator.known}:2"),
        (f"\n@revoked {place} {key}", f"marked @revoked in {operator.known}:2"),
    ):
        operator.known.write_text(text)
        for options in (["--fingerprint", shown_by(host)], ["--from", str(host.known_hosts)]):
            code, _, err = await operator.run(*options, "a")
            assert code == 1 and words in err, err
        code, shown = await operator.answer("y", "a")
        assert code == 1 and "[y/N]" not in shown
        assert operator.known.read_text() == text


async def test_a_list_from_a_trusted_channel_records_those_who_match_and_names_the_others(
    sshd: MakeHost, operator: Operator
) -> None:
    one, two, liar, unlisted, gone = (sshd(name) for name in ("one", "two", "liar", "unlisted", "gone"))
    operator.declare(one, two, liar, unlisted, gone)
    listed = operator.folder / "listed"
    listed.write_text(
        f"# from the machines' own consoles\none {shown_by(one)}\n{two.known_hosts.read_text()}"
        f"liar {shown_by(one)}\ngone {shown_by(gone)}\n"
    )
    gone.cut()
    code, out, err = await operator.run("--from", str(listed))
    assert code == 1
    assert "2 trusted, 3 refused" in out
    assert "liar: trust: it shows ssh-ed25519" in err
    assert "unlisted: trust: nothing is expected of it" in err and "gone: connect:" in err
    assert sorted(operator.known.read_text().splitlines()) == sorted(
        (one.known_hosts.read_text() + two.known_hosts.read_text()).splitlines()
    )


async def test_a_listed_key_of_another_kind_is_found_when_the_host_has_it(sshd: MakeHost, operator: Operator) -> None:
    host = sshd("a")
    rsa = keygen(host.folder / "host_rsa", "rsa")
    config = host.folder / "sshd_config"
    config.write_text(f"{config.read_text()}HostKey {host.folder}/host_rsa\n")
    host.process.send_signal(1)
    operator.declare(host)
    wanted = asyncssh.import_public_key(rsa).get_fingerprint()
    async with asyncio.timeout(20):
        while (await operator.run("--fingerprint", wanted, "a"))[0]:
            await asyncio.sleep(0.05)
    assert operator.known.read_text() == f"[127.0.0.1]:{host.spec.port} {rsa}\n"
    await host.transport(keys=HostKeys.load(operator.known)).connect()


async def test_a_broken_line_of_the_list_is_named(sshd: MakeHost, operator: Operator) -> None:
    operator.declare(sshd("a"))
    listed = operator.folder / "listed"
    listed.write_text("a SHA256:x\n")
    code, _, err = await operator.run("--from", str(listed))
    assert code == 2 and "listed:1: fingerprint = 'SHA256:x'" in err


async def test_an_address_outside_the_fleet_goes_to_a_file_of_our_own(sshd: MakeHost, operator: Operator) -> None:
    host = sshd("a")
    code, _, err = await operator.run("--fingerprint", shown_by(host), f"127.0.0.1:{host.spec.port}")
    assert code == 0, err
    own = operator.folder / "config" / "sidestep" / "known_hosts"
    assert own.read_text() == host.known_hosts.read_text()
    assert not (operator.folder / ".ssh").exists()


async def test_a_host_behind_a_jump_host_is_looked_at_through_it_and_the_jump_host_is_trusted_first(
    sshd: MakeHost, operator: Operator
) -> None:
    gate, inner = sshd("gate"), sshd("inner")
    operator.declare(inner, jump=f"127.0.0.1:{gate.spec.port}")
    (operator.folder / "ssh_config").write_text("")
    code, _, err = await operator.run("--fingerprint", shown_by(inner), "inner")
    assert code == 1 and "jump host 127.0.0.1: connect: host key of" in err and "is unknown" in err
    operator.known.write_text(gate.known_hosts.read_text())
    code, _, err = await operator.run("--fingerprint", shown_by(inner), "inner")
    assert code == 0, err
    assert operator.known.read_text() == gate.known_hosts.read_text() + inner.known_hosts.read_text()
    assert "Accepted" not in (inner.folder / "log").read_text()


async def test_the_command_line_runs_it(sshd: MakeHost, operator: Operator) -> None:
    host = sshd("a")
    operator.declare(host)
    words = ["--fleet", str(operator.fleet), "trust", "--fingerprint", shown_by(host), "a"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sidestep", *words)
    assert await process.wait() == 0
    assert operator.known.exists()


def test_many_writers_lose_no_line_and_replace_none(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    keys = [asyncssh.generate_private_key("ssh-ed25519").convert_to_public() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda at: record(path, f"h{at // 2}", 22, keys[at // 2]), range(16)))
    assert sum(written) == 8
    assert len(path.read_text().splitlines()) == 8
    with pytest.raises(ConfigError, match="by another key"):
        record(path, "h0", 22, keys[1])


def test_a_last_line_without_an_end_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"a {keygen(tmp_path / 'key')}")
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    assert record(path, "b", 2222, key)
    assert HostKeys.load(path).trust("a", 22).trusted
    assert HostKeys.load(path).trust("b", 2222).trusted == (key,)


def test_a_file_that_others_may_write_or_that_is_none_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.touch()
    path.chmod(0o664)
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    for place in (path, Path("/dev/null")):
        with pytest.raises(ConfigError, match=r"may be written by others|is no file"):
            record(place, "a", 22, key)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, keys = tmp_path / "known_hosts", [asyncssh.generate_private_key("ssh-ed25519") for _ in range(2)]
    record(path, "a", 22, keys[0])
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(ConfigError, match="known_hosts: cannot be written: No space left"):
        record(path, "b", 22, keys[1])
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        record(tmp_path / "file" / "sub" / "known_hosts", "a", 22, asyncssh.generate_private_key("ssh-ed25519"))
