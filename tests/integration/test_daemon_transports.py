"""A host is connected to by the transport that the fleet file names; one that nobody has is its own trouble only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operated import DEADLINE, Operated

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import GetSnapshot, SnapshotFrame, host_states

pytestmark = pytest.mark.fleet


@pytest.fixture
async def operated(tmp_path: Path) -> AsyncIterator[Operated]:
    tmp_path.chmod(0o700)
    made = Operated(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_one_host_by_paramiko_one_by_a_plugin_that_nobody_has_and_one_by_the_default(operated: Operated) -> None:
    """X2: samples come over either transport; the third host says which plugin is missing."""
    lost = '[hosts.lost]\naddress = "127.0.0.1"\nport = 1\ntransport = "pigeon"\n'
    operated.write(host='transport = "paramiko"', more=lost + 'cpu = 1\nmemory = "1G"')
    await operated.daemon()
    client = await AsyncClient.connect(operated.socket)
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await client.call(GetSnapshot())
                assert isinstance(frame, SnapshotFrame)
                states = dict(zip([str(host.name) for host in frame.hosts], host_states(frame), strict=True))
                if states["a"] == states["b"] == "READY":
                    break
                await asyncio.sleep(0.1)
    finally:
        await client.aclose()
    assert states["lost"] == "DEAD"
    assert "no plugin 'pigeon'" in frame.reasons[2]
    assert "asyncssh" in frame.reasons[2]
