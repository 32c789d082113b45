"""What a known_hosts file says about a host, and how a refusal reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import asyncssh
import pytest

from sidestep.autopilot.trust.expected import Expected
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import ConfigError, HostKeyRefused
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

KEY, OTHER = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def hashed(name: str) -> str:
    salt = hashlib.sha1(name.encode()).digest()
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def load(tmp_path: Path, *lines: str) -> HostKeys:
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines))
    return HostKeys.load(path)


def same(keys: tuple[asyncssh.SSHKey, ...], *expected: asyncssh.SSHKey) -> bool:
    return {k.get_fingerprint() for k in keys} == {k.get_fingerprint() for k in expected}


@pytest.mark.parametrize(
    ("hosts", "address", "port", "known"),
    [
        ("10.0.0.1", "10.0.0.1", 22, True),
        ("10.0.0.1", "10.0.0.1", 2222, True),
        ("[10.0.0.1]:2222", "10.0.0.1", 2222, True),
        ("[10.0.0.1]:2222", "10.0.0.1", 22, False),
        ("[10.0.0.1]:2222", "10.0.0.1", 2223, False),
        ("web,10.0.0.1", "web", 22, True),
        ("WEB", "web", 22, True),
        ("web", "WEB", 22, True),
        ("*.example.org", "a.example.org", 22, True),
        ("[*.example.org]:2222", "a.example.org", 2222, True),
        ("*.example.org,!b.example.org", "b.example.org", 22, False),
        ("10.0.0.?", "10.0.0.7", 22, True),
        ("10.0.0.[17]", "10.0.0.7", 22, False),
        (hashed("10.0.0.1"), "10.0.0.1", 22, True),
        (hashed("[10.0.0.1]:2222"), "10.0.0.1", 2222, True),
        (hashed("10.0.0.2"), "10.0.0.1", 22, False),
    ],
)
def test_a_line_is_about_the_hosts_it_names(tmp_path: Path, hosts: str, address: str, port: int, known: bool) -> None:
    trust = load(tmp_path, "# comment", "", f"{hosts} {public(KEY)} somebody").trust(address, port)
    assert same(trust.trusted, *([KEY] if known else []))


def test_a_line_for_the_port_wins_over_one_for_the_bare_host(tmp_path: Path) -> None:
    keys = load(tmp_path, f"web {public(OTHER)}", f"[web]:2222 {public(KEY)}")
    assert same(keys.trust("web", 2222).trusted, KEY)
    assert same(keys.trust("web", 22).trusted, OTHER)


def test_a_revoked_key_is_not_trusted_whatever_else_is_said(tmp_path: Path) -> None:
    for line in (f"@revoked web {public(KEY)}", f"@revoked * {public(KEY)}", f"@revoked {hashed('web')} {public(KEY)}"):
        trust = load(tmp_path, f"web {public(KEY)}", f"[web]:2222 {public(KEY)}", line).trust("web", 2222)
        assert not trust.trusted
        assert same(trust.revoked, KEY)


def test_an_authority_is_kept_apart_from_host_keys(tmp_path: Path) -> None:
    trust = load(tmp_path, f"@cert-authority *.org {public(KEY)}").trust("a.org", 22)
    assert same(trust.authorities, KEY)
    assert not trust.trusted


def test_a_missing_file_knows_nobody(tmp_path: Path) -> None:
    trust = HostKeys.load(tmp_path / "none").trust("web", 22)
    assert not (trust.trusted or trust.authorities or trust.revoked)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("web ssh-ed25519", r"known_hosts:2: a line needs hosts"),
        ("web ssh-ed25519 AAAA", r"known_hosts:2: key = 'ssh-ed25519': cannot be read"),
        ("@trusted web ssh-ed25519 AAAA", r"known_hosts:2: marker = '@trusted'"),
        (f"|1|x|y {public(KEY)}", r"known_hosts:2: hosts = '\|1\|x\|y'"),
    ],
    ids=["no key", "a torn key", "an unknown marker", "a torn hash"],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load(tmp_path, f"ok {public(KEY)}", line)


@pytest.mark.parametrize("mark", ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\xa0"])
def test_a_comment_ends_where_the_line_does_and_nowhere_else(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "known_hosts"
    lines = (
        f"# scanned SSH-2.0-x{mark}@cert-authority * {public(KEY)}",
        f"# scanned SSH-2.0-x{mark}victim {public(KEY)}",
        f"other {public(OTHER)} comment{mark}victim {public(KEY)}",
    )
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    keys = HostKeys.load(path)
    assert keys.trust("victim", 22).trusted == keys.trust("victim", 22).authorities == ()
    assert same(keys.trust("other", 22).trusted, OTHER)
    expected = Expected.load(path)
    assert not expected.has(plain_target(HostSpec(name=Label("victim"), address="victim")), KEY)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        HostKeys.load(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), ["unknown", "ssh-keygen -lf"]),
        ((f"web {public(OTHER)}",), ["has changed", OTHER.get_fingerprint(), "may be listening in"]),
        ((f"web {public(KEY)}", f"@revoked web {public(KEY)}"), ["is revoked", "do not connect"]),
        ((f"@cert-authority web {public(OTHER)}",), ["not signed by a trusted authority", OTHER.get_fingerprint()]),
    ],
)
def test_a_refusal_says_what_was_shown_and_what_to_do(tmp_path: Path, lines: tuple[str, ...], words: list[str]) -> None:
    refusal = load(tmp_path, *lines).explain("a", "web", 22, KEY.convert_to_public())
    assert isinstance(refusal, HostKeyRefused)
    text = str(refusal)
    assert text.startswith("a: connect: host key of web ")
    assert all(word in text for word in (*words, KEY.get_fingerprint(), "known_hosts", "remedy:"))


def test_what_is_revoked_later_counts_for_everybody_who_holds_the_keys(tmp_path: Path) -> None:
    keys = load(tmp_path, f"web {public(KEY)}")
    assert same(keys.trust("web", 22).trusted, KEY)
    load(tmp_path, f"web {public(KEY)}", f"@revoked * {public(KEY)}")
    keys.reload()
    assert not keys.trust("web", 22).trusted
    (tmp_path / "known_hosts").write_text("nonsense\n")
    with pytest.raises(ConfigError):
        keys.reload()
    assert same(keys.trust("web", 22).revoked, KEY)


def test_a_hashed_line_is_found_whatever_is_asked_first(tmp_path: Path) -> None:
    names = [f"10.0.0.{i}" for i in range(20)]
    keys = load(tmp_path, *(f"{hashed(name)} {public(KEY)}" for name in names), f"{hashed(names[7])} {public(OTHER)}")
    assert not keys.trust("10.9.9.9", 22).trusted
    for name in reversed(names):
        assert same(keys.trust(name, 22).trusted, *([KEY, OTHER] if name == names[7] else [KEY]))
        assert same(keys.trust(name, 2222).trusted, *([KEY, OTHER] if name == names[7] else [KEY]))


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: is larger than 64 MiB"):
        HostKeys.load("/dev/zero")
