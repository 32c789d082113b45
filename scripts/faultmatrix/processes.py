"""The processes of a shard on all hosts of this machine, from /proc alone: nobody is asked, nobody can hide."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """One process that is or was a shard."""

    pid: int
    address: str
    token: int
    stopped: bool


def serving(shard: str) -> list[Found]:
    """Every process of the shard, stopped ones too; names of shards are unlike those of any other harness."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            if b"serve" not in words or not any(word.endswith(b"counter.py") for word in words):
                continue
            state = Path(entry.path, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
            pairs = (item.partition(b"=") for item in Path(entry.path, "environ").read_bytes().split(b"\0"))
            given = {key.decode(): value.decode() for key, _, value in pairs}
            if given.get("SHARD") == shard and state not in "ZX" and words[0].endswith(b"python3"):
                found.append(Found(int(entry.name), given["ADDRESS"], int(given["TOKEN"]), state in "Tt"))
    return found


def kill(found: Found, number: int = signal.SIGKILL) -> None:
    """Signal the process group, as its host would."""
    with suppress(ProcessLookupError):
        os.killpg(os.getpgid(found.pid), number)
