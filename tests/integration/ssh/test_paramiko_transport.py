"""The second transport decides about keys as the first does, and reaches hosts through others."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sshd_hosts import SshdHost, keygen

from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.paramiko_transport import ParamikoTransport
from sidestep.backends.ssh.target import SshTarget, plain_target
from sidestep.fleet.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable

pytestmark = pytest.mark.openssh
MakeHost = Callable[..., SshdHost]


def target_of(host: SshdHost, **changes: Any) -> SshTarget:
    plain = plain_target(host.spec, identity=str(host.identity), connect_timeout=5)
    return SshTarget(**{name: getattr(plain, name) for name in plain.__struct_fields__} | changes)


def of(host: SshdHost, known: Path | None = None, **changes: Any) -> ParamikoTransport:
    return ParamikoTransport(target_of(host, **changes), HostKeys.load(known or host.known_hosts))


async def test_an_unknown_key_is_refused_with_its_fingerprint(sshd: MakeHost, tmp_path: Path) -> None:
    transport = of(sshd("a"), tmp_path / "empty")
    with pytest.raises(HostKeyRefused, match=r"(?s)unknown: it presented ssh-ed25519 SHA256:.*remedy: "):
        await transport.connect()
    assert not transport.connected


async def test_a_changed_key_is_refused(sshd: MakeHost, tmp_path: Path) -> None:
    host, known = sshd("a"), tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{host.spec.port} {keygen(tmp_path / 'other')}\n")
    with pytest.raises(HostKeyRefused, match=r"has changed: it presented .* expects ssh-ed25519 SHA256:"):
        await of(host, known).connect()


async def test_a_revoked_key_is_refused_though_it_is_also_listed(sshd: MakeHost, tmp_path: Path) -> None:
    host, known = sshd("a"), tmp_path / "known"
    line = host.known_hosts.read_text()
    known.write_text(f"{line}@revoked {line}")
    with pytest.raises(HostKeyRefused, match=r"is revoked"):
        await of(host, known).connect()


async def test_a_key_that_only_an_authority_vouches_for_is_refused_with_the_reason(
    sshd: MakeHost, tmp_path: Path
) -> None:
    host, known = sshd("a"), tmp_path / "known"
    known.write_text(f"@cert-authority * {keygen(tmp_path / 'ca')}\n")
    with pytest.raises(HostKeyRefused, match=r"authority vouches for its key, which paramiko cannot verify"):
        await of(host, known).connect()


async def test_a_refused_identity_names_user_and_remedy(sshd: MakeHost, tmp_path: Path) -> None:
    keygen(tmp_path / "stranger")
    transport = of(sshd("a"), identities=(str(tmp_path / "stranger"),))
    with pytest.raises(AuthenticationRefused, match=r"(?s)user .* is refused with .*remedy: add the public key"):
        await transport.connect()


async def test_a_host_behind_another_is_reached_and_the_loss_of_the_first_is_told(
    sshd: MakeHost, tmp_path: Path
) -> None:
    jump, inner = sshd("jump"), sshd("inner")
    known = tmp_path / "known"
    known.write_text(jump.known_hosts.read_text() + inner.known_hosts.read_text())
    transport = of(inner, known, jumps=(target_of(jump),))
    await transport.connect()
    assert (await transport.run("echo through")).stdout == b"through\n"
    channel = await transport.open("cat")
    jump.cut()
    with pytest.raises(HostUnreachable, match=r"inner: "):
        await channel.readline()
        await channel.wait()
    with pytest.raises(HostUnreachable, match=r"inner: connect: jump host jump: "):
        await transport.connect()
    await transport.aclose()


async def test_a_closed_port_and_a_silent_server_are_unreachable_in_time(sshd: MakeHost) -> None:
    host = sshd("a")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(HostUnreachable, match=r"remedy: is sshd running"):
            await of(host, port=port).connect()


async def test_the_agent_is_asked_where_no_identity_is_named(
    sshd: MakeHost, client_identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, path = sshd("a"), str(tmp_path / "agent")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()
        subprocess.run(["ssh-add", "-q", str(client_identity)], check=True)
        transport = of(host, identities=())
        await transport.connect()
        await transport.aclose()
    finally:
        agent.kill()
        agent.communicate()
