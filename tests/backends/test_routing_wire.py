"""Frames of the router's control socket."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.backends.routing import wire
from sidestep.fleet.errors import ProtocolError

CALLS = st.one_of(
    st.builds(wire.Hold, st.text(), st.floats(0, 1e6)),
    st.builds(wire.Release, st.text()),
    st.builds(wire.Apply, st.binary(), st.integers(0, 2**32 - 1)),
    st.just(wire.GetGeneration()),
    st.just(wire.GetStats()),
    st.just(wire.Audit()),
)
ANSWERS = st.one_of(
    st.builds(wire.Done, st.integers(0, 2**40)),
    st.builds(wire.Facts, st.dictionaries(st.text(), st.integers(-(2**40), 2**40))),
    st.builds(wire.Refused, st.text(), st.text()),
)


async def unframe(data: bytes) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await wire.read_frame(reader)


@given(CALLS)
def test_every_call_survives_the_wire(call: wire.Call) -> None:
    assert wire.parse_call(asyncio.run(unframe(wire.pack(call)))) == call


@given(ANSWERS)
def test_every_answer_survives_the_wire(answer: wire.Answer) -> None:
    assert wire.parse_answer(asyncio.run(unframe(wire.pack(answer)))) == answer


@given(CALLS, st.data())
def test_a_truncated_frame_is_an_error_never_a_call(call: wire.Call, data: st.DataObject) -> None:
    frame = wire.pack(call)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    with pytest.raises(ProtocolError, match="mid-frame"):
        asyncio.run(unframe(cut))


@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error_or_a_message(noise: bytes) -> None:
    for parse in (wire.parse_call, wire.parse_answer):
        try:
            parse(noise)
        except ProtocolError as error:
            assert "router" in str(error)


@pytest.mark.parametrize("length", [0, wire.MAX_FRAME + 1, 2**32 - 1])
async def test_an_absurd_length_is_refused_before_anything_is_read(length: int) -> None:
    with pytest.raises(ProtocolError, match="announced"):
        await unframe(length.to_bytes(4, "big") + b"x")
