"""A forked child for somebody else's code: whatever becomes of it, only the child ends.

It has limits of its own on processor time and memory, no way to the daemon, and dies with
the trainer. Its answer comes through a pipe, as bytes that the parent checks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: bytes of data that a child may have beyond what the trainer has when it is made
MEMORY: Final = 1 << 30
#: most bytes of an answer
MOST: Final = 64 << 20
#: seconds that a child may take, however little of the processor it gets
PATIENCE: Final = 60.0
SLOWNESS: Final = 20.0
_PR_SET_PDEATHSIG: Final = 1
_CHUNK: Final = 1 << 16


class Child:
    """A function that runs in a process of its own; ``take`` gives its answer once it has ended."""

    def __init__(
        self, work: Callable[[], bytes], *, seconds: float, memory: int = MEMORY, patience: float = 0.0
    ) -> None:
        """Fork now. It may use ``seconds`` of the processor and take ``patience`` seconds, 0 for a multiple."""
        self._limit = seconds
        self._patience = patience or PATIENCE + SLOWNESS * seconds
        self._until = time.monotonic() + self._patience
        self._data = bytearray()
        self._over = ""
        self._pipe, write = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _live(work, write, parent, seconds, memory)
        os.close(write)
        os.set_blocking(self._pipe, False)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)
        self._status: int | None = None

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after waiting at most so many seconds for it. Ends one that takes too long."""
        deadline = time.monotonic() + seconds
        while self._status is None:
            left = min(deadline, self._until) - time.monotonic()
            ready = select.select([self._pipe], [], [], max(0.0, left))[0]
            if ready and not self._read():
                self._reap()
            elif not ready and time.monotonic() >= self._until:
                self._over = f"gave no answer in {self._patience:.0f} s"
                self._end()
            elif not ready:
                return False
        return True

    def _read(self) -> bool:
        """Take what is there; False at the end."""
        data = os.read(self._pipe, _CHUNK)
        self._data += data
        if len(self._data) > MOST:
            self._over = "answered without end"
            self._end()
        return bool(data)

    def take(self) -> tuple[bytes, str]:
        """Its answer and "", or b"" and what became of it. Call once it has ended."""
        assert self._status is not None
        if self._over:
            return b"", self._over
        if os.WIFSIGNALED(self._status):
            return b"", _killed(os.WTERMSIG(self._status), self._limit)
        if os.WEXITSTATUS(self._status):
            said = bytes(self._data[-400:]).decode("utf-8", "replace").strip()
            return b"", said or f"ended with status {os.WEXITSTATUS(self._status)}"
        return bytes(self._data), ""

    def kill(self) -> None:
        """End it and all that it started, if it runs."""
        if self._status is None:
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        if self._status is None:
            # the pipe may be closed by one that goes on
            deadline = time.monotonic() + 1.0
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            while not pid and time.monotonic() < deadline:
                time.sleep(0.005)
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
            self._status = status
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)  # what it started and left behind
            os.close(self._pipe)


def _killed(number: int, seconds: float) -> str:
    if number == signal.SIGXCPU:
        return f"took more than its share of {seconds:.0f} s of processor time"
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    return f"was ended by signal {name}"


def _live(work: Callable[[], bytes], pipe: int, parent: int, seconds: float, memory: int) -> None:
    """The child's life; never returns."""
    status = 1
    try:
        _confine(parent, seconds, memory, keep=pipe)
        try:
            answer, status = work(), 0
        except MemoryError:
            answer = b"took more memory than it may"
        except BaseException as error:  # noqa: BLE001 - somebody else's code: said to the parent, whatever it is
            answer = "".join(traceback.format_exception_only(error)).strip().encode()
        while answer:
            answer = answer[os.write(pipe, answer) :]
    finally:
        os._exit(status)


def _confine(parent: int, seconds: float, memory: int, keep: int) -> None:
    os.setpgid(0, 0)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not files
        if int(entry) not in {0, 1, 2, keep}:
            with contextlib.suppress(OSError):
                os.close(int(entry))
    for number in signal.Signals:
        with contextlib.suppress(OSError, ValueError):
            if signal.getsignal(number) not in {signal.SIG_DFL, None}:
                signal.signal(number, signal.SIG_DFL)
    whole = max(1, round(seconds + 0.5))
    _lower(resource.RLIMIT_CPU, whole, whole + 2)
    # what is written to counts; allocators reserve far more addresses than they use
    room = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize() + memory
    _lower(resource.RLIMIT_DATA, room, room)
    _lower(resource.RLIMIT_CORE, 0, 0)


def _lower(which: int, soft: int, hard: int) -> None:
    """Set a limit, but never raise one."""
    _, most = resource.getrlimit(which)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))
