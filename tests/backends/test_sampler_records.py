"""The decoder of the host sampler's records."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.backends.sampler import Decoder, HostSample
from sidestep.backends.sampler.records import MAX_LINE
from sidestep.fleet.errors import HostError
from sidestep.fleet.resources import DIMENSIONS

HELLO = b"H1 42 6.1.0-amd64 100 python\n"
HOST = b"1000000000 500 10 20 30 40 0.50 - 1.25"


def greeted(schema: bytes = b"K 9 -\n") -> Decoder:
    decoder = Decoder("a")
    assert decoder.feed(HELLO) is None
    assert decoder.feed(schema) is None
    return decoder


def sampled(decoder: Decoder, line: bytes) -> HostSample:
    found = decoder.feed(line)
    assert found is not None
    return found


def refused(decoder: Decoder, line: bytes, match: str) -> HostError:
    with pytest.raises(HostError, match=match) as caught:
        decoder.feed(line)
    assert (caught.value.host, caught.value.step) == ("a", "sample")
    return caught.value


def test_counters_become_rates_by_the_hosts_own_clock() -> None:
    """S1.3: cpu in cores, memory in bytes, the others per second."""
    decoder = greeted()
    first = sampled(decoder, b"V 1 10000 " + HOST + b"\n")
    assert first.use[1] == 500.0
    assert all(math.isnan(v) for v in (first.use[0], *first.use[2:]))
    assert first.pressure[0] == 0.5
    assert math.isnan(first.pressure[1])
    second = sampled(decoder, b"V 2 12000 4000000000 700 12 26 1030 40 0 0 0\n")
    assert second.use == (1.5, 700.0, 1.0, 3.0, 500.0, 0.0)
    assert (second.host, second.seq, second.at, len(second.use)) == ("a", 2, 12.0, len(DIMENSIONS))


def test_a_lost_record_heals_by_itself() -> None:
    """S1.3: gaps."""
    decoder = greeted()
    decoder.feed(b"V 1 10000 0 - - - - - - - -")
    assert sampled(decoder, b"V 5 14000 8000000000 - - - - - - - -").use[0] == 2.0


def test_a_counter_that_goes_back_is_unknown_once() -> None:
    """S1.3: counter resets."""
    decoder = greeted()
    decoder.feed(b"V 1 1000 9000000000 1 500 5 5 5 0 0 0")
    reset = sampled(decoder, b"V 2 2000 100000000 1 3 6 5 5 0 0 0")
    assert math.isnan(reset.use[0])
    assert math.isnan(reset.use[2])
    assert reset.use[3] == 1.0
    assert sampled(decoder, b"V 3 3000 600000000 1 4 7 5 5 0 0 0").use[:3] == (0.5, 1.0, 1.0)


def test_a_total_that_falls_by_less_than_a_tick_is_no_reset() -> None:
    decoder = greeted()
    decoder.feed(b"V 1 1000 9000000000 - - - - - - - -")
    assert sampled(decoder, b"V 2 2000 8995000000 - - - - - - - -").use[0] == 0.0


def test_a_value_that_becomes_known_again_has_no_rate_yet() -> None:
    decoder = greeted()
    decoder.feed(b"V 1 1000 - - - - - - - - -")
    assert math.isnan(sampled(decoder, b"V 2 2000 9000000000 - - - - - - - -").use[0])


def test_two_samples_of_one_instant_have_no_rate() -> None:
    decoder = greeted()
    decoder.feed(b"V 1 1000 0 - - - - - - - -")
    assert math.isnan(sampled(decoder, b"V 2 1000 9000000000 - - - - - - - -").use[0])


def test_shards_are_named_by_the_newest_schema() -> None:
    decoder = greeted(b"K 9 a.0,b.1\n")
    host = b" - - - - - - - - - "
    decoder.feed(b"V 1 1000" + host + b"11 7 1000000000 400 1 0 3 - - 0")
    both = sampled(decoder, b"V 2 2000" + host + b"11 7 1250000000 500 0 0 3 - - 0").shards
    assert both[0].__class__(*("a.0", 0.25, 500.0, 11, 7, False)) == both[0]
    assert (both[1].shard, both[1].pid, both[1].token, both[1].running) == ("b.1", 0, 3, False)
    assert math.isnan(both[1].cpu)
    decoder.feed(b"K 9 b.1\n")
    (one,) = sampled(decoder, b"V 3 3000" + host + b"12 4 5000000000 1 1").shards
    assert (one.shard, one.token) == ("b.1", 4)
    assert math.isnan(one.cpu)


def test_a_restarted_shard_has_no_rate_across_its_two_processes() -> None:
    decoder = greeted(b"K 9 a\n")
    decoder.feed(b"V 1 1000 - - - - - - - - - 11 7 1000000000 400 1")
    (one,) = sampled(decoder, b"V 2 2000 - - - - - - - - - 12 8 1500000000 400 1").shards
    assert math.isnan(one.cpu)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"V 1 1000 1 2 3\n", "line 3: 3 values, the schema has 9"),
        (b"V 1 1000 " + HOST + b" 1\n", "line 3: 10 values"),
        (b"V 1 1000 nan 0 0 0 0 0 0 0 0\n", "not a record of values"),
        (b"V 1 1000 -1 0 0 0 0 0 0 0 0\n", "not a record of values"),
        (b"V 1 1000 1e9 0 0 0 0 0 0 0 0\n", "not a record of values"),
        (b"V 1 1000 0 0 0 0 0 0 101 0 0\n", "pressure above 100"),
        (b"V 1 1000 0 99999999999999999999 0 0 0 0 0 0 0\n", "absurd value"),
        (b"V x\n", "not a record of values"),
        (b"K 8 -\n", "not a schema of 9"),
        (b"K 9 b,a\n", "not sorted"),
        (b"K 9 a,a\n", "not sorted"),
        (b"K 9 ,a\n", "not sorted, or one is empty"),
        (b"K 9 a b\n", "not a schema"),
        (HELLO, "no greeting was expected"),
        (b"Welcome to this host\n", "unknown record"),
        (b"", "unknown record"),
        (b"V" * (MAX_LINE + 1), "at most 262144"),
        (b"E failed OSError: gone\n", r"the sampler gave up \(failed\): OSError: gone"),
        (b"E ?\n", "not an error record"),
    ],
)
def test_a_record_that_is_none_is_refused_with_its_line(line: bytes, match: str) -> None:
    refused(greeted(), line, match)


def test_offending_text_is_shown_without_its_escapes() -> None:
    error = refused(greeted(), b"\x1b[2Jpwned\n", "unknown record")
    assert "\x1b" not in str(error)
    assert "<1b>[2Jpwned" in str(error)


def test_an_absurd_rate_is_refused() -> None:
    decoder = greeted()
    decoder.feed(b"V 1 1000 0 - - - - - - - -")
    refused(decoder, b"V 2 1001 99999999999999999999 - - - - - - - -", "absurd value")


def test_samples_out_of_order_are_refused() -> None:
    for late in (b"V 5 3000 ", b"V 4 3000 ", b"V 6 1999 "):
        decoder = greeted()
        decoder.feed(b"V 5 2000 " + HOST)
        refused(decoder, late + HOST, "out of order")


def test_another_version_is_refused() -> None:
    refused(Decoder("a"), b"H2 1 k 100 python\n", "protocol version 2; this is version 1")


def test_nothing_counts_before_the_greeting_and_the_schema() -> None:
    refused(Decoder("a"), b"V 1 1 " + HOST, "not a greeting")
    decoder = Decoder("a")
    decoder.feed(HELLO)
    refused(decoder, b"V 1 1 " + HOST, "values before their schema")


LINES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda kind, words: kind + b" " + b" ".join(words),
        st.sampled_from([b"H1", b"H2", b"K", b"V", b"E"]),
        st.lists(
            st.one_of(
                st.integers(-5, 2**70).map(lambda n: b"%d" % n),
                st.sampled_from([b"-", b"9", b"a,b", b"1.5", b"nan", b"inf", b"1e400", b"", b"\xff", b"\xd9\xa1"]),
            ),
            max_size=20,
        ),
    ),
    st.just(b"V 9 9 " + HOST),
)


@given(st.lists(LINES, max_size=8), st.booleans())
def test_any_bytes_give_a_sample_or_a_host_error_and_nothing_else(lines: list[bytes], begun: bool) -> None:
    decoder = greeted(b"K 9 a,b\n") if begun else Decoder("a")
    for line in lines:
        try:
            found = decoder.feed(line)
        except HostError as error:
            assert str(error).isprintable() or "\n  remedy: " in str(error)
        else:
            assert found is None or len(found.use) == len(DIMENSIONS)


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 10**12), st.integers(0, 2**50), st.integers(0, 10**9)),
        min_size=2,
        max_size=10,
    )
)
def test_known_rates_are_never_negative_and_match_the_totals(steps: list[tuple[int, int, int, int]]) -> None:
    decoder = greeted()
    at = cpu = reads = 0
    for seq, (ms, more_cpu, memory, more_reads) in enumerate(steps, 1):
        at, cpu, reads = at + ms, cpu + more_cpu * ms // 1000, reads + more_reads
        found = sampled(decoder, b"V %d %d %d %d %d 0 0 0 0 0 0" % (seq, at, cpu, memory, reads))
        if seq > 1 and ms:
            assert found.use[1] == memory
            assert found.use[0] == pytest.approx(more_cpu * ms // 1000 / (ms * 1e6))
            assert found.use[2] == pytest.approx(more_reads * 1000 / ms)
