"""Process trees read from /proc, and their end.

A host is the tree under one process that is a child subreaper, so that whatever was
started on it stays below it, however it detached.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class Process(NamedTuple):
    """One line of /proc: who, whose child, in which process group, and whether it is a zombie."""

    pid: int
    parent: int
    group: int
    zombie: bool


def become_subreaper() -> None:
    """Make orphans of this process's descendants its own children. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: int) -> None:
    """Ask for ``signum`` when the thread that forked this process ends. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option})")


def processes() -> list[Process]:
    """Every process that /proc shows at this moment."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, of hundreds of entries
        if not entry.isdigit():
            continue
        try:
            text = Path("/proc", entry, "stat").read_text("utf-8", "replace")
        except OSError:  # it ended meanwhile
            continue
        # the command, in parentheses, may itself hold spaces and parentheses
        state, parent, group = text[text.rindex(")") + 2 :].split(" ", 3)[:3]
        found.append(Process(int(entry), int(parent), int(group), state in "ZX"))
    return found


def descendants(root: int) -> list[Process]:
    """Everything alive below ``root``, parents before children; without ``root`` and zombies."""
    children: dict[int, list[Process]] = {}
    for process in processes():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    queue = [root]
    while queue:
        for process in children.get(queue.pop(0), ()):
            queue.append(process.pid)
            if not process.zombie:
                found.append(process)
    return found


def command_line(pid: int) -> str:
    """The command line of a process as one readable line; "" once it has ended."""
    try:
        raw = Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def send(pid: int, signum: int) -> None:
    """Signal a process that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def end_orphans(spare: Collection[int] = (), *, seconds: float = 10.0) -> bool:
    """Kill and reap every child of this process but ``spare``, and what they leave to us.

    For a subreaper: the children of a killed child become ours, so that repeating this
    until nothing is left ends whole trees, whatever they fork meanwhile. Returns False if
    something still lived after ``seconds``.
    """
    until = time.monotonic() + seconds
    me = os.getpid()
    while True:
        doomed = [p.pid for p in processes() if p.parent == me and p.pid not in spare]
        if not doomed:
            return True
        if time.monotonic() > until:
            return False
        for pid in doomed:
            send(pid, signal.SIGKILL)
        for pid in doomed:
            _reap(pid, until)


def _reap(pid: int, until: float) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < until:
            time.sleep(0.002)


def end_tree(root: int, spare: Collection[int] = ()) -> bool:
    """Kill a child host with everything on it at once, as a pulled plug would; then sweep up."""
    doomed = [root, *(p.pid for p in descendants(root))]
    for pid in doomed:
        send(pid, signal.SIGKILL)
    return end_orphans(spare)
