"""A short way for channel data: whole AES-GCM packets straight from the socket to their sink.

asyncssh costs most of its time around the decryption: buffers cut byte by byte, packet objects,
loggers, a timer a read. The lane stands between the event loop and one asyncssh connection
(``transport.set_protocol``), decrypts with the connection's own key and counters, and delivers
data of registered channels itself. A packet that is anything else is left untouched for asyncssh,
which decrypts it again and handles it: the nonce moves only when a packet is consumed, so the two
never disagree. Keys being renewed, other ciphers, compression, paused channels, errors of any kind:
all are asyncssh's. This is the only module that knows asyncssh's inside; what it needs is looked
for when a lane is laid, and where it is missing everything simply goes the long way.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidestep.backends.ssh.beat import Beat, Loan, descriptor

Sink = Callable[[bytes], None]

_LOG: Final = logging.getLogger(__name__)
_IGNORE, _DATA, _DATA_TYPE = 2, 94, b"\x5e"
#: length, then type, channel, size: what stands before the data of a packet
_HEAD: Final = 10
#: reads above this are cut with views, below it copies are cheaper
_VIEW: Final = 4096
_ROUND: Final = 0xFFFFFFFF
_INVOCATIONS: Final = 0xFFFFFFFFFFFFFFFF
_SENDING: Final = ("open", "eof_pending", "eof")
_MISSING: Final = object()
#: seconds out of the beat after a flood
_ROUSED: Final = 2.0
_CONNECTION: Final = {
    "_transport": object,
    "_inpbuf": bytes,
    "_packet": bytes,
    "_recv_handler": object,
    "_recv_seq": int,
    "_recv_encryption": object,
    "_decompressor": object,
    "_max_recv_pktlen": int,
    "_send_seq": int,
    "_send_encryption": object,
    "_compressor": object,
    "_kex_complete": bool,
    "_auth_complete": bool,
    "_rekey_bytes": int,
    "_rekey_bytes_sent": int,
    "_rekey_seconds": (int, float),
    "_rekey_time": (int, float),
    "_keepalive_interval": (int, float),
    "_keepalive_timer": object,
}
_METHODS: Final = ("_recv_pkthdr", "_recv_packet", "_keepalive_timer_callback", "_reset_keepalive_timer", "_send",
                   "data_received", "connection_lost", "eof_received", "internal_error")  # fmt: skip
_CHANNEL: Final = {
    "_recv_chan": int,
    "_recv_window": int,
    "_init_recv_window": int,
    "_recv_state": str,
    "_recv_paused": (bool, str),
    "_send_state": str,
    "_send_chan": int,
    "_send_window": int,
    "_send_pktsize": int,
    "_send_buf": list,
    "_encoding": object,
}
_WINDOW_ADJUST: Final = 93


class _Stream:
    """A channel whose data we deliver."""

    __slots__ = ("chan", "held", "sink")

    def __init__(self, chan: Any, sink: Sink) -> None:
        self.chan, self.sink, self.held = chan, sink, False

    def take(self, many: int) -> bool:
        """Count data in, and open the window again when it is half used; False if asyncssh must decide."""
        chan = self.chan
        left = chan._recv_window - many
        if left < 0 or chan._recv_paused or chan._recv_state != "open" or chan._send_state not in _SENDING:
            return False
        chan._recv_window = left
        if left < chan._init_recv_window / 2 and not self.held:
            chan._recv_window = chan._init_recv_window
            chan.send_packet(_WINDOW_ADJUST, (chan._init_recv_window - left).to_bytes(4, "big"))
        return True


class FastLane(asyncio.Protocol):
    """One connection's lane; ``lay`` is the only maker."""

    __slots__ = ("_beat", "_conn", "_encryption", "_heard", "_idle", "_loan", "_loop", "_need", "_open", "_overdue",
                 "_rest", "_seal", "_sealing", "_sinks", "_socket", "_time", "_waiting",
                 "_way_in", "consumed")  # fmt: skip

    def __init__(self, conn: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._conn, self._loop, self._time = conn, loop, loop.time
        self._idle, self._overdue = conn._recv_pkthdr, conn._keepalive_timer_callback
        #: asyncssh's own way in, which is replaced by ours where there is no transport to change
        self._way_in = conn.data_received
        self._encryption: Any = None
        self._open: Any = None
        self._sealing: Any = None
        self._seal: Any = None
        self._sinks: dict[bytes, _Stream] = {}
        #: the beginning of a packet that has not arrived whole, and the size at which to look again
        self._rest, self._need = bytearray(), 0
        self._heard = self._time()
        #: the socket's number, and what is lent to the beat while that reads it
        self._socket: int | None = None
        self._loan: Loan | None = None
        self._beat, self._waiting = Beat.of(loop), 0
        #: packets that did not need asyncssh
        self.consumed = 0

    @classmethod
    def lay(cls, conn: Any) -> FastLane | None:
        """A lane for an authenticated connection; None, with the reason logged, where there can be none."""
        missing = _missing(conn, _CONNECTION, _METHODS)
        if not missing and not (conn._auth_complete and _gcm(conn._recv_encryption)):
            missing = "an AES-GCM cipher"
        transport = getattr(conn, "_transport", None)
        tunnelled = getattr(transport, "_session", None) is conn
        if not missing and not tunnelled and not _speaks(transport, conn):
            missing = "a transport that changes protocols"
        if missing:
            _LOG.info("no fast lane: the connection has no %s", missing)
            return None
        lane = cls(conn, asyncio.get_running_loop())
        if tunnelled:
            conn.data_received = lane.data_received
        else:
            transport.set_protocol(lane)  # type: ignore[union-attr]
            lane._socket = descriptor(transport)
        # asyncssh sets a timer anew at every read; ours looks when it is due whether there was one.
        conn._keepalive_timer_callback = lane._look
        conn._reset_keepalive_timer()
        return lane

    def join(self, chan: Any, sink: Sink) -> int | None:
        """Deliver the channel's standard output to ``sink``; its number, None if that cannot be.

        While the channel is paused its data takes the long way, where it is kept.
        """
        missing = _missing(chan, _CHANNEL, ())
        if missing or chan._encoding is not None:
            _LOG.info("no fast lane: the channel has no %s", missing or "binary mode")
            return None
        self._recall()
        number: int = chan._recv_chan
        self._sinks[number.to_bytes(4, "big")] = _Stream(chan, sink)
        return number

    def hold(self, number: int, held: bool) -> None:
        """Do not (do again) open the channel's window: at most one window more will come."""
        stream = self._sinks.get(number.to_bytes(4, "big"))
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
            self._beat.enter(self._socket, self._loan)

    # -- what the beat calls

    def wake(self) -> None:
        """Out of the beat: the event loop must look at the socket."""
        loan = self._loan
        if loan is not None and self._socket is not None:
            self._recall()
            self._loan, self._heard = None, loan.heard
            self._beat.leave(self._socket, loan)
            transport = self._conn._transport
            if transport is not None and not transport.is_closing():
                transport.resume_reading()

    def rouse(self) -> None:
        """Much is coming: out of the beat for a while."""
        self.attend()
        self._loop.call_later(_ROUSED, self.settle)

    def silent(self, seconds: float) -> None:
        """Send a keepalive when it is due; with a timer of its own it is asyncssh's matter."""
        conn = self._conn
        if conn._keepalive_interval and seconds >= conn._keepalive_interval and conn._keepalive_timer is None:
            self._overdue()

    def failed(self) -> None:
        """A receiver raised."""
        self._conn.internal_error()

    def _lend(self) -> None:
        """Let the beat open the packets of the only stream here, until something else happens."""
        loan = self._loan
        if loan is None or self._rest or len(self._sinks) != 1 or not self._steady():
            return
        ((label, stream),) = self._sinks.items()
        chan = stream.chan
        if stream.held or chan._recv_paused or chan._recv_state != "open" or chan._send_state not in _SENDING:
            return
        iv = self._encryption._cipher._iv
        loan.fixed, loan.count = iv[:4], int.from_bytes(iv[4:], "big")
        loan.label, loan.deliver = _DATA_TYPE + label, stream.sink
        loan.window, loan.low = chan._recv_window, chan._init_recv_window // 2
        loan.open = self._open

    def _recall(self) -> None:
        """Have what was lent back, and asyncssh's counters as they are."""
        loan = self._loan
        if loan is None or loan.open is None:
            return
        loan.open = None
        cipher, conn = self._encryption._cipher, self._conn
        packets = loan.count - int.from_bytes(cipher._iv[4:], "big")
        cipher._iv = loan.fixed + loan.count.to_bytes(8, "big")
        conn._recv_seq = (conn._recv_seq + packets) & _ROUND
        self.consumed += packets
        found = self._sinks.get(loan.label[1:])
        if found is not None:
            found.chan._recv_window = loan.window

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

    def _take(self, data: bytes) -> None:  # noqa: PLR0912 - calls cost
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data, self._rest = bytes(self._rest), bytearray()
        conn = self._conn
        if not self._steady():
            self._detour(data)
            return
        sinks, size, at = self._sinks, len(data), 0
        cut: Any = memoryview(data) if size > _VIEW else data
        while size - at > 3:
            length = int.from_bytes(cut[at : at + 4], "big")
            end = at + length + 20
            if end > size:
                if length > conn._max_recv_pktlen:
                    break
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
                ours = found is not None and many and many + plain[0] + _HEAD == length and found.take(many)
            else:
                ours = plain[1] == _IGNORE and int.from_bytes(plain[2:6], "big") + plain[0] + 6 == length
            if ours:
                cipher._iv = iv[:4] + ((int.from_bytes(iv[4:], "big") + 1) & _INVOCATIONS).to_bytes(8, "big")
                conn._recv_seq = (conn._recv_seq + 1) & _ROUND
                self.consumed += 1
                if found is not None:
                    try:
                        found.sink(plain[_HEAD : _HEAD + many])
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
            self._beat.leave(self._socket, self._loan)
        self._socket = self._loan = None
        self._conn.connection_lost(exc)

    # -- sending

    def send(self, chan: Any, data: bytes | memoryview) -> int:
        """Send as much as the window takes, one packet each instead of two; how many bytes that was.

        asyncssh sends an empty packet before each, against an attack on CBC ciphers that AES-GCM
        does not know. Nothing goes while keys are renewed or while asyncssh holds data back.
        """
        conn, sent = self._conn, 0
        if not self._sends(chan):
            return 0
        number, cipher = chan._send_chan.to_bytes(4, "big"), self._sealing._cipher
        while sent < len(data) and conn._rekey_bytes_sent < conn._rekey_bytes:
            many = min(len(data) - sent, chan._send_window, chan._send_pktsize)
            if not many:
                break
            padding = 4 + -(_HEAD + 4 + many) % 16
            part = data if many == len(data) else data[sent : sent + many]
            packet = b"".join((padding.to_bytes(1, "big"), _DATA_TYPE, number, many.to_bytes(4, "big"), part,
                               os.urandom(padding)))  # fmt: skip
            header, iv = len(packet).to_bytes(4, "big"), cipher._iv
            conn._send(header + self._seal(iv, packet, header))
            cipher._iv = iv[:4] + ((int.from_bytes(iv[4:], "big") + 1) & _INVOCATIONS).to_bytes(8, "big")
            conn._send_seq = (conn._send_seq + 1) & _ROUND
            conn._rekey_bytes_sent += len(packet)
            chan._send_window -= many
            sent += many
        return sent

    def _sends(self, chan: Any) -> bool:
        conn = self._conn
        if not (conn._kex_complete and conn._transport and conn._compressor is None) or chan._send_chan is None:
            return False
        if chan._send_state != "open" or chan._send_buf or (conn._rekey_seconds and monotonic() >= conn._rekey_time):
            return False
        if conn._send_encryption is not self._sealing:
            self._sealing = conn._send_encryption
            self._seal = AESGCM(self._sealing._cipher._key).encrypt if _gcm(self._sealing) else None
        return self._seal is not None

    # -- inside

    def _steady(self) -> bool:
        """Whether the next bytes begin a packet that we can open."""
        conn = self._conn
        if conn._recv_encryption is not self._encryption:
            self._encryption = conn._recv_encryption
            self._open = AESGCM(self._encryption._cipher._key).decrypt if _gcm(self._encryption) else None
        return (
            conn._recv_handler == self._idle
            and not conn._inpbuf
            and self._open is not None
            and conn._decompressor is None
            and conn._transport is not None
        )

    def _detour(self, data: bytes) -> None:
        """Give bytes to asyncssh, and take back what it cannot use yet."""
        conn = self._conn
        if conn._transport is None:
            return
        self._way_in(data)
        waits = conn._recv_handler == conn._recv_packet
        if _gcm(conn._recv_encryption) and conn._transport is not None and (waits or conn._recv_handler == self._idle):
            # The header of such a packet is not encrypted, so nothing has moved yet.
            self._need, self._rest = 4, bytearray(conn._packet + conn._inpbuf)
            conn._packet = conn._inpbuf = b""
            conn._recv_handler = self._idle

    def _look(self) -> None:
        """Keepalive is due: not when something was heard meanwhile."""
        conn = self._conn
        if self._loan is not None and self._loan.heard > self._time() - conn._keepalive_interval:
            conn._keepalive_timer = None
            return
        heard = self._heard if self._loan is None else self._loan.heard
        due = heard + conn._keepalive_interval
        if due > self._time() + 0.001:
            conn._keepalive_timer = self._loop.call_at(due, self._look)
        else:
            self._overdue()


def _gcm(encryption: Any) -> bool:
    cipher = getattr(encryption, "_cipher", None)
    iv, key = getattr(cipher, "_iv", None), getattr(cipher, "_key", None)
    return hasattr(cipher, "verify_and_decrypt") and isinstance(key, bytes) and isinstance(iv, bytes) and len(iv) == 12


def _speaks(transport: Any, conn: Any) -> bool:
    return (
        hasattr(transport, "set_protocol") and hasattr(transport, "get_protocol") and transport.get_protocol() is conn
    )


def _missing(thing: Any, attributes: dict[str, Any], methods: tuple[str, ...]) -> str:
    """What is not there, or not of the kind that this module was written for."""
    for name, kind in attributes.items():
        if not isinstance(getattr(thing, name, _MISSING), kind) or not hasattr(thing, name):
            return name
    return next((name for name in methods if not callable(getattr(thing, name, None))), "")
