"""The decision about a host key is made by us, before the SSH library could accept anything."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from msgspec.structs import replace
from sshd_hosts import SshdHost, keygen

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.fleet.errors import HostKeyRefused

MakeHost = Callable[..., SshdHost]


class Gullible(asyncssh.SSHClient):
    """What a client is that says yes when the library asks about a key that it does not trust."""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return True


@pytest.mark.parametrize("kind", ["unknown", "changed", "revoked"])
async def test_the_library_would_connect_where_we_refuse(sshd: MakeHost, tmp_path: Path, kind: str) -> None:
    """asyncssh's hook turns even a changed key into a connection; the path that we take does not have it."""
    host = sshd("a")
    place, key = host.known_hosts.read_text().split(" ", 1)
    other = keygen(tmp_path / "other")
    path = tmp_path / "known"
    path.write_text({"unknown": "", "changed": f"{place} {other}\n", "revoked": f"@revoked {place} {key}"}[kind])
    trust = HostKeys.load(path).trust("127.0.0.1", host.spec.port)
    connection = await asyncssh.connect(
        "127.0.0.1", host.spec.port, config=None, client_factory=Gullible, client_keys=[str(host.identity)],
        # As the library is told by everybody who hands it only what is trusted.
        known_hosts=(list(trust.trusted), [], []), agent_path=None,
    )  # fmt: skip
    connection.abort()
    await connection.wait_closed()
    transport = host.transport(keys=HostKeys.load(path))
    with pytest.raises(HostKeyRefused, match=f"is {kind}" if kind != "changed" else "has changed"):
        await transport.connect()
    assert not transport.connected


async def test_an_alias_is_what_known_hosts_knows_the_host_by(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    key = host.known_hosts.read_text().split(" ", 1)[1]
    path = tmp_path / "known"
    path.write_text(f"cluster {key}")
    keys = HostKeys.load(path)
    target = replace(host.target(), host_key_alias="cluster")
    for chosen, accepted in ((target, True), (host.target(), False), (replace(target, host_key_alias="x"), False)):
        transport = AsyncsshTransport(chosen, keys)
        if accepted:
            await transport.connect()
        else:
            with pytest.raises(HostKeyRefused, match="is unknown"):
                await transport.connect()
        await transport.aclose()


async def test_files_that_ssh_config_names_count_instead_of_the_fleet_s(sshd: MakeHost, tmp_path: Path) -> None:
    host = sshd("a")
    (tmp_path / "empty").write_text("")
    named = replace(host.target(), known_hosts=(str(tmp_path / "none"), str(host.known_hosts)))
    for target, keys in ((named, tmp_path / "empty"), (host.target(), host.known_hosts)):
        transport = AsyncsshTransport(target, HostKeys.load(keys))
        await transport.connect()
        await transport.aclose()
    other = replace(named, known_hosts=(str(tmp_path / "empty"),))
    with pytest.raises(HostKeyRefused, match="empty has no line"):
        await AsyncsshTransport(other, HostKeys.load(host.known_hosts)).connect()


@pytest.mark.parametrize(
    ("options", "words"),
    [(("-n", "elsewhere"), "principal mismatch"), (("-n", "127.0.0.1", "-V", "20200101:20200102"), "expired")],
)
async def test_a_host_certificate_that_is_not_for_this_host_or_time_is_refused(
    sshd: MakeHost, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    authority = keygen(tmp_path / "ca")
    host = sshd("a", certificate=(tmp_path / "ca", *options))
    path = tmp_path / "known"
    path.write_text(f"@cert-authority * {authority}\n")
    with pytest.raises(HostKeyRefused, match=f"not signed by a trusted authority: .*{words}"):
        await host.transport(keys=HostKeys.load(path)).connect()


async def test_a_revoked_authority_vouches_for_nobody(sshd: MakeHost, tmp_path: Path) -> None:
    authority = keygen(tmp_path / "ca")
    host = sshd("a", certificate=(tmp_path / "ca", "-n", "127.0.0.1"))
    path = tmp_path / "known"
    path.write_text(f"@cert-authority * {authority}\n")
    await host.transport(keys=HostKeys.load(path)).connect()
    path.write_text(f"@cert-authority * {authority}\n@revoked * {authority}\n")
    with pytest.raises(HostKeyRefused, match=r"is revoked|is unknown"):
        await host.transport(keys=HostKeys.load(path)).connect()


def test_ssh_agrees_with_us_about_hashed_lines(tmp_path: Path, needs_sshd: None) -> None:
    key = keygen(tmp_path / "key")
    path = tmp_path / "known"
    names = ["web", "[web]:2222", "10.0.0.1", "[::1]:22"]
    path.write_text("".join(f"{name} {key}\n" for name in names))
    subprocess.run(["ssh-keygen", "-H", "-f", str(path)], check=True, capture_output=True)
    keys = HostKeys.load(path)
    for name, port in (("web", 22), ("web", 2222), ("10.0.0.1", 22)):
        assert len(keys.trust(name, port).trusted) == 1
    assert not keys.trust("db", 22).trusted
