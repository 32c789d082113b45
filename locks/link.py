"""The connection to the lock service and the thread that keeps it: sends, renews, reconnects.

One thread for each ``Locks``, so that leases are renewed whatever the app's own threads do.
It is never asked whether a lock is held: ``Lock.check`` looks at the clock itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from sidestep.locks.errors import LockRefused, LockUnavailable
from sidestep.locks.hold import PATIENCE, Bodies, Body, Hold, Phase
from sidestep.locks.lease import Clock
from sidestep.locks.wire import (
    MAX_REPLY,
    VERSION,
    Frames,
    Hello,
    LockList,
    Query,
    Refused,
    Reply,
    Request,
    Welcome,
    WireError,
    pack,
    parse_reply,
)

#: seconds between attempts to connect: doubled from the first to the last
_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 1.0
_LONGEST_SLEEP: Final = 1.0
_CHUNK: Final = 1 << 16


class Question:
    """A Query on its way."""

    def __init__(self, query: Query, deadline: float) -> None:
        self.query, self.deadline = query, deadline
        self.future: Future[LockList] = Future()


class Link:
    """What the thread works on; every public method may be called from any thread."""

    def __init__(self, path: Path, holder: str, clock: Clock) -> None:
        self.path, self._holder, self.clock = path, holder, clock
        self.guard = threading.Lock()
        self._holds: list[Hold] = []
        self._questions: list[Question] = []
        self._asked: dict[int, tuple[Hold, Body, float] | Question] = {}
        self._ids, self._frames = 0, Frames(MAX_REPLY)
        self._socket: socket.socket | None = None
        self._greeted, self._out = False, bytearray()
        self._pause, self._try_at, self._why = _FIRST_PAUSE, float("-inf"), "not connected"
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._closing = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="sidestep-locks", daemon=True)
        self._thread.start()

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that made it: nothing renews leases here."""
        return os.getpid() != self._pid

    def add(self, hold: Hold) -> None:
        """Begin to ask for it. Raises LockUnavailable after ``close`` or a fork."""
        with self.guard:
            self._usable()
            self._holds.append(hold)
            self._send_for(hold, hold.resend(self.clock()))
        self._wake()

    def ask(self, query: Query) -> Future[LockList]:
        """The service's answer, or LockUnavailable."""
        question = Question(query, self.clock() + PATIENCE)
        with self.guard:
            self._usable()
            self._questions.append(question)
            self._send_question(question)
        self._wake()
        return question.future

    def leave(self, hold: Hold) -> None:
        """Let go of it; ``hold.left`` is set once the service knows, or need not know any more."""
        with self.guard:
            if hold.phase not in {Phase.LEAVING, Phase.ENDED}:
                hold.leave(self.clock())
                self._send_for(hold, hold.resend(self.clock()))
        self._wake()

    def close(self) -> None:
        """Let go of everything, wait a moment for the service to know, and end the thread."""
        if self.forked or self._closing:
            return
        for hold in tuple(self._holds):
            self.leave(hold)
        for hold in tuple(self._holds):
            if self._greeted:
                hold.left.wait(1.0)
        with self.guard:
            self._closing = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE)

    def drop(self) -> None:
        """Give up the present connection, as a network would; a new one is made."""
        with self.guard:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        self._wake()

    def _usable(self) -> None:
        if self._closing:
            raise LockUnavailable("these locks are closed")
        if self.forked:
            raise LockUnavailable("these locks belong to the parent process: make new ones after a fork")

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_out, b"x")

    # What follows runs in the thread, with the guard held unless it waits.

    def _run(self) -> None:
        try:
            while not self._closing:
                with self.guard:
                    self._connect()
                    self._look_at_the_time()
                    timeout, writing = self._sleep(), bool(self._out)
                    handle = self._socket.fileno() if self._socket is not None else -1
                ready = self._poll(handle, timeout, writing=writing)
                with self.guard:
                    if ready:
                        self._transfer()
        finally:
            with self.guard:
                self._end()
            os.close(self._wake_in)
            os.close(self._wake_out)

    def _end(self) -> None:
        self._closing = True
        self._disconnect("closed")
        for hold in self._holds:
            hold.end("these locks are closed", self.clock())
        for question in self._questions:
            _fail(question, "these locks are closed")

    def _poll(self, handle: int, timeout: float, *, writing: bool) -> bool:
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if handle >= 0:
            poll.register(handle, select.POLLIN | (select.POLLOUT if writing else 0))
        found = poll.poll(timeout * 1000)
        if any(number == self._wake_in for number, _ in found):
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_in, 4096)
        return any(number == handle for number, _ in found)

    def _sleep(self) -> float:
        now = self.clock()
        times = [hold.next() for hold in self._holds] + [question.deadline for question in self._questions]
        if self._socket is None and (self._holds or self._questions):
            times.append(self._try_at)
        return max(0.0, min([_LONGEST_SLEEP, *(at - now for at in times)]))

    def _connect(self) -> None:
        now = self.clock()
        if self._socket is not None or now < self._try_at or not (self._holds or self._questions):
            return
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _ours(self.path)
            link.setblocking(False)  # a listener that takes nobody is an error at once
            link.connect(str(self.path))
        except OSError as error:
            link.close()
            self._later(f"{self.path}: {error.strerror or error}")
            return
        self._socket, self._frames, self._greeted = link, Frames(MAX_REPLY), False
        self._out.clear()
        self._queue(Hello(VERSION, self._holder))

    def _later(self, why: str) -> None:
        self._why, self._try_at = why, self.clock() + self._pause
        self._pause = min(_LAST_PAUSE, 2 * self._pause)
        for hold in self._holds:
            hold.unreachable(why, self.clock())

    def _disconnect(self, why: str) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._asked.clear()
            self._greeted = False
            self._later(f"{self.path}: {why}")

    def _look_at_the_time(self) -> None:
        now = self.clock()
        for hold in self._holds:
            self._send_for(hold, hold.due(now))
        for question in self._questions:
            if now >= question.deadline:
                _fail(question, self._why if self._socket is None else "the service did not answer")
        self._holds = [hold for hold in self._holds if hold.phase is not Phase.ENDED]
        self._questions = [question for question in self._questions if not question.future.done()]

    def _transfer(self) -> None:
        if self._socket is None:
            return
        try:
            if self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._disconnect(error.strerror or str(error))
            return
        try:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("the service closed the connection")
            for frame in self._frames.feed(data):
                self._take(parse_reply(frame))
        except BlockingIOError:
            pass
        except (OSError, WireError) as error:
            self._disconnect(str(error))

    def _take(self, reply: Reply) -> None:
        if isinstance(reply.body, Welcome) and not self._greeted:
            self._greeted, self._pause = True, _FIRST_PAUSE
            for hold in self._holds:
                self._send_for(hold, hold.resend(self.clock()))
            for question in self._questions:
                self._send_question(question)
            return
        asked = self._asked.pop(reply.id, None)
        if asked is None:
            if isinstance(reply.body, Refused):
                self._unwelcome(reply.body)
        elif isinstance(asked, Question):
            if isinstance(reply.body, LockList) and asked.future.set_running_or_notify_cancel():
                asked.future.set_result(reply.body)
        else:
            hold, request, sent = asked
            self._send_for(hold, hold.answered(request, sent, reply.body, self.clock()))

    def _unwelcome(self, refused: Refused) -> None:
        """The service will not serve this connection at all."""
        for hold in self._holds:
            if hold.phase is Phase.WANTED:
                hold.fail(LockRefused(refused.message), self.clock())
        raise WireError(refused.message)

    def _send_for(self, hold: Hold, bodies: Bodies) -> None:
        if self._greeted:
            for body in bodies:
                sent = self.clock()  # before it leaves: the lease is counted from here
                self._asked[self._queue(body)] = (hold, body, sent)

    def _send_question(self, question: Question) -> None:
        if self._greeted:
            self._asked[self._queue(question.query)] = question

    def _queue(self, body: Body | Hello | Query) -> int:
        self._ids += 1
        self._out += pack(Request(self._ids, body))
        return self._ids


def _ours(path: Path) -> None:
    """Raises OSError unless it is a socket of this user, or of root: whoever serves it decides who may write."""
    status = path.stat()
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
        raise OSError("not a socket of ours")


def _fail(question: Question, why: str) -> None:
    if not question.future.done() and question.future.set_running_or_notify_cancel():
        question.future.set_exception(LockUnavailable(why))
