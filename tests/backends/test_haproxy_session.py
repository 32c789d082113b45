"""The session with a router's host: real processes over pipes, and a socket that answers as HAProxy does."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shell import Shell

from sidestep.backends.haproxy import session
from sidestep.backends.haproxy.place import There
from sidestep.fleet.errors import HostError, SidestepError


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[str]:
    """Says a command back, in capitals, once its end was told; ``slow`` waits for half a second."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read(-1)
        if said == b"slow\n":
            await asyncio.sleep(0.5)
        writer.write(said.upper())
        await writer.drain()
        writer.close()

    path = str(tmp_path / "s")
    async with await asyncio.start_unix_server(answer, path):
        yield path


async def test_questions_and_files_share_one_process_which_ends_with_the_session(socket: str, tmp_path: Path) -> None:
    """S4.9: many at once, in order; payloads of several lines; bytes of files whole, also after a shell's greeting."""
    shell = Shell("Welcome, ")
    there, data = There(socket, lambda: shell), bytes(range(256)) * 3000
    asked = [there.ask([f"set {n}", "add <<\nk v\n"]) for n in range(20)]
    assert await asyncio.gather(*asked) == [[f"SET {n}\n", "ADD <<\nK V\n\n"] for n in range(20)]
    file = tmp_path / "map"
    assert await there.read(str(file)) is None
    await there.write(str(file), data)
    assert await there.read(str(file)) == data == file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and {each.name for each in tmp_path.iterdir()} == {"s", "map"}
    await there.aclose()
    assert [await one.process.wait() for one in shell.started] == [0]


async def test_who_no_longer_waits_disturbs_nobody(socket: str) -> None:
    """An answer that is late goes to whoever asked for it, who is gone, and not to the next one."""
    shell = Shell()
    there = There(socket, lambda: shell)
    assert await there.ask(["first"]) == ["FIRST\n"]
    slow = asyncio.create_task(there.ask(["slow"]))
    await asyncio.sleep(0)
    slow.cancel()
    assert await there.ask(["next"]) == ["NEXT\n"]
    assert len(shell.started) == 1
    await there.aclose()


async def test_a_process_that_was_killed_is_replaced_and_what_it_was_asked_fails(socket: str) -> None:
    shell = Shell()
    there = There(socket, lambda: shell)
    slow = asyncio.create_task(there.ask(["slow"]))
    async with asyncio.timeout(30):
        while not shell.started or not there._session or not there._session._waiting:
            await asyncio.sleep(0.01)
    shell.started[0].process.kill()
    with pytest.raises(HostError, match="lb: router: the session"):
        await slow
    assert await there.ask(["again"]) == ["AGAIN\n"]
    await there.aclose()


async def test_what_cannot_be_asked_read_or_written_says_why_and_the_session_goes_on(
    socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(session.talk.__file__).read_text()
    monkeypatch.setattr(session, "_source", lambda: source.replace("RELOAD = 3.0", "RELOAD = 0.0"))
    shell = Shell()
    there = There(str(tmp_path / "none"), lambda: shell)
    with pytest.raises(SidestepError, match=r"lb:.*none: HAProxy does not answer: .*No such file"):
        await there.ask(["show proc"])
    with pytest.raises(HostError, match=r"cannot write: .*No such file"):
        await there.write(str(tmp_path / "missing" / "map"), b"")
    with pytest.raises(HostError, match=r"cannot read: .*directory"):
        await there.read(str(tmp_path))
    assert len(shell.started) == 1
    await there.aclose()


async def test_a_host_without_python_says_so(socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match=r"python3 ended with status 127.*not found"):
        await There(socket, Shell).ask(["show proc"])
