"""Both transports keep the contract, against OpenSSH's server and against asyncssh's."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidestep.backends.embedded import EmbeddedFleet
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.paramiko_transport import ParamikoTransport
from sidestep.backends.ssh.target import plain_target

sys.path.insert(0, str(Path(__file__).parents[2]))
from contracts.transport import *  # noqa: F403

pytestmark = pytest.mark.openssh
CLIENTS = {"asyncssh": AsyncsshTransport, "paramiko": ParamikoTransport}


@pytest.fixture(params=["openssh", pytest.param("embedded", marks=pytest.mark.fleet)])
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[object, Path, Path]]:
    """A host, its known_hosts and the identity that it lets in."""
    if request.param == "openssh":
        host = request.getfixturevalue("shared_sshd")
        yield host.spec, host.known_hosts, host.identity
        return
    fleet = EmbeddedFleet(tmp_path_factory.mktemp("fleet"), names=("shared",))
    await fleet.start()
    yield fleet.hosts[0], fleet.known_hosts, fleet.identity
    await fleet.stop()


@pytest.fixture(params=sorted(CLIENTS))
async def transport(request: pytest.FixtureRequest, server: tuple[object, Path, Path]) -> AsyncIterator[Transport]:
    """A connected transport."""
    spec, known_hosts, identity = server
    target = plain_target(spec, identity=str(identity), connect_timeout=10)  # type: ignore[arg-type]
    made = CLIENTS[request.param](target, HostKeys.load(known_hosts))
    await made.connect()
    yield made
    await made.aclose()
