"""The lock socket: any bytes are requests or a WireError, and whatever is asked leaves the table whole."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep.autopilot.locks.table import LockTable, Outcome
from sidestep.fleet.labels import scrub
from sidestep.locks import wire

PARTS = ("sidestep.locks", "sidestep.autopilot.locks", "sidestep.fleet.labels")

_CLAIMS = (b"a" * wire.CLAIM, b"b" * wire.CLAIM)


def _asked(*bodies: wire.Hello | wire.Acquire | wire.Renew | wire.Release | wire.Query) -> bytes:
    return b"".join(wire.pack(wire.Request(number, body)) for number, body in enumerate(bodies, 1))


def seeds() -> Iterator[bytes]:
    """Conversations behind a byte that says how they are cut, and one of each answer."""
    one, two = _CLAIMS
    yield b"\x00" + _asked(wire.Hello(holder="x"), wire.Acquire("l", one, 1.0), wire.Renew("l", one, 1))
    yield b"\x03" + _asked(wire.Acquire("l", one, 1.0), wire.Acquire("l", two, 2.0, 9.0, "n"), wire.Release("l", one))
    yield b"\x01" + _asked(
        wire.Query(), wire.Query("l"), wire.Release("m", two), wire.Acquire("\x1b", one, 1e300, -1.0)
    )
    lock = wire.HeldLock("l", 1, "h", "n", 1.0, 0.5, 0, 0.0)
    answers = (
        wire.Welcome(), wire.Granted(1, 1.0), wire.Renewed(), wire.Released(True), wire.Refused("busy", "no"),
        wire.LockList((lock,), True),
    )  # fmt: skip
    for answer in answers:
        yield b"\xff" + wire.pack(wire.Reply(1, answer))


def run(data: bytes) -> None:
    """Read as the client reads answers, or as the service reads and does requests."""
    cut, rest = (data[0] if data else 0), data[1:]
    frames = wire.Frames(wire.MAX_REQUEST)
    found: list[bytes] = []
    try:
        for start in range(0, len(rest), cut or len(rest) or 1):
            found += frames.feed(rest[start : start + (cut or len(rest))])
            assert len(frames._rest) <= wire.MAX_REQUEST + wire.HEADER + 255, "an unfinished frame grows"
    except wire.WireError as error:
        assert str(error).isprintable(), "an error is not printable"
    table, now = LockTable(), 0.0
    for number, frame in enumerate(found):
        now += 0.5
        try:
            if cut == 0xFF:
                reply = wire.parse_reply(frame)
                assert wire.parse_reply(wire.pack(reply)[wire.HEADER :]) == reply
            else:
                _do(table, wire.parse_request(frame), number, now)
        except wire.WireError as error:
            assert str(error).isprintable(), "an error is not printable"


def _do(table: LockTable, request: wire.Request, number: int, now: float) -> None:
    body, highest = request.body, table.token
    outcomes: list[Outcome] = []
    match body:
        case wire.Acquire():
            if wrong := wire.wrong_acquire(body.name, body.ttl, body.wait, body.note):
                assert wrong.isprintable(), "an error is not printable"
                return
            outcomes = table.acquire((1, number), body, body.claim.hex(), scrub("h"), now, 0.0)
        case wire.Renew():
            table.renew(body.name, body.claim.hex(), body.token, now)
        case wire.Release():
            outcomes = table.release(body.name, body.claim.hex(), now, 0.0)[1]
        case wire.Query():
            list(table.held(now, body.name))
    outcomes += table.tick(now, 0.0)
    assert not any(isinstance(answer, wire.Granted) and answer.token > highest for _, answer in outcomes), "not durable"
    _check(table, table.written(now), now)


def _check(table: LockTable, outcomes: list[Outcome], now: float) -> None:
    assert table.changes() is None
    for lock in table.held(now):
        assert lock.name.isprintable(), "a name is not printable"
        assert 0 < lock.token <= table.token and lock.left <= lock.ttl
    for _, answer in outcomes:
        assert isinstance(answer, wire.Granted)
