"""States in columns: what a look at any moment must never say, whatever hosts and links do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.world_states import STALL, States
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState

STEP = 0.2
FRESH = (HostState.READY, HostState.CORDONED)


class Play:
    """Two hosts (the second cordoned) that a sequence of events happens to, a fifth of a second at a time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[tuple[int, HostState, Label]] = []
        specs = [HostSpec(name=Label(n), address="x", cordoned=n == "b") for n in ("a", "b")]
        self.states = States(specs, 1.0, self.now, lambda *change: self.told.append(change))
        self.seen = np.full(2, -np.inf)
        self.seq, self.at_ms = np.full(2, -1, dtype=np.int64), np.full(2, -1, dtype=np.int64)

    def happen(self, row: int, event: str) -> None:
        if event == "sample" or event == "old sample":
            late = 4.0 if event == "old sample" else 0.0
            self.seen[row] = self.now
            self.seq[row] += 1
            self.at_ms[row] = max(int(self.at_ms[row]), int((self.now - late) * 1000))
        elif event == "failure":
            self.states.failed(row, scrub("connection lost"), self.now)
        elif event == "refusal":
            self.states.refuse(row, True)
        elif event == "retry":
            self.states.refuse(row, False)
        elif event == "new run":
            self.states.begun(row)

    def look(self) -> None:
        self.now += STEP
        self.states.arrived(self.seq, self.at_ms, self.seen)
        self.states.healed(self.seen)
        self.states.judge(self.seen, self.now)


EVENTS = st.sampled_from(["", "", "", "", "sample", "sample", "old sample", "failure", "refusal", "retry", "new run"])


@settings(max_examples=50, deadline=None)
@given(events=st.lists(st.tuples(EVENTS, EVENTS), max_size=100))
def test_no_state_contradicts_what_was_heard(events: list[tuple[str, str]]) -> None:
    """Never READY on old numbers or after a refusal, always DEAD after long silence, every change told once."""
    play = Play()
    for pair in events:
        for row, event in enumerate(pair):
            play.happen(row, event)
        told = len(play.told)
        play.look()
        states = play.states
        for row in (0, 1):
            state, age = states.states[row], play.now - states.heard(play.seen)[row]
            silent = play.now - max(states.heard(play.seen)[row], 100.0)
            if state in FRESH:
                assert age <= states.suspect_after and not states.refused[row]
                assert state is FRESH[row]
            if silent > states.dead_after or states.refused[row]:
                assert state is HostState.DEAD
            if state in (HostState.DEAD, HostState.SUSPECT):
                assert states.reasons[row]
        for row, state, reason in play.told[told:]:
            assert (states.states[row], states.reasons[row]) == (state, reason)
    for row in (0, 1):
        mine = [(state, reason) for r, state, reason in play.told if r == row]
        assert all(a != b for a, b in pairwise(mine))


@settings(max_examples=25, deadline=None)
@given(steady=st.integers(1, 5), gaps=st.lists(st.floats(0.0, 2.4), min_size=5, max_size=60))
def test_samples_that_jitter_but_are_not_missed_never_change_a_state(steady: int, gaps: list[float]) -> None:
    play = Play()
    last = play.now
    for gap in [1.0] * steady + gaps:
        while play.now < last + gap - STEP:
            play.look()
        last = play.now
        play.happen(0, "sample")
        play.look()
    assert [state for row, state, _ in play.told if row == 0] == [HostState.READY]


def test_a_look_that_comes_late_takes_nobody_down_and_the_next_one_does() -> None:
    play = Play()
    play.happen(0, "sample")
    play.look()
    play.now += 60
    play.look()
    assert play.states.states[0] is HostState.READY
    play.look()
    assert play.states.states[0] is HostState.DEAD
    assert STALL > STEP
