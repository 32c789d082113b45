"""The demonstration's shard: what it counts, refuses, saves and loads."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from counters import CounterProcess

Make = Callable[..., CounterProcess]


def test_every_request_is_counted_once_with_its_token_and_number(counter: Make) -> None:
    """S2.27: answers carry the fencing token, so that a second owner shows."""
    one = counter("kv-01", 7)
    assert one.ask(b"INC a k1\n") == b"OK a 7 1 1\n"
    assert one.ask(b"INC b k2\n") == b"OK b 7 2 1\n"
    assert one.ask(b"INC c k1\n") == b"OK c 7 3 2\n"
    assert one.total() == 3


def test_asked_to_it_says_what_every_request_cost(counter: Make) -> None:
    """S1.2: resource use of every invocation."""
    words = counter("kv-01", 7, report=True).ask(b"INC a k1\n").split()
    assert words[:5] == [b"OK", b"a", b"7", b"1", b"1"]
    said = dict(word.split(b"=") for word in words[5:])
    assert float(said[b"cpu_s"]) >= 0.0002
    assert int(said[b"max_rss"]) > 1 << 20
    assert said[b"x.keys"] == b"1"


def test_a_quiesced_counter_applies_nothing_and_says_busy(counter: Make) -> None:
    one = counter()
    assert one.hook("quiesce").returncode == 0
    assert one.ask(b"INC a k\n") == b"BUSY a\n"
    assert one.total() == 0
    assert one.hook("ready").returncode == 1
    assert one.hook("resume").returncode == 0
    assert one.hook("ready").returncode == 0
    assert one.ask(b"INC a k\n") == b"OK a 1 1 1\n"


def test_a_standby_serves_only_after_resume(counter: Make) -> None:
    one = counter(standby=True)
    assert one.ask(b"INC a k\n") == b"BUSY a\n"
    one.hook("resume")
    assert one.ask(b"INC a k\n").startswith(b"OK")


def test_the_state_moves_to_another_process_bit_for_bit(counter: Make) -> None:
    """save, load and save give the same bytes; counting goes on where it stopped."""
    source, destination = counter("kv-01", 1), counter("kv-01", 2, standby=True)
    for key in (b"k1", b"k2", b"k1"):
        source.ask(b"INC x %s\n" % key)
    source.hook("quiesce")
    state = source.hook("save").stdout
    assert len(state) > 4096
    assert json.loads(state)["counts"] == {"k1": 2, "k2": 1}
    assert destination.hook("load", state).returncode == 0
    assert destination.hook("save").stdout == state
    destination.hook("resume")
    assert destination.ask(b"INC y k1\n") == b"OK y 2 4 3\n"


def test_a_serving_counter_takes_no_state(counter: Make) -> None:
    one = counter()
    one.ask(b"INC a k\n")
    state = one.hook("save").stdout
    done = one.hook("load", state)
    assert done.returncode == 1
    assert b"serving" in done.stderr
    assert one.total() == 1


@pytest.mark.parametrize(
    "state",
    [b"nonsense", b"[]", b'{"applied":2,"counts":{"a":1},"padding":""}', b'{"applied":1,"counts":[],"padding":""}'],
)
def test_a_damaged_state_is_refused_and_changes_nothing(counter: Make, state: bytes) -> None:
    one = counter()
    one.ask(b"INC a k\n")
    one.hook("quiesce")
    done = one.hook("load", state)
    assert done.returncode == 1
    assert b"not a state" in done.stderr
    assert one.total() == 1


@pytest.mark.parametrize(
    "request_", [b"\n", b"INC a\n", b"DANCE\n", b"LOAD x\n", b"LOAD 0\n", b"LOAD 99999999999\n", b"\xff\xfe\n"]
)
def test_nonsense_is_answered_with_an_error_and_the_next_request_is_served(counter: Make, request_: bytes) -> None:
    one = counter()
    assert one.ask(request_).startswith(b"ERROR")
    assert one.ask(b"INC a k\n") == b"OK a 1 1 1\n"


def test_an_endless_line_is_cut_off(counter: Make) -> None:
    one = counter()
    with pytest.raises((ConnectionError, AssertionError)):
        assert one.ask(b"x" * 100_000) != b""
    assert one.ask(b"INC a k\n") == b"OK a 1 1 1\n"


def test_a_hook_without_a_shard_fails_with_one_line(counter: Make) -> None:
    one = counter()
    one.close()
    done = one.hook("ready")
    assert done.returncode == 1
    assert done.stderr.startswith(b"counter: ")
    assert done.stderr.count(b"\n") == 1
