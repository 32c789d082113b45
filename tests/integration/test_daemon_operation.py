"""A real daemon over the embedded fleet, as its operators see it: service manager, signals."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from operated import DEADLINE, Manager, Operated, free_port, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import SnapshotFrame, host_states

pytestmark = pytest.mark.fleet


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Operated]:
    stage = Operated(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def test_a_service_manager_is_told_of_start_life_reload_and_end(stage: Operated, tmp_path: Path) -> None:
    """S3.23: readiness, signs of life, reload and end over the manager's own socket."""
    manager = Manager(tmp_path / "notify")
    process = await stage.daemon(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="2000000")
    await until(lambda: manager.has("READY", "1"))
    await until(lambda: manager.has("STATUS", "level advise: 2 of 2 hosts READY"))
    await until(lambda: manager.count("WATCHDOG") > 2)
    process.send_signal(signal.SIGHUP)
    await until(lambda: manager.count("RELOADING") == 1 and manager.count("READY") == 2)
    assert int(next(m["MONOTONIC_USEC"] for m in manager.messages if "RELOADING" in m)) > 0
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    assert manager.count("STOPPING") == 1
    manager.close()


async def test_a_hangup_switches_the_fleet_file_live_or_keeps_the_old_one(stage: Operated) -> None:
    """S3.23: a cordon comes up within a tick; a bad file is on the picture, and changes nothing."""
    process = await stage.daemon()
    client = await AsyncClient.connect(stage.socket)
    await picture(client, lambda f: host_states(f) == ("READY", "READY"))
    stage.write(host="cordoned = true", policy="threshold_cpu = 0.6")
    process.send_signal(signal.SIGHUP)
    frame = await picture(client, lambda f: host_states(f) == ("CORDONED", "READY"))
    assert frame.threshold_cpu == pytest.approx(0.6)
    stage.write(policy='threshold_cpu = "hot"')
    process.send_signal(signal.SIGHUP)
    frame = await picture(client, lambda f: bool(f.alerts))
    assert f"{stage.file}:9: policy.threshold_cpu = 'hot'" in frame.alerts[0] and "remedy" in frame.alerts[0]
    assert host_states(frame) == ("CORDONED", "READY") and frame.threshold_cpu == pytest.approx(0.6)
    stage.write()
    process.send_signal(signal.SIGHUP)
    await picture(client, lambda f: not f.alerts and host_states(f) == ("READY", "READY"))
    await client.aclose()
    assert process.returncode is None


async def picture(client: AsyncClient, condition: Callable[[SnapshotFrame], bool]) -> SnapshotFrame:
    """The first picture that fulfils the condition."""
    async with asyncio.timeout(DEADLINE):
        async for frame in client.subscribe(20):
            if condition(frame):
                return frame
    raise AssertionError("unreachable")


async def test_a_real_daemon_is_scraped_and_the_standards_parser_reads_it(stage: Operated) -> None:
    port = free_port()
    stage.write(more=f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    await stage.daemon()
    found = await scrape(port, lambda f: f.get(("sidestep_hosts", "READY")) == 2)
    assert found["sidestep_ticks_total", ""] > 0 and found["sidestep_journal_writable", ""] == 1
    assert found["sidestep_automation_level", "advise"] == 1
    assert f"metrics at http://127.0.0.1:{port}/metrics" in stage.said()


async def test_metrics_are_off_unless_wanted_and_a_taken_port_ends_no_daemon(stage: Operated) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await stage.daemon("--metrics", where)
        assert f"metrics are not served at {where}" in stage.said() and process.returncode is None


async def test_a_lost_host_is_told_to_a_real_receiver_and_so_is_its_return(stage: Operated) -> None:
    """The whole way: reference in the fleet file, Apprise, HTTP; the reason is in the message."""
    pytest.importorskip("apprise", reason="NOT CHECKED: the extra [alerts] is not installed")
    got: list[dict[str, str]] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        got.append(json.loads(await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    target = stage.folder / "target"
    target.write_text(f"json://user:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}/\n")
    target.chmod(0o600)
    stage.write(more='[alerts]\ntargets = ["file:target"]\nafter = 1\n')
    await stage.daemon()
    await stage.hosts.kill("a")
    await until(lambda: any(message["title"].startswith("sidestep test: a: DEAD") for message in got))
    await stage.hosts.revive("a")
    await until(lambda: any(message["title"].startswith("sidestep test: over: a: DEAD") for message in got))
    assert {message["type"] for message in got} == {"warning", "success"} and "hunter2" not in stage.said()
    server.close()


async def scrape(port: int, condition: Callable[[dict[tuple[str, str], float]], bool]) -> dict[tuple[str, str], float]:
    async with asyncio.timeout(DEADLINE):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n")
            head, _, page = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head
            found = {
                (sample.name, ",".join(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(page.decode())
                for sample in family.samples
            }
            if condition(found):
                return found
            await asyncio.sleep(0.05)


async def test_a_log_that_no_person_reads_is_json_to_its_last_line(stage: Operated) -> None:
    process = await stage.daemon("--log", "json")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    lines = [json.loads(line) for line in stage.said().splitlines()]
    assert lines and all({"ts", "level", "event", "plan", "host", "shard"} <= set(line) for line in lines)
    assert any(line["event"] == "ending; shards keep running" for line in lines[-3:])
