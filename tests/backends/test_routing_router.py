"""The router between real shards: tables, holds, retries, and a move under load."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from counters import CounterProcess, free_port, table

from sidestep.backends.routing.router import RouterCore, Unanswered
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Route, RoutingTable

Make = Callable[..., CounterProcess]


@pytest.fixture
async def core() -> AsyncIterator[RouterCore]:
    router = RouterCore()
    yield router
    await router.aclose()


def apply(core: RouterCore, new: RoutingTable) -> int:
    return core.apply(msgspec.msgpack.encode(new), new.checksum())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_keys_go_to_their_owners(core: RouterCore, counter: Make) -> None:
    """S1.14 S1.24: every key has one owner, and gets its answers from it."""
    one, two = counter("kv-01", 3), counter("kv-02", 4)
    apply(core, table(1, one, two))
    replies = await asyncio.gather(*(core.request("kv", f"k{i}") for i in range(40)))
    assert {(r.shard, r.token) for r in replies} == {("kv-01", 3), ("kv-02", 4)}
    assert one.total() + two.total() == 40
    assert core.counters["double_owner"] == 0


async def test_a_shard_moves_under_load_and_no_request_is_lost_or_counted_twice(
    core: RouterCore, counter: Make
) -> None:
    """S1.22 S2.28: hold, drain, capture, restore, new table, release: every request exactly once."""
    source, destination = counter("kv-01", 1), counter("kv-01", 2, standby=True)
    apply(core, table(1, source))
    replies: list[tuple[int, int]] = []

    async def load() -> None:
        for i in range(150):
            reply = await core.request("kv", f"k{i % 9}")
            replies.append((reply.token, int(reply.words[0])))

    clients = [asyncio.create_task(load()) for _ in range(4)]
    await until(lambda: len(replies) > 60)
    await core.hold("kv-01", 10)
    assert source.total() == len(replies), "held means: nothing is in flight"
    await asyncio.to_thread(source.hook, "quiesce")
    state = (await asyncio.to_thread(source.hook, "save")).stdout
    assert (await asyncio.to_thread(destination.hook, "load", state)).returncode == 0
    source.close()
    apply(core, table(2, destination))
    await asyncio.to_thread(destination.hook, "resume")
    core.release("kv-01")
    await asyncio.gather(*clients)
    assert sorted(number for _, number in replies) == list(range(1, 601))
    assert {token for token, _ in replies} == {1, 2}
    assert destination.total() == 600
    assert core.counters["double_owner"] == core.counters["unanswered"] == 0


async def test_held_requests_wait_and_go_by_the_newest_table(core: RouterCore, counter: Make) -> None:
    old, new = counter("kv-01", 1), counter("kv-01", 2)
    apply(core, table(1, old))
    await core.hold("kv-01", 1)
    waiting = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.stats()["shards"]["kv-01"]["waiting"] == 1)
    apply(core, table(2, new))
    core.release("kv-01")
    assert (await waiting).token == 2
    assert (old.total(), new.total()) == (0, 1)


async def test_a_busy_shard_is_asked_again_until_it_serves(core: RouterCore, counter: Make) -> None:
    one = counter(standby=True)
    apply(core, table(1, one))
    waiting = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.counters["busy"] >= 2)
    assert one.total() == 0
    await asyncio.to_thread(one.hook, "resume")
    assert (await waiting).words == ("1", "1")
    assert one.total() == 1


async def test_a_shard_that_does_not_listen_yet_is_asked_again(core: RouterCore, counter: Make) -> None:
    one = counter()
    apply(core, RoutingTable(1, (Route(Label("kv"), 0, 65536, Label("kv-01"), "127.0.0.1", free_port(), 1),)))
    waiting = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.counters["retried"] >= 2)
    apply(core, table(2, one))
    assert (await waiting).token == 1


async def test_a_request_that_was_sent_and_not_answered_is_never_sent_again(core: RouterCore, counter: Make) -> None:
    """S1.22: nobody can know whether it was applied, so it is reported, not repeated."""
    one = counter()
    apply(core, table(1, one))
    await core.request("kv", "k")
    one.process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.counters["sent"] == 2)
    await asyncio.sleep(0)
    one.close()
    with pytest.raises(Unanswered):
        await asyncio.wait_for(waiting, 10)
    assert core.counters["sent"] == 2


async def test_requests_to_an_owner_that_is_no_more_are_told_so_once_there_is_another(
    core: RouterCore, counter: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2.21: a host that lost its power says nothing, not even that the connection is gone."""
    monkeypatch.setattr("sidestep.backends.routing.router._LAST_ANSWERS", 0.05)
    one, two = counter(), counter(token=2)
    apply(core, table(1, one))
    await core.request("kv", "k")
    one.process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.counters["sent"] == 2)
    apply(core, table(2, two))
    with pytest.raises(Unanswered):
        await asyncio.wait_for(waiting, 20)
    assert (await asyncio.wait_for(core.request("kv", "k"), 20)).token == 2


async def test_a_hold_that_cannot_drain_is_refused_and_taken_back(core: RouterCore, counter: Make) -> None:
    one = counter()
    apply(core, table(1, one))
    one.process.send_signal(signal.SIGSTOP)
    stuck = asyncio.create_task(core.request("kv", "k"))
    await until(lambda: core.counters["sent"] == 1)
    with pytest.raises(SidestepError, match=r"kv-01: 1 requests still unanswered"):
        await core.hold("kv-01", 0.05)
    one.process.send_signal(signal.SIGCONT)
    await asyncio.wait_for(stuck, 10)
    assert (await asyncio.wait_for(core.request("kv", "k"), 10)).words[0] == "2"


async def test_an_answer_under_another_token_is_an_alarm(core: RouterCore, counter: Make) -> None:
    """S2.27: a second owner is seen at its first answer."""
    one = counter("kv-01", 9)
    wrong = table(1, one)
    apply(core, RoutingTable(1, (msgspec.structs.replace(wrong.routes[0], token=8),)))
    await core.request("kv", "k")
    assert core.counters["double_owner"] == 1


def test_an_older_table_changes_nothing() -> None:
    """S1.22: generations only rise."""
    route = Route(Label("kv"), 0, 65536, Label("kv-01"), "127.0.0.1", 1, 1)
    core = RouterCore()
    assert apply(core, RoutingTable(5, (route,))) == 5
    assert apply(core, RoutingTable(4, (msgspec.structs.replace(route, port=2),))) == 5
    assert core.table.routes == (route,)


def test_a_second_table_of_the_same_generation_is_refused() -> None:
    route = Route(Label("kv"), 0, 65536, Label("kv-01"), "127.0.0.1", 1, 1)
    core = RouterCore()
    apply(core, RoutingTable(5, (route,)))
    assert apply(core, RoutingTable(5, (route,))) == 5
    with pytest.raises(SidestepError, match="generation 5"):
        apply(core, RoutingTable(5, (msgspec.structs.replace(route, port=2),)))


def test_a_damaged_table_is_refused() -> None:
    """S1.14: the CRC is checked before anything is read."""
    new = RoutingTable(1, (Route(Label("kv"), 0, 65536, Label("kv-01"), "127.0.0.1", 1, 1),))
    data = msgspec.msgpack.encode(new)
    core = RouterCore()
    with pytest.raises(SidestepError, match="CRC-32"):
        core.apply(data, new.checksum() ^ 1)
    with pytest.raises(SidestepError, match="CRC-32"):
        core.apply(data[:-1], new.checksum())
    assert not core.ready.is_set()


@pytest.mark.parametrize(("lo", "hi"), [(0, 65535), (1, 65536), (0, 0)])
def test_a_table_that_is_not_total_is_refused(lo: int, hi: int) -> None:
    core = RouterCore()
    with pytest.raises(SidestepError, match="not a routing table"):
        apply(core, RoutingTable(1, (Route(Label("kv"), lo, hi, Label("kv-01"), "127.0.0.1", 1, 1),)))


async def test_a_restarted_router_serves_by_the_table_it_had(tmp_path: Path, counter: Make) -> None:
    """S1.24: it needs nobody to go on."""
    file, one = tmp_path / "router.table", counter("kv-01", 6)
    apply(RouterCore(file=file), table(3, one))
    assert file.stat().st_mode & 0o777 == 0o600
    again = RouterCore(file=file)
    with contextlib.closing(one):
        assert (await again.request("kv", "k")).token == 6
        await again.aclose()
    assert again.table.generation == 3


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "router.table"
    apply(RouterCore(file=file), RoutingTable(1, (Route(Label("kv"), 0, 65536, Label("a"), "127.0.0.1", 1, 1),)))
    whole = file.read_bytes()
    for damaged in (whole[:-3], b"", bytes([*whole[:20], whole[20] ^ 1, *whole[21:]])):
        file.write_bytes(damaged)
        with pytest.raises(SidestepError, match=r"router\.table: the saved routing table is damaged"):
            RouterCore(file=file)


async def test_an_unknown_shard_cannot_be_held(core: RouterCore) -> None:
    with pytest.raises(SidestepError, match="no shard kv-99"):
        await core.hold("kv-99", 1)
