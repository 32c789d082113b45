"""The asyncssh transport against OpenSSH's own server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sshd_hosts import keygen

from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

pytestmark = pytest.mark.openssh
MakeHost = Callable[..., Any]


@pytest.fixture(params=["openssh", pytest.param("embedded", marks=pytest.mark.fleet)])
async def transport(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A connected transport, to OpenSSH's server and to an embedded host: both must behave the same."""
    if request.param == "openssh":
        made = await request.getfixturevalue("shared_sshd").connected()
        yield made
        await made.aclose()
        return
    fleet = EmbeddedFleet(tmp_path_factory.mktemp("fleet"), names=("shared",))
    await fleet.start()
    made = embedded_transport(fleet)
    await made.connect()
    yield made
    await made.aclose()
    await fleet.stop()


def embedded_transport(fleet: EmbeddedFleet) -> AsyncsshTransport:
    keys = HostKeys.load(fleet.known_hosts)
    return AsyncsshTransport(plain_target(fleet.hosts[0], identity=str(fleet.identity), connect_timeout=10), keys)


async def chunks(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def test_an_interrupted_send_leaves_the_old_file_and_no_part(shared_sshd: Any, tmp_path: Path) -> None:
    transport = await shared_sshd.connected()
    target = tmp_path / "file"
    target.write_bytes(b"old")

    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match=r"source failed"):
        await transport.send(str(target), breaking())
    await transport.aclose()
    assert target.read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


async def test_a_file_arrives_whole_on_a_host_with_nothing_but_cksum(
    transport: AsyncsshTransport, tmp_path: Path
) -> None:
    transport._tool = "cksum"
    data = random.Random(3).randbytes(70_001)
    digest = await transport.send(str(tmp_path / "file"), chunks(data))
    assert digest == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "file").read_bytes() == data


async def test_a_lost_connection_is_told_to_everyone_who_waits(sshd: MakeHost) -> None:
    host = sshd("a")
    transport = await host.connected()
    channel = await transport.open("echo on; cat")
    assert await channel.readline() == b"on\n"
    waiting = asyncio.create_task(channel.readline())
    running = asyncio.create_task(transport.run("sleep 600", timeout=60))
    await asyncio.sleep(0)
    host.cut()
    for task in (waiting, running):
        with pytest.raises(HostUnreachable, match=r"a: "):
            await asyncio.wait_for(task, 20)
    with pytest.raises(HostUnreachable, match=r"a: open: "):
        await transport.run("true")


@pytest.mark.fleet
async def test_a_host_that_comes_back_is_connected_to_again(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, names=("a",))
    await fleet.start()
    transport = embedded_transport(fleet)
    await transport.connect()
    await fleet.kill("a")
    with pytest.raises(HostUnreachable, match="a: "):
        await transport.run("true")
    with pytest.raises(HostUnreachable, match="a: connect: "):
        await transport.connect()
    await fleet.revive("a")
    await transport.connect()
    await transport.connect()
    assert (await transport.run("echo back")).stdout == b"back\n"
    await transport.aclose()
    await fleet.stop()


@pytest.mark.fleet
@pytest.mark.slow
async def test_a_silent_connection_is_found_out_by_keepalives(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, names=("a",))
    await fleet.start()
    transport = embedded_transport(fleet)
    await transport.connect()
    channel = await transport.open("cat")
    await fleet.cut("a")
    with pytest.raises(HostUnreachable, match="a: "):
        await asyncio.wait_for(channel.readline(), 60)
    assert not transport.connected
    await fleet.heal("a")
    await transport.connect()
    await transport.aclose()
    await fleet.stop()


async def test_without_an_identity_the_agent_is_asked(
    sshd: MakeHost, client_identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, socket_path = sshd("a"), str(tmp_path / "agent")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
    with pytest.raises(AuthenticationRefused, match=r"the agent at .* does not answer"):
        await host.transport(identity="").connect()
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", socket_path, stdout=asyncio.subprocess.PIPE)
    assert agent.stdout is not None
    await agent.stdout.readline()
    adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(client_identity))
    assert await adding.wait() == 0
    await host.transport(identity="").connect()
    agent.kill()
    await agent.communicate()


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    transport = host.transport(keys=HostKeys.load(tmp_path / "empty"))
    with pytest.raises(HostKeyRefused, match=r"(?s)unknown: it presented ssh-ed25519 SHA256:.*remedy: compare"):
        await transport.connect()
    assert not transport.connected


async def test_a_changed_host_key_is_refused_with_both_fingerprints(sshd: MakeHost, tmp_path: Path) -> None:
    host, other = sshd("a"), sshd("b")
    key = other.known_hosts.read_text().split(" ", 1)[1]
    path = tmp_path / "known"
    path.write_text(f"[127.0.0.1]:{host.spec.port} {key}")
    with pytest.raises(HostKeyRefused, match=r"has changed: it presented .* SHA256:.* expects ssh-ed25519 SHA256:"):
        await host.transport(keys=HostKeys.load(path)).connect()


async def test_a_host_key_of_another_type_than_the_known_one_counts_as_changed(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    path = tmp_path / "known"
    path.write_text(f"[127.0.0.1]:{host.spec.port} {keygen(tmp_path / 'rsa', 'rsa')}\n")
    with pytest.raises(HostKeyRefused, match=r"has changed: it presented ssh-ed25519"):
        await host.transport(keys=HostKeys.load(path)).connect()


async def test_a_revoked_host_key_is_refused_though_it_is_also_listed(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    line = host.known_hosts.read_text()
    path = tmp_path / "known"
    path.write_text(f"{line}@revoked {line}")
    with pytest.raises(HostKeyRefused, match=r"is revoked: it presented ssh-ed25519 SHA256:"):
        await host.transport(keys=HostKeys.load(path)).connect()


async def test_a_hashed_known_hosts_file_is_understood(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    path = tmp_path / "known"
    path.write_text(host.known_hosts.read_text())
    hashing = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-H", "-f", str(path), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await hashing.wait() == 0
    assert path.read_text().startswith("|1|")
    await host.transport(keys=HostKeys.load(path)).connect()


async def test_a_host_certificate_of_a_trusted_authority_is_accepted(sshd: MakeHost, tmp_path: Path) -> None:
    authority = keygen(tmp_path / "ca")
    host = sshd("a")
    signing = await asyncio.create_subprocess_exec(
        *("ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "a", "-h", "-n", "127.0.0.1"),
        str(host.folder / "host.pub"),
    )
    assert await signing.wait() == 0
    config = host.folder / "sshd_config"
    config.write_text(f"{config.read_text()}HostCertificate {host.folder}/host-cert.pub\n")
    os.kill(host.process.pid, 1)
    path = tmp_path / "known"
    path.write_text(f"@cert-authority *,!10.* {authority}\n")
    deadline = asyncio.get_running_loop().time() + 10
    while True:
        try:
            await host.transport(keys=HostKeys.load(path)).connect()
            return
        except (HostUnreachable, HostKeyRefused):
            # Until the reload that the signal asked for is done.
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)


async def test_a_refused_identity_is_not_worth_a_retry(sshd: MakeHost, tmp_path: Path) -> None:
    keygen(tmp_path / "stranger")
    host = sshd("a")
    with pytest.raises(AuthenticationRefused, match=r"(?s)a: connect: user .* is refused.*remedy: add the public key"):
        await host.transport(identity=str(tmp_path / "stranger")).connect()


async def test_a_missing_identity_names_the_file(shared_sshd: Any, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationRefused, match=r"nokey cannot be read"):
        await shared_sshd.transport(identity=str(tmp_path / "nokey")).connect()


async def test_a_closed_port_is_unreachable(tmp_path: Path, client_identity: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        spec = HostSpec(name=Label("a"), address="127.0.0.1", port=holder.getsockname()[1], cpu=1.0, memory=1)
        keys = HostKeys.load(tmp_path / "none")
        transport = AsyncsshTransport(plain_target(spec, identity=str(client_identity), connect_timeout=5), keys)
        with pytest.raises(HostUnreachable, match=r"remedy: is sshd running"):
            await transport.connect()


async def test_a_silent_server_is_unreachable_in_time(tmp_path: Path, client_identity: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        spec = HostSpec(name=Label("a"), address="127.0.0.1", port=silent.getsockname()[1], cpu=1.0, memory=1)
        keys = HostKeys.load(tmp_path / "none")
        transport = AsyncsshTransport(plain_target(spec, identity=str(client_identity), connect_timeout=0.3), keys)
        with pytest.raises(HostUnreachable, match=r"within 0.3 s"):
            await transport.connect()


async def test_a_name_that_does_not_resolve_is_unreachable(tmp_path: Path, client_identity: Path) -> None:
    spec = HostSpec(name=Label("a"), address="does-not-exist.invalid", cpu=1.0, memory=1)
    keys = HostKeys.load(tmp_path / "none")
    with pytest.raises(HostUnreachable, match=r"does-not-exist\.invalid port 22"):
        await AsyncsshTransport(plain_target(spec, identity=str(client_identity), connect_timeout=5), keys).connect()


async def test_commands_before_connecting_are_refused(shared_sshd: Any) -> None:
    with pytest.raises(HostUnreachable, match=r"not connected"):
        await shared_sshd.transport().run("true")
