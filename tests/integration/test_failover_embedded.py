"""A real host loses its power: its shard serves elsewhere, also once the host is back (S2.21, S5.15)."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shlex import quote

import pytest
from operated import DEADLINE, Operated, free_port, until

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import GetPlan, PlanView
from sidestep.autopilot.protocol_capsules import CapsuleList, GetCapsules
from sidestep.autopilot.protocol_failover import ClearPoison, GetLosses, LossesView
from sidestep.backends.embedded import EmbeddedFleet
from sidestep.fleet.errors import SidestepError

pytestmark = pytest.mark.fleet

TALLY = f"exec {quote(sys.executable)} -I -S {quote(str(Path(__file__).parent / 'process' / 'tally.py'))}"
#: the world calls a host DEAD after 10 s of silence; the lease runs out meanwhile
FAILOVER = "[failover]\ngrace = 1\nlease = 5\nmargin = 0.5\nquarantine = 600"


class Stage(Operated):
    """Four hosts; one has a shard that may restart elsewhere, one that waits, and one with capsules elsewhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hosts = EmbeddedFleet(folder / "fleet", names=("a", "b", "c", "d"), cpu=2.0, memory=2 << 30)
        self.ports = free_port(), free_port(), free_port()

    async def begin(self) -> None:
        await self.hosts.start()
        lines = [FAILOVER]
        modes = ("restart", "wait", "capsule")
        for number, (port, mode) in enumerate(zip(self.ports, modes, strict=True)):
            name = f"tally-{number}"
            lines += [f"[shards.{name}]", f"replicas = {2 * (mode == 'capsule')}", "replicate_every = 1"]
            lines += ['app = "tally"', 'host = "a"', 'driver = "hook"', f"port = {port}"]
            lines += [f'failover = "{mode}"', f'start = """{TALLY} serve"""', f'ready = """{TALLY} ready"""']
            lines += [f'{verb} = """{TALLY} {verb}"""' for verb in ("save", "load", "quiesce", "resume")]
        self.write(fleet='level = "full"', policy='kinds = ["migrate", "failover"]\nobserve = 0', more="\n".join(lines))
        await self.daemon()

    def runs(self, host: str, shard: str) -> bool:
        """Whether the pid file of that host names a process that lives there."""
        try:
            pid = int((self.of(host, shard) / "pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return False
        return any(each == pid for each, _ in self.hosts.tree(host))

    def of(self, host: str, shard: str) -> Path:
        return self.hosts.folder / "hosts" / host / ".local/state/sidestep/test" / shard

    def where(self, shard: str) -> list[str]:
        return [host for host in self.hosts.names if self.runs(host, shard)]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    try:
        await stage.begin()
        yield stage
    finally:
        await stage.close()


async def losses(client: AsyncClient) -> LossesView:
    view = await client.call(GetLosses())
    assert isinstance(view, LossesView)
    return view


async def copied(client: AsyncClient) -> None:
    """Until a capsule of tally-2 is complete that was begun after now."""
    began = time.time()
    async with asyncio.timeout(DEADLINE):
        while True:
            kept = await client.call(GetCapsules("tally-2"))
            assert isinstance(kept, CapsuleList)
            (row,) = kept.rows
            if row.age is not None and time.time() - row.age > began and len(row.copies) == 2:
                return
            await asyncio.sleep(0.1)


async def test_shards_of_a_lost_host_serve_elsewhere_and_the_host_is_kept_empty_when_it_is_back(
    stage: Stage, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """S2.19, S2.21, S5.13, S5.15: measured from the last sample to the first answer."""
    saved = ("tally-0", "tally-2")
    await until(lambda: all(stage.where(f"tally-{n}") == ["a"] for n in range(3)))
    address = stage.hosts.hosts[0].address
    assert await ask(address, stage.ports[0], "add 3") == "3" and await ask(address, stage.ports[2], "add 5") == "5"
    async with contextlib.aclosing(await AsyncClient.connect(stage.socket)) as client:
        await copied(client)
        await stage.hosts.kill("a")
        async with asyncio.timeout(3 * DEADLINE):
            while len((view := await losses(client)).recovered) < 2:
                await asyncio.sleep(0.05)
            while str((plan := await client.call(GetPlan("1"))).status.state) != "SUCCEEDED":  # type: ignore[union-attr]
                await asyncio.sleep(0.05)
        assert isinstance(plan, PlanView)
        assert stage.where("tally-1") == []
        (host,) = view.hosts
        assert (host.host, host.back, host.stays) == ("a", 0.0, {"tally-1": "WAITS"})
        for one in sorted(view.recovered, key=lambda r: r.shard):
            (destination,) = stage.where(one.shard)
            assert destination != "a"
            pid, _, token, port, at = (stage.of(destination, one.shard) / "pid").read_text().split()
            assert await ask(at, int(port), "who") == f"{one.shard} {token} {pid}"
            assert await ask(at, int(port), "add 0") == ("5" if one.shard == "tally-2" else "0")
            assert one.rto > 10.0, "a host is DEAD after 10 s at the earliest"
            assert (one.rpo is None) == (one.shard == "tally-0")
            record_property(f"{one.shard}_rto_seconds", one.rto)
            with capsys.disabled():
                print(f"\n{one.shard}: RTO {one.rto:.1f} s (10 s until DEAD, 1 s of grace), RPO {one.rpo}")
        steps = {s.name: s.detail for s in plan.status.actions[0].steps}
        with capsys.disabled():
            print(f"\nfence: {steps['fence']}\nresume: {steps['resume']}")
        assert "(RTO)" in steps["resume"]
        await stage.hosts.revive("a")
        await until(lambda: stage.where("tally-1") == ["a"])
        (host,) = (await losses(client)).hosts
        assert host.back > 0 and host.quarantined - host.back == pytest.approx(600, abs=1)
        assert all("a" not in stage.where(shard) for shard in saved)
        await until(lambda: all((stage.of("a", shard) / "fence").read_text().strip() != "1" for shard in saved))
        with pytest.raises(SidestepError, match="not poisoned"):
            await client.call(ClearPoison("tally-0", "just trying"))


async def ask(address: str, port: int, text: str) -> str:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(text.encode() + b"\n")
    line = await reader.readline()
    writer.close()
    return line.decode().strip()
