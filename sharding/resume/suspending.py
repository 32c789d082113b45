"""Asking a running program to stop at its next loop head, or to be captured there and go on.

Nothing is asked of it until then: no flag is polled. On Python 3.12 and later, events of ``sys.monitoring`` are
turned on for its code only, from any thread. On 3.11 a signal reaches the main thread, which sets a trace function on
the program's frames; so there the program runs in the main thread of its process.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, Protocol

from sidestep.sharding.codec import Encoded, Refused
from sidestep.sharding.resume.program import Program, Unsuited

#: seconds for which refused captures are tried again, and which share of the CPU time they may take
PATIENCE: Final = 5.0
SHARE: Final = 0.1
_TOOL: Final = 4


class Suspended(BaseException):
    """The program stopped; ``captured`` is private to whoever catches it. A program's own handlers never see it."""

    def __init__(self, captured: Encoded) -> None:
        super().__init__("suspended")
        self.captured = captured


class Suspender(Protocol):
    """Stops one program on request."""

    #: why the last capture was refused: code and text
    refused: tuple[str, str] | None

    def request(self, keep: Callable[[Encoded], None] | None = None, *, skip: int = 0) -> None:
        """Capture at the next loop head but ``skip``; then stop there, or give the capture to ``keep`` and go on."""

    def withdraw(self) -> None:
        """Take the request back."""

    def close(self) -> None:
        """Give up the means to ask."""


class _Requests:
    """What is asked, and what came of it."""

    def __init__(self, program: Program, share: float) -> None:
        self._program, self._share = program, share
        self._keep: Callable[[Encoded], None] | None = None
        self._skip, self._until, self._next = 0, 0.0, 0.0
        self.refused: tuple[str, str] | None = None
        self.tried = 0
        #: seconds from the last request to its capture, and those that the capture itself took
        self.latency = 0.0
        self.took = 0.0
        self._asked = 0.0

    def _ask(self, keep: Callable[[Encoded], None] | None, skip: int) -> None:
        self._keep, self._skip = keep, skip
        self._asked = time.perf_counter()
        self._until, self._next = self._asked + PATIENCE, 0.0
        self.refused = None

    if TYPE_CHECKING:  # what each way of watching loops has

        def _off(self) -> None: ...

    def _head(self, frame: FrameType) -> None:
        """A loop head was reached. Raises Suspended."""
        if self._skip > 0:
            self._skip -= 1
            return
        begun = time.thread_time()
        if begun < self._next:
            return
        self.tried += 1
        stood = time.perf_counter()
        try:
            captured = self._program.capture(frame).frozen()
        except (Unsuited, Refused) as error:
            self.refused = error.code, str(error)
            now = time.thread_time()
            self._next = now + (now - begun) / self._share
            if time.perf_counter() > self._until:
                self._off()
            return
        self._off()
        now = time.perf_counter()
        self.latency, self.took = now - self._asked, now - stood
        if (keep := self._keep) is None:
            raise Suspended(captured)
        keep(captured)


if sys.version_info >= (3, 12):

    class Monitor(_Requests):
        """By events of ``sys.monitoring``."""

        def __init__(self, program: Program, share: float = SHARE) -> None:
            super().__init__(program, share)
            monitoring = sys.monitoring
            monitoring.use_tool_id(_TOOL, "sidestep")
            monitoring.register_callback(_TOOL, monitoring.events.LINE, self._line)

        def request(self, keep: Callable[[Encoded], None] | None = None, *, skip: int = 0) -> None:
            """Turn the events on."""
            self._ask(keep, skip)
            self._set(sys.monitoring.events.LINE)

        def withdraw(self) -> None:
            """Turn them off."""
            self._off()

        def close(self) -> None:
            """Free the tool."""
            self._off()
            sys.monitoring.free_tool_id(_TOOL)

        def _off(self) -> None:
            self._set(0)

        def _set(self, events: int) -> None:
            for code in self._program.codes:
                sys.monitoring.set_local_events(_TOOL, code, events)

        def _line(self, code: CodeType, line: int) -> Any:
            if self._program.at_head(code, line):
                self._head(sys._getframe(1))
            return None


class Tracer(_Requests):
    """By a signal to the main thread, and a trace function there."""

    def __init__(self, program: Program, share: float = SHARE, number: int = signal.SIGUSR1) -> None:
        super().__init__(program, share)
        self._number = number
        self._before = signal.signal(number, self._signalled)

    def request(self, keep: Callable[[Encoded], None] | None = None, *, skip: int = 0) -> None:
        """Send the signal; it is seen between two instructions of the program."""
        self._ask(keep, skip)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, self._number)

    def withdraw(self) -> None:
        """Stop tracing, at the next line."""
        self._until, self._skip = 0.0, sys.maxsize

    def close(self) -> None:
        """Restore the signal."""
        self._off()
        signal.signal(self._number, self._before)

    def _off(self) -> None:
        sys.settrace(None)

    def _signalled(self, _: int, frame: FrameType | None) -> None:
        if sys.gettrace() not in {None, self._call}:
            self.refused = "traced", "a debugger or a coverage tool traces this process"
            return
        sys.settrace(self._call)
        while frame is not None:
            if frame.f_code in self._program.codes:
                frame.f_trace = self._trace
            frame = frame.f_back

    def _call(self, frame: FrameType, _: str, __: Any) -> Any:
        return self._trace if frame.f_code in self._program.codes else None

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and self._program.at_head(frame.f_code, frame.f_lineno):
            if time.perf_counter() > self._until and self._skip == sys.maxsize:
                self._off()
            else:
                self._head(frame)
        return self._trace


def suspender(program: Program, *, share: float = SHARE) -> Suspender:
    """The means that this Python has; ``share`` of the program's CPU time may go into captures that are refused."""
    if sys.version_info >= (3, 12):
        return Monitor(program, share)
    return Tracer(program, share)
