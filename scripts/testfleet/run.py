"""``run``: a fleet for the length of one command, which runs where the hosts can be reached."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from scripts.testfleet import criu
from scripts.testfleet.fleet import Fleet, check_machine, remove_orphans
from scripts.testfleet.plan import HostPlan
from scripts.testfleet.processes import identify
from scripts.testfleet.shell import Impossible

_PATIENCE = 20.0


class Stopped(BaseException):
    """We were asked to end; carries the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(fleet: Fleet, plans: Sequence[HostPlan], command: Sequence[str]) -> int:
    """Boot the fleet, run the command in its control namespace, remove the fleet; returns the command's status.

    Fleets that killed runs left are removed first. Where no fleet is possible the command is
    skipped with the reason, which is success on anybody's machine and failure where CI is set.
    """
    try:
        with _signals_raise():
            check_machine()
            remove_orphans()
            try:
                criu.prepare()
            except Impossible as error:
                print(f"testfleet: hosts have no criu for this kernel: {error}", file=sys.stderr)
            fleet.up(plans, owner=identify(os.getpid()))
            try:
                return _watched(fleet.within(command), {"SIDESTEP_TESTFLEET": fleet.name})
            finally:
                # Whoever is in a hurry may ask twice, but never in the middle of this.
                with _signals_wait():
                    fleet.down()
    except Impossible as error:
        _say_skipped(error, command)
        return 1 if os.environ.get("CI") else 0
    except Stopped as stopped:
        return 128 + stopped.number


def _watched(argv: Sequence[str], variables: dict[str, str]) -> int:
    """Run to the end; if we are asked to end first, the command and its children are too."""
    # Should we be killed, so is the command: nobody else would end it.
    argv = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    child = subprocess.Popen(argv, env=os.environ | variables, process_group=0)
    with suppress(OSError), _foreground(child.pid):
        return _wait(child)
    return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> int:
    try:
        status = child.wait()
        return 128 - status if status < 0 else status
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(child.pid, number)
                child.wait(_PATIENCE)


@contextmanager
def _foreground(group: int) -> Iterator[None]:
    """Give the terminal to the command, so that Ctrl-C and the like reach it; a no-op without one."""
    if not sys.stdin.isatty():
        yield
        return
    terminal, ours = sys.stdin.fileno(), os.getpgrp()
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(terminal, group)
    try:
        yield
    finally:
        os.tcsetpgrp(terminal, ours)
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def _signals_raise() -> Iterator[None]:
    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [(number, signal.signal(number, stop)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def _signals_wait() -> Iterator[None]:
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say_skipped(error: Impossible, command: Sequence[str]) -> None:
    line = "=" * 78
    print(f"{line}\nSKIPPED, no test fleet here: {error}\nnot run: {' '.join(command)}", file=sys.stderr)
    if os.environ.get("CI"):
        print("CI is set, so this is a failure", file=sys.stderr)
    print(line, file=sys.stderr)
