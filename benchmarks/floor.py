"""The floor of receiving samples: recv and AES-128-GCM of the same bytes, and nothing else.

Another process sends packets of a given size over as many loopback connections as there
are hosts; this one receives and decrypts each in a plain loop without waiting for events.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY: Final = bytes(range(16))
_HEADER: Final = 4
_ROUNDS: Final = 20


def floor_us(connections: int, sample_bytes: int) -> float:
    """Microseconds of processor time a sample: the median round of several."""
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
        _send([sender for _, sender in ends], body, go_read, done_write)
    cipher, times = AESGCM(_KEY), []
    receivers = [receiver for receiver, _ in ends]
    for _ in range(_ROUNDS):
        os.write(go_write, b"g")
        os.read(done_read, 1)
        began = time.process_time()
        for receiver in receivers:
            data = receiver.recv(65536)
            cipher.decrypt(bytes(12), data[_HEADER:], data[:_HEADER])
        times.append(time.process_time() - began)
    os.close(go_write)
    os.waitpid(child, 0)
    for receiver, sender in ends:
        receiver.close()
        sender.close()
    return sorted(times)[_ROUNDS // 2] / connections * 1e6


def _pair(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    sender = socket.create_connection(listener.getsockname())
    receiver, _ = listener.accept()
    return receiver, sender


def _send(senders: list[socket.socket], body: int, go: int, done: int) -> None:
    header = body.to_bytes(_HEADER, "big")
    packet = header + AESGCM(_KEY).encrypt(bytes(12), bytes(body), header)
    for _ in range(_ROUNDS):
        os.read(go, 1)
        for sender in senders:
            sender.sendall(packet)
        os.write(done, b"d")
    os._exit(0)
