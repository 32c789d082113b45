"""What the tests of transfers between two hosts share: files, the processes on hosts, and what must not stay."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sshd_hosts import SshdHost

from sidestep.backends.ssh import direct


def file(host: SshdHost, size: int) -> tuple[Path, str]:
    path = host.home / "state with 'quotes'"
    data = os.urandom(size)
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def halves(host: SshdHost) -> list[int]:
    """The processes of direct transfers on this host."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            mine = f"HOME={host.home}\0".encode() in (entry / "environ").read_bytes()
            if mine and b"'direct'" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill(host: SshdHost) -> None:
    """All of them at once; one may have seen another end."""
    for pid in halves(host):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def nothing_stays(*hosts: SshdHost, files: int = 0) -> None:
    async with asyncio.timeout(15):
        while any(halves(host) for host in hosts) or any(".part." in p.name for h in hosts for p in h.home.iterdir()):
            await asyncio.sleep(0.05)
    assert len([p for p in hosts[-1].home.iterdir() if p.is_file()]) == files


def after(monkeypatch: pytest.MonkeyPatch, kind: str, hook: Callable[..., Awaitable[Any]]) -> None:
    """Do something when a host has said ``kind``, before anybody acts on it."""
    answer = direct._answer

    async def hooked(transport: Any, channel: Any, wanted: str) -> tuple[Any, ...]:
        words = await answer(transport, channel, wanted)
        return (await hook(*words)) or words if wanted == kind else words

    monkeypatch.setattr(direct, "_answer", hooked)
