"""What the fast lane touches of asyncssh's inside: looked for beforehand, and sent through.

Nothing here may be relied on: ``unfit`` says what a connection or channel lacks, and who is told
so goes asyncssh's own way.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidestep.backends.ssh.beat import Loan

Sink = Callable[[bytes], None]

DATA_TYPE: Final = b"\x5e"
#: length of padding, type, channel, size: what stands before the data of a packet
HEAD: Final = 10
ROUND: Final = 0xFFFFFFFF
#: bytes under way to a host nearby. OpenSSH takes what waits for the command in blocks that it
#: allocates and wipes anew when they grow: with its window full of them that costs it more than AES.
NEAR: Final = 512 << 10
#: microseconds, and where Linux tells the shortest round trip (tcp_info.tcpi_min_rtt)
_NEAR_US: Final = 500
_SHORTEST: Final = 148
_INVOCATIONS: Final = 0xFFFFFFFFFFFFFFFF
_WINDOW_ADJUST: Final = 93
_SENDING: Final = ("open", "eof_pending", "eof")
_MISSING: Final = object()
_CONNECTION: Final = {
    "_transport": object,
    "_client_kexinit": bytes,
    "_server_kexinit": bytes,
    "_kex": object,
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


def unfit(conn: Any) -> str:
    """What an authenticated connection lacks for a lane; empty when nothing."""
    missing = _missing(conn, _CONNECTION, _METHODS)
    if not missing and not (conn._auth_complete and gcm(conn._recv_encryption)):
        missing = "an AES-GCM cipher"
    transport = getattr(conn, "_transport", None)
    if not missing and not tunnelled(conn) and not _speaks(transport, conn):
        missing = "a transport that changes protocols"
    return missing


def unfit_channel(chan: Any) -> str:
    """What a channel lacks."""
    return _missing(chan, _CHANNEL, ()) or ("binary mode" if chan._encoding is not None else "")


def tunnelled(conn: Any) -> bool:
    """Whether the connection goes through a channel of another one."""
    return getattr(conn._transport, "_session", None) is conn


def forget(conn: Any) -> None:
    """Drop the two sides' first proposals of algorithms, 3 KB: a later key exchange brings its own."""
    if conn._kex_complete and conn._kex is None:
        conn._client_kexinit = conn._server_kexinit = b""


def at_rest(conn: Any) -> bool:
    """Whether asyncssh holds no part of a packet, and packets are as they were agreed on."""
    return not conn._inpbuf and conn._decompressor is None and conn._transport is not None


def gcm(encryption: Any) -> bool:
    """Whether this is asyncssh's AES-GCM, with key and nonce where we look for them."""
    cipher = getattr(encryption, "_cipher", None)
    iv, key = getattr(cipher, "_iv", None), getattr(cipher, "_key", None)
    return hasattr(cipher, "verify_and_decrypt") and isinstance(key, bytes) and isinstance(iv, bytes) and len(iv) == 12


def following(iv: bytes) -> bytes:
    """The nonce of the next packet (RFC 5647)."""
    return iv[:4] + ((int.from_bytes(iv[4:], "big") + 1) & _INVOCATIONS).to_bytes(8, "big")


def near(transport: Any) -> bool:
    """Whether the kernel has seen the peer answer within a time in which ``NEAR`` bytes keep a link busy."""
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SHORTEST + 4)
    except (AttributeError, OSError):
        return False
    return len(info) == _SHORTEST + 4 and 0 < int.from_bytes(info[_SHORTEST:], sys.byteorder) <= _NEAR_US


class Stream:
    """A channel whose data we deliver."""

    __slots__ = ("chan", "held", "kept", "roomy", "sink")

    def __init__(self, chan: Any, sink: Sink, roomy: Callable[[], None] | None = None) -> None:
        self.chan, self.sink, self.held, self.roomy = chan, sink, False, roomy
        #: of the window that we may send into, this much stays unused where somebody wants to hear of room
        self.kept = 0
        self._keep()

    def room(self) -> int | None:
        """How much to send to a host nearby now; None when only the window decides."""
        return int(self.chan._send_window) - self.kept if self.kept else None

    def exhaust(self) -> None:
        """Use the whole window: its owner opens it too seldom for less."""
        self.roomy, self.kept = None, 0

    def _keep(self) -> None:
        """Learn how large the window is: OpenSSH opens it only once there is a command."""
        if self.roomy is not None:
            self.kept = max(self.kept, self.chan._send_window - NEAR)

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

    def adjust(self, plain: bytes) -> bool:
        """Take a window adjustment, as asyncssh would."""
        chan = self.chan
        if chan._recv_state not in _SENDING:
            return False
        chan._send_window += int.from_bytes(plain[6:10], "big")
        chan._flush_send_buf()
        self._keep()
        if self.roomy is not None and chan._send_window - self.kept >= NEAR // 2:
            self.roomy()
        return True

    def lend(self, loan: Loan, label: bytes, iv: bytes, opened: Callable[[bytes, bytes, bytes], bytes]) -> None:
        """Let the beat open this stream's packets, the next one with the nonce ``iv``."""
        chan = self.chan
        if self.held or chan._recv_paused or chan._recv_state != "open" or chan._send_state not in _SENDING:
            return
        loan.fixed, loan.count = iv[:4], int.from_bytes(iv[4:], "big")
        loan.label, loan.deliver = DATA_TYPE + label, self.sink
        loan.window, loan.low = chan._recv_window, chan._init_recv_window // 2
        loan.open = opened


def taken_back(conn: Any) -> bytes:
    """What asyncssh has of a packet that is not whole, so that the next one starts with us again."""
    reads = conn._recv_handler in (conn._recv_pkthdr, conn._recv_packet)
    if not reads or conn._transport is None or not gcm(conn._recv_encryption):
        return b""
    # The header of such a packet is not encrypted, so nothing has moved yet.
    rest: bytes = conn._packet + conn._inpbuf
    conn._packet = conn._inpbuf = b""
    conn._recv_handler = conn._recv_pkthdr
    return rest


def recall(loan: Loan, conn: Any, cipher: Any, stream: Stream | None) -> int:
    """Bring asyncssh's counters up to what the beat opened; how many packets that were."""
    loan.open = None
    packets = loan.count - int.from_bytes(cipher._iv[4:], "big")
    cipher._iv = loan.fixed + loan.count.to_bytes(8, "big")
    conn._recv_seq = (conn._recv_seq + packets) & ROUND
    if stream is not None:
        stream.chan._recv_window = loan.window
    return packets


class Sender:
    """Sends channel data in one packet each instead of two."""

    __slots__ = ("_conn", "_encryption", "_seal")

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._encryption: Any = None
        self._seal: Any = None

    def send(self, chan: Any, data: bytes | memoryview) -> int:
        """Send as much as the window takes, one packet each instead of two; how many bytes that was.

        asyncssh sends an empty packet before each, against an attack on CBC ciphers that AES-GCM
        does not know. Nothing goes while keys are renewed or while asyncssh holds data back.
        """
        conn, sent = self._conn, 0
        if not self._may(chan):
            return 0
        number, cipher = chan._send_chan.to_bytes(4, "big"), self._encryption._cipher
        sealed: list[bytes] = []
        while sent < len(data) and conn._rekey_bytes_sent < conn._rekey_bytes:
            many = min(len(data) - sent, chan._send_window, chan._send_pktsize)
            if not many:
                break
            padding = 4 + -(HEAD + 4 + many) % 16
            part = data if many == len(data) else data[sent : sent + many]
            packet = b"".join((padding.to_bytes(1, "big"), DATA_TYPE, number, many.to_bytes(4, "big"), part,
                               os.urandom(padding)))  # fmt: skip
            header, iv = len(packet).to_bytes(4, "big"), cipher._iv
            sealed += header, self._seal(iv, packet, header)
            cipher._iv = following(iv)
            conn._send_seq = (conn._send_seq + 1) & ROUND
            conn._rekey_bytes_sent += len(packet)
            chan._send_window -= many
            sent += many
        if sealed:
            conn._send(b"".join(sealed))
        return sent

    def _may(self, chan: Any) -> bool:
        conn = self._conn
        if not (conn._kex_complete and conn._transport and conn._compressor is None) or chan._send_chan is None:
            return False
        if chan._send_state != "open" or chan._send_buf or (conn._rekey_seconds and monotonic() >= conn._rekey_time):
            return False
        if conn._send_encryption is not self._encryption:
            self._encryption = conn._send_encryption
            self._seal = AESGCM(self._encryption._cipher._key).encrypt if gcm(self._encryption) else None
        return self._seal is not None


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
