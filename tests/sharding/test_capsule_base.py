"""A state that went ahead: what is put together chunk by chunk is what a later capsule says, or it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sidestep.fleet.capsules import CHUNK, NAME
from sidestep.sharding.capsules import Chain, HostKey, MemoryChunks, Origin, Rejected, opened, state_of
from sidestep.sharding.capsules.base import Base
from sidestep.sharding.codec import decode, encode, same

KEY = HostKey.new()
ORIGIN = Origin(host="web1", shard="job/b0", token=1, program=b"p" * 16)


def values(seeds: list[int], size: int) -> dict[str, Any]:
    """A state of which every seed changes something, and which grows and shrinks with ``size``."""
    some = np.random.default_rng(len(seeds))
    held = bytearray(b"held" * (2 * CHUNK))
    array = np.arange(30_000.0)
    for seed in seeds:
        held[seed * 1009 % len(held)] ^= 1 + seed % 7
        array[seed * 313 % len(array)] += seed
    more = [np.full(100 * index + size, index) for index in range(len(seeds) % 3)]
    return {"held": held, "array": array, "text": some.bytes(size), "rows": list(range(size)), "more": more}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1 << 20), max_size=5), st.integers(0, 60_000)), min_size=1, max_size=6),
    st.booleans(),
)
def test_what_is_followed_step_by_step_is_the_state_of_the_last_capsule(
    steps: list[tuple[list[int], int]], settled: bool
) -> None:
    """S2.24, S2.29: whatever grew, shrank, came or went between two rounds of pre-copy."""
    chain, chunks, base = Chain(KEY, longest=None), MemoryChunks(), Base()
    for seeds, size in steps:
        value = values(seeds, size)
        header = opened(chain.make(encode(value, grain=CHUNK), ORIGIN).data, chunks).header
        state = base.follow(header, chunks)
        if settled:
            base.settle(state)
            state = base.follow(header, chunks)
        plain = state_of(header, chunks)
        assert bytes(state.stream) == bytes(plain.stream)
        assert [one.tobytes() for one in state.buffers] == [one.tobytes() for one in plain.buffers]
    assert same(decode(state, copy=False), value)


def test_arrays_stay_in_memory_that_was_settled() -> None:
    """S2.29: nothing of an array is touched while its block stands but the chunks that changed."""
    chunks, base = MemoryChunks(), Base()
    for align in (0, 8, 32, 56):
        memory = np.zeros(40_000 + 64, np.uint8)
        skip = (align - memory.__array_interface__["data"][0]) % 64
        live = memory[skip : skip + 40_000].view(np.float64)
        live[:] = np.arange(5000)
        header = opened(Chain(KEY).make(encode(live), ORIGIN).data, chunks).header
        base.settle(base.follow(header, chunks))
        state = base.follow(header, chunks)
        back: Any = decode(state, copy=False)
        assert np.shares_memory(back, state.buffers[0]) and same(back, live)
        assert not np.shares_memory(decode(state), state.buffers[0])
        base.give_away()
        assert not np.shares_memory(base.follow(header, chunks).buffers[0], back)


def test_a_chunk_that_does_not_fit_its_place_is_refused_and_nothing_is_believed_for_it() -> None:
    """S2.26: the last chunk of a shorter state, named by a header where a whole one belongs; and a missing one."""
    chain, chunks, base = Chain(KEY, longest=None), MemoryChunks(), Base()
    rng = np.random.default_rng(3)
    short = opened(chain.make(encode(rng.bytes(2 * CHUNK + 100)), ORIGIN).data, chunks).header
    base.follow(short, chunks)
    long = opened(chain.make(encode(whole := rng.bytes(5 * CHUNK)), ORIGIN).data, chunks).header
    names = long.names()
    names[2] = short.names()[2]
    with pytest.raises(Rejected, match="another length") as caught:
        base.follow(replace(long, chunks=b"".join(names)), chunks)
    assert caught.value.code == "chunk"
    names[2] = b"x" * NAME
    with pytest.raises(Rejected, match="is not here") as caught:
        base.follow(replace(long, chunks=b"".join(names)), chunks)
    assert caught.value.code == "missing"
    assert decode(base.follow(long, chunks)) == whole
    with pytest.raises(Rejected, match="without a state"):
        base.follow(replace(long, parts=(), chunks=b""), chunks)
