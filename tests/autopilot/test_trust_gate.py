"""The trust gate: down at once and with reasons, up only by a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidestep.autopilot.trust import LEVELS, Evidence, Gate, Terms, TrustState, judge, lower
from sidestep.fleet.labels import Label

GOOD = Evidence(
    forecasts=5000,
    skill=0.3,
    coverage80=0.81,
    plans=8,
    succeeded=8,
    peak_over=0.01,
    freeze_ratio=1.0,
    bytes_ratio=1.0,
)

numbers = st.one_of(st.none(), st.floats(-5, 5))
evidence = st.builds(
    Evidence,
    forecasts=st.floats(0, 1e6),
    skill=numbers,
    coverage80=st.one_of(st.none(), st.floats(0, 1)),
    plans=st.just(10),
    succeeded=st.integers(0, 10),
    peak_over=numbers,
    freeze_ratio=numbers,
    bytes_ratio=numbers,
)


@pytest.mark.parametrize(
    ("change", "level", "code"),
    [
        ({"skill": -0.2}, "advise", "NO_SKILL"),
        ({"coverage80": 0.5}, "advise", "TOO_SURE"),
        ({"coverage80": 1.0}, "semi", "TOO_WIDE"),
        ({"succeeded": 5}, "semi", "PLANS_FAILED"),
        ({"succeeded": 1}, "advise", "PLANS_FAILED"),
        ({"peak_over": 0.4}, "semi", "PEAK_MISSED"),
        ({"freeze_ratio": 9.0}, "semi", "FREEZE_MISSED"),
        ({"bytes_ratio": 4.0}, "semi", "BYTES_MISSED"),
    ],
)
def test_each_measurement_that_is_bad_takes_the_level_down_and_says_why(
    change: dict[str, float], level: str, code: str
) -> None:
    """S4.22: the right to act is measured."""
    gate = Gate()
    assert gate.look(GOOD, 1.0) == ""
    said = gate.look(replace(GOOD, **change), 2.0)
    assert (gate.state.allowed, [r.code for r in gate.state.reasons]) == (level, [code])
    assert gate.state.reasons[0].text in said


def test_what_is_not_known_neither_earns_nor_loses_trust() -> None:
    assert judge(Evidence()) == ("full", ())
    assert judge(replace(GOOD, forecasts=10, skill=-3.0))[0] == "full"


def test_promotion_is_proposed_after_a_while_and_never_taken() -> None:
    """Show 5: after repair it proposes promotion, never takes it."""
    gate = Gate(terms=Terms(steady=3))
    gate.look(replace(GOOD, skill=-1.0), 1.0)
    said = [gate.look(GOOD, 2.0 + i) for i in range(20)]
    assert gate.state.allowed == "advise"
    assert gate.state.proposed == "full"
    assert [bool(text) for text in said].index(True) == 2
    assert sum(bool(text) for text in said) == 1
    assert "full" in gate.promote("full", Label("ann"), 99.0)
    assert gate.state.allowed == "full"


def test_evidence_at_the_edge_does_not_flap() -> None:
    """Hysteresis: what was lost comes back only with something to spare."""
    terms = Terms(steady=2)
    gate = Gate(terms=terms)
    for i in range(40):
        gate.look(replace(GOOD, skill=0.005 if i % 2 else -0.005), float(i))
    assert (gate.state.allowed, gate.state.proposed) == ("advise", "")


def test_more_than_is_offered_is_refused() -> None:
    gate = Gate(TrustState(allowed="advise", proposed="semi", steady=9))
    with pytest.raises(ValueError, match="full is not offered"):
        gate.promote("full", Label("ann"), 1.0)


@given(st.lists(evidence, min_size=1, max_size=30))
def test_the_level_never_rises_by_itself(found: list[Evidence]) -> None:
    """Show 5, lesson 17: whatever is measured, only a person allows more."""
    gate = Gate(terms=Terms(steady=1))
    before = "full"
    for at, each in enumerate(found):
        gate.look(each, float(at))
        assert lower(gate.state.allowed, before) == gate.state.allowed
        assert lower(gate.state.allowed, judge(each)[0]) == gate.state.allowed
        before = gate.state.allowed
        assert not gate.state.proposed or LEVELS.index(gate.state.proposed) > LEVELS.index(before)
