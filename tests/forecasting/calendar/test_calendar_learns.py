"""What timers and events do to demand is learned, and is predicted before it happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs
from nights import DAY, MIDNIGHT, NIGHT, Fleet, nightly, of, timer

from sidestep.fleet.labels import Label
from sidestep.fleet.occasions import Occasion, announced
from sidestep.fleet.resources import HOST_SERIES
from sidestep.forecasting.calendar import Calendar

CORES = 1.5
MEMORY = HOST_SERIES.index("memory")


def backup(step: float, nights: int = 3, jitter: float = 20.0, **changes: object) -> Fleet:
    """h0 has a job of 20 minutes each night, begun up to ``jitter`` seconds late; h1 has none."""
    fleet = Fleet(step, horizon=int(3600 / step), **changes)  # type: ignore[arg-type]
    late = np.random.default_rng(1).uniform(0, jitter, nights + 1)
    return replace(fleet, jobs={0: nightly(nights + 1, 20, CORES, late)})


def ahead(step: float) -> np.ndarray:
    return np.arange(1, int(3600 / step) + 1)


@pytest.mark.parametrize("step", [60.0, 300.0])
def test_a_nightly_timer_is_predicted_on_the_third_night_without_a_season(step: float) -> None:
    """S2.6: how high within 30 %, when it rises within a step; while it runs and after it the model is corrected."""
    fleet, steps = backup(step, model="trend"), ahead(step)
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    evening = MIDNIGHT + 2 * DAY + NIGHT - 900
    fleet.go(evening)
    truth, uplift = fleet.job(fleet.time + steps * step, 0), fleet.uplift(fleet.row(0), steps)
    job = truth > CORES / 2
    assert abs(uplift[job].mean() - truth[job].mean()) <= 0.3 * truth[job].mean()
    assert abs(int(np.argmax(uplift > CORES / 2)) - int(np.argmax(job))) <= 1
    quiet = ~job & ~np.roll(job, 6) & ~np.roll(job, -1)
    assert np.abs(uplift[quiet]).max(initial=0) < 0.15 * CORES
    assert abs(fleet.median(fleet.row(0), steps)[job].mean() - 2.0) < 0.3, "the model itself knows nothing of it"
    for metric in range(len(HOST_SERIES)):
        assert metric == 0 or not fleet.uplift(fleet.row(0, metric), steps).any()
        assert not fleet.uplift(fleet.row(1, metric), steps).any(), "another host's timer"
    fleet.go(MIDNIGHT + 2 * DAY + NIGHT + 600)
    truth = fleet.job(fleet.time + steps * step, 0)
    said = fleet.median(fleet.row(0), steps) + fleet.uplift(fleet.row(0), steps) - 2.0
    end = int(np.argmin(truth > CORES / 2))
    assert np.abs(said[: max(1, end - 3)] - CORES).max() < 0.3 * CORES, "it goes on"
    assert np.abs(said[2 * end + 2 :]).max(initial=0) < 0.35 * CORES, "and it will end"


def test_without_the_timer_nothing_is_predicted() -> None:
    """S2.6: it is the timer that is learned, not the hour."""
    fleet, steps = backup(300.0), ahead(300.0)
    for _ in fleet.run(MIDNIGHT + 2 * DAY + NIGHT - 900):
        assert fleet.calendar.uplift(fleet.time, steps, fleet.said) is None


def test_one_night_counts_little_unless_it_was_large_against_the_noise() -> None:
    small, large = backup(300.0, noise=0.3), backup(300.0, noise=0.03)
    for fleet in (small, large):
        fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
        fleet.go(MIDNIGHT + DAY + NIGHT - 900)
    steps = ahead(300.0)
    assert not small.uplift(small.row(0), steps).any()
    found = large.calendar.uplift(large.time, steps, large.said)
    assert found is not None
    mean = of(found, large.row(0), len(steps))
    assert 0.4 * CORES < mean.max() < 0.75 * CORES
    assert found.spread[list(found.rows).index(large.row(0))].max() > 0.2 * CORES, "and it says that it is unsure"


def test_a_timer_without_effect_adds_nothing_and_is_dropped_from_the_computation() -> None:
    """S2.6."""
    fleet = Fleet(300.0, hosts=2)
    names = ("logrotate", "man-db", "fstrim")
    fleet.calendar.know(tuple(timer("h0", MIDNIGHT + 3600.0 * n, name=name) for n, name in enumerate(names)))
    assert fleet.calendar.pairs == len(names) * len(HOST_SERIES)
    for _ in fleet.run(MIDNIGHT + 5 * DAY):
        assert fleet.calendar.uplift(fleet.time, ahead(300.0), fleet.said) is None
    assert fleet.calendar.pairs == 0
    fleet.calendar.know(
        tuple(timer("h0", MIDNIGHT + 3600.0 * n + 5 * DAY + 7, name=name) for n, name in enumerate(names))
    )
    assert fleet.calendar.pairs == 0, "told again, it is still known that there is nothing to learn"


def test_the_beginning_that_was_announced_counts_however_random_or_adrift_it_is() -> None:
    """RandomizedDelaySec: systemd says when it begins this time; the profile stays sharp."""
    rng = np.random.default_rng(5)
    late = rng.uniform(0, 5400, 5) + np.arange(5) * 600
    fleet, steps = replace(Fleet(300.0), jobs={0: nightly(5, 20, CORES, late)}), ahead(300.0)
    for night in range(4):
        begin = MIDNIGHT + night * DAY + NIGHT + float(late[night])
        fleet.calendar.know((timer("h0", begin, period=round(DAY + float(late[night]) - 2700)),))
        if night < 3:
            fleet.go(begin + 4 * 3600)
    fleet.go(MIDNIGHT + 3 * DAY + NIGHT + float(late[3]) - 1500)
    truth, uplift = fleet.job(fleet.time + steps * 300, 0), fleet.uplift(fleet.row(0), steps)
    job = truth > CORES / 2
    assert abs(uplift[job].mean() - truth[job].mean()) <= 0.3 * truth[job].mean()
    assert abs(int(np.argmax(uplift > CORES / 2)) - int(np.argmax(job))) <= 1


def test_a_crontab_that_says_only_when_it_runs_next_is_learned_too() -> None:
    """S2.6: a list of days has no period (``ScheduledTask.period`` None); the next run is told anew after each."""
    days = (0, 2, 3, 6)
    jobs = [(MIDNIGHT + d * DAY + NIGHT, MIDNIGHT + d * DAY + NIGHT + 1200, CORES) for d in days]
    fleet, steps = replace(Fleet(300.0), jobs={0: jobs}), ahead(300.0)
    for begin, _, _ in jobs:
        fleet.calendar.know((timer("h0", begin, name="root.report", period=None),))
        fleet.go(begin - 900)
        if begin != jobs[-1][0]:
            fleet.go(begin + 1800)
    truth, uplift = fleet.job(fleet.time + steps * 300, 0), fleet.uplift(fleet.row(0), steps)
    job = truth > CORES / 2
    assert abs(uplift[job].mean() - truth[job].mean()) <= 0.3 * truth[job].mean()


@pytest.mark.parametrize("model", ["trend", "seasonal"])
def test_what_a_seasonal_model_has_learned_too_is_not_counted_twice(model: str) -> None:
    """On night 5 model and calendar together overshoot by at most 20 %, and do not fall short by 30 %."""
    fleet, steps = backup(300.0, nights=5, season=DAY, model=model), ahead(300.0)
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    for night in (2, 3, 4):
        fleet.go(MIDNIGHT + night * DAY + NIGHT - 900)
        ends = fleet.time + steps * 300.0
        job = fleet.job(ends, 0) > CORES / 2
        quiet = 2.0 + fleet.wave * np.sin(2 * np.pi * ends / DAY)
        said = fleet.median(fleet.row(0), steps) + fleet.uplift(fleet.row(0), steps) - quiet
        assert 0.7 * CORES < said[job].mean() < 1.2 * CORES, night


def test_a_job_is_told_from_other_timers_of_its_host() -> None:
    """Timers that begin near it, or every hour, are not taken for the cause, and several are not added up."""
    fleet, steps = backup(300.0), ahead(300.0)
    others = [timer("h0", MIDNIGHT + 7200, name="logrotate"), timer("h0", MIDNIGHT, name="hourly", period=3600.0)]
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT), *others))
    fleet.go(MIDNIGHT + 2 * DAY + NIGHT - 900)
    truth, uplift = fleet.job(fleet.time + steps * 300, 0), fleet.uplift(fleet.row(0), steps)
    job = truth > CORES / 2
    assert abs(uplift[job].mean() - truth[job].mean()) <= 0.3 * truth[job].mean()


def test_a_job_that_begins_with_another_timer_is_counted_once() -> None:
    fleet, steps = backup(300.0), ahead(300.0)
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT), timer("h0", MIDNIGHT + NIGHT, name="twin")))
    fleet.go(MIDNIGHT + 2 * DAY + NIGHT - 900)
    job = fleet.job(fleet.time + steps * 300, 0) > CORES / 2
    assert 0.6 * CORES < fleet.uplift(fleet.row(0), steps)[job].mean() < 1.2 * CORES


def test_a_timer_of_a_host_is_learned_for_the_shards_on_it_and_leaves_with_them() -> None:
    fleet, steps = replace(backup(300.0), shards=4), ahead(300.0)
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    for night in (1, 2, 3):
        fleet.go(MIDNIGHT + night * DAY + NIGHT - 900)
    job = fleet.job(fleet.time + steps * 300, 0) > CORES / 2
    # s0 and s2 are on h0 and belong to the app that works at night; s1 and s3 are on h1
    assert all(fleet.uplift(fleet.shard_row(s), steps)[job].mean() > 0.5 * CORES for s in (0, 2))
    assert not any(fleet.uplift(fleet.shard_row(s), steps).any() for s in (1, 3))
    fleet.calendar.align(fleet.names, fleet.shard_names, fleet.apps, np.array([1, 1, 0, 1]))
    assert not fleet.uplift(fleet.shard_row(0), steps).any(), "it is on a host without the job now"
    assert fleet.uplift(fleet.shard_row(2), steps)[job].mean() > 0.5 * CORES


def test_what_was_learned_is_kept_by_name_when_rows_come_go_and_change_places() -> None:
    fleet, steps = backup(300.0), ahead(300.0)
    fleet.calendar.know((timer("h0", MIDNIGHT + NIGHT),))
    fleet.go(MIDNIGHT + 2 * DAY + NIGHT - 900)
    before = fleet.uplift(fleet.row(0), steps)
    fleet.calendar.align(("new", "h1", "h0"), ("s",), ("shop",))
    moved = of(fleet.calendar.uplift(fleet.time, steps), 2 * len(HOST_SERIES), len(steps))
    np.testing.assert_allclose(moved, before, atol=1e-6)
    fleet.calendar.align(("h1",), (), ())
    assert fleet.calendar.uplift(fleet.time, steps) is None
    fleet.calendar.align(fleet.names, (), ())
    np.testing.assert_allclose(fleet.uplift(fleet.row(0), steps), before, atol=1e-6)


# -- events


def sale(begins: float, **changes: object) -> Occasion:
    return announced("sale", **{"begins": begins, "lasts": 7200.0, "apps": ("shop",), **changes})  # type: ignore[arg-type]


def test_an_event_with_an_effect_raises_the_forecast_before_it_was_ever_seen() -> None:
    """S4.4: work done is multiplied, on the shards of its apps and by as much on their hosts; memory is not."""
    fleet, steps = Fleet(300.0, hosts=2, shards=4), np.arange(1, 49)
    fleet.go(MIDNIGHT + 3600)
    fleet.calendar.know((sale(fleet.time + 3600, effect=1.5),))
    on = (steps > 12) & (steps <= 36)
    for shard, app in enumerate(fleet.apps):
        uplift, level = fleet.uplift(fleet.shard_row(shard), steps), fleet.median(fleet.shard_row(shard), steps)
        if app == "blog":
            assert not uplift.any()
            continue
        assert np.abs(uplift[on] / level[on] - 0.5).max() < 0.15
        assert not uplift[~on].any()
        assert not fleet.uplift(fleet.shard_row(shard, 1), steps).any(), "memory"
    on_host = [fleet.shard_row(s) for s in (0, 2)]
    of_shards = sum(fleet.uplift(row, steps) for row in on_host)
    np.testing.assert_allclose(fleet.uplift(fleet.row(0), steps), of_shards, rtol=1e-6)
    assert not fleet.uplift(fleet.row(1), steps).any()
    found = fleet.calendar.uplift(fleet.time, steps)
    assert found is not None and (found.spread[:, on] > 0).all(), "the operator's word is a guess"


def test_what_events_measured_replaces_what_the_operator_said_and_a_second_event_uses_it() -> None:
    fleet, steps = Fleet(300.0, hosts=1, shards=2, wave=0.05), np.arange(1, 49)
    first = MIDNIGHT + 7200.0
    # the operator says half as much again, which is one core; it turns out to be two
    begins = [first, first + DAY, first + 3 * DAY]
    fleet.jobs = {0: [(b, b + 7200, 2.0) for b in begins]}
    said = []
    for begin in begins:
        fleet.calendar.know((sale(begin, effect=1.5),))
        fleet.go(begin - 3600)
        said.append(fleet.uplift(fleet.shard_row(0), steps)[14:34].mean())
        fleet.go(begin + 600)
        row = fleet.shard_row(0)
        while fleet.time < begin + 7200:
            fleet.go(fleet.time + 300)
        assert abs(fleet.uplift(row, steps)[20:].mean()) < 2.5
        fleet.go(begin + 6 * 3600)
    assert 0.9 < said[0] < 1.1
    assert said[0] < said[1] < said[2]
    assert 1.4 < said[2] < 2.2


def test_an_event_without_an_effect_is_predicted_from_those_of_its_name_even_on_other_hosts_besides() -> None:
    fleet, steps = Fleet(300.0, hosts=2, shards=2, wave=0.05), np.arange(1, 49)
    begins = [MIDNIGHT + 3600.0, MIDNIGHT + DAY, MIDNIGHT + 2.3 * DAY]
    fleet.jobs = {0: [(b, b + 7200, 2.0) for b in begins]}
    for begin in begins[:2]:
        fleet.calendar.know((sale(begin),))
        fleet.go(begin + 5 * 3600)
    fleet.calendar.know((sale(begins[2], apps=("shop", "blog")),))
    fleet.go(begins[2] - 3600)
    uplift = fleet.uplift(fleet.shard_row(0), steps)
    assert abs(uplift[13:35].mean() - 2.0) < 0.6
    assert not fleet.uplift(fleet.shard_row(1), steps).any()


def test_an_event_that_repeats_has_no_past_before_its_first_beginning() -> None:
    fleet, steps = Fleet(300.0, hosts=1), np.arange(1, 13)
    fleet.go(MIDNIGHT + 7200)
    tomorrow = announced("sale", begins=fleet.time - 600 + DAY, lasts=7200.0, period=DAY, effect=2.0)
    fleet.calendar.know((tomorrow,))
    fleet.go(fleet.time + 600)
    assert fleet.calendar.uplift(fleet.time, steps, fleet.said) is None
    fleet.calendar.know((structs.replace(tomorrow, begins=fleet.time - 600),))
    fleet.go(fleet.time + 600)
    assert fleet.uplift(fleet.row(0), steps)[0] > 1.0, "one that runs already counts at once"


def test_patterns_choose_hosts() -> None:
    calendar = Calendar(60.0)
    calendar.align(("web1", "web2", "db1"), (), ())
    calendar.know((announced("sale", begins=MIDNIGHT + 60, lasts=600.0, hosts=("web*",), effect=1.5),))
    calendar.observe(MIDNIGHT, np.ones(18), np.ones(18))
    found = calendar.uplift(MIDNIGHT, np.arange(1, 5))
    assert found is not None and set(found.rows // 6) == {0, 1}


def test_occasions_of_a_name_that_nobody_has_do_no_harm() -> None:
    calendar = Calendar(60.0)
    calendar.align(("h0",), (), ())
    calendar.know((announced("x", begins=MIDNIGHT, lasts=60.0, hosts=("nobody", "[a"), apps=("none",), effect=3.0),))
    calendar.observe(MIDNIGHT + 60, np.ones(6), np.ones(6))
    assert calendar.uplift(MIDNIGHT + 60, np.arange(1, 3)) is None
    with pytest.raises(ValueError, match="7 values"):
        calendar.observe(MIDNIGHT + 120, np.ones(7), np.ones(6))
    with pytest.raises(ValueError, match="1 shards but 0 apps"):
        calendar.align(("h0",), ("s",), ())
    assert Label("x") in {o.name for o in calendar._known}
