"""The daemon's frames: any bytes are a message or a ProtocolError, and what was read is written alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from sidestep.autopilot import protocol
from sidestep.autopilot.protocol_tables import with_tables, without_tables
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.labels import Label

PARTS = ("sidestep.autopilot.protocol", "sidestep.fleet")


def seeds() -> Iterator[bytes]:
    """One of most requests and answers, behind a byte that says which of the two it is."""
    bodies = [
        protocol.Hello(client="x"), protocol.Subscribe(), protocol.GetSnapshot(), protocol.ListPlans(),
        protocol.GetPlan("ab12cd"), protocol.Approve("ab" * 32), protocol.ProposeMove("kv-1", "h2"),
        protocol.SetLevel("advise"), protocol.GetDemand(), protocol.GetLog(), protocol.Shutdown(),
    ]  # fmt: skip
    for number, body in enumerate(bodies, 1):
        yield b"\x00" + protocol.pack(protocol.Request(number, body))
    frame = protocol.SnapshotFrame(
        number=1, time=1.0, generation=1, level="advise", lag=0.0, oracle=Label(""), model=Label("trend"),
        confidence="ok", tables=1, hosts=(protocol.HostStrings(Label("h"), Label("z")),), shards=(),
        allocatable=bytes(24), shard_priority=b"", host_state=b"\x01", reasons={0: Label("why")}, use=bytes(24),
        age=bytes(4), shard_state=b"", shard_host=b"", shard_use=b"", shard_bytes=b"", past=b"", past_steps=0,
        past_step=1.0, future=b"", future_steps=0, future_step=1.0, risk=bytes(8), threshold_cpu=0.8,
        threshold_memory=0.85, quality=bytes(16),
    )  # fmt: skip
    for answer in (
        frame,
        protocol.Failure(code="usage", message=Label("no")),
        protocol.Done(),
        protocol.PlanList(()),
        protocol.DemandList(("{}",)),
        protocol.EventList(()),
    ):
        yield b"\x01" + protocol.pack(protocol.Reply(1, answer))
    # found by fuzzing: text that is no UTF-8
    yield b"\x00" + protocol.pack(protocol.Request(1, protocol.GetPlan("ab12cd"))).replace(b"12", b"\xa8\x01")


def run(data: bytes) -> None:
    """Read a frame as the daemon or as the console does."""
    parse: Callable[[bytes], protocol.Request | protocol.Reply]
    parse = protocol.parse_reply if data[:1] == b"\x01" else protocol.parse_request
    with suppress(ProtocolError):
        protocol.frame_length(data[1:5])
    try:
        message = parse(data[5:])
    except ProtocolError as error:
        assert str(error.args[0]).isprintable(), "an error is not printable"
        return
    written = protocol.pack(message)
    assert protocol.frame_length(written[: protocol.HEADER]) == len(written) - protocol.HEADER
    assert protocol.pack(parse(written[protocol.HEADER :])) == written, "a message is not written as it was read"
    if isinstance(message.body, protocol.SnapshotFrame):
        with suppress(ProtocolError):
            protocol.host_states(message.body)
            protocol.shard_states(message.body)
        with_tables(without_tables(message.body), message.body)
