"""S2.22: the lock service on its socket, in this process, with its clients in threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidestep.autopilot.backup import backup
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.locks import server as servers
from sidestep.autopilot.locks.server import LockServer, socket_beside
from sidestep.autopilot.locks.service import LockService
from sidestep.autopilot.locks.table import Changes, Grant
from sidestep.autopilot.restore import restore
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.locks import AsyncLocks, LockBusy, LockLost, LockRefused, Locks, LockUnavailable
from sidestep.locks import client as clients
from sidestep.locks.wire import Acquire, Granted, Hello, Query, Refused, Reply, Request, Welcome, pack, parse_reply

CLAIM = b"c" * 16


class Service:
    """The service of one journal; ``restart`` as after a crash."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "run" / "f.locks"
        self.said: list[str] = []

    async def start(self) -> None:
        self.journal = Journal(self.folder / "state" / "journal.db")
        self.service = LockService(journal=self.journal, report=self.said.append)
        self.server = LockServer(self.path, self.service, report=self.said.append)
        await self.server.start()

    async def aclose(self) -> None:
        await self.server.aclose()
        self.journal.close()

    async def restart(self) -> None:
        await self.aclose()
        await self.start()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path)
    await made.start()
    yield made
    await made.aclose()


@pytest.fixture
async def locks(service: Service) -> AsyncIterator[AsyncLocks]:
    async with AsyncLocks(service.path, holder="tester") as made:
        yield made


async def talk(path: Path, *requests: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    for request in requests:
        writer.write(request)
    return reader, writer


async def hear(reader: asyncio.StreamReader) -> Reply:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return parse_reply(await reader.readexactly(length))


async def test_a_lock_is_held_listed_and_let_go(service: Service, locks: AsyncLocks) -> None:
    async with locks.hold("orders", ttl=5.0, note="nightly") as lock:
        lock.check()
        (row,) = await locks.query()
        assert (row.name, row.token, row.holder, row.note) == ("orders", lock.token, "tester", "nightly")
        assert 0 < row.left <= 5.0
        with pytest.raises(LockBusy, match="held by tester"):
            await locks.acquire("orders", wait=0.0)
    with pytest.raises(LockLost, match="released"):
        lock.check()
    assert await locks.query("orders") == ()
    assert stat.S_IMODE(service.path.stat().st_mode) == 0o600


async def test_who_came_first_is_served_first_with_rising_tokens(locks: AsyncLocks) -> None:
    first = await locks.acquire("x")
    order: list[int] = []

    async def one(number: int) -> int:
        async with locks.hold("x") as lock:
            order.append(number)
            return lock.token

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(one(number)))
        while (await locks.query("x"))[0].waiting <= number:
            await asyncio.sleep(0)
    await first.release()
    tokens = await asyncio.gather(*tasks)
    assert order == list(range(5)) and tokens == sorted(tokens) and tokens[0] > first.token


async def test_wishes_that_come_together_share_transactions(service: Service) -> None:
    """Grants are durable before they are told, and yet there are far fewer transactions than grants."""
    names = [f"lock {number}" for number in range(64)]
    requests = [pack(Request(n + 2, Acquire(name, CLAIM, 5.0))) for n, name in enumerate(names)]
    reader, writer = await talk(service.path, pack(Request(1, Hello())) + b"".join(requests))
    assert isinstance((await hear(reader)).body, Welcome)
    tokens = []
    for _ in names:
        body = (await hear(reader)).body
        assert isinstance(body, Granted)
        tokens.append(body.token)
        assert body.token <= service.journal.locks()[0]
    assert sorted(tokens) == list(range(1, 65)) and service.service.counts.transactions <= 2
    writer.close()


async def test_a_lost_connection_loses_no_lock_and_no_place(service: Service, locks: AsyncLocks) -> None:
    lock = await locks.acquire("x", ttl=30.0)
    waiting = asyncio.create_task(locks.acquire("x", ttl=30.0))
    while (await locks.query("x"))[0].waiting < 1:
        await asyncio.sleep(0)
    locks._locks.link.drop()
    while not (await locks.query("x")):
        await asyncio.sleep(0)
    lock.check()
    await lock.release()
    again = await waiting
    assert again.token == lock.token + 1
    again.check()


async def test_a_restarted_service_keeps_every_lock_for_its_whole_ttl(service: Service, locks: AsyncLocks) -> None:
    lock = await locks.acquire("x", ttl=30.0)
    await service.restart()
    (row,) = await locks.query("x")
    assert row.token == lock.token and row.left > 29.0
    lock.check()
    await lock.release()
    newer = await locks.acquire("x")
    assert newer.token > lock.token


async def test_tokens_rise_over_a_restart_also_when_nothing_is_held(service: Service, locks: AsyncLocks) -> None:
    async with locks.hold("x") as lock:
        pass
    await service.restart()
    assert service.journal.locks() == (lock.token, ())
    async with locks.hold("y") as other:
        assert other.token > lock.token


async def test_a_holder_that_is_not_heard_of_loses_its_lock_to_the_next(service: Service, locks: AsyncLocks) -> None:
    reader, writer = await talk(service.path, pack(Request(1, Hello(holder="gone"))))
    await hear(reader)
    writer.write(pack(Request(2, Acquire("x", CLAIM, 0.2))))
    granted = (await hear(reader)).body
    assert isinstance(granted, Granted)
    writer.close()
    lock = await locks.acquire("x", wait=30.0)  # 0.2 s later, by the service's clock
    assert lock.token == granted.token + 1


async def test_a_broken_lock_is_audited_and_its_holder_told_at_the_next_renewal(
    service: Service, locks: AsyncLocks
) -> None:
    lock = await locks.acquire("x", ttl=3.0)
    service.service.break_("x", actor=Label("ann"), reason="stuck")
    await asyncio.wait_for(lock.lost(), 30.0)
    with pytest.raises(LockLost, match="does not hold the lock"):
        lock.check()
    line = service.journal.audit_lines()[0]
    assert b'"lock-break"' in line and b'"ann"' in line and b'"stuck"' in line
    newer = await locks.acquire("x")
    assert newer.token > lock.token
    with pytest.raises(UsageError, match="nobody holds"):
        service.service.break_("y", actor=Label("ann"), reason="stuck")


async def test_a_full_disk_grants_nothing_and_takes_nothing_away(
    service: Service, locks: AsyncLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = await locks.acquire("held", ttl=30.0)
    service.journal.room.trouble = "only 3M free"
    with pytest.raises(LockUnavailable, match="only 3M free"):
        await locks.acquire("new")
    service.journal.room.trouble = ""
    service.journal._db.execute("PRAGMA query_only = ON")
    with pytest.raises(LockUnavailable, match="no lock can be granted"):
        await locks.acquire("new")
    assert len(service.said) == 1 and "locks cannot be granted" in service.said[0]
    lock.check()
    service.journal._db.execute("PRAGMA query_only = OFF")
    service.journal.room.trouble = ""
    service.service._open_at = 0.0
    newer = await locks.acquire("new")
    assert newer.token > lock.token + 1, "a token that was perhaps written is not used again"


async def test_a_task_that_gives_up_waiting_gives_up_its_place(locks: AsyncLocks) -> None:
    lock = await locks.acquire("x")
    waiting = asyncio.create_task(locks.acquire("x"))
    while (await locks.query("x"))[0].waiting < 1:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    while (await locks.query("x"))[0].waiting:
        await asyncio.sleep(0)
    lock.check()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (pack(Request(1, Query())), "usage"),
        (pack(Request(1, Hello(version=99))), "version"),
        (b"\xff\xff\xff\xff", "usage"),
        (b"\x00\x00\x00\x00", "usage"),
        (b"\x00\x00\x00\x02\xc1\xc1", "usage"),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_and_left(
    service: Service, locks: AsyncLocks, sent: bytes, code: str
) -> None:
    lock = await locks.acquire("x")
    reader, writer = await talk(service.path, sent)
    body = (await hear(reader)).body
    assert isinstance(body, Refused) and body.code == code
    assert await reader.read() == b""
    writer.close()
    lock.check()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": ""}, "1 to 128"),
        ({"name": "x\n"}, "printable"),
        ({"name": " x"}, "space"),
        ({"name": "x", "ttl": float("nan")}, "ttl nan"),
        ({"name": "x", "ttl": 0.01}, "ttl 0.01"),
        ({"name": "x", "wait": -1.0}, "wait -1.0"),
        ({"name": "x", "note": "n" * 201}, "at most 200"),
    ],
)
async def test_wrong_wishes_are_refused_by_both_ends(service: Service, locks: AsyncLocks, arguments, said: str) -> None:
    with pytest.raises(LockRefused, match=said):
        await locks.acquire(**arguments)
    ask = {"claim": CLAIM, "ttl": 1.0} | arguments
    answer = service.service.request((0, 0), Acquire(**ask), Label("h"))
    assert isinstance(answer, Refused) and answer.code == "usage" and answer.message.isprintable()


async def test_too_many_connections_and_other_users_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "MAX_CONNECTIONS", 0)
    reader, _ = await talk(service.path)
    full = (await hear(reader)).body
    assert isinstance(full, Refused) and full.message == "0 connections are open"
    service.server._peer = lambda _: os.geteuid() + 1
    reader, _ = await talk(service.path)
    other = (await hear(reader)).body
    assert isinstance(other, Refused) and other.code == "forbidden"


async def test_a_peer_that_never_finishes_a_frame_is_cut_off(service: Service) -> None:
    reader, writer = await talk(service.path, pack(Request(1, Hello())), b"\x00\x00")
    await hear(reader)
    service.server._sweep()
    writer.write(b"\x01")
    while not next(iter(service.server._connections.values()))._frames.unfinished:
        await asyncio.sleep(0)
    service.server._sweep()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert not service.server._connections


def test_tokens_of_a_restored_journal_are_above_all_that_were_given_since(tmp_path: Path) -> None:
    """Also when one backup is restored twice."""
    journal = Journal(tmp_path / "state" / "journal.db")
    grant = Grant(name="x", token=5, claim="c", holder="h", note="", ttl=9.0, granted=0.0)
    journal.keep_locks(Changes((grant,), (), 5))
    backup(tmp_path / "state", tmp_path / "b.tar")
    journal.keep_locks(Changes((), ("x",), 900))
    journal.close()
    highest = [900]
    for name in ("one", "two"):
        restore(tmp_path / "b.tar", tmp_path / name, actor="op", reason="the disk died")
        again = Journal(tmp_path / name / "journal.db")
        token, grants = again.locks()
        assert grants == (grant,)
        highest.append(token)
        again.close()
    assert highest == sorted(set(highest)) and highest[-1] < 1 << 53


def test_locks_need_a_socket_that_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clients.VARIABLE, raising=False)
    with pytest.raises(LockRefused, match="SIDESTEP_LOCKS"):
        Locks()
    (tmp_path / "file").write_text("")
    for name, said in (("file", "not a socket of ours"), ("none", "No such file")):
        monkeypatch.setenv(clients.VARIABLE, str(tmp_path / name))
        with Locks() as locks, pytest.raises(LockUnavailable, match=said):
            locks.acquire("x", wait=0.0)


def test_a_child_process_holds_nothing_of_its_parent(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    locks = Locks(tmp_path / "s")
    child = os.fork()
    if child == 0:
        try:
            locks.begin("x", ttl=1.0, wait=0.0, note="")
        except LockUnavailable:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    locks.close()
    listening.close()


def test_the_lock_socket_is_beside_the_control_socket_and_is_no_daemons() -> None:
    assert socket_beside(Path("/run/web.prod.sock")) == Path("/run/web.prod.locks")
    assert socket_beside(Path("/run/odd")) == Path("/run/odd.locks")
