"""Hosts that people close or empty: what the journal keeps, and what a host is then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.world_states import States
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState

ORDERS = (HostState.CORDONED, HostState.DRAINING, HostState.DRAINED)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db", clock=lambda: 1000.0)
    yield journal
    journal.close()


def acts(journal: Journal) -> list[str]:
    return [line.decode() for line in journal.audit_lines()]


def test_orders_are_kept_with_who_and_why_and_survive_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", clock=lambda: 1000.0)
    assert journal.order_hosts(["h2", "h1"], "drain", actor="amy", reason="new kernel", until=4600.0) == ("h1", "h2")
    journal.close()
    journal = Journal(tmp_path / "journal.db", clock=lambda: 2000.0)
    first, second = journal.host_orders()
    assert (first.host, second.host) == ("h1", "h2")
    assert (first.wish, first.since, first.until, first.by, first.reason) == (
        "drain",
        1000.0,
        4600.0,
        "amy",
        "new kernel",
    )
    said = "\n".join(acts(journal))
    assert said.count('"drain"') == 2 and "amy" in said and "new kernel" in said
    journal.close()


def test_the_same_order_again_is_no_news_and_a_new_one_replaces_the_old(journal: Journal) -> None:
    order = {"actor": "amy", "reason": "disk", "until": 0.0}
    journal.order_hosts(["h1"], "cordon", **order)  # type: ignore[arg-type]
    before = len(acts(journal))
    assert journal.order_hosts(["h1"], "cordon", **{**order, "actor": "bob"}) == ()  # type: ignore[arg-type]
    assert len(acts(journal)) == before and journal.host_orders()[0].by == "amy"
    assert journal.order_hosts(["h1"], "drain", **order) == ("h1",)  # type: ignore[arg-type]
    assert [one.wish for one in journal.host_orders()] == ["drain"]


def test_an_order_is_lifted_once(journal: Journal) -> None:
    journal.order_hosts(["h1", "h2"], "cordon", actor="amy", reason="", until=0.0)
    assert journal.lift_hosts(["h1", "h3"], actor="bob", reason="done") == ("h1",)
    assert journal.lift_hosts(["h1"], actor="bob", reason="done") == ()
    assert [one.host for one in journal.host_orders()] == ["h2"]
    assert '"uncordon"' in acts(journal)[-1] and "bob" in acts(journal)[-1]


def test_hostile_words_of_an_order_are_scrubbed(journal: Journal) -> None:
    journal.order_hosts(["h1"], "cordon", actor="\x1b[2Jamy", reason="\x1b[31mred", until=0.0)
    assert "\x1b" not in "".join((journal.host_orders()[0].by, journal.host_orders()[0].reason, *acts(journal)))


def lone(cordoned: bool = False) -> States:
    spec = HostSpec(name=Label("a"), address="::1", cordoned=cordoned)
    return States([spec], 1.0, 0.0, lambda row, state, why: None)


def look(states: States, seen: float, now: float) -> HostState:
    states.judge(np.array([seen]), now)
    return states.states[0]


@pytest.mark.parametrize("wish", ORDERS)
@pytest.mark.parametrize("cordoned", [False, True])
def test_a_host_is_what_was_ordered_with_the_reason_and_up_and_then_what_it_was(
    wish: HostState, cordoned: bool
) -> None:
    states = lone(cordoned)
    was = look(states, 1.0, 1.0)
    assert look(states, 1.5, 1.5) is was
    states.order({0: (wish, Label("by amy: new kernel"))})
    assert not states.calm(np.array([1.6]), 1.6)
    assert look(states, 1.6, 1.6) is wish and states.reasons[0] == "by amy: new kernel"
    assert states.fresh.tolist() == [True]
    states.quarantine({0: Label("was lost")})
    assert look(states, 1.7, 1.7) is wish, "what a person said is stronger"
    states.quarantine({})
    states.order({})
    assert look(states, 1.8, 1.8) is was
    assert states.reasons[0] == ("cordoned in the fleet file" if cordoned else "")


@given(
    st.lists(
        st.tuples(st.sampled_from(["order", "quiet", "sample", "rest"]), st.sampled_from([None, *ORDERS])), max_size=25
    )
)
def test_no_sequence_of_orders_silences_and_returns_is_an_illegal_transition(events: list[tuple[str, object]]) -> None:
    states, now, seen = lone(), 1.0, 1.0
    wish: object = None
    for what, other in events:
        if what == "order":
            wish = other
            states.order({} if other is None else {0: (other, Label("why"))})  # type: ignore[dict-item]
        elif what == "rest":
            states.quarantine({} if other is None else {0: Label("was lost")})
        for _ in range(12 if what == "quiet" else 1):
            now += 1.0
            seen = seen if what == "quiet" else now
            look(states, seen, now)
    for _ in range(60):
        now += 1.0
        states.quarantine({})
        look(states, now, now)
    assert states.states[0] is (wish or HostState.READY)
