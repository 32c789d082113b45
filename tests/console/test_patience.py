"""A command that comes too early waits; one that is refused for good does not."""

from __future__ import annotations

import pytest

from sidestep.autopilot.client import Refused
from sidestep.autopilot.protocol import Answer, Body, Done, Failure, ProposeMove
from sidestep.console.headless.patience import patiently
from sidestep.fleet.labels import Label


class Young:
    """A daemon that refuses some times, with a clock that goes on when somebody waits."""

    def __init__(self, refusals: int, code: str = "early") -> None:
        self.left, self.code, self.asked, self.time = refusals, code, 0, 0.0

    def call(self, body: Body) -> Answer:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise Refused(Failure(code=self.code, message=Label("no sample\x1b[31m yet")))
        return Done(Label("done"))

    def now(self) -> float:
        return self.time

    def rest(self, seconds: float) -> None:
        self.time += seconds


def asks(daemon: Young, patience: float = 60.0) -> Answer:
    body = ProposeMove(Label("clock"), Label("web2"), "")
    return patiently(daemon, body, patience=patience, now=daemon.now, rest=daemon.rest)  # type: ignore[arg-type]


def test_what_comes_too_early_is_asked_for_again_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Young(3)
    assert asks(daemon) == Done(Label("done"))
    told = capsys.readouterr()
    assert daemon.asked == 4
    assert told.out == ""
    assert told.err.count("waiting up to 60 s") == 1
    assert "\x1b" not in told.err


def test_the_refusal_is_the_answer_when_the_time_is_over() -> None:
    daemon = Young(1000)
    with pytest.raises(Refused, match="no sample"):
        asks(daemon, patience=5.0)
    assert daemon.time == 5.0


def test_a_refusal_that_waiting_does_not_mend_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Young(1, "state")
    with pytest.raises(Refused):
        asks(daemon)
    assert (daemon.asked, capsys.readouterr().err) == (1, "")
