"""The panel: the newest numbers of all hosts, decoded together."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sidestep.backends.sampler.intake import Intake
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST, HOST_COLUMNS, MAX_LINE, SHARD, SHARD_COLUMNS
from sidestep.fleet.errors import HostError, HostUnreachable

HELLO = b"H2 42 6.1.0-amd64 100 python 0123abcd\n"
NOW = 1_700_000_000.0


def schema(*shards: str) -> bytes:
    return b"K %d %d %s\n" % (len(HOST_COLUMNS), len(SHARD_COLUMNS), ",".join(shards).encode() or b"-")


def shard(**known: float | str) -> dict[str, float | str]:
    return {"pid": 11, "token": 7, "running": 1, "memory": 400, **known}


def line(seq: int, at_ms: int, *shards: dict[str, float | str], **host: float | str) -> bytes:
    tokens = [str(host.get(name, "-")) for name, _ in HOST_COLUMNS]
    for one in shards:
        tokens += [str(one.get(name, "-")) for name, _ in SHARD_COLUMNS]
    return f"V {seq} {at_ms} {' '.join(tokens)}\n".encode()


class Bench:
    """A panel with a clock in hand."""

    def __init__(self, hosts: int = 1) -> None:
        self.time = 50.0
        self.panel = Panel([f"h{row}" for row in range(hosts)], clock=lambda: self.time)

    def greeted(self, row: int = 0, *shards: str, boot: str = "0123abcd") -> Intake:
        intake = self.panel.intake(row)
        intake.data(HELLO.replace(b"0123abcd", boot.encode()) + schema(*shards))
        return intake

    def take(self, intake: Intake, *lines: bytes) -> None:
        """Every line is decoded by itself, and good."""
        for one in lines:
            intake.data(one)
            assert self.panel.decode(NOW) == ()

    def rate(self, name: str, row: int = 0) -> float:
        return float(self.panel.rates[row, HOST[name]])


def test_counters_become_rates_by_the_hosts_own_clock() -> None:
    bench = Bench()
    assert bench.panel.seen.tolist() == [-np.inf]
    intake = bench.greeted()
    bench.take(intake, line(1, 10000, cpu_user=1_000_000, mem_used=500, disk_reads=10))
    assert np.isnan(bench.rate("cpu_user"))
    assert bench.rate("mem_used") == 500
    bench.time = 52.0
    bench.take(intake, line(2, 12000, cpu_user=4_000_000, mem_used=700, disk_reads=12))
    assert (bench.rate("cpu_user"), bench.rate("mem_used"), bench.rate("disk_reads")) == (1_500_000, 700, 1)
    assert bench.panel.values[0, HOST["cpu_user"]] == 4_000_000
    assert (bench.panel.seq[0], bench.panel.at_ms[0], bench.panel.seen[0]) == (2, 12000, 52.0)


def test_only_the_newest_of_several_waiting_samples_counts_and_nothing_is_lost() -> None:
    bench = Bench()
    intake = bench.greeted()
    bench.take(intake, line(1, 1000, disk_reads=0))
    for seq in range(2, 7):
        intake.data(line(seq, seq * 1000, disk_reads=seq * seq))
    bench.take(intake, line(9, 9000, disk_reads=80))
    assert bench.rate("disk_reads") == 10
    assert bench.panel.gaps[0] == 2


async def test_a_greeting_begins_and_the_end_ends() -> None:
    bench = Bench()
    intake = bench.panel.intake(0)
    waiting = asyncio.create_task(intake.begun())
    intake.data(b"Welcome\nto this host\n" + HELLO)
    assert await waiting
    intake.end(None, b"bye")
    await intake.ended()
    assert intake.stderr == b"bye"


async def test_a_lost_connection_ends_with_its_error() -> None:
    intake = Bench().greeted()
    intake.end(HostUnreachable("h0", "sample", "lost"), b"")
    with pytest.raises(HostUnreachable, match="lost"):
        await intake.ended()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (b"V 1 1000 1 2 3\n", "line 3: 3 values, the schema has 36"),
        (line(1, 1000, cpu_user="nan"), "not a record of values"),
        (line(1, 1000, cpu_user="-1"), "not a record of values"),
        (line(1, 1000, cpu_user="+1"), "not a record of values"),
        (line(1, 1000, cpu_user="1e9"), "not a record of values"),
        (line(1, 1000, cpu_user="1" * 21), "not a record of values"),
        (line(1, 1000, mem_used=2**61), "absurd value"),
        (line(1, 1000, load1="\x1b[2J"), "<1b>"),
        (b"Hello\n", "unknown record"),
        (HELLO, "no greeting was expected"),
        (b"V" * (MAX_LINE + 1), "more than 262144 bytes"),
        (schema("b", "a"), "not sorted"),
        (b"E failed gone\n", r"gave up \(failed\): gone"),
    ],
)
async def test_a_bad_line_fails_its_host_and_no_other(bad: bytes, match: str) -> None:
    bench = Bench(2)
    wrong, right = bench.greeted(0), bench.greeted(1)
    wrong.data(bad)
    right.data(line(1, 1000, cpu_user=5))
    found = bench.panel.decode(NOW)
    assert {row for row, _ in found} <= {0}
    with pytest.raises(HostError, match=match):
        await wrong.ended()
    assert bench.panel.seen[0] == -np.inf
    assert np.isnan(bench.panel.values[0]).all()
    assert bench.panel.values[1, HOST["cpu_user"]] == 5
    assert right.error is None


def test_shards_keep_their_numbers_while_others_come_and_go() -> None:
    bench = Bench(2)
    first, second = bench.greeted(0, "a", "b"), bench.greeted(1, "c")
    bench.take(first, line(1, 1000, shard(cpu=0), shard(cpu=100)))
    bench.take(second, line(1, 1000, shard(cpu=5)))
    assert bench.panel.shard_names == ("a", "b", "c")
    assert bench.panel.shard_host.tolist() == [0, 0, 1]
    layout = bench.panel.shard_layout
    first.data(schema("b", "d"))
    bench.take(first, line(2, 2000, shard(cpu=350), shard(cpu=1)))
    assert bench.panel.shard_layout > layout
    assert bench.panel.shard_names == ("b", "d", "c")
    rates = bench.panel.shard_rates[:, SHARD["cpu"]]
    assert rates[0] == 250
    assert np.isnan(rates[1:]).all()
    assert bench.panel.shard_values[2, SHARD["cpu"]] == 5
