"""The floor of receiving samples: recv and AES-128-GCM of the same bytes, and nothing else.

Another process sends packets of a given size over as many loopback connections as there
are hosts; this one receives and decrypts each in a plain loop without waiting for events.
Once as fast as it can, with everything in the processor's caches; and once at the pace of
real samples, a tenth of the hosts every tenth of a second, asleep between. A third time at that
pace with the whole duty in the least code: ask which sockets have something, receive, decrypt, count
nonces, keep the newest line of every host, and turn all of them into numbers once a second.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sidestep.backends.sampler import panel_digits

_KEY: Final = bytes(range(16))
_NONCE: Final = bytes(12)
_HEADER: Final = 4
#: where a packet's data begins, after its size
_TOLD: Final = 10
_ROUNDS: Final = 20
#: a process has both ends of its connections, and no more descriptors than the system allows
_MOST: Final = 3000
#: groups of hosts, and seconds between two of them, at the pace of samples
_GROUPS: Final = 10
_PAUSE: Final = 0.1
_SECONDS: Final = 4


def floor_us(connections: int, sample_bytes: int) -> tuple[float, float, float]:
    """Microseconds of processor time a sample: as fast as can be (median round), at the pace of samples, all of it."""
    connections = min(connections, _MOST)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # what SSH adds: message type, channel, length, padding length and padding to whole blocks
    body = sample_bytes + 10
    body += 16 - body % 16
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        ends = [_pair(listener) for _ in range(connections)]
    go_read, go_write = os.pipe()
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        _send([sender for _, sender in ends], _record(body), go_read, done_write)
    groups = [[receiver for receiver, _ in ends[at::_GROUPS]] for at in range(_GROUPS)]

    def receive(at: int) -> float:
        """One group's packets; processor seconds from the moment that they are there."""
        os.write(go_write, b"%d" % at)
        os.read(done_read, 1)
        began = time.process_time()
        for receiver in groups[at]:
            data = receiver.recv(65536)
            cipher.decrypt(_NONCE, data[_HEADER:], data[:_HEADER])
        return time.process_time() - began

    def whole(at: int) -> float:
        """One group's samples, and every second what all of them say."""
        os.write(go_write, b"%d" % at)
        os.read(done_read, 1)
        began = time.process_time()
        for number, _ in watch.poll(0, connections):
            data = os.read(number, 65536)
            counts[number] += 1
            plain = cipher.decrypt(_NONCE, data[_HEADER:], data[:_HEADER])
            lines[number] = plain[_TOLD : _TOLD + int.from_bytes(plain[6:_TOLD], "big")]
        if at == _GROUPS - 1:
            panel_digits.read(b"".join(lines.values()))
        return time.process_time() - began

    cipher, watch, lines = AESGCM(_KEY), select.epoll(), {receiver.fileno(): b"" for receiver, _ in ends}
    counts = dict.fromkeys(lines, 0)
    fast = [sum(receive(at) for at in range(_GROUPS)) for _ in range(_ROUNDS)]
    for receiver, _ in ends:
        watch.register(receiver, select.EPOLLIN | select.EPOLLET)
    paced, duty = 0.0, 0.0
    for tick in range(_GROUPS * _SECONDS):
        time.sleep(_PAUSE)
        paced += receive(tick % _GROUPS)
    watch.poll(0, connections)
    for tick in range(_GROUPS * _SECONDS):
        time.sleep(_PAUSE)
        duty += whole(tick % _GROUPS)
    watch.close()
    os.close(go_write)
    os.waitpid(child, 0)
    for receiver, sender in ends:
        receiver.close()
        sender.close()
    samples = connections * _SECONDS / 1e6
    return sorted(fast)[_ROUNDS // 2] / connections * 1e6, paced / samples, duty / samples


def _pair(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    return receiver, sender


def _record(body: int) -> bytes:
    """A packet's plain bytes: what SSH says before data, a record of numbers, and padding."""
    many = body - _TOLD - 4
    line = (b"V 1 1" + b" 12345678" * (many // 9 - 1)).ljust(many - 1, b"0") + b"\n"
    return bytes(6) + many.to_bytes(4, "big") + line + bytes(4)


def _send(senders: list[socket.socket], record: bytes, go: int, done: int) -> None:
    """Send one packet to every connection of the group that is asked for, until nobody asks."""
    header = len(record).to_bytes(_HEADER, "big")
    packet = header + AESGCM(_KEY).encrypt(_NONCE, record, header)
    while asked := os.read(go, 1):
        for sender in senders[int(asked) :: _GROUPS]:
            sender.sendall(packet)
        os.write(done, b"d")
    os._exit(0)
