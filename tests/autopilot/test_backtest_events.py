"""What a backtest counts as contention, as foreseen and as a false alarm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sidestep.autopilot.backtest.events import Truth, judge, level, truth_of, yesterday

LIMIT = np.array([1.0])


def truth(hot: dict[int, int], *, steps: int = 60, window: int = 6, duration: int = 2, begin: int = 2) -> Truth:
    """Runs above the limit, by their first step and length."""
    values = np.zeros((steps, 1))
    for start, length in hot.items():
        values[start : start + length] = 2.0
    return truth_of(values, LIMIT, window=window, duration=duration, begin=begin)


def mask(*spans: tuple[int, int], steps: int = 60) -> np.ndarray:
    found = np.zeros((steps, 1), np.bool_)
    for begin, end in spans:
        found[begin:end] = True
    return found


def test_contention_is_what_lasts_and_runs_with_short_pauses_are_one() -> None:
    found = truth({20: 5, 26: 2, 40: 1})
    assert found.onsets.tolist() == [[20, 0]]
    assert np.flatnonzero(found.contention).tolist() == list(range(20, 28))
    assert found.over[40, 0] and not found.contention[40, 0]


def test_what_comes_is_known_exactly_while_a_whole_run_fits_into_the_window() -> None:
    found = truth({20: 5})
    assert np.flatnonzero(found.came).tolist() == list(range(15, 23))
    assert not found.judged[-6:].any()


def test_a_lead_is_that_of_the_alarm_that_did_not_stop() -> None:
    found = judge(truth({20: 5}), mask((15, 20)))
    assert (found.foreseen, found.leads) == (1, (5.0, 5.0, 5.0))
    assert judge(truth({20: 5}), mask((14, 16), (19, 20))).leads[1] == 1.0
    assert judge(truth({20: 5}), mask((5, 20))).leads[1] == 6.0, "no lead is longer than the window"


def test_an_alarm_that_begins_with_the_contention_foresaw_nothing() -> None:
    assert judge(truth({20: 5}), mask((20, 30))).foreseen == 0


def test_an_alarm_is_false_when_nothing_comes_within_the_window_after_it() -> None:
    found = judge(truth({20: 5}), mask((5, 8), (16, 20), (40, 42)))
    assert (found.alarms, found.false) == (3, 2)
    assert found.in_alarm == pytest.approx((3 + 4 + 2) / found.steps)


def test_onsets_before_a_whole_window_of_warning_was_possible_do_not_count() -> None:
    assert len(truth({5: 3, 20: 5}).onsets) == 1


def test_unknown_values_and_unknown_limits_are_never_contention() -> None:
    found = truth_of(np.full((30, 1), np.nan), LIMIT, window=5, duration=2, begin=0)
    assert not found.over.any() and not found.calm.any()
    found = truth_of(np.full((30, 1), 9.0), np.array([np.nan]), window=5, duration=2, begin=0)
    assert not found.over.any() and judge(found, mask(steps=30)).onsets == 0


def test_certainty_that_is_right_has_all_skill_and_frequency_itself_has_none() -> None:
    """S5.6: a Brier score against what each series does anyway."""
    came = truth({12: 4, 30: 5, 45: 3})
    perfect = judge(came, came.came, came.came.astype(float))
    assert perfect.brier == 0.0 and perfect.climatology > 0
    share = came.came[came.judged].mean()
    plain = judge(came, mask(), np.full((60, 1), share))
    assert plain.brier == pytest.approx(plain.climatology, rel=1e-5)


def test_steps_without_a_chance_are_not_scored() -> None:
    came = truth({20: 5})
    assert np.isnan(judge(came, mask(), np.full((60, 1), np.nan)).brier)
    assert np.isnan(judge(came, mask()).brier)


def test_yesterday_repeats_what_came_and_has_no_opinion_before() -> None:
    came = truth({20: 5, 40: 5})
    found = yesterday(came, 20)
    assert found is not None and not found[:20].any() and (found[20:] == came.came[:-20]).all()
    assert yesterday(came, 60) is None and yesterday(came, 0) is None


@settings(deadline=None)
@given(st.floats(0.01, 0.5))
def test_the_level_alarms_no_more_often_than_it_is_told(share: float) -> None:
    values = np.random.default_rng(4).normal(0.5, 0.2, (300, 3))
    came = truth_of(values, np.ones(3), window=6, duration=2, begin=10)
    raised = level(values, np.ones(3), came, share)
    assert raised[came.calm].mean() <= share + 1e-9
    assert not raised[:10].any()


@settings(deadline=None)
@given(npst.arrays(np.bool_, (50, 2)), npst.arrays(np.float64, (50, 2), elements=st.floats(0, 2)))
def test_counts_hold_together_whatever_came_and_was_said(alarm: np.ndarray, values: np.ndarray) -> None:
    came = truth_of(values, np.ones(2), window=5, duration=2, begin=3)
    found = judge(came, alarm, alarm.astype(float))
    assert 0 <= found.foreseen <= found.onsets and 0 <= found.false <= found.alarms
    assert not (came.contention & came.calm).any()
    assert all(1 <= lead <= 5 for lead in found.leads if lead == lead)
