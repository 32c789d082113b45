"""As whom we log in: encrypted keys, certificates and agents, against a real sshd."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sshd_hosts import SshdHost, keygen

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import AuthenticationRefused, ConfigError
from sidestep.fleet.labels import Label

Login = Callable[..., Any]
SECRET = "correct horse"


@pytest.fixture
async def login(
    shared_sshd: SshdHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """Log in to a host with changes to its target; there is no agent and no default key but those of the test."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    opened: list[AsyncsshTransport] = []
    rings: list[KeyRing] = []

    async def log_in(ring: KeyRing | None = None, host: SshdHost = shared_sshd, **changes: Any) -> AsyncsshTransport:
        rings.append(ring or KeyRing())
        target = replace(host.target(identity=""), **changes)
        opened.append(AsyncsshTransport(target, HostKeys.load(host.known_hosts), ring=rings[-1]))
        await opened[-1].connect()
        return opened[-1]

    yield log_in
    for transport in opened:
        await transport.aclose()
    for ring in rings:
        await ring.aclose()


@pytest.fixture
async def agent(tmp_path: Path, needs_sshd: None) -> AsyncIterator[Path]:
    """An agent that holds nothing."""
    path = tmp_path / "agent.sock"
    process = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(path), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    yield path
    process.kill()
    await process.communicate()


def add(agent: Path, key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(agent)})


def encrypted(client_identity: Path, path: Path, kind: str = "openssh") -> Path:
    """A copy of the key that the hosts let in, with a passphrase; nothing beside it."""
    shutil.copy(client_identity, path)
    words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", SECRET, "-f", str(path)]
    subprocess.run([*words, "-a", "1"], check=True, stdout=subprocess.DEVNULL)
    return path


def secret(path: Path, mode: int = 0o600) -> str:
    path.write_text(f"{SECRET}\n")
    path.chmod(mode)
    return f"file:{path}"


async def test_an_encrypted_key_is_opened_with_the_passphrase_of_a_file(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    key = encrypted(client_identity, tmp_path / "key")
    ring = KeyRing(passphrase=secret(tmp_path / "secret"))
    assert (await login(ring, identities=(str(key),))).connected


async def test_a_passphrase_file_may_be_named_beside_the_fleet_file(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    key = encrypted(client_identity, tmp_path / "key")
    secret(tmp_path / "secret")
    assert (await login(KeyRing(passphrase="file:secret", folder=tmp_path), identities=(str(key),))).connected


async def test_the_passphrase_command_is_run_once_for_the_whole_fleet(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    keys = [encrypted(client_identity, tmp_path / name) for name in ("k1", "k2")]
    secret(tmp_path / "secret")
    ring = KeyRing(passphrase=f"command:echo ran >> {tmp_path}/log; cat {tmp_path}/secret")
    await asyncio.gather(*(login(ring, identities=(str(key),)) for key in keys * 2))
    assert (tmp_path / "log").read_text() == "ran\n"


@pytest.mark.parametrize(
    ("passphrase", "words"),
    [
        ("", "is encrypted, and no passphrase is configured"),
        ("command:echo wrong", "is encrypted with another passphrase"),
        ("command:exit 3", "the passphrase command ended with status 3"),
        ("command:true", "the passphrase is empty"),
        ("file:/nonexistent/secret", "passphrase file /nonexistent/secret cannot be read"),
    ],
)
async def test_a_key_that_stays_closed_says_why_and_never_the_passphrase(
    login: Login, client_identity: Path, tmp_path: Path, passphrase: str, words: str
) -> None:
    key = encrypted(client_identity, tmp_path / "key")
    with pytest.raises(AuthenticationRefused, match=words) as refused:
        await login(KeyRing(passphrase=passphrase), identities=(str(key),))
    assert str(key) in str(refused.value) and "wrong" not in str(refused.value)


async def test_a_passphrase_file_that_others_may_read_is_refused(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    key = encrypted(client_identity, tmp_path / "key")
    with pytest.raises(AuthenticationRefused, match="may be read by others"):
        await login(KeyRing(passphrase=secret(tmp_path / "secret", 0o644)), identities=(str(key),))


def test_a_passphrase_written_in_place_of_a_reference_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        KeyRing(passphrase=SECRET)
    assert SECRET not in str(refused.value)


async def test_a_private_key_that_others_may_read_is_refused(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    shutil.copy(client_identity, tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(AuthenticationRefused, match=r"may be read by others(?s:.*)chmod 600"):
        await login(identities=(str(tmp_path / "key"),))


async def test_a_missing_identity_of_ssh_config_is_passed_over(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    both = (str(tmp_path / "gone"), str(client_identity))
    assert (await login(identities=both, identities_optional=True)).connected
    with pytest.raises(AuthenticationRefused, match=r"gone cannot be read"):
        await login(identities=both)


async def test_with_nothing_to_log_in_with_the_host_is_not_bothered(login: Login) -> None:
    with pytest.raises(AuthenticationRefused, match="there is no key to log in with"):
        await login()


async def test_the_default_key_files_are_tried_when_none_is_named(
    login: Login, client_identity: Path, tmp_path: Path
) -> None:
    shutil.copy(client_identity, tmp_path / "home" / ".ssh" / "id_ed25519")
    assert (await login()).connected
    with pytest.raises(AuthenticationRefused, match="no key"):
        await login(identities=("none",), identities_optional=True)


async def test_a_key_in_the_agent_logs_in(login: Login, agent: Path, client_identity: Path) -> None:
    add(agent, client_identity)
    assert (await login(agent=str(agent))).connected


async def test_the_agent_of_the_environment_is_asked_unless_there_is_to_be_none(
    login: Login, agent: Path, client_identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(agent, client_identity)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert (await login()).connected
    with pytest.raises(AuthenticationRefused, match="no key"):
        await login(agent="none")


async def test_many_connections_at_once_share_one_agent_connection(
    login: Login, agent: Path, client_identity: Path
) -> None:
    add(agent, client_identity)
    ring = KeyRing()
    await asyncio.gather(*(login(ring, agent=str(agent)) for _ in range(8)))


async def test_the_agent_stands_in_for_an_encrypted_key_and_for_a_public_one(
    login: Login, agent: Path, client_identity: Path, tmp_path: Path
) -> None:
    add(agent, client_identity)
    for name in "abcdefg":  # More strangers than sshd lets us try.
        keygen(tmp_path / name)
        add(agent, tmp_path / name)
    key = encrypted(client_identity, tmp_path / "key")
    for path in (key, client_identity.with_name(f"{client_identity.name}.pub")):
        assert (await login(identities=(str(path),), identities_only=True, agent=str(agent))).connected


async def test_identities_only_keeps_the_agent_s_other_keys_away(
    login: Login, agent: Path, client_identity: Path, tmp_path: Path
) -> None:
    add(agent, client_identity)
    keygen(tmp_path / "stranger")
    named = {"identities": (str(tmp_path / "stranger"),), "identities_optional": True, "agent": str(agent)}
    assert (await login(**named)).connected
    with pytest.raises(AuthenticationRefused, match=r"is refused with identity .*stranger"):
        await login(**named, identities_only=True)


async def test_an_agent_that_is_gone_is_named(login: Login, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationRefused, match=r"the agent at .*gone\.sock does not answer"):
        await login(agent=str(tmp_path / "gone.sock"))


async def test_the_agent_is_not_forwarded(login: Login, agent: Path, client_identity: Path) -> None:
    add(agent, client_identity)
    transport = await login(agent=str(agent))
    assert (await transport.run('echo "<$SSH_AUTH_SOCK>"')).stdout == b"<>\n"


@pytest.fixture
async def certified(sshd: Callable[..., SshdHost], tmp_path: Path) -> tuple[SshdHost, Path]:
    """A host that lets in only what an authority has signed, and a key of ours that is not signed yet."""
    authority = keygen(tmp_path / "ca")
    keygen(tmp_path / "user")
    host = sshd("certified")
    (host.folder / "authorized").write_text(f"cert-authority {authority}\n")
    return host, tmp_path / "user"


def sign(key: Path, host: SshdHost, *options: str) -> Path:
    words = ["ssh-keygen", "-q", "-s", str(key.with_name("ca")), "-I", "us", "-n", host.spec.user, *options]
    subprocess.run([*words, f"{key}.pub"], check=True)
    return key.with_name(f"{key.name}-cert.pub")


async def test_a_certificate_beside_the_key_logs_in(login: Login, certified: tuple[SshdHost, Path]) -> None:
    host, key = certified
    sign(key, host)
    assert (await login(host=host, identities=(str(key),))).connected


async def test_a_certificate_named_elsewhere_logs_in_with_file_and_agent(
    login: Login, certified: tuple[SshdHost, Path], agent: Path, tmp_path: Path
) -> None:
    host, key = certified
    elsewhere = sign(key, host).rename(tmp_path / "elsewhere")
    assert (await login(host=host, identities=(str(key),), certificates=(str(elsewhere),))).connected
    add(agent, key)
    assert (await login(host=host, agent=str(agent), certificates=(str(elsewhere),))).connected


async def test_an_expired_certificate_is_named(login: Login, certified: tuple[SshdHost, Path]) -> None:
    host, key = certified
    certificate = sign(key, host, "-V", "20200101:20200102")
    with pytest.raises(AuthenticationRefused, match=rf"certificate {certificate} is not used: certificate expired"):
        await login(host=host, identities=(str(key),))


async def test_a_certificate_that_cannot_be_read_is_named(login: Login, certified: tuple[SshdHost, Path]) -> None:
    host, key = certified
    sign(key, host).write_text("nonsense\n")
    with pytest.raises(AuthenticationRefused, match=r"user-cert\.pub cannot be used"):
        await login(host=host, identities=(str(key),))


async def test_a_key_that_was_replaced_is_read_again(login: Login, client_identity: Path, tmp_path: Path) -> None:
    ring = KeyRing()
    keygen(tmp_path / "key")
    with pytest.raises(AuthenticationRefused):
        await login(ring, identities=(str(tmp_path / "key"),))
    shutil.copy(client_identity, tmp_path / "key")
    assert (await login(ring, identities=(str(tmp_path / "key"),))).connected


def test_targets_can_be_told_apart_by_their_identities() -> None:
    target = SshTarget(name=Label("a"), address="a")
    assert len({target, replace(target, identities=("x",)), replace(target, identities_only=True)}) == 3
