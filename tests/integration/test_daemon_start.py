"""S2.21: people see the fleet and can hold it before its hosts have answered, and nothing else begins until then."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
from operated import DEADLINE

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.hold import Hold
from sidestep.autopilot.protocol import Approve, GetSnapshot, ProposeMove, SnapshotFrame, host_states
from sidestep.autopilot.protocol_control import HoldAll, UndoPlan
from sidestep.fleet.errors import SidestepError

pytestmark = pytest.mark.fleet


@pytest.fixture
async def early(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A daemon whose only host takes connections and never says a word."""
    tmp_path.chmod(0o700)
    silent = socket.create_server(("127.0.0.1", 0))
    file, where, port = tmp_path / "fleet.toml", tmp_path / "d.sock", silent.getsockname()[1]
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}", encoding="utf-8")
    file.write_text(
        '[fleet]\nname = "test"\n[ssh]\nknown_hosts = "known"\nidentity = "key"\nconnect_timeout = 60\n'
        "[oracle]\nenabled = false\n"
        f'[hosts.mute]\naddress = "127.0.0.1"\nport = {port}\ncpu = 1\nmemory = "1G"\n'
        '[shards.s1]\napp = "a"\nhost = "mute"\nstart = "run"\n',
        encoding="utf-8",
    )
    with (tmp_path / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep.autopilot", "--fleet", str(file), "--socket", str(where),
            "--state", str(tmp_path / "state"), stdout=asyncio.subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE):
            while not where.exists():
                assert process.returncode is None, (tmp_path / "log").read_text(encoding="utf-8")
                await asyncio.sleep(0.05)
        client = await AsyncClient.connect(where)
        yield client
        await client.aclose()
    finally:
        process.kill()
        await process.wait()
        silent.close()


async def test_a_daemon_that_knows_no_host_yet_is_held_and_begins_nothing(early: AsyncClient, tmp_path: Path) -> None:
    frame = await early.call(GetSnapshot())
    assert isinstance(frame, SnapshotFrame)
    assert host_states(frame) == ("UNKNOWN",) and [s.name for s in frame.shards] == ["s1"]
    assert "has just started" in frame.alerts[-1]
    await early.call(HoldAll(reason="not now"))
    assert "not now" in Hold(tmp_path / "state").why()
    for request in (
        ProposeMove("s1", "mute", "x"),
        UndoPlan("1", "x"),
        Approve("0" * 64, "x"),
    ):
        with pytest.raises(SidestepError, match="has just started"):
            await early.call(request)
