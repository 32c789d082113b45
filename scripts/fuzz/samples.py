"""The sampler's stream: whatever one host sends, nothing raises, and no other host's numbers change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sidestep.backends.sampler import panel_views as views
from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST_COLUMNS, MAX_LINE, SHARD_COLUMNS

PARTS = ("sidestep.backends.sampler", "sidestep.fleet.labels", "sidestep.fleet.errors")

HELLO = b"H2 1 6.1.0 100 python 0123abcd\n"
_NOW = 1_700_000_000.0
#: where this byte stands, the panel decodes what has arrived
_DECODE = b"\x01"


def _schema(*names: bytes) -> bytes:
    return b"K %d %d %s\n" % (len(HOST_COLUMNS), len(SHARD_COLUMNS), b",".join(names) or b"-")


def _sample(seq: int, shards: int) -> bytes:
    host = [b"-" if column % 7 == 3 else b"%d" % (seq * column * 10**6) for column in range(len(HOST_COLUMNS))]
    host[8] = b"0.52"
    return b" ".join([b"V %d %d" % (seq, seq * 1000), *host, *([b"11 7 1 5000 400 - - 0 0 -"] * shards)]) + b"\n"


def seeds() -> Iterator[bytes]:
    """Sane streams of several lengths; the first byte says how they are cut."""
    begin = HELLO + b"F cpus=4 memory=100 os=debian psi=yes\n" + _schema()
    yield b"\x00Welcome\n" + begin + _sample(1, 0) + _DECODE + _sample(2, 0) + _DECODE + _sample(4, 0)
    yield b"\x07" + HELLO + _schema(b"a", b"b") + _sample(1, 2) + _DECODE + _schema(b"b") + _sample(2, 1) + _DECODE
    yield b"\x03" + begin + b"T a.timer@1700000000/60,b@5/-\nT -\n" + _sample(1, 0) + b"E failed gone\n"
    yield b"\x00" + HELLO + _schema() + _sample(3, 0) + _DECODE + HELLO + _schema() + _sample(1, 0)


def run(data: bytes) -> None:
    """Feed the bytes to two of three hosts, and compare the third with itself alone."""
    cut = data[0] if data else 0
    together, alone = Panel(["evil", "good", "evil"]), Panel(["good"])
    evil = [together.intake(0), together.intake(2)]
    # one of them is greeted, so that every byte may count
    evil[1].data(HELLO + _schema(b"a"))
    good, twin = together.intake(1), alone.intake(0)
    for intake in (good, twin):
        intake.data(HELLO + _schema(b"a"))
    for seq, part in enumerate(data[1:].split(_DECODE)[:8], 1):
        for intake in evil:
            _feed(intake, part, cut)
        for intake in (good, twin):
            intake.data(_sample(seq, 1))
        found = dict(together.decode(_NOW))
        assert alone.decode(_NOW) == ()
        assert 1 not in found, "a good host was refused"
        assert all(str(error.args[0]).isprintable() for error in found.values()), "an error is not printable"
        _compare(together, alone)
    assert good.error is None
    for intake in evil:
        assert len(intake._tail) <= MAX_LINE, "an unfinished line grows"
        intake.end(None, b"")


def _feed(intake: Intake, data: bytes, cut: int) -> None:
    if not cut:
        intake.data(data)
        return
    for start in range(0, len(data), cut):
        intake.data(data[start : start + cut])


def _compare(together: Panel, alone: Panel) -> None:
    for name in ("values", "rates", "gaps", "seq", "at_ms", "skew"):
        ours, theirs = getattr(together, name), getattr(alone, name)
        # the clocks of the two panels are read at different moments
        near = np.allclose(ours[1], theirs[0], atol=0.5 if name == "skew" else 0, rtol=0, equal_nan=True)
        assert near, f"{name} of a good host changed"
    rows = together.shard_host == 1
    assert np.array_equal(together.shard_rates[rows], alone.shard_rates, equal_nan=True), "a good host's shard changed"
    assert len(together.shard_names) == len(together.shard_values) == len(together.shard_host)
    assert (together.gaps >= 0).all()
    for numbers in (views.use(together), views.pressure(together), views.shard_use(together)):
        assert not (numbers < 0).any(), "a use below zero"
