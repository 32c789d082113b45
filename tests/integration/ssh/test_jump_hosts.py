"""Jump hosts: one verified connection to each, shared, counted, and named when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from sshd_hosts import SshdHost, keygen

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.errors import AuthenticationRefused, HostKeyRefused, HostUnreachable
from sidestep.fleet.labels import Label

MakeHost = Callable[..., SshdHost]


class Site:
    """Hosts behind one another, and the way to them."""

    def __init__(self, make: MakeHost, known: Path) -> None:
        self._make, self._known = make, known
        self.tunnels, self.ring = Tunnels(), KeyRing()
        self.hosts: dict[str, SshdHost] = {}
        self.opened: list[AsyncsshTransport] = []

    def host(self, name: str) -> SshdHost:
        """The sshd of that name, started when it is first asked for."""
        if name not in self.hosts:
            self.hosts[name] = self._make(name)
            with self._known.open("a") as file:
                file.write(self.hosts[name].known_hosts.read_text())
        return self.hosts[name]

    def target(self, name: str, *jumps: str) -> SshTarget:
        """A host through others."""
        return replace(self.host(name).target(), jumps=tuple(self.target(j) for j in jumps))

    def transport(self, target: SshTarget) -> AsyncsshTransport:
        """A transport, closed at the end."""
        keys = HostKeys.load(self._known)
        self.opened.append(AsyncsshTransport(target, keys, ring=self.ring, tunnels=self.tunnels))
        return self.opened[-1]

    def logins(self, name: str) -> int:
        """How often somebody logged in there."""
        return (self.host(name).folder / "log").read_text().count("Accepted publickey")

    def users(self) -> dict[str, int]:
        """How many go through each jump host."""
        return {name: users for name, users, _ in self.tunnels.state()}


@pytest.fixture
async def site(sshd: MakeHost, tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(sshd, tmp_path / "known_hosts")
    yield made
    await asyncio.gather(*(t.aclose() for t in made.opened))
    await made.tunnels.aclose()
    await made.ring.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_hosts_behind_one_jump_host_share_one_connection_to_it(site: Site) -> None:
    targets = [replace(site.target("inner", "gate"), name=Label(f"inner{i}")) for i in range(8)]
    transports = [site.transport(target) for target in targets]
    await asyncio.gather(*(t.connect() for t in transports))
    assert (await transports[3].run("echo $SSH_CONNECTION")).status == 0
    assert site.logins("gate") == 1
    assert site.logins("inner") == 8
    assert site.users() == {"gate": 8}


async def test_a_chain_shares_its_first_hops(site: Site) -> None:
    far, near = site.transport(site.target("far", "gate", "middle")), site.transport(site.target("middle", "gate"))
    await asyncio.gather(far.connect(), near.connect())
    assert (await far.run("echo far")).stdout == b"far\n"
    assert site.logins("gate") == 1
    assert site.users() == {"gate": 2, "middle": 1}


async def test_the_jump_host_s_key_is_verified_like_any_other(site: Site, tmp_path: Path) -> None:
    target = site.target("inner", "gate")
    other = keygen(tmp_path / "other")
    lines = [site.host("inner").known_hosts.read_text(), f"[127.0.0.1]:{site.host('gate').spec.port} {other}\n"]
    site._known.write_text("".join(lines))
    with pytest.raises(HostKeyRefused, match=r"inner: connect: jump host gate: connect: host key of .* has changed"):
        await site.transport(target).connect()
    assert site.logins("gate") == 0


async def test_the_host_behind_is_verified_through_the_jump_host(site: Site) -> None:
    target = site.target("inner", "gate")
    site._known.write_text(site.host("gate").known_hosts.read_text())
    with pytest.raises(HostKeyRefused, match=r"inner: connect: host key of .* is unknown"):
        await site.transport(target).connect()
    assert site.users() == {"gate": 0}


async def test_a_jump_host_that_refuses_us_is_asked_once_until_forgiven(site: Site, tmp_path: Path) -> None:
    target = site.target("inner", "gate")
    authorized = site.host("gate").folder / "authorized"
    ours = authorized.read_text()
    authorized.write_text("")
    for _ in range(3):
        with pytest.raises(AuthenticationRefused, match=r"inner: connect: jump host gate: connect: user .* is refused"):
            await site.transport(target).connect()
    knocks = (site.host("gate").folder / "log").read_text().count("Connection closed by authenticating user")
    assert knocks <= 1
    authorized.write_text(ours)
    assert site.tunnels.forgive() == 1
    await site.transport(target).connect()


async def test_a_jump_host_that_is_down_is_named_to_all_who_wait(site: Site) -> None:
    target = site.target("inner", "gate")
    site.host("gate").cut()
    results = await asyncio.gather(*(site.transport(target).connect() for _ in range(5)), return_exceptions=True)
    for result in results:
        assert isinstance(result, HostUnreachable)
        assert "inner: connect: jump host gate: connect: 127.0.0.1 port" in str(result)
    assert len({id(result) for result in results}) == 5


async def test_a_host_that_its_jump_host_cannot_reach_names_both(site: Site) -> None:
    target = replace(site.target("inner", "gate"), port=1)
    with pytest.raises(HostUnreachable, match=r"inner: connect: 127\.0\.0\.1 port 1 through jump host gate: .*refused"):
        await site.transport(target).connect()


async def test_a_jump_host_that_forwards_nothing_says_so(site: Site) -> None:
    config = site.host("gate").folder / "sshd_config"
    config.write_text(f"{config.read_text()}AllowTcpForwarding no\n")
    site.host("gate").process.send_signal(1)
    target = site.target("inner", "gate")

    async def refused() -> bool:
        try:
            await site.transport(target).connect()
        except HostUnreachable as error:
            return "AllowTcpForwarding" in str(error)
        await site.tunnels.aclose()
        return False

    async with asyncio.timeout(10):
        while not await refused():
            await asyncio.sleep(0.05)


async def test_a_lost_jump_host_is_told_to_every_connection_through_it(site: Site) -> None:
    transports = [site.transport(site.target("inner", "gate")) for _ in range(3)]
    await asyncio.gather(*(t.connect() for t in transports))
    waiting = [asyncio.create_task(t.run("sleep 60")) for t in transports]
    site.host("gate").cut()
    async with asyncio.timeout(15):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, HostUnreachable) for result in results), results
    await until(lambda: not any(t.connected for t in transports))
    with pytest.raises(HostUnreachable, match="jump host gate was lost"):
        await transports[0].open("true")
    assert site.users() == {"gate": 0}


async def test_an_unused_jump_host_is_left_after_a_while_and_not_before(site: Site) -> None:
    site.tunnels = Tunnels(idle=0.2)
    first, second = (site.transport(site.target("inner", "gate")) for _ in range(2))
    await first.connect()
    await first.aclose()
    await second.connect()
    assert site.logins("gate") == 1
    await second.aclose()
    log = site.host("gate").folder / "log"
    await until(lambda: "Disconnected from user" in log.read_text())
    again = site.transport(site.target("inner", "gate"))
    await again.connect()
    assert site.logins("gate") == 2


async def test_giving_up_does_not_end_the_handshake_that_others_wait_for(site: Site) -> None:
    site.target("inner", "gate")
    impatient, patient = (asyncio.create_task(site.transport(site.target("inner", "gate")).connect()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert site.logins("gate") == 1
    assert site.users() == {"gate": 1}
