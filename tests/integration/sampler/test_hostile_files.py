"""A host whose SFTP server lies: endless folders, endless files, files that say anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import pytest
from watching import Watched

from sidestep.backends.sampler.sftp import follow_files
from sidestep.backends.ssh import readonly
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label


class Liar(asyncssh.SFTPServer):
    """Every folder has names without end, every file bytes without end, unless ``says`` has it."""

    says: ClassVar[dict[bytes, bytes]] = {}
    listed = 0

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        return bytes(path)

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        known = self.says.get(bytes(file_obj))  # type: ignore[call-overload]
        return b"7 " * (size // 2) if known is None else known[offset : offset + size]

    def close(self, file_obj: object) -> None:
        return None

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        while True:
            Liar.listed += 1
            yield asyncssh.SFTPName(b"n%d" % Liar.listed, "", asyncssh.SFTPAttrs())

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(permissions=0o100644)


class AnyUser(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


@pytest.fixture
async def liar(tmp_path: Path) -> AsyncIterator[Any]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=AnyUser, sftp_factory=Liar)
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.get_port()} {key.export_public_key().decode()}")
    identity = tmp_path / "id"
    key.write_private_key(identity)
    identity.chmod(0o600)
    spec = HostSpec(name=Label("liar"), address="127.0.0.1", port=server.get_port(), user="me")
    transport = AsyncsshTransport(plain_target(spec, identity=str(identity)), HostKeys.load(known))
    await transport.connect()
    yield transport
    await transport.aclose()
    server.close()


async def test_a_folder_without_end_ends_for_us(liar: AsyncsshTransport) -> None:
    reader = await liar.reader()
    async with asyncio.timeout(20):
        assert len(await reader.list_folder("/sys/block")) == readonly.MOST_NAMES
    assert Liar.listed < 4 * readonly.MOST_NAMES
    await reader.aclose()


async def test_a_file_without_end_ends_for_us(liar: AsyncsshTransport) -> None:
    reader = await liar.reader()
    async with asyncio.timeout(20):
        found = await reader.read_files(["/proc/stat", "/proc/meminfo"])
        once = await reader.read_files([f"/{number}" for number in range(200)], keep=False)
    assert {len(data) for data in found.values()} == {readonly.MOST}
    assert {len(data) for data in once.values()} == {readonly.MOST_ONCE}
    await reader.aclose()


@pytest.mark.parametrize("uptime", [b"", b"x y", b"nan 1", b"1e999 1", b"9" * 5000])
async def test_files_that_say_anything_fail_their_host_by_name(
    liar: AsyncsshTransport, monkeypatch: pytest.MonkeyPatch, uptime: bytes
) -> None:
    monkeypatch.setattr(Liar, "says", {b"/proc/uptime": uptime})
    monkeypatch.setattr(readonly, "MOST_NAMES", 20)
    seen = Watched()
    with pytest.raises(HostError, match="liar: sample: its files cannot be understood"):
        async with asyncio.timeout(25):
            await follow_files(liar, "test", 1.0, seen.panel.intake(0))
