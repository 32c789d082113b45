"""On real hosts: pools follow the load of a short day, over the death of the daemon and of instances."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from operated import DEADLINE, Operated

from sidestep.autopilot.client import AsyncClient, Refused
from sidestep.autopilot.protocol_pools import DrillPool, ListPools, PoolRow, PoolsView

pytestmark = pytest.mark.fleet

SERVICE = """
import threading, time

def warm():
    time.sleep(0.3)

def save(context):
    return str(context.served).encode()

def serve(listener, context):
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(peer, context), daemon=True).start()

def answer(peer, context):
    with peer, context.request():
        while True:
            word = peer.recv(64)
            if not word:
                return
            peer.sendall(context.tenant.encode() + b" " + word)
"""


class Pooled(Operated):
    """Two hosts, one pool of Python instances that serves two apps; a day is a few seconds long."""

    def write(self, **_: str) -> None:
        folder = self.folder / "service"
        folder.mkdir(exist_ok=True)
        (folder / "shoplike.py").write_text(SERVICE)
        more = f"""[pool.web]
apps = ["cart", "search"]
hosts = ["a", "b"]
service = "shoplike"
path = "{folder}"
python = "{sys.executable}"
places = 2
min = 1
max = 6
ready_min = 1
cold = 1
drill_every = 0
stabilise = 1
margin = 0
drain_deadline = 2
ports = [{20000 + os.getpid() % 20000}, {20100 + os.getpid() % 20000}]
"""
        super().write(more=more)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Pooled]:
    stage = Pooled(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def pool(stage: Pooled, condition: Callable[[PoolRow], bool]) -> PoolRow:
    """The pool once the condition holds; in between, its bounds always do."""
    client = await AsyncClient.connect(stage.socket)
    try:
        async with asyncio.timeout(3 * DEADLINE):
            while True:
                view = await client.call(ListPools())
                assert isinstance(view, PoolsView)
                (row,) = view.pools
                assert sum(n for state, n in row.states.items() if state != "COLD") <= 6, row
                if condition(row):
                    return row
                await asyncio.sleep(0.2)
    finally:
        await client.aclose()


async def drill(stage: Pooled) -> None:
    """A fire drill, asked for again while the cold instance is being made or woken for the load."""
    client = await AsyncClient.connect(stage.socket)
    try:
        async with asyncio.timeout(3 * DEADLINE):
            while True:
                try:
                    await client.call(DrillPool("web"))
                    return
                except Refused as why:
                    assert "no cold instance" in str(why)
                await asyncio.sleep(0.2)
    finally:
        await client.aclose()


def serving(row: PoolRow, app: str) -> list[int]:
    return [one.port for one in row.instances if one.state == "ACTIVE" and one.app == app]


def processes(stage: Pooled) -> dict[int, str]:
    """Instances of this stage's pool that run, by their ids as their parents name them."""
    found = {}
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (each / "cmdline").read_bytes().decode().split("\0")
            if str(stage.folder) in " ".join(words) and any(
                w.endswith(("instance.py", "supervisor.py")) for w in words
            ):
                found[int(each.name)] = " ".join(words)
    return found


async def hold(stage: Pooled, row: PoolRow, app: str, count: int) -> list[asyncio.StreamWriter]:
    """So many requests that are under way until their writers are closed."""
    hosts = {each.name: each.address for each in stage.hosts.hosts}
    where = [(hosts[one.host], one.port) for one in row.instances if one.app == app and one.state == "ACTIVE"]
    writers = []
    for at in range(count):
        reader, writer = await asyncio.open_connection(*where[at % len(where)])
        writer.write(b"hello")
        assert await reader.readexactly(len(app) + 6) == f"{app} hello".encode()
        writers.append(writer)
    return writers


async def test_a_pool_grows_with_its_load_and_survives_the_death_of_its_daemon(stage: Pooled) -> None:
    """S4.2, S4.3, S4.11, S4.12, S4.14, S4.17: real processes over real SSH; nothing is lost, doubled or left behind"""
    first = await stage.daemon()
    begun = await pool(
        stage,
        lambda row: all(len(serving(row, app)) == 1 for app in ("cart", "search"))
        and row.states.get("READY", 0) >= 1 and row.states.get("COLD", 0) == 1,
    )  # fmt: skip
    writers = await hold(stage, begun, "cart", 4)
    grown = await pool(stage, lambda row: len(serving(row, "cart")) >= 2)
    first.send_signal(signal.SIGKILL)
    await first.wait()
    # the instances serve on without it
    writers += await hold(stage, grown, "cart", 1)
    await stage.daemon()
    after = await pool(
        stage,  # a cold one may have been woken for the load, and another takes its place
        lambda row: len(serving(row, "cart")) >= 2 and bool(row.apps) and row.states.get("COLD", 0) == 1,
    )
    kept = {one.name for one in grown.instances if one.state == "ACTIVE"}
    assert kept <= {one.name for one in after.instances}, "an instance that served was lost"
    await drill(stage)
    drilled = await pool(stage, lambda row: row.drill_ended)
    assert drilled.drill_ok, drilled.drill_detail
    for writer in writers:
        writer.close()
    shrunk = await pool(stage, lambda row: len(serving(row, "cart")) == 1 and not row.states.get("DEACTIVATING"))
    assert not math.isnan(shrunk.activation)
    await until_processes_match(stage)


async def until_processes_match(stage: Pooled) -> None:
    """No instance of the hosts is unknown to the journal, and none of the journal is not there."""
    folders = list((stage.folder / "fleet").rglob("pools/test/web"))
    assert len(folders) == 2

    def there() -> set[str]:
        return {path.stem for folder in folders for path in folder.glob("i*.sock")}

    await pool(
        stage,
        lambda row: (
            there() == {one.name for one in row.instances if one.state != "COLD"}
            and not any(one.busy for one in row.instances)
        ),
    )
    epochs = [int((folder / "epoch").read_text()) for folder in folders]
    assert max(epochs) == 2
    assert all(json.loads((folder / "config.json").read_text())["kind"] == "python" for folder in folders)
