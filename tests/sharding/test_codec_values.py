"""The codec: whatever is of the universe comes back as it was, anything else is refused by name."""

import contextlib
import math
import os
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidestep.sharding.codec import (
    LIMITS,
    Damaged,
    Encoded,
    Limits,
    Refused,
    Sets,
    clone,
    decode,
    dumps,
    encode,
    loads,
    pack,
    same,
    unpack,
)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.floats(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
ARRAYS = st.builds(
    lambda kind, n, step: np.arange(n).astype(kind)[::step],
    st.sampled_from(["u1", "<i4", ">f8", "c16", "?", "m8[ns]", "S3", "U2"]),
    st.integers(0, 6),
    st.sampled_from([1, -1, 2]),
).filter(lambda a: a.size < 7)
VALUES: st.SearchStrategy[Any] = st.recursive(
    HASHABLE | st.complex_numbers() | st.floats() | ARRAYS | st.binary(max_size=3).map(bytearray)
    | st.builds(range, st.integers(-9, 9), st.integers(), st.just(3))
    | st.sampled_from([np.float32(1.5), np.str_("a\0")]),
    lambda inner: st.lists(inner, max_size=4)
    | st.tuples(inner, inner)
    | st.dictionaries(HASHABLE, inner, max_size=3)
    | st.dictionaries(HASHABLE, inner, max_size=3).map(OrderedDict)
    | st.dictionaries(HASHABLE, inner, max_size=3).map(lambda d: defaultdict(list, d))
    | st.lists(inner, max_size=3).map(lambda x: deque(x, maxlen=5))
    | st.lists(inner, max_size=3).map(lambda x: [x, x, (x, iter(x))])
    | st.builds(slice, inner, inner)
    | st.lists(HASHABLE, max_size=3).map(Counter),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@example(frozenset([frozenset([None, b"\x00"])]))
@given(VALUES)
def test_every_value_of_the_universe_comes_back_bit_for_bit(value: Any) -> None:
    """S2.18, S5.11"""
    again = loads(dumps(value, sets=Sets.CONTENTS))
    assert type(again) is type(value)
    assert same(value, again)


def test_what_is_one_object_stays_one_object() -> None:
    """S5.11: references as object ids."""
    shared: list[Any] = [1]
    array = np.arange(12.0).reshape(3, 4)
    loop: list[Any] = [shared, {"again": shared}, array, array[1:, ::-2], array.T]
    loop.append(loop)
    again: Any = clone(loop)
    assert again[0] is again[1]["again"] and again[5] is again
    again[2][1, 3] = -7.0
    assert again[3][0, 0] == -7.0 and again[4][3, 1] == -7.0
    assert array[1, 3] == 7.0


def test_iterators_go_on_where_they_were() -> None:
    source = [1, 2, 3, 4]
    entries = {"a": 1, "b": 2, "c": 3}
    forward, items = iter(source), iter(entries.items())
    next(forward), next(items)
    bundle = [source, forward, zip(forward, forward, strict=True), enumerate(reversed(source), 5), entries, items]
    again: Any = clone(bundle)
    entries["c"], again[4]["c"] = 9, 9
    assert list(again[5]) == list(items) == [("b", 2), ("c", 9)]
    again[0].append(5)
    assert list(again[1]) == [2, 3, 4, 5] and list(again[3]) == [(5, 4), (6, 3), (7, 2), (8, 1)]
    assert list(forward) == [2, 3, 4]


def test_of_a_slice_only_what_it_spans_is_taken() -> None:
    """S2.4, S5.12"""
    big = np.zeros(1 << 16)
    encoded = encode({"part": big[100:200]})
    assert sum(one.nbytes for one in encoded.buffers) == 800
    assert np.shares_memory(encoded.buffers[0], big)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (lambda: 1, "type"), (open, "type"), (object(), "type"), (type("L", (list,), {})(), "type"),
        (map(abs, []), "type"), (iter(int, 1), "type"), (defaultdict(lambda: 1), "type"), (os.system, "type"),
        (np.array([object()]), "dtype"), (np.zeros(1, "i4,f8"), "dtype"), (np.frombuffer(bytearray(8)), "memory"),
        ({1, 2, math.nan}, "set-order"), ({"text", "more"}, "set-order"), ({iter([]): 1}, "key"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_universe_is_refused(value: Any, code: str) -> None:
    """S2.4"""
    with pytest.raises(Refused) as caught:
        encode([value])
    assert caught.value.code == code


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 5000), max_size=300), st.lists(st.integers(0, 5000), max_size=30), st.booleans())
def test_a_set_comes_back_with_its_order_or_not_at_all(start: set[int], more: list[int], copied: bool) -> None:
    """R-set: it iterates, pops and grows as the set itself."""
    value = start.copy() if copied else set(start)
    try:
        again: Any = loads(dumps(value))
    except Refused as error:
        assert error.code == "set-order"
        return
    for one in (value, again):
        for number in more:
            one.add(number)
    assert list(again) == list(value)
    assert [again.pop() for _ in range(len(again) // 2)] == [value.pop() for _ in range(len(value) // 2)]


def test_a_set_from_which_something_was_removed_is_refused_unless_its_order_is_not_asked() -> None:
    value = set(range(20))
    value.discard(3)
    with pytest.raises(Refused, match="another order"):
        encode(value)
    assert loads(dumps(value, sets=Sets.CONTENTS)) == value


def test_text_in_sets_is_kept_between_processes_with_one_seed() -> None:
    """Also: bytes made here are the same value in a process with another seed of hashes."""
    script = (
        "import sys; from sidestep.sharding.codec import dumps, loads\n"
        "if len(sys.argv) > 1: print(loads(bytes.fromhex(sys.argv[1])))\n"
        "else: print(dumps([{str(i) for i in range(50)}]).hex())\n"
    )

    def run(seed: str, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *args],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip() or done.stderr.splitlines()[-1]

    made = run("7")
    assert run("7", made) == str([set(map(str, range(50)))]) or len(run("7", made)) > 50
    assert "another order" in run("8", made)
    assert run("8", dumps({"a": [1, (2, "x")]}).hex()) == "{'a': [1, (2, 'x')]}"


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_damage_does_more_than_raise(data: st.DataObject) -> None:
    """S2.18: a fuzzed decoder."""
    value = [{"a": [1, 2.5, None], (1, 2): np.arange(4)}, iter([1]), {3, 4}, "x" * 9, (range(3), 2**80), deque([1], 4)]
    raw = bytearray(dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    with contextlib.suppress(Damaged, Refused):
        loads(bytes(raw), limits=Limits(memory=1 << 24, objects=1 << 16))


def _stream(*parts: bytes) -> Encoded:
    return Encoded(bytes([1]) + b"".join(parts))


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00\xff\xff\xff\xff\xff\xff\x7f\xff",  # a column of 2**49 None
        b"\x0b\x01\x20\x01\x00\x01\x01\x20\x01\x01\x0b\x01\x20\x01\x00\xff",  # a tuple that holds itself
        b"\x23\x05",  # numbers that are not there
        b"\x29\xff\xff\x7f\x00\x01\xff",  # padding that is not there
        b"\x29\x00\x29\x00\x00\x01\xff",  # padding of padding
        b"\x0c\x01\xfe\xff",  # a type that does not exist
        b"\x26\x01\x00\xff",  # a reference to nothing
        b"\x26\x01\x00\x63\x01\xff",  # a kind of object that does not exist
    ],
)
def test_forged_streams_are_refused(stream: bytes) -> None:
    with pytest.raises(Damaged):
        decode(_stream(stream), limits=Limits(memory=1 << 26))


def test_forged_offsets_and_headers_are_refused() -> None:
    encoded = encode(np.arange(8.0)[2:6])
    for short in (encoded.buffers[0][:-1], encoded.buffers[0][:0]):
        with pytest.raises(Damaged, match="outside"):
            decode(Encoded(encoded.stream, (short,)))
    with pytest.raises(Damaged):
        decode(Encoded(encoded.stream, ()))
    packed = bytearray(pack(encoded))
    packed[8:16] = (10 << 30).to_bytes(8, "little")
    with pytest.raises(Damaged, match="cut short"):
        unpack(bytes(packed))
    with pytest.raises(Damaged, match="allowed"):
        unpack(pack(encoded), limits=Limits(memory=16))


def test_depth_does_not_matter() -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    again: Any = loads(dumps(deep))
    for _ in range(3000):
        (again,) = again
    assert again == []
    assert LIMITS.objects > 3000
