"""Files from host to host, directly and through us: whole or not at all, and nothing stays behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import ssl
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sshd_hosts import SshdHost
from transfer_hosts import after, file, halves, kill, nothing_stays

from sidestep.autopilot.bandwidth import Bandwidth
from sidestep.backends.ssh import direct
from sidestep.backends.ssh.direct import Carried, NotDirect, transfer
from sidestep.fleet.errors import HostError

pytestmark = pytest.mark.openssh
MiB = 1 << 20
Hook = Callable[[], Awaitable[None]]


@pytest.fixture
async def hosts(sshd: Callable[..., SshdHost]) -> tuple[SshdHost, SshdHost]:
    return sshd("source"), sshd("destination")


async def test_a_big_file_goes_from_host_to_host_and_a_small_one_through_us(hosts: tuple[SshdHost, SshdHost]) -> None:
    here, there = await hosts[0].connected(), await hosts[1].connected()
    path, digest = file(hosts[0], 5 * MiB + 12345)
    target = hosts[1].home / "target"
    for limit, way in ((MiB, "direct"), (64 * MiB, "relay")):
        target.write_bytes(b"old")
        carried = await transfer(here, str(path), there, str(target), direct_from=limit)
        assert (carried.digest, carried.way) == (digest, way)
        assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        await nothing_stays(*hosts, files=1)


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("size", [0, 1, MiB, 4 * MiB + 1])
async def test_a_direct_transfer_carries_any_size(hosts: tuple[SshdHost, SshdHost], size: int, join: bool) -> None:
    path, digest = file(hosts[0], size)
    target = hosts[1].home / "target"
    ends = await hosts[0].connected(), await hosts[1].connected()
    found = await direct.direct(ends[0], str(path), ends[1], str(target), join=join)
    assert found == digest
    assert target.stat().st_size == size


async def test_no_key_is_an_argument_or_a_variable_of_a_process(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = file(hosts[0], MiB)
    seen = bytearray()

    async def look(*_: Any) -> None:
        for pid in halves(hosts[1]):
            seen.extend(Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes())

    after(monkeypatch, "listens", look)
    await direct.direct(
        await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "target")
    )
    assert seen
    assert b"PRIVATE" not in seen


@pytest.mark.parametrize("bare", [0, 1])
async def test_without_python_on_one_of_them_the_bytes_go_through_us(
    sshd: Callable[..., SshdHost], tmp_path: Path, bare: int
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for tool in Path(folder).iterdir():
            if not tool.name.startswith("python") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    hosts = [sshd(f"h{n}", env=f"PATH={tools}" if n == bare else "") for n in range(2)]
    path, digest = file(hosts[0], 2 * MiB)
    carried = await transfer(
        await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "t"), direct_from=MiB
    )
    assert carried == Carried(digest, "relay", f"h{bare} has no python3")
    await nothing_stays(*hosts, files=1)


async def test_hosts_that_cannot_reach_each_other_are_relayed(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = file(hosts[0], 2 * MiB)

    async def elsewhere(address: str, port: int) -> tuple[str, int]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return address, int(probe.getsockname()[1])

    after(monkeypatch, "listens", elsewhere)
    carried = await transfer(
        await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "t"), direct_from=MiB
    )
    assert (carried.digest, carried.way) == (digest, "relay")
    assert "cannot be reached" in carried.reason
    assert "refused" in carried.reason
    await nothing_stays(*hosts, files=1)


async def test_strangers_that_knock_are_sent_away(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = file(hosts[0], 2 * MiB)
    refused = []

    def knock(address: str, port: int) -> None:
        with socket.create_connection((address, port), timeout=10) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while stranger.recv(100):
                pass
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(OSError), socket.create_connection((address, port), timeout=10) as stranger:
            tls = plain.wrap_socket(stranger)
            tls.sendall(bytes(16))
            if not tls.recv(1):
                raise ConnectionResetError
        refused.append(True)

    async def strangers(address: str, port: int) -> None:
        await asyncio.to_thread(knock, address, port)

    after(monkeypatch, "listens", strangers)
    target = hosts[1].home / "target"
    found = await direct.direct(await hosts[0].connected(), str(path), await hosts[1].connected(), str(target))
    assert found == digest
    assert refused
    await nothing_stays(*hosts, files=1)


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("moment", ["listens", "sent"])
async def test_a_half_that_is_killed_leaves_nothing_and_the_relay_does_it(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch, victim: int, moment: str
) -> None:
    path, digest = file(hosts[0], 2 * MiB)

    async def end(*_: Any) -> None:
        kill(hosts[victim])

    after(monkeypatch, moment, end)
    target = hosts[1].home / "target"
    carried = await transfer(
        await hosts[0].connected(), str(path), await hosts[1].connected(), str(target), direct_from=MiB
    )
    assert carried.digest == digest
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert carried.way == ("relay" if victim == 1 else carried.way)
    await nothing_stays(*hosts, files=1)


async def test_a_half_ends_though_the_signal_to_end_came_just_before_it_began_to_wait(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first signal goes to another thread: the main thread notes it, and waits on, as if it had just begun to."""
    ends = b"os.kill(os.getpid(), signal.SIGTERM)"
    unheard = b"signal.pthread_kill(threading.get_ident(), signal.SIGTERM)"
    program = direct._program()[8:]
    assert program.count(ends) == 1
    code = b"sent = []\n" + program.replace(ends, b"(%s if sent else sent.append(%s))" % (ends, unheard))
    monkeypatch.setattr(direct, "_program", lambda: b"%08d" % len(code) + code)
    path, _ = file(hosts[0], MiB)

    async def enough(*_: Any) -> None:
        raise NotDirect("enough")

    after(monkeypatch, "listens", enough)
    with pytest.raises(NotDirect, match="enough"):
        await direct.direct(
            await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "target")
        )
    await nothing_stays(*hosts, files=0)


@pytest.mark.parametrize("moment", ["listens", "received"])
async def test_a_cancelled_transfer_leaves_nothing(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path, _ = file(hosts[0], 2 * MiB)
    here, there = await hosts[0].connected(), await hosts[1].connected()
    reached = asyncio.Event()

    async def stop(*_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    after(monkeypatch, moment, stop)
    task = asyncio.create_task(transfer(here, str(path), there, str(hosts[1].home / "target"), direct_from=MiB))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_stays(*hosts, files=0)


async def test_a_controller_that_is_gone_leaves_nothing(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = file(hosts[0], 2 * MiB)
    here, there = await hosts[0].connected(), await hosts[1].connected()

    async def vanish(*_: Any) -> None:
        for transport in (here, there):
            assert transport._conn is not None
            transport._conn.abort()

    after(monkeypatch, "received", vanish)
    with pytest.raises(HostError):
        await transfer(here, str(path), there, str(hosts[1].home / "target"), direct_from=MiB)
    await nothing_stays(*hosts, files=0)


async def test_a_file_system_without_nameless_files_is_kept_clean_too(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = file(hosts[0], 2 * MiB)
    here, there = await hosts[0].connected(), await hosts[1].connected()
    code = direct._program()[8:].replace(b"os.O_TMPFILE", b"os.O_CREAT | os.O_EXCL")
    monkeypatch.setattr(direct, "_program", lambda: b"%08d" % len(code) + code)
    target = hosts[1].home / "target"
    assert await direct.direct(here, str(path), there, str(target)) == digest
    await nothing_stays(*hosts, files=1)

    async def end(*_: Any) -> None:
        assert any(".part." in p.name for p in hosts[1].home.iterdir())
        kill(hosts[1])

    after(monkeypatch, "listens", end)
    with pytest.raises(NotDirect):
        await direct.direct(here, str(path), there, str(target))
    await nothing_stays(*hosts, files=1)


async def test_a_disk_that_is_full_is_told_and_leaves_nothing(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = file(hosts[0], 8 * MiB)
    code = direct._program()[8:].replace(b"os.write(self.handle,", b"os.write(os.open('/dev/full', os.O_WRONLY),")
    monkeypatch.setattr(direct, "_program", lambda: b"%08d" % len(code) + code)
    with pytest.raises(NotDirect, match="No space left"):
        await direct.direct(
            await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "target")
        )
    await nothing_stays(*hosts, files=0)


@pytest.mark.parametrize("which", [0, 1])
async def test_either_process_that_receives_ends_with_the_other(
    hosts: tuple[SshdHost, SshdHost], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    path, _ = file(hosts[0], 8 * MiB)

    async def end(*_: Any) -> None:
        both = sorted(halves(hosts[1]))
        assert len(both) == 2
        os.kill(both[which], signal.SIGKILL)

    after(monkeypatch, "listens", end)
    with pytest.raises(NotDirect):
        await direct.direct(
            await hosts[0].connected(), str(path), await hosts[1].connected(), str(hosts[1].home / "target")
        )
    await nothing_stays(*hosts, files=0)


async def test_a_file_that_cannot_be_read_or_written_is_an_error_that_names_it(
    hosts: tuple[SshdHost, SshdHost],
) -> None:
    here, there = await hosts[0].connected(), await hosts[1].connected()
    path, _ = file(hosts[0], 2 * MiB)
    with pytest.raises(HostError, match="nowhere"):
        await transfer(here, str(hosts[0].home / "nowhere"), there, str(hosts[1].home / "target"), direct_from=MiB)
    with pytest.raises(HostError, match="no-folder"):
        await transfer(here, str(path), there, str(hosts[1].home / "no-folder" / "target"), direct_from=MiB)
    await nothing_stays(*hosts, files=0)


@pytest.mark.parametrize("way", ["direct", "relay"])
async def test_both_ways_keep_to_a_limit_together(hosts: tuple[SshdHost, SshdHost], way: str) -> None:
    """S2.25: two transfers at once take at least as long as the line needs for both; the bytes are the same."""
    here, there = await hosts[0].connected(), await hosts[1].connected()
    path, digest = file(hosts[0], MiB)
    line, began = Bandwidth(lambda: 2 * MiB), time.monotonic()
    big = 0 if way == "direct" else 2 * MiB
    targets = [f"{hosts[1].home}/{n}" for n in range(2)]
    carried = await asyncio.gather(
        *(transfer(here, str(path), there, target, pace=line, direct_from=big) for target in targets)
    )
    assert time.monotonic() - began >= 1.0 - 0.2
    assert carried == [Carried(digest, way, "")] * 2  # type: ignore[arg-type]
    assert (hosts[1].home / "0").read_bytes() == path.read_bytes()
    await nothing_stays(hosts[0], hosts[1], files=2)


async def test_what_the_limit_cannot_bring_in_time_is_not_begun(hosts: tuple[SshdHost, SshdHost]) -> None:
    here, there = await hosts[0].connected(), await hosts[1].connected()
    path, _ = file(hosts[0], MiB)
    with pytest.raises(HostError, match=r"1\.0 MiB at 64\.0 KiB/s take 16\.0 s, and it has 15 s"):
        await transfer(here, str(path), there, f"{hosts[1].home}/x", pace=Bandwidth(lambda: 64 << 10), within=15.0)
    await nothing_stays(hosts[0], hosts[1])
