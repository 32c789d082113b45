"""Reports of invocations, and the sketches that their durations are summed up in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet import invocation_sketch as sketches
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.invocations import MAX_FEATURES, Invocation, parse_report

NOW = 1_700_000_000.0
FULL = (
    b'{"app":"thumbs","shard":"thumbs-1","t":1699999999.5,"wall_s":0.25,"cpu_s":0.2,"max_rss":5e7,'
    b'"net_bytes":1200,"n":3,"x":{"pixels":2000000,"kind":"png","alpha":true}}'
)


def parse(line: bytes) -> Invocation:
    return parse_report(line, "reports", 7, NOW)


def test_a_report_gives_every_number_and_feature() -> None:
    """S1.2: historical invocations with resource use, execution time and input characteristics."""
    found = parse(FULL)
    assert (found.app, found.shard, found.t, found.n) == ("thumbs", "thumbs-1", 1699999999.5, 3)
    assert found.measures == (0.25, 0.2, 5e7, 1200.0)
    assert found.x == (("alpha", 1.0), ("kind", "png"), ("pixels", 2e6))


def test_what_is_not_reported_is_unknown_and_the_time_is_now() -> None:
    found = parse(b'{"app":"a","wall_s":1}')
    assert found.t == NOW
    assert found.n == 1
    assert [math.isnan(value) for value in found.measures] == [False, True, True, True]


def test_a_report_written_is_the_report_read() -> None:
    found = parse(FULL)
    assert parse(found.encode()) == found


def test_foreign_texts_are_made_harmless_once() -> None:
    found = parse(b'{"app":"a\\u001b[2J","shard":"\\u202eb","wall_s":1,"x":{"k\\u0007":"v\\u001b"}}')
    texts = [found.app, found.shard, *(word for pair in found.x for word in pair)]
    assert all(str(text).isprintable() for text in texts)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense", "not a report"),
        (b"[]", "not a report"),
        (b'{"app":"a"}', "wall_s"),
        (b'{"app":"","wall_s":1}', "app"),
        (b'{"app":"a","wall_s":-1}', "wall_s"),
        (b'{"app":"a","wall_s":1e999}', "range"),
        (b'{"app":"a","wall_s":1,"n":0}', "n"),
        (b'{"app":"a","wall_s":1,"t":99999999999}', "later than now"),
        (b'{"app":"a","wall_s":1,"colour":"red"}', "colour"),
        (b'{"app":"a","wall_s":1,"x":{"":1}}', "1 to 40"),
        (b'{"app":"a","wall_s":1,"x":{"k":[1]}}', "x"),
        (b'{"app":"' + b"a" * 5000 + b'","wall_s":1}', "longer than"),
        (b'{"app":"\xff","wall_s":1}', "not a report"),
    ],
    ids=[
        *("text", "list", "no time", "no app", "negative", "endless", "none", "later", "unknown key"),
        *("nameless", "nested", "long", "encoding"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(line: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match="reports:7") as refused:
        parse(line)
    assert said in str(refused.value)


def test_more_features_than_are_kept_are_refused() -> None:
    many = ",".join(f'"f{i}":1' for i in range(MAX_FEATURES + 1))
    with pytest.raises(ConfigError):
        parse(f'{{"app":"a","wall_s":1,"x":{{{many}}}}}'.encode())


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(line: bytes) -> None:
    try:
        parse(line)
    except ConfigError:
        return


durations = st.lists(st.floats(min_value=1e-5, max_value=1e5), min_size=1, max_size=200)


@given(durations)
def test_a_quantile_of_a_sketch_is_right_to_within_five_percent(values: list[float]) -> None:
    levels = (0.01, 0.5, 0.95, 0.99)
    counts = sketches.sketch(np.array(values), sketches.SECONDS)
    found = sketches.quantiles(counts, levels, sketches.SECONDS)
    exact = np.quantile(values, levels, method="inverted_cdf")
    assert np.all(np.abs(found / exact - 1) < 0.05)


@given(durations, durations)
def test_the_sketch_of_two_is_the_sum_of_their_sketches(one: list[float], other: list[float]) -> None:
    both = sketches.sketch(np.array(one + other), sketches.SECONDS)
    parts = [sketches.sketch(np.array(values), sketches.SECONDS) for values in (one, other)]
    assert np.array_equal(both, parts[0] + parts[1])
    assert np.array_equal(sketches.unpack(sketches.pack(both)), both)


def test_a_sketch_counts_what_stands_for_several_and_leaves_out_what_is_unknown() -> None:
    counts = sketches.sketch(np.array([1.0, np.nan, 3.0]), sketches.SECONDS, np.array([2, 5, 1]))
    assert counts.sum() == 3
    assert np.isnan(sketches.quantiles(counts * 0, (0.5,), sketches.SECONDS)).all()


@given(st.binary(max_size=300))
def test_bytes_that_are_no_sketch_are_refused(data: bytes) -> None:
    try:
        counts = sketches.unpack(data)
    except ValueError:
        return
    assert counts.shape == (sketches.BINS,)
