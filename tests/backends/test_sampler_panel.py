"""The panel: the newest numbers of all hosts, decoded together."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from panel_bench import HELLO, NOW, Bench, line, schema, shard

from sidestep.backends.sampler import panel_views as views
from sidestep.backends.sampler.protocol import HOST, HOST_COLUMNS, MAX_LINE, SHARD
from sidestep.fleet.errors import HostError, HostUnreachable


def test_a_flood_of_good_samples_fails_its_host_and_a_backlog_does_not() -> None:
    bench = Bench(2)
    flood, calm = bench.greeted(0), bench.greeted(1)
    seq = 0
    for second in range(1, 12):
        bench.time += 1.0
        for _ in range(1000):
            seq += 1
            flood.data(line(seq, seq))
        calm.data(line(second, second * 1000, mem_used=second))
        bad = bench.panel.decode(NOW)
        if bad:
            break
    assert [(row, "a flood of samples" in str(error)) for row, error in bad] == [(0, True)]
    assert 8 < second < 11 and flood.error is not None and calm.error is None and bench.rate("mem_used", 1) == second
    backlog = Bench()
    late = backlog.greeted()
    for seq in range(1, 8001):
        late.data(line(seq, seq * 1000))
    assert backlog.panel.decode(NOW) == () and backlog.panel.seq[0] == 8000


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


def test_a_counter_that_goes_back_is_unknown_once_and_counted() -> None:
    """S1.3: counter resets."""
    bench = Bench()
    intake = bench.greeted()
    bench.take(intake, line(1, 1000, disk_reads=500, cpu_user=9_000_000), line(2, 2000, disk_reads=3, cpu_user=10))
    assert np.isnan(bench.rate("disk_reads"))
    assert np.isnan(bench.rate("cpu_user"))
    assert bench.panel.resets[0] == 1
    bench.take(intake, line(3, 3000, disk_reads=4, cpu_user=20))
    assert (bench.rate("disk_reads"), bench.rate("cpu_user"), bench.panel.resets[0]) == (1, 10, 1)


def test_processor_time_that_falls_by_a_few_ticks_is_no_reset() -> None:
    bench = Bench()
    intake = bench.greeted(0, "a")
    bench.take(intake, line(1, 1000, shard(cpu=90_000), cpu_user=90_000))
    bench.take(intake, line(2, 2000, shard(cpu=40_000), cpu_user=40_000))
    assert (bench.rate("cpu_user"), bench.panel.shard_rates[0, SHARD["cpu"]], bench.panel.resets[0]) == (0, 0, 0)
    bench.take(intake, line(3, 3000, shard(cpu=40_000), cpu_user=0), line(4, 4000, shard(cpu=0), cpu_user=50_001))
    bench.take(intake, line(5, 5000, shard(cpu=0), cpu_user=0))
    assert bench.panel.resets[0] == 1


def test_counters_go_on_over_a_reconnect_but_not_over_a_reboot() -> None:
    bench = Bench()
    bench.take(bench.greeted(), line(7, 1000, disk_reads=10))
    bench.take(bench.greeted(), line(1, 5000, disk_reads=30))
    assert (bench.rate("disk_reads"), bench.panel.restarts[0], bench.panel.gaps[0]) == (5, 1, 0)
    bench.take(bench.greeted(boot="ffffffff"), line(1, 9000, disk_reads=40))
    assert np.isnan(bench.rate("disk_reads"))
    assert (bench.panel.restarts[0], bench.panel.resets[0]) == (2, 0)
    bench.take(bench.greeted(boot="-"), line(1, 9500, disk_reads=40))
    bench.take(bench.greeted(boot="-"), line(1, 9700, disk_reads=40))
    assert np.isnan(bench.rate("disk_reads"))


async def test_a_newer_sampler_run_of_a_host_takes_over() -> None:
    bench = Bench()
    old = bench.greeted()
    bench.take(old, line(1, 1000, disk_reads=10))
    new = bench.greeted()
    with pytest.raises(HostError, match="took over"):
        await old.ended()
    old.data(line(2, 2000, disk_reads=99))
    assert bench.panel.decode(NOW) == ()
    assert bench.panel.values[0, HOST["disk_reads"]] == 10
    bench.take(new, line(1, 2000, disk_reads=20))
    assert bench.rate("disk_reads") == 10


def test_lost_samples_are_counted() -> None:
    """S1.3: gaps."""
    bench = Bench()
    bench.take(bench.greeted(), line(3, 1000), line(4, 2000), line(8, 6000))
    assert bench.panel.gaps[0] == 3


def test_samples_out_of_order_are_refused() -> None:
    for late in (line(5, 3000), line(4, 3000), line(6, 1999), line(2**53, 3000), line(10**18, 3000)):
        bench = Bench()
        intake = bench.greeted()
        bench.take(intake, line(5, 2000, cpu_user=1))
        bench.time = 60.0
        intake.data(late)
        ((row, error),) = bench.panel.decode(NOW)
        assert row == 0
        assert "out of order" in str(error) or "not a whole number" in str(error)
        assert (bench.panel.seq[0], bench.panel.seen[0]) == (5, 50.0)
        assert intake.error is error


def test_a_shard_that_was_started_again_has_no_rate_across_its_two_processes() -> None:
    bench = Bench()
    bench.take(bench.greeted(0, "a"), line(1, 1000, shard(cpu=5)), line(2, 2000, shard(cpu=9, pid=12)))
    assert np.isnan(bench.panel.shard_rates[0, SHARD["cpu"]])
    assert bench.panel.shard_values[0, SHARD["pid"]] == 12


@pytest.mark.parametrize("value", ["pid", "token", "running"])
@pytest.mark.parametrize("said", ["-", "0.5", str(2**54), "20" + "0" * 17])
def test_a_shard_without_whole_pid_token_or_state_is_refused(value: str, said: str) -> None:
    bench = Bench(2)
    wrong, right = bench.greeted(0, "a", "b"), bench.greeted(1, "c")
    wrong.data(line(1, 1000, shard(), shard(**{value: said})))
    right.data(line(1, 1000, shard(memory=5)))
    ((row, error),) = bench.panel.decode(NOW)
    assert (row, "absurd value" in str(error)) == (0, True)
    assert bench.panel.shard_values[:, SHARD["memory"]].tolist()[2] == 5
    assert np.isnan(bench.panel.shard_values[:2]).all()


def test_an_absurd_rate_is_refused_and_the_numbers_before_stay() -> None:
    bench = Bench()
    intake = bench.greeted()
    bench.take(intake, line(1, 1000, net_rx_bytes=7))
    intake.data(line(2, 1001, net_rx_bytes="9" * 20))
    assert len(bench.panel.decode(NOW)) == 1
    assert bench.panel.values[0, HOST["net_rx_bytes"]] == 7


def test_a_clock_that_is_wrong_is_seen_in_the_median_of_the_last_samples() -> None:
    bench = Bench()
    intake = bench.greeted()
    for seq, ahead in enumerate([3.0, 90.0, 3.5], 1):
        intake.data(line(seq, seq * 1000, wall_ms=int((NOW + ahead) * 1000)))
        bench.time += 0.5
        assert bench.panel.decode(NOW + 0.5) == ()
    assert bench.panel.skew[0] == pytest.approx(3.5)


def test_facts_and_tasks_are_kept_as_told() -> None:
    bench = Bench()
    intake = bench.greeted()
    intake.data(b"F cpus=4 os=debian odd=1\nT a.timer@1700000100/86400,job@x@1700000000.5/-\n")
    assert bench.panel.facts[0] == {"cpus": "4", "os": "debian"}
    assert [(t.name, t.next, t.period) for t in bench.panel.tasks[0]] == [
        ("a.timer", 1700000100, 86400),
        ("job@x", 1700000000.5, None),
    ]
    assert bench.panel.kinds[0] == "python"
    intake.data(b"T -\nF cpus=2\n")
    assert (bench.panel.tasks[0], bench.panel.facts[0]) == ((), {"cpus": "2", "os": "debian"})
    bench.greeted().data(b"F cpus=8\n")
    assert bench.panel.facts[0] == {"cpus": "8"}


@pytest.mark.parametrize(
    "bad",
    [
        b"F cpus\n",
        b"F cpus=many\n",
        b"F cpus=4\x1b[2J\n",
        b"T x\n",
        b"T a@5\n",
        b"T a@-5/-\n",
        b"T " + b",".join([b"a@1/1"] * 1025) + b"\n",
        b"F " + b"os=x " * 20000 + b"\n",
        schema("a", "a"),
        schema("a b"),
        schema("a\x1b"),
        schema("a" * 201),
        schema(*sorted(f"s{n}" for n in range(5000))),
        b"K 35 10 -\n",
        b"E ?\n",
        b"\n",
    ],
)
def test_rare_records_that_are_none_are_refused_at_once(bad: bytes) -> None:
    bench = Bench()
    intake = bench.greeted()
    intake.data(bad)
    assert isinstance(intake.error, HostError)
    assert "\x1b" not in str(intake.error)
    assert bench.panel.tasks[0] == ()
    assert bench.panel.decode(NOW) == ()


async def test_a_shell_may_say_so_much_before_the_greeting_and_no_more() -> None:
    bench = Bench()
    intake = bench.panel.intake(0)
    intake.data(b"V 1 1\nHello\n" * 32 + HELLO)
    assert await intake.begun()
    other = bench.panel.intake(0)
    other.data(b"V 1 1\nHello\n" * 32 + b"one more\n" + HELLO)
    assert not await other.begun()
    with pytest.raises(HostError, match="not a greeting"):
        await other.ended()


async def test_without_a_greeting_the_end_says_so() -> None:
    intake = Bench().panel.intake(0)
    intake.data(b"sh: python3: not found\n")
    intake.end(None, b"127")
    assert not await intake.begun()
    with pytest.raises(HostError, match="without a word of the sampler; log: 127"):
        await intake.ended()


@pytest.mark.parametrize("hello", [b"H1 42 k 100 python 00000000\n", b"H3 x\n"])
def test_another_version_is_refused(hello: bytes) -> None:
    intake = Bench().panel.intake(0)
    intake.data(hello)
    assert "this is version 2" in str(intake.error)


def test_views_are_in_the_units_of_resources() -> None:
    bench = Bench(3)
    whole, tree, unknown = bench.greeted(0, "a"), bench.greeted(1), bench.greeted(2)
    zero = dict.fromkeys((name for name, _ in HOST_COLUMNS), 0)
    second = {**zero, "cpu_user": 3e6, "cpu_system": 1e6, "cpu_steal": 5e5, "cpu_idle": 9e6, "mem_used": 7,
              "disk_reads": 4, "net_tx_bytes": 6, "psi_cpu_some": 5e5, "psi_io_some": 9e6, "swap_used": 8,
              "disk_busy": 1e6}  # fmt: skip
    for seq, words in ((1, zero), (2, {name: int(value) for name, value in second.items()})):
        whole.data(line(seq, seq * 2000, shard(cpu=seq * 10**6, memory=9), **words))
        tree.data(line(seq, seq * 2000, cpu_user=seq * 10**6, mem_used=3))
        unknown.data(line(seq, seq * 2000, cpu_idle=seq))
        assert bench.panel.decode(NOW) == ()
    used = views.use(bench.panel)
    assert used[0].tolist() == [2.0, 7.0, 2.0, 0.0, 0.0, 3.0]
    assert used[1, :2].tolist() == [0.5, 3.0]
    assert np.isnan(used[1, 2:]).all()
    assert np.isnan(used[2]).all()
    assert views.pressure(bench.panel)[0].tolist() == [25.0, 0.0, 100.0]
    names, numbers = views.series(bench.panel)
    assert dict(zip(names, numbers[0].tolist(), strict=True)) == {
        "cpu": 2, "memory": 7, "read_ops": 2, "write_ops": 0, "net_rx": 0, "net_tx": 3, "pressure_cpu": 25,
        "pressure_memory": 0, "pressure_io": 100, "steal": 0.25, "swap": 8, "disk_busy": 50,
    }  # fmt: skip
    assert views.shard_use(bench.panel).tolist() == [[0.5, 9.0]]


@pytest.mark.parametrize("tiny", [b"F\n", b"V \n", b"T -\n"])
def test_a_flood_of_tiny_lines_fails_its_host_long_before_it_costs_much(tiny: bytes) -> None:
    bench = Bench()
    intake, calm = bench.panel.intake(0), 10_000
    intake.data(HELLO + schema())
    intake.data(tiny * calm)
    assert intake.error is None
    intake.data(tiny * calm)
    assert "a flood of lines" in str(intake.error)


def test_a_host_that_was_looked_at_may_say_as_much_again() -> None:
    bench = Bench()
    intake = bench.greeted()
    for _ in range(4):
        intake.data(b"F cpus=4\n" * 10_000)
        assert bench.panel.decode(NOW) == ()
    assert intake.error is None
