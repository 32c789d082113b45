"""A real daemon over real hosts, with its state on a small disk that is filled to the last byte, and emptied again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_daemon_embedded import DEADLINE, Stage, ask, end, measured, picture, stage

from sidestep.autopilot.audit import read_line, split
from sidestep.autopilot.audit_verify import verify
from sidestep.autopilot.client import AsyncClient, Refused
from sidestep.autopilot.protocol import Approve, GetPlan, PlanView, ProposeMove, SetLevel
from sidestep.fleet.machines import PlanState

__all__ = ["stage"]
pytestmark = pytest.mark.fleet


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """The state folder, a filesystem of 40 MiB in memory."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=40m,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT CHECKED: no filesystem can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            return


async def test_a_full_disk_stops_new_actions_and_not_the_looking(small: Path, stage: Stage) -> None:
    """Nothing new begins, every picture says so, and all goes on by itself when there is room again."""
    daemon = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    assert (await picture(client, measured)).alerts == ()
    await ask(stage.hosts.hosts[0].address, stage.port, "add 41")
    proposed = await client.call(ProposeMove("tally-0", "b", "maintenance"))
    assert isinstance(proposed, PlanView)

    fill(small)
    told = await picture(client, lambda frame: bool(frame.alerts))
    assert told.alerts[0].startswith("nothing new begins: ")
    with pytest.raises(Refused, match=r"is not approved: .*(free|full)"):
        await client.call(Approve(proposed.digest, "go"))
    await client.call(SetLevel("off", "to be safe"))
    later = await picture(client, lambda frame: frame.number > told.number + 5)
    assert later.alerts
    assert measured(later), "hosts are still looked at"
    assert await ask(stage.hosts.hosts[0].address, stage.port, "add") == "42", "shards serve"

    (small / "ballast").unlink()
    await picture(client, lambda frame: not frame.alerts)
    await client.call(Approve(proposed.digest, "go"))
    async with asyncio.timeout(DEADLINE):
        while True:
            view = await client.call(GetPlan(proposed.digest))
            assert isinstance(view, PlanView)
            if view.status.state not in (PlanState.APPROVED, PlanState.RUNNING):
                break
            await asyncio.sleep(0.05)
    assert view.status.state is PlanState.SUCCEEDED, view.status
    assert await ask(stage.hosts.hosts[1].address, stage.port, "add") == "43"
    await client.aclose()
    assert await end(daemon) == 0
    verdict = verify(small)
    assert verdict.whole, verdict.faults
    acts = [read_line(line).act for line in split((small / "audit.log").read_bytes())]
    order = [
        "daemon-start",
        "adopt",
        "propose",
        "level",
        "journal-back",
        "approve",
        "run",
        "begin",
        "commit",
        "done",
        "daemon-end",
    ]
    found = iter(acts)
    assert all(act in found for act in order), acts
