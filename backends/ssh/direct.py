"""Transfers between two hosts: straight from one to the other where that is possible, else through us.

The direct way trusts nothing that was there before: for every transfer two key pairs are made,
each host gets its own key and the other's certificate over its SSH channel, and the two speak
TLS with each other and nobody else. AES-GCM authenticates every byte on the way and its place;
the one that receives digests what it writes, for the caller to compare with what the file was
when it was made, and only when both have told the same size is it put in place. Where the two
cannot reach each other but we reach both, we join them: the same TLS, which we cannot open, passes
through us. Otherwise, or when a host has no python3, the bytes are relayed over SSH, and the
result says why.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from sidestep.backends.ssh import carry, splice
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.backends.ssh.pace import Flow, Pace
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.labels import scrub

#: from this size on a transfer goes directly: below, setting it up costs more than it saves
DIRECT_FROM: Final = 64 << 20
#: seconds in which the hosts must have reached each other, and in which bytes must flow
PATIENCE: Final = 5.0
#: seconds in which we must have reached a host to join it with another; where a firewall is silent they are lost
JOINING: Final = 2.0
SILENCE: Final = 20.0
#: bytes that a paced sender sends for each word of ours
PART: Final = 128 << 10
_LINE: Final = 4096
#: seconds that the other host has to say why, too
_LAST_WORDS: Final = 1.0
_NO_PYTHON: Final = 97
_READER: Final = """\
import os, sys
def take(n):
    data = bytes()
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more: sys.exit(98)
        data += more
    return data
exec(compile(take(int(take(8))), 'direct', 'exec'), {'__name__': '__main__'})
"""


class Carried(Struct, frozen=True):
    """A file that arrived: its SHA-256, the way it took, and why a big one could not go directly."""

    digest: str
    way: Literal["relay", "joined", "direct"]
    reason: str


class NotDirect(Exception):
    """The two hosts cannot do it between themselves, and why; nothing was left behind."""


class NotReached(NotDirect):
    """The source cannot reach the destination."""


async def transfer(
    source: Transport,
    here: str,
    destination: Transport,
    there: str,
    *,
    timeout: float = 60.0,
    direct_from: int = DIRECT_FROM,
    size: int | None = None,
    pace: Pace | None = None,
    within: float = math.inf,
) -> Carried:
    """Carry ``here`` on the source to ``there`` on the destination (0600, replaced atomically).

    ``timeout`` is in seconds and holds for each way that is tried; ``size`` in bytes is looked up if it is
    not known. Both ways keep to ``pace``; what it cannot bring there ``within`` so many seconds is not
    begun. Raises HostError.
    """
    if size is None:
        size = await _size(source, here)
    if pace is None or not pace.limited:
        return await _either(source, here, destination, there, timeout, size >= direct_from, None)
    if refusal := pace.refusal(size, min(timeout, within)):
        raise HostError(source.host, "transfer", refusal)
    with pace.carrying(f"{source.host} to {destination.host}", size) as flow:
        return await _either(source, here, destination, there, timeout, size >= direct_from, flow)


async def _either(
    source: Transport, here: str, destination: Transport, there: str, timeout: float, big: bool, flow: Flow | None
) -> Carried:
    """Directly if it is big and can be done, else through us."""
    reason = ""
    if big:
        try:
            return Carried(await direct(source, here, destination, there, timeout=timeout, flow=flow), "direct", "")
        except NotReached as error:
            reason = str(error)
            if splice.possible():
                try:
                    digest = await direct(source, here, destination, there, timeout=timeout, flow=flow, join=True)
                    return Carried(digest, "joined", reason)
                except NotDirect as error:
                    reason = f"{reason}; {error}"
        except NotDirect as error:
            reason = str(error)
    return Carried(await carry.relay(source, here, destination, there, timeout=timeout, flow=flow), "relay", reason)


async def direct(
    source: Transport, here: str, destination: Transport, there: str, *, timeout: float = 60.0,
    flow: Flow | None = None, join: bool = False,
) -> str:  # fmt: skip
    """Carry a file straight from host to host; its SHA-256. With ``flow`` the sender waits for our word for each part.

    With ``join`` both hosts wait for us, and we join them. Raises NotReached when the source cannot reach the
    destination, NotDirect when the hosts cannot, HostUnreachable when a connection of ours is lost.
    """
    part, kept = carry.part_of(there), False
    keys = _pair(), _pair()
    common: dict[str, Any] = {"deadline": timeout, "silence": SILENCE, "patience": PATIENCE}
    try:
        async with (
            asyncio.timeout(timeout),
            _halves(destination, source) as (receiving, sending),
        ):
            await _tell(receiving, common | keys[0] | {"role": "receive", "path": there, "part": part,
                                                      "peer": keys[1]["certificate"]})  # fmt: skip
            address, port = await _answer(destination, receiving, "listens")
            reach: dict[str, Any] = {"addresses": []} if join else {"addresses": [address], "port": port}
            await _tell(sending, common | keys[1] | reach | {"role": "send", "path": here,
                                                            "part": PART if flow is not None else 0,
                                                            "peer": keys[0]["certificate"]})  # fmt: skip
            async with AsyncExitStack() as stack:
                if join:
                    _, other = await _answer(source, sending, "listens")
                    await stack.enter_async_context(_joined((destination, port), (source, other)))
                await stack.enter_async_context(_granting(sending, flow))
                (sent,), (received, digest) = await _both(
                    _answer(source, sending, "sent"), _answer(destination, receiving, "received")
                )
            if sent != received:
                raise NotDirect(f"{source.host} sent {sent} bytes, {destination.host} received {received}")
            await _write(receiving, b"k")
            await _answer(destination, receiving, "kept")
            kept = True
            return str(digest)
    except TimeoutError:
        raise NotDirect(f"it was not done within {timeout:g} s") from None
    finally:
        if not kept:
            # Only where the file system has no nameless files is there anything, and only after a kill.
            await asyncio.shield(carry.discard(destination, part))


@asynccontextmanager
async def _joined(*ends: tuple[Transport, int]) -> AsyncGenerator[None, None]:
    """Join these ports, each at the address at which we reached its host: a host may not send us elsewhere."""
    places = []
    for transport, port in ends:
        known = getattr(transport, "address", None)
        address = known() if known is not None else None
        if address is None:
            raise NotDirect(f"{transport.host} is not reached from here itself")
        places.append((address, port))
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(splice.joined(places, JOINING))
        except (OSError, OverflowError) as error:
            raise NotDirect(f"cannot be reached from here either: {error}") from error
        yield


@asynccontextmanager
async def _granting(sending: Channel, flow: Flow | None) -> AsyncGenerator[None, None]:
    """Tell the sender, a byte a part, what may go; for as long as the block lasts."""

    async def grant(flow: Flow) -> None:
        while True:
            await flow.take(PART)
            await _write(sending, b"g")

    granting = asyncio.ensure_future(grant(flow)) if flow is not None else None
    try:
        yield
    finally:
        if granting is not None:
            granting.cancel()
            await asyncio.gather(granting, return_exceptions=True)


async def _both(*answers: Coroutine[Any, Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What both hosts say. When one gives up, the other soon does: the reasons of both are told."""
    tasks = [asyncio.ensure_future(answer) for answer in answers]
    try:
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if waiting:
            done |= (await asyncio.wait(waiting, timeout=_LAST_WORDS))[0]
        errors = [error for task in tasks if task in done and (error := task.exception()) is not None]
        for error in errors:
            if not isinstance(error, NotDirect):
                raise error
        if errors:
            kind = NotReached if any(isinstance(error, NotReached) for error in errors) else NotDirect
            raise kind("; ".join(map(str, errors)))
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _size(source: Transport, path: str) -> int:
    done = await source.run(f"wc -c < {quote(path)}")
    if done.status != 0:
        raise HostError(source.host, "transfer", f"cannot read {path}", command="wc", tail=done.stderr)
    try:
        return int(done.stdout.split()[-1])
    except (IndexError, ValueError) as error:
        raise HostError(source.host, "transfer", "unexpected answer", command="wc", tail=done.stdout) from error


@asynccontextmanager
async def _halves(*transports: Transport) -> AsyncGenerator[list[Channel], None]:
    """Python on all of them, started together; closed, and so ended, with the block."""
    async with AsyncExitStack() as stack:

        async def started(transport: Transport) -> Channel:
            return await stack.enter_async_context(aclosing(await _start(transport)))

        starting = [asyncio.ensure_future(started(transport)) for transport in transports]
        try:
            yield await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)


async def _start(transport: Transport) -> Channel:
    channel = await transport.open(
        carry.shell(f'P=$(command -v python3) || exit {_NO_PYTHON}; exec "$P" -SEs -c {quote(_READER)}')
    )
    try:
        # Before there is anything to do: so both get ready at the same time.
        await _write(channel, _program())
    except BaseException:
        await channel.aclose()
        raise
    return channel


async def _tell(channel: Channel, settings: dict[str, Any]) -> None:
    """Settings, over standard input as the program before them: no secret is ever an argument."""
    said = json.dumps(settings).encode()
    await _write(channel, b"%08d" % len(said) + said)


async def _write(channel: Channel, data: bytes) -> None:
    try:
        await channel.write(data)
    except HostUnreachable:
        raise
    except HostError:
        return  # it ended already: its last words, or its status, tell why


async def _answer(transport: Transport, channel: Channel, kind: str) -> tuple[Any, ...]:
    """What follows ``kind`` in the host's next line. Raises NotDirect for anything else."""
    while True:
        try:
            line = await channel.readline(_LINE)
        except ValueError as error:
            raise NotDirect(f"{transport.host}: {error}") from error
        if not line:
            done = await channel.wait()
            if done.status == _NO_PYTHON:
                raise NotDirect(f"{transport.host} has no python3")
            tail = scrub(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
            raise NotDirect(f"{transport.host} ended with status {done.status}: {tail}")
        if not line.startswith(b"["):
            continue  # a host's shell may greet
        try:
            said, *words = json.loads(line)
        except ValueError:
            continue
        if said != kind:
            failure = NotReached if said == "unreached" else NotDirect
            raise failure(f"{transport.host}: {scrub(' '.join(map(str, words)))}")
        return _checked(transport, kind, words)


def _checked(transport: Transport, kind: str, words: list[Any]) -> tuple[Any, ...]:
    kinds = {"listens": (str, int), "sent": (int,), "received": (int, str), "kept": ()}[kind]
    if len(words) != len(kinds) or not all(isinstance(word, kind) for word, kind in zip(words, kinds, strict=True)):
        raise NotDirect(f"{transport.host} gives an unexpected answer")
    return tuple(words)


@cache
def _program() -> bytes:
    code = files(__package__).joinpath("direct_host.py").read_bytes()
    return b"%08d" % len(code) + code


def _pair() -> dict[str, str]:
    """A key and its certificate, for one transfer. Valid for ever: the hosts' clocks may be wrong."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sidestep transfer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(1970, 1, 2, tzinfo=UTC))
        .not_valid_after(datetime(2199, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(), "key": secret.decode()}
