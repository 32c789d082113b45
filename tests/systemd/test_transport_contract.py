"""Both transports keep the contract on real hosts of both cgroup layouts."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from real_hosts import RealHost

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.paramiko_transport import ParamikoTransport
from sidestep.fleet.labels import Label

sys.path.insert(0, str(Path(__file__).parents[1]))
from contracts.transport import *  # noqa: F403

CLIENTS = {"asyncssh": AsyncsshTransport, "paramiko": ParamikoTransport}


@pytest.fixture(params=sorted(CLIENTS))
async def transport(request: pytest.FixtureRequest, layout_host: RealHost) -> AsyncIterator[Transport]:
    """A connected transport; the suite calls its host "shared"."""
    target = replace(layout_host.target(), name=Label("shared"))
    made = CLIENTS[request.param](target, HostKeys.load(layout_host.known_hosts))
    await made.connect()
    yield made
    await made.aclose()
