"""Connections that only carry samples are read together, some times a second.

A thousand samples that arrive one by one wake the event loop a thousand times, and waking
costs more than reading. The beat takes the sockets of such connections out of the event loop
(``pause_reading``), watches them with an epoll of its own, and empties all that have something
at once. A sample is seen up to ``PERIOD`` later; a connection on which somebody waits for an
answer is not in the beat.

What a packet of the stream needs lies together in a ``Loan``, lent by the connection's lane while
nothing else happens on it: with thousands of connections it is the memory that costs, not the work.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag

#: seconds between two rounds, and rounds between two looks for silent connections
PERIOD: Final = 0.1
_SWEEP: Final = 10
_BUFFER: Final = 16 << 10
#: bytes from one socket in one round; a stream that says more is none of samples
_MUCH: Final = 64 << 10
_HEAD: Final = 10
#: EPOLLERR, EPOLLHUP, EPOLLRDHUP
_GONE: Final = 0x008 | 0x010 | 0x2000
_beats: dict[asyncio.AbstractEventLoop, Beat] = {}


class Dozer(Protocol):
    """Whom the beat reads for: a fast lane."""

    def data_received(self, data: bytes) -> None:
        """Bytes that are not one packet of the lent stream. The loan is taken back before anything else."""
        ...

    def wake(self) -> None:
        """Out of the beat: the event loop must look at the socket."""
        ...

    def rouse(self) -> None:
        """So much is coming that the event loop should read it as it comes, for a while."""
        ...

    def silent(self, seconds: float) -> None:
        """How long nothing was heard."""
        ...

    def failed(self) -> None:
        """A receiver raised: the connection goes, the process stays."""
        ...


class Loan:
    """One connection in the beat, and while ``open`` is set, all it takes to open its stream's packets."""

    __slots__ = ("count", "deliver", "dozer", "fixed", "heard", "label", "low", "open", "window")

    def __init__(self, dozer: Dozer, heard: float) -> None:
        self.dozer, self.heard = dozer, heard
        self.open: Callable[[bytes, bytes, bytes], bytes] | None = None
        #: the nonce: its fixed part, and the count of the next packet
        self.fixed, self.count = b"", 0
        #: message type and channel as the stream's packets have them
        self.label = b""
        #: bytes that may still come, and how few of them are for the lane to deal with
        self.window = self.low = 0
        self.deliver: Callable[[bytes], None] = _nobody


class Beat:
    """The sockets of one event loop that are read together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._loans: dict[int, Loan] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rounds = 0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Beat:
        """The beat of an event loop; there is one while somebody is in it."""
        found = _beats.get(loop)
        if found is None:
            found = _beats[loop] = cls(loop)
        return found

    def enter(self, number: int, loan: Loan) -> None:
        """Read this socket from now on; its transport must not."""
        # On edges: a socket that was emptied is not looked at again until something arrives.
        self._epoll.register(number, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._loans[number] = loan
        if self._timer is None:
            self._timer = self._loop.call_later(PERIOD, self._round)

    def leave(self, number: int, loan: Loan) -> None:
        """Read it no more. Harmless for one that has gone, even when its number is another's now."""
        if self._loans.get(number) is loan:
            del self._loans[number]
            with suppress(OSError):  # closed already: the kernel has forgotten it by itself
                self._epoll.unregister(number)
            if not self._loans:
                self._stop()

    def _stop(self) -> None:
        """Nobody is left: leave nothing to the event loop, which may end; the next one begins anew."""
        if self._timer is not None:
            self._timer.cancel()
        _beats.pop(self._loop, None)
        self._epoll.close()

    def _round(self) -> None:
        loans, read, decode, now = self._loans, os.read, int.from_bytes, self._loop.time()
        self._timer = self._loop.call_later(PERIOD, self._round)
        for number, flags in self._epoll.poll(0, len(loans) or 1):
            loan = loans.get(number)
            if loan is None:
                continue
            try:
                data = read(number, _BUFFER)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            length = decode(data[:4], "big")
            opened = loan.open
            if opened is not None and length + 20 == len(data) and not flags & _GONE:
                try:
                    plain = opened(loan.fixed + loan.count.to_bytes(8, "big"), data[4:], data[:4])
                except (InvalidTag, OverflowError):
                    plain = b""
                if plain[1:6] == loan.label:
                    many = decode(plain[6:10], "big")
                    window = loan.window - many
                    if many and window > loan.low and many + plain[0] + _HEAD == length:
                        loan.window = window
                        loan.count += 1
                        loan.heard = now
                        try:
                            loan.deliver(plain[_HEAD : _HEAD + many])
                        except Exception:  # noqa: BLE001 - one receiver; said to the connection, which ends
                            loan.dozer.failed()
                        continue
            self._otherwise(number, loan, data, flags)
        self._rounds += 1
        if self._rounds % _SWEEP == 0:
            # Who gave a sample since the last sweep is alive: no keepalive is due sooner than a sweep comes.
            quiet = now - PERIOD * _SWEEP
            for loan in [loan for loan in loans.values() if loan.heard < quiet]:
                loan.dozer.silent(now - loan.heard)

    def _otherwise(self, number: int, loan: Loan, data: bytes, flags: int) -> None:
        """Anything but one packet of the stream: the lane's, to the last byte that is there."""
        dozer, read = loan.dozer, 0
        while data:
            dozer.data_received(data)
            read += len(data)
            if self._loans.get(number) is not loan:
                return
            if read >= _MUCH:
                dozer.rouse()
                return
            if len(data) < _BUFFER and not flags & _GONE:
                return
            try:
                data = os.read(number, _BUFFER)
            except BlockingIOError:
                return
            except OSError:
                break
        dozer.wake()


def descriptor(transport: Any) -> int | None:
    """The socket's number of a transport that can be paused; None when it has none, or the system no epoll."""
    if not hasattr(select, "epoll"):
        return None
    sock = transport.get_extra_info("socket") if hasattr(transport, "pause_reading") else None
    number = sock.fileno() if sock is not None else -1
    return number if number >= 0 else None


def _nobody(data: bytes) -> None:
    return None
