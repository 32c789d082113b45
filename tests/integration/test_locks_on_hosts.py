"""Apps on hosts ask the daemon for locks at a socket of their own host."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from operated import DEADLINE, until
from sshd_hosts import SshdHost

from sidestep.locks import AsyncLocks


async def test_apps_of_a_host_hold_locks_over_a_lost_connection_and_nothing_of_theirs_is_replaced(
    sshd: Callable[..., SshdHost], tmp_path: Path
) -> None:
    """S2.22: the socket on the host is its user's alone, says where a holder is, and comes back with the connection."""
    a, b = sshd("a"), sshd("b")
    there, taken = a.home / "run" / "shop.locks", b.home / "shop.locks"
    taken.write_text("theirs")
    known = tmp_path / "known_hosts"
    known.write_text(a.known_hosts.read_text() + b.known_hosts.read_text())
    lines = [
        "[fleet]", 'name = "test"', "interval = 0.2",
        "[ssh]", 'config = "none"', f'known_hosts = "{known}"', f'identity = "{a.identity}"',
        "[oracle]", "enabled = false",
    ]  # fmt: skip
    for host, path in ((a, there), (b, taken)):
        lines += [f"[hosts.{host.spec.name}]", f'address = "{host.spec.address}"', f"port = {host.spec.port}"]
        lines += [f'user = "{host.spec.user}"', "cpu = 1", 'memory = "1G"', f'locks = "{path}"']
    (tmp_path / "fleet.toml").write_text("\n".join(lines) + "\n")
    control = tmp_path / "d.sock"
    with (tmp_path / "log").open("wb") as log:
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidestep.autopilot", "--fleet", str(tmp_path / "fleet.toml"),
            "--socket", str(control), "--state", str(tmp_path / "state"), stdout=asyncio.subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        await until(there.exists)
        assert stat.S_IMODE(there.stat().st_mode) == 0o600
        assert stat.S_IMODE(there.parent.stat().st_mode) == 0o700
        async with AsyncLocks(there, holder="shop") as locks:
            lock = await locks.acquire("orders", ttl=120.0)
            listed = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sidestep", "locks", "--json", "--socket", str(control),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said, _ = await listed.communicate()
            (row,) = json.loads(said)["locks"]
            assert (row["name"], row["holder"], row["token"]) == ("orders", "a: shop", lock.token)
            before = there.readlink()
            a.drop()
            async with asyncio.timeout(DEADLINE):
                while not there.exists() or there.readlink() == before:
                    await asyncio.sleep(0.05)
            other = await locks.acquire("stock", ttl=60.0)
            assert other.token > lock.token
            lock.check()
        await until(lambda: "is there, and is no link of ours" in (tmp_path / "log").read_text())
        assert taken.read_text() == "theirs"
    finally:
        daemon.kill()
        await daemon.wait()
