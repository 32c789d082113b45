"""Nothing that a compiled solver prints reaches the terminal."""

from __future__ import annotations

import ctypes
import os
import threading

import pytest

from sidestep.planning.exact import silent


def shout() -> None:
    os.write(1, b"noise")
    os.write(2, b"noise")
    ctypes.CDLL(None).puts(b"buffered noise")


def test_outputs_are_lost_inside_and_back_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with silent():
        shout()
    os.write(1, b"after\n")
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_outputs_come_back_after_an_error_and_from_within_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), silent():
        with silent():
            shout()
        shout()
        raise ZeroDivisionError
    os.write(2, b"after")
    assert capfd.readouterr() == ("", "after")


def test_threads_share_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    meet = threading.Barrier(8)

    def work() -> None:
        meet.wait()
        for _ in range(50):
            with silent():
                shout()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")
