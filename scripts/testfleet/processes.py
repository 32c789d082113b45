"""Processes that are certainly ours: a pid counts only together with the time that it was started at."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from msgspec import Struct


class Process(Struct, frozen=True):
    """One process of this boot; ``started`` is in clock ticks, as /proc/PID/stat has it."""

    pid: int
    started: int


def identify(pid: int) -> Process | None:
    """The process that has ``pid`` now; None when there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def alive(process: Process | None) -> bool:
    """Whether exactly this process still runs."""
    return process is not None and identify(process.pid) == process


def send(process: Process | None, number: int) -> bool:
    """Signal exactly this process; False when it is gone. A pid that was given out again is never hit."""
    if process is None:
        return False
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle holds the process, so what is verified now is what the signal reaches.
        if not alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def wait_gone(process: Process | None, seconds: float) -> bool:
    """Wait until the process is gone; False when it is still there after ``seconds``."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
