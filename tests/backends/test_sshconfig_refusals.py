"""What sidestep does not do with ssh_config is said, with file and line, and only to the hosts concerned."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep.backends.ssh.resolve import fleet_known_hosts, resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label


def target(tmp_path: Path, text: str, address: str = "web1", jump: str = "", **fleet: str) -> SshTarget:
    path = tmp_path / "config"
    path.write_text(text)
    host = HostSpec(name=Label("h"), address=address, jump=jump)
    spec = FleetSpec(name=Label("f"), source=str(tmp_path / "fleet.toml"), hosts=(host,), shards=(), **fleet)  # type: ignore[arg-type]
    return resolve(host, spec, SshConfig.load(path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("StrictHostKeyChecking no", "remedy: remove it: unknown hosts are recorded with sidestep trust HOST"),
        ("StrictHostKeyChecking accept-new", "accept-new"),
        ("ProxyCommand ssh -W %h:%p gate", "remedy: write ProxyJump"),
        ("KnownHostsCommand /bin/keys %H", "UserKnownHostsFile"),
        ("RevokedHostKeys /etc/ssh/revoked", "@revoked"),
        ("VerifyHostKeyDNS yes", "sidestep trust"),
        ("PKCS11Provider /usr/lib/opensc.so", "ssh-add -s"),
        ("GSSAPIAuthentication yes", "public keys only"),
        ("HostbasedAuthentication yes", "public keys only"),
        ("PubkeyAuthentication no", "public keys only"),
        ("PubkeyAcceptedAlgorithms +ssh-rsa", "sound algorithms"),
        ("PreferredAuthentications password,keyboard-interactive", "publickey"),
        ("CanonicalizeHostname yes", "full name"),
        ("NoHostAuthenticationForLocalhost yes", "sidestep trust"),
        ("FrobnicateHost yes", "no option that sidestep knows"),
        ("Port", "has no value"),
        ("Port 22 23", "more than one value"),
        ("Port 70000", "between 1 and 65535"),
        ('User "joe', "quote"),
        ("HostName %z.example.org", "token %z"),
        ("IdentityFile ${NO_SUCH_VARIABLE_HERE}/x", "NO_SUCH_VARIABLE_HERE"),
        ("IdentitiesOnly perhaps", "yes or no"),
        ("Ciphers rot13", "no algorithm"),
        ("ConnectTimeout soon", "not a time"),
        ("AddressFamily ipx", "inet6"),
        ("ProxyJump a:b:c@d:x", "jump host"),
    ],
)
def test_one_bad_line_is_named_to_its_hosts_and_to_nobody_else(tmp_path: Path, line: str, words: str) -> None:
    text = f"Host db\n  User x\nHost web*\n  {line}\nHost *\n  User ops\n"
    with pytest.raises(ConfigError) as refused:
        target(tmp_path, text)
    assert (refused.value.file, refused.value.line) == (str(tmp_path / "config"), 4)
    assert words in str(refused.value)
    assert target(tmp_path, text, "db").user == "x"


@pytest.mark.parametrize(
    "line",
    [
        "StrictHostKeyChecking yes",
        "StrictHostKeyChecking ask",
        "ProxyCommand none",
        "GSSAPIAuthentication no",
        "PubkeyAuthentication yes",
        "PreferredAuthentications gssapi-with-mic,publickey",
        "RevokedHostKeys none",
    ],
)
def test_an_option_that_says_what_is_done_anyway_is_no_error(tmp_path: Path, line: str) -> None:
    assert target(tmp_path, line).address == "web1"


def test_a_refused_value_that_an_earlier_line_overrides_is_no_error(tmp_path: Path) -> None:
    text = "Host web1\n StrictHostKeyChecking yes\nHost *\n StrictHostKeyChecking no\n"
    target(tmp_path, text)
    with pytest.raises(ConfigError):
        target(tmp_path, text, "db")


@pytest.mark.parametrize(
    "condition",
    ['exec "test 1 = 1"', "canonical", "final", "tagged x", "localnetwork 10.0.0.0/8", "nonsense", "host", "!all"],
)
def test_a_condition_that_is_not_tested_is_an_error_where_it_decides(tmp_path: Path, condition: str) -> None:
    text = f"Match originalhost web1 {condition}\n User x\n"
    with pytest.raises(ConfigError, match=r"config:1: match"):
        target(tmp_path, text)
    if condition != "host":
        assert target(tmp_path, text, "db").user == ""


def test_an_exec_condition_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        target(tmp_path, f"Match exec \"touch '{tmp_path}/ran'\"\n User x\n")
    assert not (tmp_path / "ran").exists()


def test_a_jump_host_that_cannot_be_resolved_is_the_error_of_its_hosts_only(tmp_path: Path) -> None:
    text = "Host web1\n ProxyJump gate\nHost gate\n StrictHostKeyChecking no\n"
    with pytest.raises(ConfigError, match=r"config:4"):
        target(tmp_path, text)
    assert target(tmp_path, text, "db").jumps == ()


@pytest.mark.parametrize(
    "text", ["ProxyJump gate\n", "Host web1\nProxyJump a\nHost a\nProxyJump b\nHost b\nProxyJump a\n"]
)
def test_jumps_in_a_circle_are_found(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"goes in a circle: .* through "):
        target(tmp_path, text)


def test_the_first_jump_host_is_reached_through_its_own_jump_host(tmp_path: Path) -> None:
    text = "Host web1\n ProxyJump a,b\nHost a\n ProxyJump outer\n User aa\nHost b\n ProxyJump elsewhere\n Port 2200\n"
    found = target(tmp_path, text)
    assert [(h.name, h.user, h.port) for h in found.jumps] == [("outer", "", 22), ("a", "aa", 22), ("b", "", 2200)]
    assert all(h.jumps == () for h in found.jumps)


def test_the_fleet_file_s_jump_wins_and_its_errors_name_the_host(tmp_path: Path) -> None:
    text = "Host *\n ProxyCommand nc %h %p\nHost gate\n User g\n"
    with pytest.raises(ConfigError):
        target(tmp_path, text, jump="gate")
    text = "Host web1\n ProxyCommand nc %h %p\n"
    assert [h.name for h in target(tmp_path, text, jump="gate").jumps] == ["gate"]
    assert target(tmp_path, "ProxyJump other\n", jump="none").jumps == ()
    with pytest.raises(ConfigError, match=r"fleet\.toml: hosts\.h\.jump = 'x:y'"):
        target(tmp_path, "", jump="x:y")


def test_the_fleet_file_s_identity_is_the_only_one_and_must_be_there(tmp_path: Path) -> None:
    found = target(tmp_path, "IdentityFile ~/other\nHost gate\nIdentityFile /gate\n", identity="keys/id", jump="gate,b")
    assert found.identities == (str(tmp_path / "keys" / "id"),)
    assert (found.identities_only, found.identities_optional) == (True, False)
    gate, b = found.jumps
    assert gate.identities[-1] == "/gate" and gate.identities_optional
    assert b.identities != found.identities  # ssh_config has one for every host


def test_known_hosts_of_the_fleet_file_win_over_those_of_ssh_config(tmp_path: Path) -> None:
    text = "UserKnownHostsFile /a /b\nGlobalKnownHostsFile none\n"
    assert target(tmp_path, text).known_hosts == ("/a", "/b")
    assert target(tmp_path, text, known_hosts="known").known_hosts == ()
    spec = FleetSpec(name=Label("f"), source=str(tmp_path / "f.toml"), hosts=(), shards=(), known_hosts="known")
    assert fleet_known_hosts(spec) == (str(tmp_path / "known"),)


def test_lists_of_algorithms_change_ours(tmp_path: Path) -> None:
    assert target(tmp_path, "Ciphers aes256-ctr,rot13\n").ciphers == ("aes256-ctr",)
    assert target(tmp_path, "Ciphers +aes192-ctr\n").ciphers[-1] == "aes192-ctr"
    assert target(tmp_path, "HostKeyAlgorithms ^rsa-sha2-256\n").host_key_algorithms[0] == "rsa-sha2-256"
    assert not any("nistp" in name for name in target(tmp_path, "HostKeyAlgorithms -ecdsa*\n").host_key_algorithms)


def test_a_configuration_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("User x\n")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"may be written by others"):
        SshConfig.load(path)


def test_a_named_file_must_be_there_and_none_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such ssh_config"):
        SshConfig.load(tmp_path / "missing")
    assert SshConfig.load("none").settings("web1").first == {}


def test_the_user_s_own_file_is_read_when_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host own\n HostName 10.9.9.9\nInclude more/*\n")
    (tmp_path / ".ssh" / "more").mkdir()
    (tmp_path / ".ssh" / "more" / "a").write_text("User included\n")
    said = SshConfig.load().settings("own").first
    assert (said["hostname"].value, said["user"].value) == ("10.9.9.9", "included")


def test_files_that_include_themselves_end(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(f"Host web1\n Include {path}\n")
    with pytest.raises(ConfigError, match=r"included more than 16 deep"):
        SshConfig.load(path).settings("web1")


@pytest.mark.parametrize("mark", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_comment_ends_where_the_line_does_and_nowhere_else(tmp_path: Path, mark: str) -> None:
    found = target(tmp_path, f"# a note{mark}Port 99\nHost *\n  User me # x{mark}Hostname elsewhere\r\n")
    assert (found.user, found.port, found.address) == ("me", 22, "web1")


def test_a_file_without_end_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/dev/zero: is larger than 16 MiB"):
        target(tmp_path, "Include /dev/zero\n")
