"""SSHFP records from a real DNS server: shown with how far they can be believed, and never the answer."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from sidestep.autopilot.trust.sshfp import Said, look_up

NAME = "web1.example.test"


class Server(asyncio.DatagramProtocol):
    """Answers questions for SSHFP records over UDP, as validated or not."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.validated = False
        self.silent = False
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        self.asked.append(question.name.to_text(omit_final_dot=True))
        answer = dns.message.make_response(query)
        if self.silent:
            return
        if question.name.to_text(omit_final_dot=True) != NAME:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self.records:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "SSHFP", *self.records))
        if self.validated and query.flags & dns.flags.AD:
            answer.flags |= dns.flags.AD
        self.transport.sendto(answer.to_wire(), addr)  # type: ignore[attr-defined]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    yield made
    transport.close()


async def said(server: Server, key: asyncssh.SSHKey, name: str = NAME) -> Said:
    port = server.transport.get_extra_info("sockname")[1]
    return await look_up(name, key, nameservers=("127.0.0.1",), port=port)


def records_of(key: asyncssh.SSHKey, folder: Path) -> list[str]:
    """As ssh-keygen makes them for a zone."""
    (folder / "key.pub").write_bytes(key.export_public_key())
    command = ["ssh-keygen", "-r", NAME, "-f", str(folder / "key.pub")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split("SSHFP ")[1] for line in lines]


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_a_record_that_ssh_keygen_made_matches_its_key_and_no_other(
    server: Server, tmp_path: Path, kind: str
) -> None:
    key, other = asyncssh.generate_private_key(kind), asyncssh.generate_private_key(kind)
    server.records = records_of(key, tmp_path)
    assert await said(server, key) == Said("match")
    assert await said(server, other) == Said("mismatch")


async def test_only_an_answer_that_the_resolver_validated_is_called_so(server: Server, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server.records = records_of(key, tmp_path)
    assert "proves nothing" in (await said(server, key)).lines()[0]
    server.validated = True
    found = await said(server, key)
    assert found == Said("match", validated=True)
    assert "validated (DNSSEC)" in found.lines()[0]
    found = await said(server, asyncssh.generate_private_key("ssh-ed25519"))
    assert "ANOTHER key" in found.lines()[0]


async def test_records_of_other_kinds_and_sha1_say_nothing(server: Server, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    rsa = asyncssh.generate_private_key("ssh-rsa")
    server.records = [r for r in records_of(key, tmp_path) if r.split()[1] == "1"] + records_of(rsa, tmp_path)
    assert len(server.records) >= 2
    assert await said(server, key) == Said("none")


async def test_names_without_records_and_servers_that_say_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    assert await said(server, key) == Said("none")
    assert await said(server, key, "nobody.example.test") == Said("none")
    monkeypatch.setattr("sidestep.autopilot.trust.sshfp.PATIENCE", 0.3)
    server.silent = True
    found = await said(server, key)
    assert found.verdict == "unknown"
    assert found.lines()[0].startswith("SSHFP: not looked up: LifetimeTimeout")


@pytest.mark.parametrize("name", ["10.0.0.7", "::1", "fe80::1%eth0", "[::1]"])
async def test_addresses_are_not_asked_about(server: Server, name: str) -> None:
    assert (await said(server, asyncssh.generate_private_key("ssh-ed25519"), name)).verdict == "off"
    assert server.asked == []


@pytest.mark.parametrize("name", ["", "a" * 300, "\x1b[2J.test", "a..b"], ids=["empty", "long", "escapes", "dots"])
async def test_names_that_are_none_do_no_harm(server: Server, name: str) -> None:
    found = await said(server, asyncssh.generate_private_key("ssh-ed25519"), name)
    assert found.verdict in ("unknown", "none")
    assert all(line.isprintable() for line in found.lines())
