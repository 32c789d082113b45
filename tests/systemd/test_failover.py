"""S2.19, S2.21, S5.15: the plug of a real host is pulled, and its shard goes on elsewhere from its capsule."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from real_hosts import Control, RealHost, sessions

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import GetPlan, PlanView
from sidestep.autopilot.protocol_capsules import CapsuleList, GetCapsules
from sidestep.autopilot.protocol_failover import GetLosses, LossesView

#: counts up ten times a second, and goes on from where its file says
COUNT = """while :; do read -r n <n || n=0; echo $((n+1)) >n.new; mv n.new n; sleep 0.1; done"""
FOLDER = "~root/.local/state/sidestep/saved"
LIMIT = 120.0
#: of the hosts, those with an interpreter for every sampler are enough
USED = 4


class Stage:
    """A daemon over real hosts, with the shard ``count-0`` on h1 and capsules of it elsewhere."""

    def __init__(self, hosts: dict[str, RealHost], control: Control, folder: Path) -> None:
        self.hosts = dict(list(hosts.items())[:USED])
        self.control, self.folder, self.socket = control, folder, folder / "d.sock"

    def write(self) -> Path:
        first = self.hosts["h1"]
        lines = [
            "[fleet]", 'name = "saved"', "interval = 0.5", 'level = "full"',
            "[ssh]", f'known_hosts = "{first.known_hosts}"', f'identity = "{first.identity}"', "keepalive = 1",
            "[policy]", 'kinds = ["migrate", "failover"]', "observe = 0", "step_deadline = 60",
            "[oracle]", "enabled = false", "min_steps = 2",
            "[failover]", "grace = 1", "lease = 5", "margin = 0.5",
        ]  # fmt: skip
        for host in self.hosts.values():
            lines += [f"[hosts.{host.name}]", f'address = "{host.address}"', 'user = "root"']
        lines += ["[shards.count-0]", 'app = "count"', 'host = "h1"', f"start = '''{COUNT}'''", 'ready = "test -s n"']
        lines += ['failover = "capsule"', "replicas = 2", "replicate_every = 1"]
        file = self.folder / "fleet.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[AsyncClient]:
        with (self.folder / "daemon.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.write()), "--socket", str(self.socket),
                "--state", str(self.folder / "state"), stdout=PIPE, stderr=log,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), LIMIT)
            assert line.startswith(b"ready"), (self.folder / "daemon.log").read_text()
            async with contextlib.aclosing(await AsyncClient.connect(self.socket)) as client:
                yield client
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def count(self, host: str) -> int:
        """What the shard has counted on that host; -1 where it does not run."""
        script = f"""read -r pid _ <{FOLDER}/count-0/pid && [ -e /proc/$pid/stat ] && cat {FOLDER}/count-0/state/n
exit 0"""
        said = await asyncio.to_thread(self.control.shell, host, script)
        return int(said.split()[0]) if said.split() else -1

    async def above(self, host: str, least: int) -> int:
        async with asyncio.timeout(LIMIT):
            while (found := await self.count(host)) <= least:
                await asyncio.sleep(0.2)
        return found


@pytest.fixture
async def stage(hosts: dict[str, RealHost], fleet: Control, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(hosts, fleet, tmp_path)
    yield stage
    await asyncio.to_thread(fleet.restore)
    for name in stage.hosts:
        kill = f'for f in {FOLDER}/*/pid; do read -r p _ <"$f" && kill -s KILL -- "-$p"; done'
        await asyncio.to_thread(fleet.shell, name, f"{kill}; rm -rf {FOLDER}; exit 0")
    async with asyncio.timeout(LIMIT):  # guards see within a second or two that nothing is left to guard
        while any([await asyncio.to_thread(sessions, fleet, name) for name in stage.hosts]):
            await asyncio.sleep(0.2)


async def test_the_plug_of_a_host_is_pulled_and_its_shard_goes_on_elsewhere(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, with all that was counted before the capsule; and not on its old host when that is back."""
    async with stage.daemon() as client:
        before = await stage.above("h1", 5)
        began = time.time()
        async with asyncio.timeout(LIMIT):
            while True:
                kept = await client.call(GetCapsules("count-0"))
                assert isinstance(kept, CapsuleList)
                row = kept.rows[0]
                if row.age is not None and time.time() - row.age > began and len(row.copies) == 2:
                    break
                await asyncio.sleep(0.2)
        await asyncio.to_thread(stage.control.kill, "h1")
        async with asyncio.timeout(LIMIT):
            while not (view := await client.call(GetLosses())).recovered:  # type: ignore[union-attr]
                await asyncio.sleep(0.2)
        assert isinstance(view, LossesView)
        (one,) = view.recovered
        plan = await client.call(GetPlan("1"))
        assert isinstance(plan, PlanView)
        to = str(plan.plan.actions[0].destination)
        with capsys.disabled():
            print(f"\nRTO {one.rto:.1f} s (10 s until DEAD, 1 s of grace), RPO {one.rpo:.1f} s, on {to}")
        after = await stage.above(to, before)
        await stage.above(to, after)
        await asyncio.to_thread(stage.control.start, "h1")
        async with asyncio.timeout(LIMIT):
            while not (view := await client.call(GetLosses())).hosts[0].back:  # type: ignore[union-attr]
                await asyncio.sleep(0.2)
        fence = f"cat {FOLDER}/count-0/fence"
        async with asyncio.timeout(LIMIT):
            while (await asyncio.to_thread(stage.control.shell, "h1", fence)).strip() == "1":
                await asyncio.sleep(0.2)
        assert await stage.count("h1") == -1
        assert [h for h in stage.hosts if await stage.count(h) >= 0] == [to]
