"""Whatever a file says, it is an answer or a ConfigError: never another exception, never a hang."""

from __future__ import annotations

import contextlib
from pathlib import Path

import asyncssh
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.oracle import differences
from sidestep.backends.ssh.resolve import hop_of, resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.sshconfig_options import IGNORED, REFUSED, USED
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.unresolved import Unresolved
from sidestep.fleet.errors import AuthenticationRefused, ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label

KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[1]
words = st.one_of(
    st.sampled_from(
        [
            "Host",
            "Match",
            "Include",
            "*",
            "!web",
            "host",
            "exec",
            "all",
            "%",
            "%h",
            "%%",
            '"',
            "'",
            "\\",
            "=",
            "#",
            "none",
        ]
    ),
    st.sampled_from(sorted(USED | IGNORED | REFUSED.keys())),
    st.text(max_size=12),
)
lines = st.lists(words, max_size=6).map(" ".join)
fuzzed = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzed
@given(text=st.lists(lines, max_size=6).map("\n".join))
@example(text="Host web\nProxyJump ,\n")
@example(text="ProxyJump @\nHostName %")
@example(text="IdentityFile ~nosuchuser/x\n")
@example(text="User \x00\nHostName \ud800")
@example(text="Include \x00 [ **\n")
@example(text="HostName\u2028x\x85Port 5")
def test_any_ssh_config_is_a_target_or_an_error_that_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    host = HostSpec(name=Label("h"), address="web")
    fleet = FleetSpec(name=Label("f"), source=str(tmp_path / "f"), hosts=(host,), shards=())
    try:
        target = resolve(host, fleet, SshConfig.load(path))
    except ConfigError as error:
        assert error.file
        assert str(error).isprintable() or "\n" in str(error)
        return
    hash(target)


known_words = st.one_of(
    st.sampled_from(
        [
            "@revoked",
            "@cert-authority",
            "web",
            "*",
            "|1|",
            "|1|AAAA|AAAA",
            "ssh-ed25519",
            "ssh-rsa",
            "AAAA",
            KEY,
            "1024",
        ]
    ),
    st.text(max_size=12),
)


@fuzzed
@given(text=st.lists(st.lists(known_words, max_size=5).map(" ".join), max_size=5).map("\n".join))
@example(text="|1|é|AAAA ssh-ed25519 AAAA")
@example(text="host 1024 35 12345")
@example(text="web ssh-xmss@openssh.com AAAAFHNzaC14bXNzQG9wZW5zc2guY29tAAAA")
def test_any_known_hosts_is_a_decision_or_an_error_that_says_where(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        trust = HostKeys.load(path).trust("web", 22)
    except ConfigError as error:
        assert error.file == str(path) and error.line
        return
    assert not set(trust.trusted) & set(trust.revoked)


def test_keys_of_a_kind_that_cannot_be_used_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    blob = "AAAAFHNzaC14bXNzQG9wZW5zc2guY29tAAAA"
    path.write_text(f"web 1024 35 12345\nweb ssh-xmss@openssh.com {blob}\nweb ssh-ed25519 {KEY}\n")
    assert len(HostKeys.load(path).trust("web", 22).trusted) == 1


@fuzzed
@given(text=st.text(alphabet="abc:@[]/.-1 %", max_size=24))
def test_any_jump_host_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        hop = hop_of(text)
        assert hop.address and 0 <= hop.port < 65536 and not hop.address.startswith("-")


@fuzzed
@given(text=st.lists(lines, max_size=8).map("\n".join))
def test_any_answer_of_ssh_is_compared(text: str) -> None:
    differences(SshTarget(name=Label("h"), address="web"), text)


async def test_a_host_that_cannot_be_resolved_says_why_on_every_attempt() -> None:
    host = Unresolved("h", ConfigError("config", 3, "port", "x", "is no port", hint="write one"))
    for attempt in (host.connect(), host.run("true"), host.open("true")):
        with pytest.raises(AuthenticationRefused, match=r"h: resolve: config:3: port = 'x'(?s:.*)remedy: write one"):
            await attempt
    await host.aclose()
