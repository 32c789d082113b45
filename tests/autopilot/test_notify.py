"""What a service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from manager_doubles import Manager

from sidestep.autopilot.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_each_message_is_one_datagram_in_the_documented_words(manager: Manager) -> None:
    notifier = Notifier(manager.address, watchdog=1.0)
    assert notifier.ready("4 of 4 hosts") and notifier.alive() and notifier.extend(2.5) and notifier.stopping("bye")
    assert manager.read() == [
        {"READY": "1", "STATUS": "4 of 4 hosts"},
        {"WATCHDOG": "1"},
        {"EXTEND_TIMEOUT_USEC": "2500000"},
        {"STOPPING": "1", "STATUS": "bye"},
    ]
    notifier.close()


def test_a_reload_says_when_it_began_by_the_monotonic_clock(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    Notifier(manager.address).reloading("reading")
    (said,) = manager.read()
    assert said["RELOADING"] == "1"
    assert before <= int(said["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000


def test_a_status_is_told_once_and_cannot_carry_another_variable(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    assert notifier.status("a\nREADY=1\x1b[2J")
    assert not notifier.status("a\nREADY=1\x1b[2J")
    assert manager.read() == [{"STATUS": "a<0a>READY=1<1b>[2J"}]


def test_an_abstract_address_is_reached() -> None:
    manager = Manager(f"@sidestep-test-{os.getpid()}")
    assert Notifier(manager.address).alive()
    assert manager.read() == [{"WATCHDOG": "1"}]
    manager.close()


def test_the_environment_is_read_once_and_hidden_from_children(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier.of(environ, pid=7)
    assert notifier.listening and notifier.watchdog == 30.0
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_watchdog_of_another_process_or_an_unreadable_one_is_none(
    manager: Manager, environ: dict[str, str], watchdog: float
) -> None:
    assert Notifier.of({"NOTIFY_SOCKET": manager.address, **environ}, pid=7).watchdog == watchdog


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_without_a_usable_address_nothing_is_sent_and_nothing_fails(address: str) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    assert not notifier.listening and notifier.watchdog == 0.0
    assert not notifier.ready("") and not notifier.alive()


def test_a_manager_that_is_gone_or_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    assert not Notifier(str(tmp_path / "nobody")).alive()
    deaf = Manager(tmp_path / "deaf")
    notifier = Notifier(deaf.address)
    sent = [notifier.alive() for _ in range(5000)]
    assert sent[0] and not sent[-1]
    deaf.close()
