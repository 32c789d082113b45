"""The hosts of ``benchmarks.streams``: one process of embedded SSH servers that stream records."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncssh
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS

#: the samples of an interval are spread over this many moments
SLOTS: Final = 50


class Stream(asyncssh.SSHServerSession[bytes]):
    """One running sampler: a greeting, then a record whenever its slot comes up."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._chan: asyncssh.SSHServerChannel[bytes] | None = None
        self._sealer: Sealer | None = None
        self._seq = 0
        self._runs = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel."""
        self._chan = chan
        chan.set_encoding(None)

    def exec_requested(self, command: str) -> bool:
        """Anything is a sampler, but what ``Transport.run`` marks as its own."""
        self._runs = "sidestep-pid:" not in command
        return True

    def session_started(self) -> None:
        """Greet, and take a place in the interval."""
        if self._chan is None:
            return
        if not self._runs:
            self._chan.exit(0)
            return
        self._chan.write(self._host.greeting)
        self._sealer = Sealer.over(self._chan)
        self._host.fleet.join(self)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """A sampler's text, leases: all welcome."""

    def eof_received(self) -> bool:
        """A sampler ends with its input."""
        if self._chan is not None:
            self._chan.exit(0)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the interval."""
        self._host.fleet.leave(self)
        self._chan = None

    def emit(self, rest: bytes) -> bool:
        """One record; False when the channel takes no more."""
        chan = self._chan
        if chan is None or chan.is_closing():
            return False
        self._seq += 1
        line = b"V %d %s" % (self._seq, rest)
        if self._sealer is None or not self._sealer.send(line):
            if chan.get_write_buffer_size() > 1 << 16:
                return False
            chan.write(line)
        return True


class Sealer:
    """Sends channel data as OpenSSH does, in one packet; asyncssh would send two and pay for both.

    Only the server under the benchmark is made cheaper by this, so that it can feed 10,000 hosts.
    """

    @classmethod
    def over(cls, chan: Any) -> Sealer | None:
        """A sealer of this channel, or None when the cipher is not AES-GCM."""
        cipher = getattr(getattr(chan.get_connection(), "_send_encryption", None), "_cipher", None)
        return cls(chan) if hasattr(cipher, "_iv") and hasattr(cipher, "_key") else None

    def __init__(self, chan: Any) -> None:
        self._chan, self._conn = chan, chan.get_connection()
        self._encryption: Any = None
        self._seal: Any = None

    def send(self, data: bytes) -> bool:
        """Whether ``data`` went out; not while keys are renewed or the window is full."""
        chan, conn = self._chan, self._conn
        size = len(data)
        if chan._send_window < size or chan._send_buf or not conn._kex_complete or size > chan._send_pktsize:
            return False
        if conn._rekey_bytes_sent >= conn._rekey_bytes:
            return False
        if conn._send_encryption is not self._encryption:
            self._encryption = conn._send_encryption
            self._seal = AESGCM(self._encryption._cipher._key)
        cipher = self._encryption._cipher
        padding = 4 + -(14 + size) % 16
        packet = b"".join(
            (
                padding.to_bytes(1, "big"),
                b"\x5e",
                chan._send_chan.to_bytes(4, "big"),
                size.to_bytes(4, "big"),
                data,
                bytes(padding),
            )
        )
        header = len(packet).to_bytes(4, "big")
        iv = cipher._iv
        conn._send(header + self._seal.encrypt(iv, packet, header))
        cipher._iv = iv[:4] + ((int.from_bytes(iv[4:], "big") + 1) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
        conn._send_seq = (conn._send_seq + 1) & 0xFFFFFFFF
        conn._rekey_bytes_sent += len(packet)
        chan._send_window -= size
        return True


class Host(asyncssh.SSHServer):
    """One connection to one host."""

    def __init__(self, fleet: Fleet, greeting: bytes) -> None:
        self.fleet, self.greeting = fleet, greeting
        self._conn: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Can be cut from now on."""
        self._conn = conn
        self.fleet.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cannot be cut any more."""
        if self._conn is not None:
            self.fleet.connections.discard(self._conn)

    def session_requested(self) -> Stream:
        """Every session is a sampler."""
        return Stream(self)


class Fleet:
    """The hosts of this process."""

    def __init__(self, names: Sequence[tuple[str, str]], port: int, arguments: argparse.Namespace) -> None:
        self._names, self._port = names, port
        self._folder: Path = arguments.dir
        self._tokens, self._shards, self._interval = arguments.tokens, arguments.shards, arguments.interval
        self._listeners: list[asyncssh.SSHAcceptor] = []
        self._options: list[asyncssh.SSHServerConnectionOptions] = []
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._slots: list[dict[Stream, None]] = [{} for _ in range(SLOTS)]
        self._places: dict[Stream, int] = {}
        self._since, self._sent, self._due = time.monotonic(), 0, 0.0
        self._ticks = 0

    async def start(self) -> str:
        """Make keys and listen; the known_hosts lines."""
        known = []
        allowed = asyncssh.read_authorized_keys(str(self._folder / "identity.pub"))
        for name, address in self._names:
            key = asyncssh.generate_private_key("ssh-ed25519")
            known.append(f"[{address}]:{self._port} {key.export_public_key().decode().strip()}\n")
            greeting = self._greeting(name)
            self._options.append(
                asyncssh.SSHServerConnectionOptions(
                    server_factory=lambda greeting=greeting: Host(self, greeting),
                    server_host_keys=[key],
                    authorized_client_keys=allowed,
                    config=None,
                    encoding=None,
                    compression_algs=["none"],
                    login_timeout=60,
                    rekey_bytes=1 << 40,
                    rekey_seconds=0,
                )
            )
        await self.heal()
        return "".join(known)

    async def heal(self) -> None:
        """Listen (again)."""
        for (_, address), options in zip(self._names, self._options, strict=True):
            self._listeners.append(
                await asyncssh.listen(address, self._port, options=options, backlog=128, reuse_address=True)
            )

    def cut(self) -> None:
        """Refuse everybody, and drop who is there."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in tuple(self.connections):
            connection.abort()

    def join(self, stream: Stream) -> None:
        """Give a stream its place in the interval."""
        slot = random.randrange(SLOTS)
        self._places[stream] = slot
        self._slots[slot][stream] = None

    def leave(self, stream: Stream) -> None:
        """Its channel is gone."""
        slot = self._places.pop(stream, None)
        if slot is not None:
            self._slots[slot].pop(stream, None)

    async def run(self) -> None:
        """Emit for ever; a slot that comes late is emitted late, one that was overrun is left out and counted."""
        step = self._interval / SLOTS
        due = time.monotonic()
        while True:
            for at, slot in enumerate(self._slots):
                if at == 0:
                    tail = self._tail()
                now = time.monotonic()
                self._due += len(slot)
                if now - due <= self._interval:
                    rest = b"%d %s" % (int(now * 1000), tail)
                    self._sent += sum([stream.emit(rest) for stream in slot])
                due += step
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def rate(self) -> dict[str, float]:
        """What was sent and what was due since the last question."""
        now = time.monotonic()
        found = {
            "streams": float(len(self._places)),
            "seconds": now - self._since,
            "sent": float(self._sent),
            "due": self._due,
            "cpu": time.process_time(),
        }
        self._since, self._sent, self._due = now, 0, 0.0
        return found

    def _greeting(self, name: str) -> bytes:
        shards = ",".join(f"{name}-s{shard:03d}" for shard in range(self._shards)) or "-"
        return (
            f"H2 {os.getpid()} 6.1.0 100 python {random.getrandbits(32):08x}\n"
            "F cpus=8 memory=34359738368 cgroup=v2 container=none psi=yes os=debian\n"
            f"K {self._tokens} {len(SHARD_COLUMNS)} {shards}\n"
        ).encode()

    def _tail(self) -> bytes:
        """The numbers of this interval: counters grow, gauges move. The same for all hosts, for cheapness."""
        self._ticks += 1
        columns = [HOST_COLUMNS[at % len(HOST_COLUMNS)] for at in range(self._tokens)]
        numbers = [_number(at, name, kind, self._ticks) for at, (name, kind) in enumerate(columns)]
        for shard in range(self._shards):
            numbers += [_number(shard + at, name, kind, self._ticks) for at, (name, kind) in enumerate(SHARD_COLUMNS)]
        return " ".join(map(str, numbers)).encode() + b"\n"


def _number(seed: int, name: str, kind: str, tick: int) -> int:
    if name == "wall_ms":
        return int(time.time() * 1000)
    if name == "running":
        return 1
    if kind == "counter":
        return 10**8 + seed * 7919 + tick * (100_000 + 1_000 * seed)
    return 10**6 + seed * 7919 + tick * 37 % 5000
