"""S2.22: the daemon serves locks beside its own socket; they outlive its kill -9, and people see and break them."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from operated import DEADLINE

from sidestep.locks import AsyncLocks, LockLost

FLEET = """\
[fleet]
name = "test"
[ssh]
config = "none"
[oracle]
enabled = false
[hosts.none]
address = "127.0.0.1"
port = 9
cpu = 1
memory = "1G"
"""


class LockDaemon:
    """A daemon of a fleet whose only host does not answer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket, self.locks = folder, folder / "d.sock", folder / "d.locks"
        (folder / "fleet.toml").write_text(FLEET, encoding="utf-8")
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep.autopilot", "--fleet", str(self.folder / "fleet.toml"),
                "--socket", str(self.socket), "--state", str(self.folder / "state"),
                stdout=asyncio.subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(DEADLINE):
            while not self.socket.exists():
                assert self.process.returncode is None, (self.folder / "log").read_text(encoding="utf-8")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def run(self, *words: str) -> tuple[int, str]:
        """A command of ours: its exit code, and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[LockDaemon]:
    tmp_path.chmod(0o700)
    made = LockDaemon(tmp_path)
    await made.start()
    yield made
    await made.kill()


async def test_locks_of_a_daemon_outlive_it_and_are_seen_and_broken_by_people(daemon: LockDaemon) -> None:
    assert stat.S_IMODE(daemon.locks.stat().st_mode) == 0o600
    asked = ("--socket", str(daemon.socket))
    async with AsyncLocks(daemon.locks, holder="shard kv-1") as locks:
        lock = await locks.acquire("orders", ttl=90.0, note="\x1b[31mnightly")
        code, said = await daemon.run("locks", *asked)
        assert code == 0 and "orders" in said and "shard kv-1" in said and "1 locks are held" in said
        assert "\x1b" not in said
        await daemon.kill()
        lock.check()
        await daemon.start()
        code, said = await daemon.run("locks", "--json", *asked)
        (row,) = json.loads(said)["locks"]
        assert (row["name"], row["token"], row["holder"]) == ("orders", lock.token, "shard kv-1")
        assert 60.0 < row["left"] <= 90.0
        lock.check()
        code, said = await daemon.run("locks", "break", "orders", *asked)
        assert code == 2 and "--reason" in said
        code, said = await daemon.run("locks", "break", "orders", "--reason", "it hangs", *asked)
        assert code == 0 and f"token {lock.token} is fenced" in said
        code, said = await daemon.run("locks", "break", "orders", "--reason", "it hangs", *asked)
        assert code == 2 and "nobody holds a lock orders" in said
        newer = await locks.acquire("orders", ttl=90.0)
        assert newer.token > lock.token
        code, said = await daemon.run("audit", "--act", "lock-break", "--state", str(daemon.folder / "state"))
        assert code == 0 and "it hangs" in said and "orders" in said
        locks._locks.link.drop()  # the old one is renewed on the new connection, and told
        await asyncio.wait_for(lock.lost(), DEADLINE)
        with pytest.raises(LockLost, match="does not hold the lock"):
            lock.check()
        newer.check()
