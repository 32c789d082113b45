"""An engine's scheduler that lies to the runner, over TLS and with a certificate of the fleet (Show 6)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import ssl
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgpack

from sidestep.backends.functions.certificates import Authority
from sidestep.backends.functions.running import RunnerLink
from sidestep.fleet.errors import SidestepError

HUGE: Final = 10 << 30


class Believed(Exception):
    """An attack that nobody refused."""


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.mark = str(folder / "exploded")

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({self.mark!r}, 'a').write('x')",)


def message(*parts: bytes) -> bytes:
    """A message as Dask frames it."""
    head = struct.pack(f"<Q{len(parts)}Q", len(parts), *map(len, parts))
    return struct.pack("<Q", len(head) + sum(map(len, parts))) + head + b"".join(parts)


def speech(folder: Path, kind: str) -> bytes:
    """What the scheduler answers to the first greeting."""
    bomb = pickle.dumps(Bomb(folder))
    if kind == "huge":
        return struct.pack("<Q", HUGE)
    if kind == "huge part":
        head = struct.pack("<QQ", 1, HUGE)
        return struct.pack("<Q", len(head)) + head
    if kind == "pickle":
        return message(msgpack.packb({"__Pickled__": 1}), msgpack.packb({"pickled-obj": bomb, "num-sub-frames": 0}))
    if kind == "serialized":
        sub = {"serializer": "pickle", "num-sub-frames": 1, "frame-lengths": [len(bomb)], "writeable": [None],
               "type-serialized": bomb}  # fmt: skip
        return message(msgpack.packb({"__Serialized__": 1}), msgpack.packb(sub), bomb)
    if kind == "packed":
        sub = {"serializer": "msgpack", "num-sub-frames": 1, "compression": ["zlib"]}
        return message(msgpack.packb({"__Serialized__": 1}), msgpack.packb(sub), zlib.compress(bytes(1 << 20)))
    return message(b"\xc1" * 40)


def peak_of(pid: int) -> int:
    """The most bytes of memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if "VmHWM" in line).split()[1]) << 10


async def to_runner(folder: Path, kind: str) -> str:
    """A runner is told to be the client of a scheduler that says this; it has to refuse, and live."""
    authority, link = Authority("attack"), RunnerLink()
    member = authority.member("scheduler", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(member.certificate + member.key)
        file.flush()
        context.load_cert_chain(file.name)

    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            writer.write(speech(folder, kind))
            await writer.drain()
            await reader.read()
        writer.close()

    log = os.open(folder / "runner.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = await asyncio.start_server(lie, "127.0.0.1", 0, ssl=context)
    try:
        await link.open(log)
        port = server.sockets[0].getsockname()[1]
        try:
            await link.attach(f"tls://127.0.0.1:{port}", authority.member("runner"))
        except SidestepError as error:
            if not link.pid:
                raise Believed(f"the runner ended: {error}") from None
            if (peak := peak_of(link.pid)) > 512 << 20:
                raise Believed(f"the runner took {peak >> 20} MiB of memory for it") from None
            return str(error)
        raise Believed("the runner took it for a scheduler")
    finally:
        server.close()
        await link.aclose()
        os.close(log)


def runner(kind: str) -> Callable[[Path], str]:
    """An attack on a runner of its own."""
    return lambda folder: asyncio.run(to_runner(folder, kind))
