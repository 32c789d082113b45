"""What a monitoring system gets: the standard's own parser reads it, and its size never follows the fleet's."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from loop_doubles import Scene
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from sidestep.autopilot.metrics import FREEZE, Metrics, Moves
from sidestep.autopilot.metrics_server import CONNECTIONS, MOST, MetricsServer
from sidestep.autopilot.protocol import PlanView
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.plans import ActionStatus, PlanStatus

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def view(digest: str, *actions: ActionStatus, updated: float = 100.0) -> PlanView:
    status = PlanStatus(digest=digest, state=PlanState.RUNNING, actions=actions, updated=updated)
    return PlanView(digest, None, status)  # type: ignore[arg-type]


def done(number: int, freeze: float = 0.0, size: int = 0, state: ActionState = ActionState.DONE) -> ActionStatus:
    return ActionStatus(id=number, state=state, freeze_ms=freeze * 1e3, bytes=size)


async def values(scene: Scene, metrics: Metrics) -> dict[tuple[str, str], float]:
    page, kind = metrics.render(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_the_page_says_what_the_daemon_knows(tmp_path: Path) -> None:
    """S4.25: for Prometheus."""
    scene = Scene(tmp_path)
    metrics = Metrics(scene.loop._parts, scene.loop)
    watching = asyncio.create_task(scene.world.run())
    scene.oracle.peak = 3.5
    await scene.tick(4)
    found = await values(scene, metrics)
    assert found["sidestep_hosts", "READY"] == 3 and found["sidestep_hosts", "DEAD"] == 0
    assert found["sidestep_shards", "RUNNING"] == 3
    assert found["sidestep_predicted_contention_hosts", ""] == 1
    assert found["sidestep_plans_open", "PROPOSED"] == 1 and found["sidestep_plans_total", "SUCCEEDED"] == 0
    assert found["sidestep_automation_level", "advise"] == 1 and found["sidestep_automation_level", "full"] == 0
    assert found["sidestep_journal_writable", ""] == 1
    assert found["sidestep_move_freeze_seconds_bucket", "+Inf"] == 0
    assert any(name == "sidestep_build_info" for name, _ in found)
    assert any(name == "process_cpu_seconds_total" for name, _ in found)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_before_the_first_picture_there_is_a_page_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    found = await values(scene, Metrics(scene.loop._parts, scene.loop))
    assert found["sidestep_ticks_total", ""] == 0 and ("sidestep_hosts", "READY") not in found


async def test_a_scraper_of_the_older_format_gets_that(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.tick(1)
    page, kind = Metrics(scene.loop._parts, scene.loop).render("text/plain")
    assert kind.startswith("text/plain")
    names = {family.name for family in plain_families(page.decode())}
    assert {"sidestep_hosts", "sidestep_move_freeze_seconds"} <= names


async def test_no_label_names_a_host_a_shard_or_a_plan(tmp_path: Path) -> None:
    """The number of series is fixed: states, levels and buckets are all the labels there are."""
    scene = Scene(tmp_path)
    metrics = Metrics(scene.loop._parts, scene.loop)
    await scene.tick(2)
    names = {
        name for family in text_string_to_metric_families(metrics.render(OPENMETRICS)[0].decode())
        if family.name.startswith("sidestep_") for sample in family.samples for name in sample.labels
    }  # fmt: skip
    assert names == {"state", "le", "version", "sidestep_automation_level"}


def test_moves_are_counted_once_and_those_of_earlier_daemons_never() -> None:
    moves = Moves(since=50.0)
    moves.look([view("a", done(1, 0.3, 10), done(2, 120.0, 5)), view("old", done(1, 0.3, 9), updated=49.0)])
    moves.look([view("a", done(1, 0.3, 10), done(2, 120.0, 5), done(3, state=ActionState.ABORTED))])
    moves.look([view("b", done(1, state=ActionState.RUNNING), done(2, state=ActionState.CANCELLED))])
    assert moves.ended == {"DONE": 2, "ABORTED": 1}
    assert moves.bytes == 15 and moves.frozen == pytest.approx(120.3)
    assert moves.buckets[FREEZE.index(0.5)] == 1 and moves.buckets[-1] == 1 and sum(moves.buckets) == 2


async def test_the_counts_of_plans_are_those_of_the_journal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    metrics = Metrics(scene.loop._parts, scene.loop)
    scene.oracle.peak = 3.5
    await scene.tick(4)
    assert (await values(scene, metrics))["sidestep_plans_total", "PROPOSED"] == 1
    plan, _ = scene.newest()
    scene.journal.set_state(plan.digest(), PlanState.REJECTED, actor=Label("ops"))
    found = await values(scene, metrics)
    assert found["sidestep_plans_total", "PROPOSED"] == 1 and found["sidestep_plans_total", "REJECTED"] == 1
    assert found["sidestep_plans_open", "PROPOSED"] == 0 and ("sidestep_plans_open", "REJECTED") not in found
    again = await values(scene, Metrics(scene.loop._parts, scene.loop))
    assert again["sidestep_plans_total", "REJECTED"] == 1
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


# -- the socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"\x00\xff\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * (2 * MOST) + b"\r\n\r\n", b"400 Bad Request"),
    ],
)
async def test_one_request_gets_one_answer(request_: bytes, status: bytes) -> None:
    port = free_port()
    server = MetricsServer(f"127.0.0.1:{port}", lambda accept: (b"page\n", f"text/{accept or 'none'}"))
    await server.start()
    answer = await ask(port, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    await server.aclose()


async def test_the_accept_header_reaches_the_page_and_a_broken_page_ends_nothing() -> None:
    port, asked = free_port(), list[str]()

    def page(accept: str) -> tuple[bytes, str]:
        asked.append(accept)
        if len(asked) == 2:
            raise ValueError("a bug")
        return b"page\n", "text/plain"

    server = MetricsServer(f"127.0.0.1:{port}", page)
    await server.start()
    request = b"GET /metrics HTTP/1.1\r\nACCEPT: application/openmetrics-text\r\n\r\n"
    answers = [await ask(port, request) for _ in range(3)]
    assert asked == ["application/openmetrics-text"] * 3
    assert [a.split(b" ", 2)[1] for a in answers] == [b"200", b"500", b"200"]
    await server.aclose()


async def test_peers_beyond_the_number_are_turned_away_and_no_longer_than_the_others_stay() -> None:
    port = free_port()
    server = MetricsServer(f"127.0.0.1:{port}", lambda _: (b"page\n", "text/plain"))
    await server.start()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    assert await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while not await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n"):
            await asyncio.sleep(0.01)
    await server.aclose()


@pytest.mark.parametrize(
    ("listen", "local"),
    [("127.0.0.1:1", True), ("[::1]:1", True), ("localhost:1", True), ("0.0.0.0:1", False), ("host.example:1", False)],
)
def test_who_can_reach_it_is_known(listen: str, local: bool) -> None:
    assert MetricsServer(listen, lambda _: (b"", "")).local is local
