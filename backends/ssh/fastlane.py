"""A short way for channel data: whole AES-GCM packets straight from the socket to their sink.

asyncssh costs most of its time around the decryption: buffers cut byte by byte, packet objects,
loggers, a timer a read. The lane stands between the event loop and one asyncssh connection
(``transport.set_protocol``), decrypts with the connection's own key and counters, and delivers
data of registered channels itself. A packet that is anything else is left untouched for asyncssh,
which decrypts it again and handles it: the nonce moves only when a packet is consumed, so the two
never disagree. Keys being renewed, other ciphers, compression, paused channels, errors of any kind:
all are asyncssh's. Together with ``inside`` this is the only module that knows how asyncssh is built;
what it needs is looked for when a lane is laid, and where it is missing everything goes the long way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidestep.backends.ssh.beat import Beat, Loan, descriptor
from sidestep.backends.ssh.inside import (
    HEAD,
    ROUND,
    Sender,
    Sink,
    Stream,
    at_rest,
    following,
    forget,
    gcm,
    near,
    recall,
    taken_back,
    tunnelled,
    unfit,
    unfit_channel,
)

_LOG: Final = logging.getLogger(__name__)
_IGNORE, _ADJUST, _DATA = 2, 93, 94
_BLOCK: Final = 16
#: reads above this are cut with views, below it copies are cheaper
_VIEW: Final = 4096
#: seconds out of the beat after a flood
_ROUSED: Final = 2.0


class _Kept(asyncio.Protocol):
    """The keepalives of a connection: none while something is heard."""

    __slots__ = ()

    _conn: Any
    _loan: Loan | None
    _loop: asyncio.AbstractEventLoop
    _heard: float
    _time: Callable[[], float]
    _overdue: Callable[[], None]

    def silent(self, seconds: float) -> None:
        """Send a keepalive when it is due; with a timer of its own it is asyncssh's matter."""
        conn = self._conn
        if conn._keepalive_interval and seconds >= conn._keepalive_interval and conn._keepalive_timer is None:
            self._overdue()

    def _look(self) -> None:
        """Keepalive is due: not when something was heard meanwhile."""
        conn, loan = self._conn, self._loan
        due = (self._heard if loan is None else loan.heard) + conn._keepalive_interval
        if due <= self._time() + 0.001:
            self._overdue()
        else:  # the beat looks by itself
            conn._keepalive_timer = self._loop.call_at(due, self._look) if loan is None else None


class FastLane(_Kept):
    """One connection's lane; ``lay`` is the only maker."""

    __slots__ = ("_conn", "_encryption", "_heard", "_idle", "_loan", "_loop", "_need", "_open", "_overdue",
                 "_rest", "_sinks", "_socket", "_time", "_waiting",
                 "_way_in", "consumed", "send")  # fmt: skip

    def __init__(self, conn: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._conn, self._loop, self._time = conn, loop, loop.time
        self._idle, self._overdue = conn._recv_pkthdr, conn._keepalive_timer_callback
        #: asyncssh's own way in, which is replaced by ours where there is no transport to change
        self._way_in = conn.data_received
        self._encryption: Any = None
        self._open: Any = None
        #: sends as much as the window takes; the rest is asyncssh's to send
        self.send = Sender(conn).send
        self._sinks: dict[bytes, Stream] = {}
        #: the beginning of a packet that has not arrived whole, and the size at which to look again
        self._rest, self._need = bytearray(), 0
        self._heard = self._time()
        #: the socket's number, and what is lent to the beat while that reads it
        self._socket: int | None = None
        self._loan: Loan | None = None
        self._waiting = 0
        self.consumed = 0  #: packets that did not need asyncssh

    @classmethod
    def lay(cls, conn: Any) -> FastLane | None:
        """A lane for an authenticated connection; None, with the reason logged, where there can be none."""
        missing = unfit(conn)
        if missing:
            _LOG.info("no fast lane: the connection has no %s", missing)
            return None
        lane = cls(conn, asyncio.get_running_loop())
        if tunnelled(conn):
            conn.data_received = lane.data_received
        else:
            conn._transport.set_protocol(lane)
            lane._socket = descriptor(conn._transport)
        forget(conn)
        # asyncssh sets a timer anew at every read; ours looks when it is due whether there was one.
        conn._keepalive_timer_callback = lane._look
        conn._reset_keepalive_timer()
        return lane

    def join(self, chan: Any, sink: Sink, roomy: Callable[[], None] | None = None) -> int | None:
        """Deliver the channel's standard output to ``sink``; its number, None if that cannot be.

        ``roomy`` is for who sends much: it is called when its stream has ``room`` again. While the channel
        is paused its data takes the long way, where it is kept.
        """
        missing = unfit_channel(chan)
        if missing:
            _LOG.info("no fast lane: the channel has no %s", missing)
            return None
        self._recall()
        number: int = chan._recv_chan
        nearby = roomy is not None and near(self._conn._transport)
        self._sinks[number.to_bytes(4, "big")] = Stream(chan, sink, roomy if nearby else None)
        return number

    def stream(self, number: int) -> Stream | None:
        """A channel that joined."""
        return self._sinks.get(number.to_bytes(4, "big"))

    def hold(self, number: int, held: bool) -> None:
        """Do not (do again) open the channel's window: at most one window more will come."""
        stream = self.stream(number)
        if stream is not None:
            self._recall()
            stream.held = held
            stream.take(0)

    def leave(self, number: int) -> None:
        """Forget a channel. Must be called before its number can be used again."""
        self._recall()
        self._sinks.pop(number.to_bytes(4, "big"), None)

    def attend(self) -> None:
        """Somebody waits for an answer: read as things arrive until ``settle`` was called as often."""
        self._waiting += 1
        self.wake()

    def settle(self) -> None:
        """Nobody waits any more: leave reading to the beat when there is only a stream to read."""
        self._waiting -= 1
        transport = self._conn._transport
        if self._waiting or self._loan is not None or self._socket is None or not self._sinks or not self._steady():
            return
        if not transport.is_closing():
            transport.pause_reading()
            self._loan = Loan(self, self._time())
            self._lend()
            Beat.of(self._loop).enter(self._socket, self._loan)

    # -- what the beat calls

    def wake(self) -> None:
        """Out of the beat: the event loop must look at the socket."""
        loan = self._loan
        if loan is not None and self._socket is not None:
            self._recall()
            self._loan, self._heard = None, loan.heard
            Beat.of(self._loop).leave(self._socket, loan)
            transport = self._conn._transport
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    def rouse(self) -> None:
        """Much is coming: out of the beat for a while."""
        self.attend()
        self._loop.call_later(_ROUSED, self.settle)

    def failed(self) -> None:
        """A receiver raised."""
        self._conn.internal_error()

    def _lend(self) -> None:
        """Let the beat open the packets of the only stream here, until something else happens."""
        loan = self._loan
        if loan is None or self._rest or len(self._sinks) != 1 or not self._steady():
            return
        ((label, stream),) = self._sinks.items()
        stream.lend(loan, label, self._encryption._cipher._iv, self._open)

    def _recall(self) -> None:
        """Have what was lent back, and asyncssh's counters as they are."""
        loan = self._loan
        if loan is None or loan.open is None:
            return
        stream = self._sinks.get(loan.label[1:])
        self.consumed += recall(loan, self._conn, self._encryption._cipher, stream)

    # -- what the event loop calls

    def data_received(self, data: bytes, datatype: object = None) -> None:
        """Take what arrived: our packets to their sinks, everything else to asyncssh, in order."""
        loan = self._loan
        if loan is not None:
            self._recall()
            loan.heard = self._time()
            self._take(data)
            self._lend()
        else:
            self._heard = self._time()
            self._take(data)

    def _take(self, data: bytes | memoryview) -> None:  # noqa: PLR0912, PLR0915 - calls cost
        if self._rest:
            missing = self._need - len(self._rest)
            whole = self._need > _VIEW and len(data) > missing
            # Of bulk only the packet that was cut is put together; the rest stays where it is.
            self._rest += memoryview(data)[:missing] if whole else data
            if len(self._rest) < self._need:
                return
            first, self._rest = bytes(self._rest), bytearray()
            if whole:
                self._take(first)
                self._take(memoryview(data)[missing:])
                return
            data = first
        conn = self._conn
        if not self._steady():
            self._detour(bytes(data))
            return
        sinks, size, at = self._sinks, len(data), 0
        cut: Any = memoryview(data) if size > _VIEW else data
        while size - at > 3:
            length = int.from_bytes(cut[at : at + 4], "big")
            end = at + length + 20
            if length > conn._max_recv_pktlen or length < _BLOCK:
                break
            if end > size:
                self._need = end - at
                self._rest = bytearray(cut[at:])
                return
            cipher = self._encryption._cipher
            iv = cipher._iv
            try:
                plain = self._open(iv, cut[at + 4 : end], cut[at : at + 4])
            except InvalidTag:
                break
            found = None
            if plain[1] == _DATA:
                found = sinks.get(plain[2:6])
                many = int.from_bytes(plain[6:10], "big")
                ours = found is not None and many and many + plain[0] + HEAD == length and found.take(many)
            elif plain[1] == _ADJUST:
                stream = sinks.get(plain[2:6])
                ours = stream is not None and plain[0] + HEAD == length and stream.adjust(plain)
            else:
                ours = plain[1] == _IGNORE and int.from_bytes(plain[2:6], "big") + plain[0] + 6 == length
            if ours:
                cipher._iv = following(iv)
                conn._recv_seq = (conn._recv_seq + 1) & ROUND
                self.consumed += 1
                if found is not None:
                    try:
                        found.sink(plain[HEAD : HEAD + many])
                    except Exception:  # noqa: BLE001 - as asyncssh does: the connection goes, the process stays
                        conn.internal_error()
                        return
            else:
                self._way_in(bytes(cut[at:end]))
                if not self._steady():
                    at = end
                    break
            at = end
        else:
            if at < size:
                self._need, self._rest = 4, bytearray(cut[at:])
            return
        if at < size:
            self._detour(bytes(cut[at:]))

    def eof_received(self) -> bool | None:
        """Passed on; a packet that is not whole is lost, as it would be there."""
        self._conn.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Passed on."""
        self._sinks.clear()
        if self._loan is not None and self._socket is not None:
            Beat.of(self._loop).leave(self._socket, self._loan)
        self._socket = self._loan = None
        self._conn.connection_lost(exc)

    # -- inside

    def _steady(self) -> bool:
        """Whether the next bytes begin a packet that we can open."""
        conn = self._conn
        if conn._recv_encryption is not self._encryption:
            self._encryption = conn._recv_encryption
            self._open = AESGCM(self._encryption._cipher._key).decrypt if gcm(self._encryption) else None
        return self._open is not None and conn._recv_handler == self._idle and at_rest(conn)

    def _detour(self, data: bytes) -> None:
        """Give bytes to asyncssh, and take back what it cannot use yet."""
        conn = self._conn
        if conn._transport is not None:
            self._way_in(data)
        self._need, self._rest = 4, bytearray(taken_back(conn))
