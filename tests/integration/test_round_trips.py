"""Round trips measured for real: on the connections of embedded hosts, and between them."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from sidestep.autopilot import rtt
from sidestep.autopilot.rtt import RttProbe, parsed
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import HostSpec, RoundTripMode
from sidestep.fleet.labels import Label
from sidestep.fleet.rtt import SOURCES

PROBE = files("sidestep.backends.ssh").joinpath("rtt_probe.sh")


class Measured:
    """A fleet, its connections, and a probe whose rounds are made by hand."""

    def __init__(self, fleet: EmbeddedFleet, transports: dict[str, AsyncsshTransport]) -> None:
        self.fleet, self.transports = fleet, transports
        self.said: list[str] = []
        self.up = [str(host.name) for host in fleet.hosts]
        self.now = 1000.0

        async def sleep(seconds: float) -> None:
            await asyncio.Event().wait()

        self.probe = RttProbe(
            fleet.hosts,
            lambda host: self.transports[host],
            reachable=lambda: self.up,
            clock=Clock(monotonic=lambda: self.now, sleep=sleep),
            report=self.said.append,
        )


@pytest.fixture
async def measured(tmp_path: Path) -> AsyncIterator[Measured]:
    async with EmbeddedFleet(tmp_path / "fleet", hosts=4) as fleet:
        keys = HostKeys.load(fleet.known_hosts)
        transports = {}
        for host in fleet.hosts:
            target = SshTarget(
                name=host.name,
                address=host.address,
                port=host.port,
                user=host.user,
                identities=(str(fleet.identity),),
            )
            transports[str(host.name)] = AsyncsshTransport(target, keys)
            await transports[str(host.name)].connect()
        yield Measured(fleet, transports)
        for transport in transports.values():
            await transport.aclose()


@pytest.mark.fleet
async def test_the_kernel_tells_the_round_trip_of_every_connection_and_nothing_is_sent(measured: Measured) -> None:
    """S1.16: latency from the controller to every host."""
    measured.probe.look()
    assert np.isfinite(measured.probe.controller).all()
    assert ((measured.probe.controller > 0) & (measured.probe.controller < 1)).all()
    await measured.transports["h2"].aclose()
    measured.probe.look()
    assert np.isnan(measured.probe.controller).tolist() == [False, True, False, False]


@pytest.mark.fleet
async def test_hosts_measure_each_other_in_turn_until_every_pair_is_known(measured: Measured) -> None:
    """S1.16, S2.5: RTT between hosts, measured rarely."""
    await measured.probe.round()
    assert measured.said == []
    ones, others = np.triu_indices(4, 1)
    found = measured.probe.table.between(ones, others, measured.now)
    assert (found.source == SOURCES.index("measured")).all()
    assert ((found.seconds > 0) & (found.seconds < 1)).all()

    measured.probe.look()
    told = measured.probe.told()
    assert [len(row.between) for row in told] == [3, 3, 3, 3], "both ends of a pair have it"
    assert {trip.host for trip in told[0].between} == {host.name for host in measured.fleet.hosts[1:]}
    assert all(0 < trip.seconds < 1 and trip.age >= 0 for row in told for trip in row.between)
    assert [row.here for row in told] == measured.probe.controller.tolist()


@pytest.mark.fleet
async def test_a_host_that_is_away_is_not_asked_and_a_dead_peer_is_just_unknown(measured: Measured) -> None:
    await measured.fleet.kill("h3")
    measured.up = ["h1", "h2", "h3"]
    await measured.transports["h3"].aclose()
    await measured.probe.round()
    found = measured.probe.table.between(np.array([0, 0]), np.array([1, 2]), measured.now)
    assert found.source[0] == SOURCES.index("measured")
    assert found.source[1] != SOURCES.index("measured")
    assert len(measured.said) == 1, "h3 could not measure; said once"
    await measured.probe.round()
    assert len(measured.said) == 1


class Counting:
    """A transport that remembers what it was asked to run."""

    def __init__(self, host: str, ran: list[tuple[str, str]], status: int = 0) -> None:
        self.host, self._ran, self._status = host, ran, status

    async def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> object:
        self._ran.append((self.host, command))
        if self._status < 0:
            raise HostError(self.host, "run", "no command may be run")
        count = (len(command.split()) - 3) // 2
        said = "".join(f"{n} {1000 + n}\n" for n in range(count))
        return type("Done", (), {"status": self._status, "stdout": said.encode()})()


def many(count: int, ran: list[tuple[str, str]], status: int = 0) -> tuple[RttProbe, list[float], list[str]]:
    hosts = [HostSpec(name=Label(f"h{n:03}"), address=f"10.0.{n // 250}.{n % 250}") for n in range(count)]
    now, said = [0.0], []  # type: list[float], list[str]
    transports: dict[str, Transport] = {str(h.name): Counting(str(h.name), ran, status) for h in hosts}  # type: ignore[misc]
    probe = RttProbe(
        hosts,
        transports.__getitem__,
        reachable=lambda: list(transports),
        clock=Clock(monotonic=lambda: now[0]),
        report=said.append,
    )
    return probe, now, said


async def test_a_round_asks_few_hosts_about_few_others_and_all_take_their_turn() -> None:
    ran: list[tuple[str, str]] = []
    probe, now, _ = many(20, ran)
    for number in range(10):
        now[0] += rtt.ROUND
        before = len(ran)
        await probe.round()
        assert len(ran) - before == rtt.SOURCES, number
    assert {host for host, _ in ran} == {f"h{n:03}" for n in range(20)}
    asked = {(host, word) for host, command in ran for word in command.split() if word.startswith("10.")}
    assert len(asked) == 10 * rtt.SOURCES * rtt.TARGETS, "no pair twice while others are unknown"


async def test_hosts_that_cannot_measure_are_left_alone_for_long() -> None:
    for status in (97, -1):
        ran: list[tuple[str, str]] = []
        probe, now, said = many(3, ran, status)
        for _ in range(10):
            now[0] += rtt.ROUND
            await probe.round()
        assert len(ran) == 3
        assert len(said) == 1
        now[0] += rtt.REST
        await probe.round()
        assert len(ran) == 6


def test_large_fleets_are_not_measured_unless_told_to() -> None:
    hosts = [HostSpec(name=Label(f"h{n}"), address="h") for n in range(rtt.AUTO + 1)]

    def made(count: int, mode: RoundTripMode) -> bool:
        none: dict[str, Transport] = {}
        probe = RttProbe(hosts[:count], none.__getitem__, reachable=lambda: [], clock=Clock(), report=print, mode=mode)
        return probe.between

    assert made(rtt.AUTO, "auto")
    assert not made(rtt.AUTO + 1, "auto")
    assert made(rtt.AUTO + 1, "on")
    assert not made(2, "off")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"0 1500\n1 -\n", [0.0015, None]),
        (b"1 20\r\n", [None, 0.00002]),
        (b"7 20\n-1 5\nrubbish\n0 999999999\n", [None, None]),
        (b"", [None, None]),
    ],
    ids=["usual", "line ends", "nonsense", "nothing"],
)
def test_what_a_host_says_is_data(said: bytes, found: list[float | None]) -> None:
    np.testing.assert_allclose(parsed(said, 2), np.array(found, dtype=float))


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as open_door:
        open_door.bind(("127.0.0.1", 0))
        open_door.listen(16)
        yield open_door.getsockname()[1]


def probed(tools: Path, *peers: str) -> subprocess.CompletedProcess[bytes]:
    """What the script says on a host that has these tools and no others."""
    command = ["/bin/sh", "-s", *peers]
    return subprocess.run(
        command, input=PROBE.read_bytes(), capture_output=True, check=False, env={"PATH": str(tools)}, timeout=60
    )


@pytest.mark.parametrize("tool", ["python3", "perl", "bash"])
def test_any_of_three_tools_of_a_host_will_do(tmp_path: Path, tool: str, listener: int) -> None:
    paths = ["/usr/bin/python3"] if tool == "python3" and Path("/usr/bin/python3").exists() else []
    program = (paths or [shutil.which(tool) or ""])[0]
    if not program:
        pytest.skip(f"NOT CHECKED: no {tool} here")
    link = tmp_path / tool
    link.write_text(f'#!/bin/sh\nexec {os.path.realpath(program) if tool != "python3" else program} "$@"\n')
    link.chmod(0o755)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        peers = ["127.0.0.1", str(listener), "127.0.0.1", str(closed.getsockname()[1]), "localhost", str(listener)]
        done = probed(tmp_path, *peers)
        assert done.returncode == 0
    found = parsed(done.stdout, 3)
    assert 0 < found[0] < 1
    assert np.isnan(found[1]), "nobody listens there"


def test_a_host_without_any_tool_says_so(tmp_path: Path) -> None:
    done = probed(tmp_path, "h", "22")
    assert done.returncode == 97
    assert done.stdout == b""
