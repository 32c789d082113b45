"""S2.21: the daemon keeps what may fail over leased: over moves, restarts in good order, and crashes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operated import Operated, until

from sidestep.autopilot.client import AsyncClient, Refused
from sidestep.autopilot.protocol import Approve, Done, GetPlan, PlanView, ProposeMove
from sidestep.autopilot.protocol_control import DeclareOff
from sidestep.fleet.errors import UsageError

pytestmark = pytest.mark.fleet

LEASE = 5
SHARD = f"""
[failover]
lease = {LEASE}
[shards.naps]
app = "naps"
host = "a"
failover = "restart"
start = "echo x >>starts; exec sleep 987653"
"""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Operated]:
    fleet = Operated(tmp_path)
    await fleet.open()
    fleet.write(more=SHARD)
    yield fleet
    await fleet.close()


def naps(fleet: Operated, host: str) -> bool:
    return any(line == "sleep 987653" for _, line in fleet.hosts.tree(host))


def guarded(fleet: Operated, host: str) -> bool:
    return any("sidestep-guard" in line for _, line in fleet.hosts.tree(host))


def starts(fleet: Operated, host: str) -> str:
    folder = fleet.hosts.folder / "hosts" / host / ".local/state/sidestep/test/naps"
    return (folder / "state/starts").read_text()


def leased(fleet: Operated) -> list[tuple[str, str]]:
    with sqlite3.connect(f"file:{fleet.folder / 'state/journal.db'}?mode=ro", uri=True) as db:
        return db.execute("SELECT host, shard FROM leased ORDER BY host").fetchall()


async def proposed(client: AsyncClient) -> PlanView:
    """The move to b, once the shard has been measured."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Refused):
                plan = await client.call(ProposeMove("naps", "b", "a test"))
                assert isinstance(plan, PlanView)
                return plan
            await asyncio.sleep(0.2)


async def test_an_end_in_good_order_leaves_shards_running_and_a_crash_lets_their_lease_run_out(fleet: Operated) -> None:
    daemon = await fleet.daemon()
    await until(lambda: naps(fleet, "a") and guarded(fleet, "a") and ("a", "naps") in leased(fleet))
    daemon.send_signal(signal.SIGTERM)
    await daemon.wait()
    before = starts(fleet, "a")
    assert leased(fleet) == []
    await until(lambda: not guarded(fleet, "a"))
    assert naps(fleet, "a")
    assert starts(fleet, "a") == before

    daemon = await fleet.daemon()
    await until(lambda: guarded(fleet, "a") and ("a", "naps") in leased(fleet))
    daemon.kill()
    await daemon.wait()
    before = starts(fleet, "a")
    await until(lambda: not naps(fleet, "a"))
    assert starts(fleet, "a") == before


async def test_a_move_takes_the_lease_along_and_a_person_is_believed_until_the_host_is_heard(fleet: Operated) -> None:
    await fleet.daemon()
    await until(lambda: ("a", "naps") in leased(fleet))
    client = await AsyncClient.connect(fleet.socket)
    plan = await proposed(client)
    await client.call(Approve(plan.digest, "a test"))

    async def state() -> str:
        view = await client.call(GetPlan(plan.digest))
        assert isinstance(view, PlanView)
        return str(view.status.state)

    async with asyncio.timeout(60):
        while (now := await state()) not in {"SUCCEEDED", "FAILED", "PARTIAL"}:
            await asyncio.sleep(0.1)
    assert now == "SUCCEEDED", fleet.said()
    await until(lambda: naps(fleet, "b") and guarded(fleet, "b") and ("b", "naps") in leased(fleet))
    assert not naps(fleet, "a")

    with pytest.raises(UsageError, match="is not off: it was heard"):
        await client.call(DeclareOff("b", "I think so"))
    with pytest.raises(UsageError, match="no host x"):
        await client.call(DeclareOff("x", "I think so"))
    await fleet.hosts.kill("b")

    async def said() -> bool:
        try:
            return isinstance(await client.call(DeclareOff("b", "pulled the plug")), Done)
        except UsageError:
            return False

    async with asyncio.timeout(30):
        while not await said():
            await asyncio.sleep(0.2)
    await until(lambda: "b is off: pulled the plug" in fleet.said())
    await fleet.hosts.revive("b")
    await until(lambda: "b is not off: it is heard again" in fleet.said())
    await until(lambda: naps(fleet, "b"))
    await client.aclose()
