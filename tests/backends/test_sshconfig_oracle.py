"""What we read in ssh_config is what ssh reads: ssh itself is asked about many configurations."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep.backends.ssh.oracle import differences, question
from sidestep.backends.ssh.resolve import resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label


@pytest.fixture(scope="session", autouse=True)
def needs_ssh() -> None:
    if shutil.which("ssh") is None:
        reason = "OpenSSH's ssh is not installed (Debian: apt install openssh-client)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def both(path: Path, address: str, user: str = "", port: int = 22) -> tuple[SshTarget, str]:
    """What we make of a host, and what ssh prints about it."""
    host = HostSpec(name=Label("h"), address=address, user=user, port=port)
    fleet = FleetSpec(name=Label("f"), source=str(path), hosts=(host,), shards=(), ssh_config=str(path))
    asked = subprocess.run(question(host, fleet), capture_output=True, text=True, check=False, timeout=30)
    assert asked.returncode == 0, asked.stderr
    return resolve(host, fleet, SshConfig.load(path)), asked.stdout


TABLE = {
    "nothing": "",
    "first value wins": "Host web1\n User a\nHost web*\n User b\n Port 2200\nUser c\n",
    "a negated pattern excludes": "Host web* !web1\n User a\nHost *\n User b",
    "equals signs and quotes": 'Host=web1\nUser="a b"\nPort = 22\nIdentityFile "~/a key"\n',
    "keywords in any case": "hOST web1\n uSER a\n HOSTNAME Web.Example.ORG\n",
    "the name is a token": "Host web1\n HostName %h.example.org\n",
    "a per cent sign": "Host web1\n HostName %%h.x\n IdentityFile /x/%%\n",
    "identities add up once each": "IdentityFile a\nHost web1\nIdentityFile b\nIdentityFile a\n",
    "no identity": "Host web1\n IdentityFile none\n",
    "none beside others": "IdentityFile none\nIdentityFile /x\n",
    "tokens of an identity": "User bob\nPort 23\nHostName h.x\nIdentityFile %d/.ssh/%r-%h-%n-%p-%u-%i\n",
    "an environment variable": "IdentityFile ${HOME}/k\nCertificateFile ${HOME}/k-cert.pub\n",
    "certificates add up": "CertificateFile /a\nCertificateFile /b\nIdentitiesOnly yes\nIdentityFile /k\n",
    "agents": "IdentityAgent ~/agent.sock\n",
    "no agent": "IdentityAgent none\n",
    "the agent of the environment": "IdentityAgent SSH_AUTH_SOCK\n",
    "one jump": "Host web1\n ProxyJump joe@bastion:2222\n",
    "several jumps": "Host a b c ::1\n User z\n ProxyJump none\nHost *\nProxyJump a,b@b,[::1]:33,ssh://c@c:4\n",
    "no jump wins over a later one": "Host web1 b\n ProxyJump none\nHost *\n ProxyJump b\n",
    "a jump with tokens": "Match originalhost web1\nHostName x.y\nProxyJump gate-%h-%n\nHost gate* \nProxyJump none",
    "the first way counts": "Host web1\n ProxyCommand none\nMatch originalhost web1\n ProxyJump b\n",
    "an alias for the host key": "HostKeyAlias Cluster\n",
    "known hosts": "UserKnownHostsFile ~/a %d/b\nGlobalKnownHostsFile none\n",
    "known hosts without any": "UserKnownHostsFile none\nGlobalKnownHostsFile none\n",
    "global known hosts": "GlobalKnownHostsFile /g1 /g2\n",
    "times": "ConnectTimeout 1m30s\nServerAliveInterval 7\nServerAliveCountMax 4\n",
    "family": "AddressFamily inet6\n",
    "match all": "Match all\n User a\n",
    "match host looks at the host name so far": "HostName db.x\nMatch host db.*\n User a\nMatch host web1\n User b\n",
    "match original host": "HostName db.x\nMatch originalhost web?,!web2\n User a\n",
    "match user so far": "Match user joe\n Port 1\nHost web1\n User joe\nMatch user joe\n Port 2\n",
    "a negated condition": "Match !host db* originalhost web*\n User a\n",
    "match local user": "Match localuser nobody-here\n User a\nMatch !localuser nobody-here\n User b\n",
    "match with equals": "Match host=web1 user=x,!y\n Port 5\nMatch host=web1\n Port 6\n",
    "a command that cannot matter": 'Match host db exec "exit 0 = 1"\n User a\nMatch all\n User b\n',
    "comments": "# User x\nUser a # the first\n   # Port 9\n",
    "what is ignored": "ControlMaster auto\n ForwardX11 yes\n LogLevel DEBUG\n SendEnv LANG LC_*\n BatchMode yes\n",
    "an unknown option that is named": "IgnoreUnknown Foo*,bar\nFooBar yes\nUser a\n",
    "blocks end at the next one": "Host db\nUser a\nHost web1\nPort 77\n",
    "lists of algorithms": "Ciphers aes256-gcm@openssh.com\nMACs hmac-sha2-512\nKexAlgorithms curve25519-sha256\n",
}


@pytest.mark.parametrize("text", TABLE.values(), ids=TABLE.keys())
@pytest.mark.parametrize("address", ["web1", "web2", "WEB1"])
def test_a_configuration_means_what_ssh_says_it_means(tmp_path: Path, text: str, address: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    target, said = both(path, address)
    assert differences(target, said) == ()


def test_included_files_stand_in_the_block_that_includes_them(tmp_path: Path) -> None:
    path = tmp_path / "config"
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1.conf").write_text("User one\nHost web2\n Port 22222\n")
    (tmp_path / "d" / "2.conf").write_text("User two\nHost *\nIdentityFile /k2\n")
    path.write_text(f"Host web*\n Include {tmp_path}/d/*.conf {tmp_path}/none*\n HostName %h.x\nHost *\nUser last\n")
    for address in ("web1", "web2", "db"):
        target, said = both(path, address)
        assert differences(target, said) == ()
    assert both(path, "web2")[0].port == 22222
    assert both(path, "db")[0].user == "last"


def test_what_the_fleet_file_says_wins_as_options_do(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Port 9\nUser joe\nMatch user ops\n HostName seen\n")
    target, said = both(path, "web1", user="ops", port=2022)
    assert differences(target, said) == ()
    assert (target.user, target.port, target.address) == ("ops", 2022, "seen")


def test_a_difference_is_said_with_both_readings(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Port 9\nProxyCommand nc %h %p\nProxyJump none\n")
    host = HostSpec(name=Label("h"), address="web1")
    fleet = FleetSpec(name=Label("f"), source=str(path), hosts=(host,), shards=(), ssh_config=str(path))
    said = subprocess.run(question(host, fleet), capture_output=True, text=True, check=True).stdout
    found = differences(SshTarget(name=Label("h"), address="web1", port=8), said)
    assert "port: sidestep 8, ssh 9" in found
    assert any(line.startswith("proxycommand: ssh uses nc %h %p") for line in found)


NAMES = ("web1", "web2", "db", "*.x", "w*", "?b", "*")
pattern = st.sampled_from([*NAMES, "!web1", "!db", "!w*"])
patterns = st.lists(pattern, min_size=1, max_size=3)
option = st.one_of(
    st.sampled_from(["a", "b", "c"]).map(lambda v: f"User {v}"),
    st.sampled_from(["22", "2222", "1"]).map(lambda v: f"Port={v}"),
    st.sampled_from(["%h.x", "web2", "db", "10.0.0.1"]).map(lambda v: f"HostName {v}"),
    st.sampled_from(["/k1", "~/k2", "%d/%r", "none", "/k1"]).map(lambda v: f"IdentityFile {v}"),
    st.sampled_from(["yes", "no"]).map(lambda v: f"IdentitiesOnly {v}"),
    st.sampled_from(["alias", "other"]).map(lambda v: f"HostKeyAlias {v}"),
    st.sampled_from(["1", "2m"]).map(lambda v: f"ConnectTimeout {v}"),
    st.sampled_from(["none", "j1", "u@j1:9,j2"]).map(lambda v: f"ProxyJump {v}"),
    st.just("ProxyCommand none"),
)
condition = st.one_of(
    st.tuples(st.sampled_from(["host", "originalhost", "user", "!host", "!user"]), patterns).map(
        lambda pair: f"{pair[0]} {','.join(pair[1])}"
    ),
    st.sampled_from(["user a,b", "user !a,*", "host 10.*"]),
)
header = st.one_of(
    patterns.map(lambda words: f"Host {' '.join(words)}"),
    st.lists(condition, min_size=1, max_size=2).map(lambda words: f"Match {' '.join(words)}"),
    st.just("Match all"),
)
block = st.tuples(header, st.lists(option, max_size=4)).map(lambda b: "\n  ".join((b[0], *b[1])))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(block, max_size=5).map("\n".join), address=st.sampled_from(["web1", "web2", "db", "a.x"]))
def test_any_configuration_means_what_ssh_says_it_means(tmp_path: Path, text: str, address: str) -> None:
    path = tmp_path / "config"
    path.write_text("Host j1 j2\n ProxyJump none\n" + text)
    try:
        target, said = both(path, address)
    except ConfigError as error:
        # ssh -G does not follow jumps, and so does not see that they go in a circle.
        assert "circle" in str(error)
        return
    assert differences(target, said) == ()
