"""Foreign strings are harmless once they are labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import LIMIT, scrub


@given(st.text())
def test_nothing_unprintable_survives(text: str) -> None:
    assert scrub(text).isprintable()


@given(st.text())
def test_scrubbing_twice_changes_nothing(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@given(st.binary())
def test_any_bytes_become_a_label(data: bytes) -> None:
    assert scrub(data).isprintable()


@given(st.text(min_size=LIMIT + 1))
def test_a_label_is_never_longer_than_its_limit(text: str) -> None:
    assert len(scrub(text)) <= LIMIT


@pytest.mark.parametrize("hostile", ["\x1b]52;c;cGF5bG9hZA==\x07", "\x9b31m", "web\u202e10-bew", "a\u200bb", "x\r\ny"])
def test_terminal_escapes_and_bidirectional_tricks_are_spelled_out(hostile: str) -> None:
    assert not set(hostile) - set(scrub(hostile)) <= {c for c in hostile if c.isprintable()}
    assert "<" in scrub(hostile)


def test_ordinary_names_are_left_alone() -> None:
    assert scrub("db-02.prod_eu") == "db-02.prod_eu"
    assert scrub("größe ✓") == "größe ✓"


def test_a_hosts_error_names_host_step_command_and_log_without_its_escapes() -> None:
    error = HostError("h1", "capture", "ended with status 3", command="save\x1b[2J", tail=b"boom\x07\nlast line")
    text = str(error)
    for part in ("h1", "capture", "status 3", "save", "boom", "last line"):
        assert part in text
    assert "\x1b" not in text
    assert "\x07" not in text
