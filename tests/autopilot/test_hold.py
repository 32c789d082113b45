"""Hold: by file, by signal, from any process; it outlives all of them, and never needs the loop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep.autopilot.hold import Hold, HoldWatch


def soon(wanted: Callable[[], bool]) -> None:
    until = time.monotonic() + 20.0
    while not wanted():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_hold_says_who_and_why_until_it_is_released(tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    assert hold.why() == ""
    assert hold.begin(actor="ann", reason="network work")
    assert hold.why() == "held by ann: network work"
    assert not hold.begin(actor="bob"), "the first hold is the one that is kept"
    assert hold.end()
    assert (hold.why(), hold.end()) == ("", False)


def test_a_hold_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    Hold(tmp_path).begin(actor="ann", reason="network work")
    assert Hold(tmp_path).why() == "held by ann: network work"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "held by the file"),
        (b"disk swap\nsecond line\n", "held by the file: disk swap"),
        (b"\xff\x00\x1b[2Jboo", "held by the file: "),
        (b'{"actor": 1}', 'held by the file: {"actor": 1}'),
        (b"[" * 9000, "held by the file: [["),
    ],
)
def test_whatever_is_in_the_file_holds(tmp_path: Path, data: bytes, said: str) -> None:
    """Anybody may make it with touch or echo."""
    (tmp_path / "hold").write_bytes(data)
    why = Hold(tmp_path).why()
    assert why.startswith(said)
    assert why.isprintable()


def test_what_cannot_be_read_holds(tmp_path: Path) -> None:
    (tmp_path / "hold").mkdir()
    hold = Hold(tmp_path)
    assert "Is a directory" in hold.why()
    assert not hold.begin(actor="ann")


def test_a_hold_that_cannot_be_written_holds_all_the_same(tmp_path: Path) -> None:
    """A full disk is when a hold is wanted most."""
    hold = Hold(tmp_path / "nowhere")
    assert hold.begin(actor="ann", reason="the disk is full")
    assert hold.why() == "held by ann: the disk is full"
    assert hold.end()
    assert hold.why() == ""


@pytest.fixture
def told() -> list[str]:
    return []


def test_the_signal_holds_although_the_main_thread_never_hears_of_it(tmp_path: Path, told: list[str]) -> None:
    """The signal is blocked there, as it is heard late by a loop that is stuck: another thread takes it."""
    hold = Hold(tmp_path)
    watch = HoldWatch(hold, told.append)
    watch.start()
    try:
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.kill(os.getpid(), signal.SIGUSR1)
        soon(lambda: bool(told))
        assert told == [hold.why()] == ["held by signal: SIGUSR1"]
    finally:
        watch.stop()
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_file_that_comes_and_goes_is_told(tmp_path: Path, told: list[str]) -> None:
    hold = Hold(tmp_path)
    watch = HoldWatch(hold, told.append)
    watch.start()
    try:
        (tmp_path / "hold").write_text("disk swap")
        soon(lambda: len(told) == 1)
        (tmp_path / "hold").unlink()
        soon(lambda: len(told) == 2)
    finally:
        watch.stop()
    assert told == ["held by the file: disk swap", ""]


def test_what_goes_wrong_in_telling_ends_no_watch(tmp_path: Path, told: list[str]) -> None:
    def tell(why: str) -> None:
        told.append(why)
        raise RuntimeError("the loop is closed")

    watch = HoldWatch(Hold(tmp_path), tell)
    watch.start()
    try:
        (tmp_path / "hold").touch()
        soon(lambda: len(told) == 1)
        (tmp_path / "hold").unlink()
        soon(lambda: len(told) == 2)
    finally:
        watch.stop()
