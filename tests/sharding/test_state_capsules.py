"""Capsules: what was sealed is opened bit for bit, and everything else is turned away with the reason."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from typer.testing import CliRunner

from sidestep.console.commandline import app
from sidestep.fleet.capsules import CHUNK, CapsuleHeader, Sealed, Unreadable, encoded, framed, parse, read
from sidestep.sharding.capsules import (
    Chain,
    ChunkStore,
    Expected,
    Gate,
    HostKey,
    Origin,
    Rejected,
    fingerprint,
    live_of,
    opened,
    parts_of,
    state_of,
    whole,
)
from sidestep.sharding.codec import decode, encode, same
from sidestep.sharding.codec.columns import padding

KEY = HostKey.new()
GATE = {"web1": KEY.public}


def origin(token: int = 1, **more: Any) -> Origin:
    return Origin(host="web1", shard="job/b0", token=token, program=b"p" * 16, **more)


def test_a_capsule_gives_back_the_state_and_says_what_it_is_of(tmp_path: Path) -> None:
    """S2.10, S2.24, S5.11"""
    value = {"a": np.arange(9000.0), "t": [1, 2, ("x",)]}
    made = Chain(KEY).make(encode(value), origin(block="main", line=7, live=live_of(value.items())))
    store = ChunkStore(tmp_path)
    sealed = opened(made.data, store)
    Gate(GATE).take(sealed, Expected("job/b0", b"p" * 16, fingerprint()))
    assert same(decode(state_of(sealed.header, store)), value)
    assert sealed.id == made.id and sealed.header.line == 7
    assert [(one.name, one.type) for one in sealed.header.live] == [("a", "ndarray"), ("t", "list")]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 39999), st.integers(0, 9)), max_size=3), min_size=1, max_size=9))
def test_a_chain_gives_back_every_state_that_went_into_it(steps: list[list[tuple[int, int]]]) -> None:
    """S2.11: restore(base + deltas) is the live state at each step; chains end."""
    live = np.zeros(40000, np.int64)
    store = Memory()
    chain, depth = Chain(KEY, longest=4), []
    for step in steps:
        for at, value in step:
            live[at] = value
        made = chain.make(encode(live), origin())
        sealed = opened(made.data, store)
        depth.append(sealed.header.depth)
        assert same(decode(state_of(sealed.header, store)), live)
    assert depth[0] == 0 and max(depth) < 4
    assert all(b in {a + 1, 0} for a, b in pairwise(depth))


class Memory(dict[bytes, bytes]):
    """A store in memory."""

    def put(self, name: bytes, chunk: bytes) -> None:
        self[name] = chunk

    def get(self, name: bytes, default: Any = None) -> bytes:
        return self[name]


def test_a_later_capsule_has_only_what_changed() -> None:
    """S2.11: size counters."""
    live = np.random.default_rng(1).random(200_000)
    chain = Chain(KEY)
    base = chain.make(encode(live), origin())
    live[777] = 0.0
    later = chain.make(encode(live), origin())
    assert later.header.parent == base.id and later.header.carried == 1
    assert len(later.data) < CHUNK + 3000 and len(base.data) > live.nbytes * 0.8
    with pytest.raises(Rejected, match="a capsule before this one") as caught:
        state_of(opened(later.data, store := Memory()).header, store)
    assert caught.value.code == "missing"


def test_what_lies_after_a_number_that_grew_is_not_carried_again() -> None:
    """S2.11, S2.29: large columns begin where a chunk begins; without a grain the same state is carried anew."""
    held = np.random.default_rng(2).bytes(40 * CHUNK)
    rows = [[float(i * j) for j in range(300)] for i in range(100)]

    def carried(grain: int) -> list[int]:
        chain, found = Chain(KEY, longest=None), []
        for number in (1, 1 << 10, 1 << 40, 1 << 200):
            state = encode([number, bytearray(held), ["x" * 40, rows, held + b"!"]], grain=grain)
            assert same(decode(state), [number, bytearray(held), ["x" * 40, rows, held + b"!"]])
            found.append(chain.make(state, origin()).header.carried)
        return found

    first, *later = carried(CHUNK)
    assert first > 40
    assert max(later) <= 6
    assert min(carried(0)[1:]) > 40


@given(st.integers(0, 1 << 40), st.integers(0, 21))
def test_padding_ends_where_a_piece_begins(at: int, grain: int) -> None:
    assert (at + len(padding(at, 1 << grain))) % (1 << grain) == 0


def sealed_by(key: HostKey, header: CapsuleHeader) -> Sealed:
    raw = encoded(header)
    return parse(framed(raw, key.sign(raw)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"host": "web2"}, "host"),
        ({"shard": "job/b1"}, "shard"),
        ({"program": b"q" * 16}, "program"),
        ({"token": 4, "sequence": 99}, "token"),
        ({"token": 5, "sequence": 7}, "sequence"),
        ({"fingerprint": replace(fingerprint(), blas="other 1")}, "fingerprint"),
    ],
)
def test_a_capsule_that_must_not_be_used_is_turned_away_with_the_reason(change: dict[str, Any], code: str) -> None:
    """S2.23, S2.27: old tokens, replays, other programs."""
    good = replace(Chain(KEY).make(encode(1), origin()).header, token=5, sequence=7)
    gate = Gate(GATE)
    expected = Expected("job/b0", b"p" * 16, fingerprint())
    gate.take(sealed_by(KEY, good), expected)
    with pytest.raises(Rejected) as caught:
        gate.take(sealed_by(KEY, replace(good, **{"sequence": 8, **change})), expected)
    assert caught.value.code == code
    gate.take(sealed_by(KEY, replace(good, sequence=8)), expected)


def test_another_hosts_key_is_refused() -> None:
    header = Chain(KEY).make(encode(1), origin()).header
    with pytest.raises(Rejected) as caught:
        Gate(GATE).check(sealed_by(HostKey.new(), header))
    assert caught.value.code == "signature"


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_not_one_bit_can_be_changed(data: st.DataObject) -> None:
    """S2.25: verified on arrival."""
    raw = bytearray(MADE.data)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((Rejected, Unreadable)):
        sealed = opened(bytes(raw), store := Memory())
        Gate(GATE).take(sealed)
        state_of(sealed.header, store)


MADE = Chain(KEY).make(encode([np.zeros(9000), np.random.default_rng(2).random(3000), "text"]), origin())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"SIDECAP\x01", b"SIDECAP\x01\xff\xff\xff\xff" + b"x" * 99,

        b"SIDECAP\x01\x05\0\0\0\xdd\xff\xff\xff\xff" + b"x" * 64,
        framed(encoded(CapsuleHeader(parts=(10 << 30,))), b"s" * 64),
        framed(encoded(CapsuleHeader(schema=9)), b"s" * 64),
        framed(encoded(CapsuleHeader(parts=(-1,), chunks=b"")), b"s" * 64), MADE.data[:200],
    ],
)  # fmt: skip
def test_headers_that_cannot_be_are_refused_before_anything_is_made_of_them(data: bytes) -> None:
    """S2.18: 10 GB headers."""
    with pytest.raises(Unreadable):
        parse(data)


def test_scrub_finds_damage_and_repairs_it_from_elsewhere(tmp_path: Path) -> None:
    """S2.19: scrub and repair."""
    here, there = ChunkStore(tmp_path / "a"), ChunkStore(tmp_path / "b")
    for store in (here, there):
        opened(MADE.data, store)
    bad = here.names()[:2]
    for name in bad:
        path = tmp_path / "a" / name.hex()[:2] / name.hex()[2:]
        path.write_bytes(path.read_bytes()[:-1] + b"!!")
    with pytest.raises((Rejected, KeyError)):
        state_of(MADE.header, here)
    found = here.scrub(lambda name: there.get(name) if name == bad[0] else b"wrong")
    assert (found.bad, found.repaired) == (tuple(bad), (bad[0],))
    assert bad[1] not in here and here.scrub().bad == ()
    assert here.keep_only([]) == len(there.names()) - 1 and here.names() == []


def test_what_a_backend_captured_is_carried_by_the_same_file() -> None:
    """S2.19: one format, for the state of processes and of functions."""
    data = bytes(range(256)) * 300
    made = whole(KEY, data, origin(kind="opaque"), 41)
    sealed = opened(made.data, store := Memory())
    Gate(GATE).take(sealed)
    assert sealed.header.kind == "opaque" and sealed.header.sequence == 41
    assert b"".join(part.tobytes() for part in parts_of(sealed.header, store)) == data


def test_a_key_is_kept_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = HostKey.kept(path)
    assert path.stat().st_mode & 0o777 == 0o600 and HostKey.kept(path).public == made.public


def test_capsule_show_prints_the_header_of_a_file_or_an_id(tmp_path: Path) -> None:
    """S2.9: headers only; of the state not a byte is looked at."""
    value = {"total": 3, "\x1b[31mred": [1]}
    made = Chain(KEY).make(encode(value), origin(token=3, block="main", line=9, live=live_of(value.items())))
    cut = made.data[: parse(made.data).preamble]
    (tmp_path / "one.capsule").write_bytes(cut)
    assert read(tmp_path / "one.capsule").header == made.header
    run = CliRunner()
    shown = run.invoke(app, ["capsule", "show", str(tmp_path / "one.capsule")])
    assert "token 3" in shown.output and "line 9" in shown.output and "\x1b" not in shown.output
    told = json.loads(run.invoke(app, ["capsule", "show", made.id.hex()[:6], "--in", str(tmp_path), "--json"]).output)
    assert told["id"] == made.id.hex() and told["sequence"] == 1 and told["live"][0]["name"] == "total"
    assert run.invoke(app, ["capsule", "show", "ffff", "--in", str(tmp_path)]).exit_code != 0
