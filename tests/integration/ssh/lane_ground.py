"""A server of our own behind a wire that cuts, garbles and ends what passes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import asyncssh

from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label

Mangle = Callable[[bytes], list[bytes]]
DEADLINE = 20.0


class Heard:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.ends: list[tuple[HostError | None, bytes]] = []
        self._changed = asyncio.Event()

    def data(self, data: bytes) -> None:
        assert not self.ends
        self.bytes += data
        self._changed.set()

    def end(self, error: HostError | None, stderr: bytes) -> None:
        self.ends.append((error, stderr))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ended(self) -> tuple[HostError | None, bytes]:
        await self.until(lambda: bool(self.ends))
        return self.ends[0]


async def _serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    kind, *words = (process.command or "").split()
    try:
        if kind == "lines":  # how many, of what size
            for number in range(int(words[0])):
                process.stdout.write(b"%08d" % number + b"x" * (int(words[1]) - 9) + b"\n")
                await process.stdout.drain()
                if number % 7 == 0:
                    await asyncio.sleep(0)
        elif kind == "both":  # standard output and error in turns, then a status
            for number in range(20):
                process.stdout.write(b"out %d\n" % number)
                process.stderr.write(b"err %d\n" % number)
            process.exit(3)
            return
        elif kind == "echo":
            while data := await process.stdin.read(65536):
                process.stdout.write(data)
        elif kind == "digest":
            digest = hashlib.sha256()
            while data := await process.stdin.read(65536):
                digest.update(data)
            process.stdout.write(digest.hexdigest().encode())
        elif kind == "vanish":
            process.stdout.write(b"here\n")
            await process.stdin.readline()
            process.close()
            return
        process.exit(0)
    except (asyncssh.BreakReceived, asyncssh.ConnectionLost, BrokenPipeError):
        process.close()


@dataclass
class Wire:
    """A TCP proxy before the server; what comes back from it can be cut, corrupted and held."""

    port: int
    mangle: Mangle = field(default=lambda data: [data])
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, upstream_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: bool) -> None:
            try:
                while data := await source.read(65536):
                    for part in self.mangle(data) if back else [data]:
                        sink.write(part)
                        await sink.drain()
                        if back:
                            await asyncio.sleep(0)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, upstream_writer, False), pump(upstream_reader, writer, True))

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Ground(NamedTuple):
    wire: Wire
    connect: Callable[..., Awaitable[AsyncsshTransport]]


@asynccontextmanager
async def _ground(folder: Path, **options: object) -> AsyncIterator[Ground]:
    host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    identity = folder / "id"
    identity.touch(mode=0o600)
    key.write_private_key(str(identity))
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(key.export_public_key().decode()),
        process_factory=_serve,
        encoding=None,
        config=None,
        **options,
    )
    wire = Wire(server.get_port())
    proxy = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
    transports: list[AsyncsshTransport] = []

    async def connect(**changes: object) -> AsyncsshTransport:
        target = SshTarget(
            name=Label("h"), address="127.0.0.1", port=port, identities=(str(identity),), **changes  # type: ignore[arg-type]
        )  # fmt: skip
        transports.append(AsyncsshTransport(target, HostKeys.load(known)))
        await transports[-1].connect()
        return transports[-1]

    try:
        yield Ground(wire, connect)
    finally:
        await asyncio.gather(*(transport.aclose() for transport in transports))
        wire.cut()
        proxy.close()
        server.close()
