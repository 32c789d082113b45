"""Hosts whose key allows reading files over SFTP, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from watching import Watched

from sidestep.backends.sampler import sftp
from sidestep.fleet.errors import HostUnreachable

pytestmark = pytest.mark.openssh


@pytest.fixture
async def restricted(sshd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A host with the line for a key that is in the documentation."""
    monkeypatch.setattr(sftp, "LEAST", 0.1)
    made = sshd("a", env="ONE=1\nSubsystem sftp internal-sftp")
    authorized = made.folder / "authorized"
    authorized.write_text(f'restrict,command="internal-sftp -R" {authorized.read_text()}')
    yield made


@pytest.mark.parametrize("kind", ["sftp", "auto"])
async def test_a_read_only_key_gives_the_numbers_of_the_machine(restricted: Any, kind: str) -> None:
    transport = await restricted.connected()
    seen = await Watched().samples(transport, 4, kind=kind)
    assert seen.panel.kinds == ["sftp"]
    ours = await Watched().samples(await (restricted_free(restricted)).connected(), 2, kind="python")
    for name in ("mem_total", "swap_total"):
        assert seen.value(name) == ours.value(name)
    for name in (
        "cpu_user",
        "cpu_idle",
        "psi_cpu_some",
        "disk_writes",
        "disk_write_bytes",
        "net_rx_bytes",
        "net_rx_drops",
    ):
        assert seen.value(name) == pytest.approx(ours.value(name), rel=0.05, abs=1e8, nan_ok=True), name
    assert seen.busy() >= 0
    assert seen.panel.facts[0]["memory"] == str(int(seen.value("mem_total")))


def restricted_free(host: Any) -> Any:
    """The same host, its key free again."""
    authorized = host.folder / "authorized"
    authorized.write_text(authorized.read_text().partition('-R" ')[2])
    return host


async def test_a_read_only_key_can_run_and_write_nothing(restricted: Any) -> None:
    transport = await restricted.connected()
    assert (await transport.run("echo it ran")).stdout == b"This service allows sftp connections only.\n"
    async with await transport._conn.start_sftp_client() as client:
        with pytest.raises(Exception, match="Permission denied"):
            await client.open(str(restricted.home / "new"), "wb")


async def test_shards_are_seen_by_their_pid_files(restricted: Any) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()[19]
        folder = restricted.home / "state" / "sidestep" / "test"
        for name, text in (("one", f"{process.pid} {start} 7 0 x"), ("two", f"{process.pid} 1 8 0 x"), ("bad", "x")):
            (folder / name).mkdir(parents=True)
            (folder / name / "pid").write_text(f"{text}\n")
        seen = Watched()
        following = asyncio.create_task(
            sftp.follow_files(
                await restricted.connected(), "test", 0.1, seen.panel.intake(0), state=str(restricted.home / "state")
            )
        )
        async with asyncio.timeout(20):
            while seen.panel.seq[0] < 2:
                assert seen.panel.decode(0.0) == ()
                await asyncio.sleep(0.02)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        assert seen.shards() == ("one", "two")
        assert [seen.shard("one", column) for column in ("pid", "token", "running")] == [process.pid, 7, 1]
        assert [seen.shard("two", column) for column in ("pid", "token", "running")] == [0, 8, 0]
        assert 0 < seen.shard("one", "memory") < 64e6
    finally:
        os.kill(process.pid, 9)
        await process.wait()


async def test_a_lost_read_only_host_is_unreachable(restricted: Any) -> None:
    seen = Watched()

    def cut() -> bool:
        if seen.panel.seq[0] >= 1 and restricted.process.poll() is None:
            restricted.cut()
        return False

    with pytest.raises(HostUnreachable):
        await seen.follow(await restricted.connected(), cut, kind="sftp")
