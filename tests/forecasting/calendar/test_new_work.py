"""Work that is not there yet: by the calendar, and by requests that rise and nothing serves."""

from __future__ import annotations

import json
import math
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from nights import DAY, MIDNIGHT

from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import RequestClass, Template
from sidestep.forecasting.calendar.newwork import KINDS, SeasonalCatalogue
from sidestep.forecasting.calendar.templates import CLASSES, TemplateMatcher, growth

HOUR = 3600.0
EVERY = 60.0


def watch(catalogue: SeasonalCatalogue, start: float, end: float, jobs: dict[str, list[tuple[float, float]]]) -> None:
    """Look every minute at one shard that is always there and at jobs that come and go."""
    for time in np.arange(start, end, EVERY).tolist():
        there = [name for name, spans in jobs.items() if any(a <= time < b for a, b in spans)]
        names, apps = ["web", *there], ["shop", *("reports" for _ in there)]
        use = np.array([[0.5, 1e8], *([2.0 + 0.1 * (time // 600 % 2), 4e9] for _ in there)])
        catalogue.observe(time, names, apps, use)


def nightly(days: list[int], hour: float = 2.0, name: str = "report-{}") -> dict[str, list[tuple[float, float]]]:
    return {
        name.format(day): [(MIDNIGHT + day * DAY + hour * HOUR, MIDNIGHT + day * DAY + (hour + 1) * HOUR)]
        for day in days
    }


def test_work_that_comes_every_night_is_expected_with_time_chance_and_demand() -> None:
    """S4.13 a: the night's report has another number each night."""
    catalogue = SeasonalCatalogue()
    watch(catalogue, MIDNIGHT, MIDNIGHT + 3 * DAY + HOUR, nightly([0, 1, 2]))
    now = MIDNIGHT + 3 * DAY + HOUR
    (work,) = catalogue.expected(now, 2 * HOUR)
    assert (work.kind, work.app, work.name, work.speculative) == ("seasonal", "reports", "report-#", True)
    assert abs(work.begins - (MIDNIGHT + 3 * DAY + 2 * HOUR)) <= 60
    assert abs(work.lasts - HOUR) <= 120
    assert work.chance > 0.7
    assert (work.quota, work.expires > work.begins) == (1, True)
    cpu, memory = work.demand
    assert list(cpu) == sorted(cpu) and 2.0 <= cpu[0] <= 2.1 <= cpu[-1] + 1e-9
    assert memory[0] == 4e9
    assert catalogue.expected(now, 600.0) == (), "not within ten minutes"


def test_guesses_are_settled_and_their_hit_rate_is_told() -> None:
    """S4.13: hit rate reported."""
    catalogue = SeasonalCatalogue()
    jobs = nightly([0, 1, 2, 3])
    watch(catalogue, MIDNIGHT, MIDNIGHT + 3 * DAY, jobs)
    assert math.isnan(catalogue.hit_rate().rate)
    before = catalogue.expected(MIDNIGHT + 3 * DAY, 3 * HOUR)[0].chance
    watch(catalogue, MIDNIGHT + 3 * DAY, MIDNIGHT + 4 * DAY, jobs)
    assert (catalogue.hit_rate().hits, catalogue.hit_rate().misses) == (1, 0)
    assert catalogue.expected(MIDNIGHT + 4 * DAY, 3 * HOUR), "it is told of again"
    watch(catalogue, MIDNIGHT + 4 * DAY, MIDNIGHT + 5 * DAY, jobs)
    assert (catalogue.hit_rate().hits, catalogue.hit_rate().misses) == (1, 1), "it did not come"
    after = catalogue.expected(MIDNIGHT + 5 * DAY, 3 * HOUR)
    assert not after or after[0].chance < before


def test_work_of_one_day_of_the_week_is_expected_on_that_day_only() -> None:
    catalogue = SeasonalCatalogue()
    weeks = [(MIDNIGHT + d * DAY + 9 * HOUR, MIDNIGHT + d * DAY + 10 * HOUR) for d in (0, 7, 14)]
    watch(catalogue, MIDNIGHT, MIDNIGHT + 20 * DAY, {"invoices": weeks})
    now = MIDNIGHT + 20 * DAY
    assert catalogue.expected(now, 10 * HOUR) == ()
    (work,) = catalogue.expected(now, DAY + 10 * HOUR)
    assert abs(work.begins - (MIDNIGHT + 21 * DAY + 9 * HOUR)) <= 60


def test_what_came_once_or_at_any_time_is_no_season() -> None:
    catalogue = SeasonalCatalogue()
    spans = [(MIDNIGHT + h * HOUR, MIDNIGHT + h * HOUR + 1800) for h in (3, 37, 66)]
    watch(catalogue, MIDNIGHT, MIDNIGHT + 4 * DAY, {"adhoc": spans, **nightly([1], name="once")})
    assert catalogue.expected(MIDNIGHT + 4 * DAY, DAY) == ()


def test_what_was_there_all_the_time_or_while_nobody_looked_is_not_taken_for_a_beginning() -> None:
    catalogue = SeasonalCatalogue()
    for day in range(4):
        # the daemon runs from 8 to 9 each day, and the shard is always there
        watch(catalogue, MIDNIGHT + day * DAY + 8 * HOUR, MIDNIGHT + day * DAY + 9 * HOUR, {"a": [(0, 4e9)]})
    assert catalogue.expected(MIDNIGHT + 4 * DAY, DAY) == ()


def test_a_catalogue_goes_on_after_a_restart_and_refuses_what_is_no_state() -> None:
    catalogue, again = SeasonalCatalogue(), SeasonalCatalogue()
    watch(catalogue, MIDNIGHT, MIDNIGHT + 3 * DAY, nightly([0, 1, 2]))
    expected = catalogue.expected(MIDNIGHT + 3 * DAY, 3 * HOUR)
    json.loads(catalogue.state())
    again.restore(catalogue.state())
    assert again.expected(MIDNIGHT + 3 * DAY, 3 * HOUR) == expected
    for bad in (b"", b"{}", b"[1]", b'{"since": 1}'):
        with pytest.raises(ValueError, match="not the state"):
            again.restore(bad)
    assert again.expected(MIDNIGHT + 3 * DAY, 3 * HOUR) == expected


def test_a_flood_of_kinds_of_work_is_bounded() -> None:
    catalogue = SeasonalCatalogue()
    catalogue.observe(0.0, [], [], np.zeros((0, 2)))
    # letters only: digits would make them one kind
    names = ["".join(chr(97 + int(c)) for c in f"{i:05d}") for i in range(KINDS + 500)]
    catalogue.observe(60.0, names, ["app"] * len(names), np.zeros((len(names), 2)))
    assert len(catalogue._kinds) == KINDS
    with pytest.raises(ValueError, match="1 names"):
        catalogue.observe(120.0, ["a"], [], np.zeros((1, 2)))


def test_days_are_those_of_the_zone() -> None:
    """Berlin puts clocks back on 2025-10-26: what came at 02:30 there comes at 02:30 there, an hour later."""
    from datetime import datetime

    berlin = ZoneInfo("Europe/Berlin")
    catalogue = SeasonalCatalogue(berlin)
    days = [datetime(2025, 10, day, 3, 30, tzinfo=berlin).timestamp() for day in (23, 24, 25, 26)]
    start = days[0] - 3 * HOUR
    watch(catalogue, start, days[2] + 20 * HOUR, {"report": [(at, at + HOUR) for at in days[:3]]})
    (work,) = catalogue.expected(days[2] + 23.5 * HOUR, 3 * HOUR)
    assert abs(work.begins - days[3]) <= 60


# -- requests that rise

TEMPLATES = (
    Template(
        name=Label("shop"),
        app=Label("shop"),
        words=(Label("checkout cart orders"),),
        numbers={Label("bytes"): 2000.0},
        demand=((1.0, 2.0, 3.0), (1e9, 1e9, 1e9)),
    ),
    Template(name=Label("video"), app=Label("video"), words=(Label("stream encode"),), numbers={Label("bytes"): 4e6}),
)


def requests(name: str, count: float, **more: object) -> RequestClass:
    return RequestClass(name=Label(name), count=count, **more)  # type: ignore[arg-type]


def rise(matcher: TemplateMatcher, counts: list[float], name: str = "GET /orders/refund", start: float = 0.0) -> float:
    for count in counts:
        start += 60.0
        matcher.observe(start, 60.0, [requests(name, count, numbers={Label("bytes"): 1800.0})])
    return start


def test_rising_requests_that_nothing_serves_are_matched_to_the_most_similar_known_work() -> None:
    """S4.13 b: marked speculative, small quota, expiry."""
    matcher = TemplateMatcher()
    now = rise(matcher, [2, 1, 3, 2, 2, 30, 60, 90])
    (work,) = matcher.proposals(now, TEMPLATES)
    assert (work.kind, work.template, work.app, work.speculative) == ("template", "shop", "shop", True)
    assert work.quota == 1
    assert now < work.expires <= now + 3600
    assert work.demand == TEMPLATES[0].demand
    assert 0 < work.chance < 1


@pytest.mark.parametrize(
    "counts",
    [
        [50, 48, 55, 51, 49, 52, 47, 53],
        [0, 0, 0, 0, 0, 0, 0, 15],
        [1, 2, 1, 0, 1, 2, 3, 2],
        [5, 90, 0, 80, 3, 70, 85, 60],
        [2, 2, 2, 2, 2, 0, 0, 90],
        [40, 50],
        [math.inf, math.nan, -5, 2],
    ],
)
def test_steady_rare_bursting_or_senseless_counts_are_not_rising(counts: list[float]) -> None:
    matcher = TemplateMatcher()
    now = rise(matcher, counts)
    assert matcher.rising() == ()
    assert matcher.proposals(now, TEMPLATES) == ()


def test_chance_alone_hardly_ever_makes_a_class_rise() -> None:
    rng = np.random.default_rng(3)
    strengths = [growth(rng.poisson(rate, 16).tolist(), [60.0] * 16) for rate in (1.0, 8.0, 200.0) for _ in range(2000)]
    assert np.mean(np.array(strengths) >= 4.0) < 0.001


def test_what_is_like_nothing_known_makes_no_guess() -> None:
    matcher = TemplateMatcher()
    now = rise(matcher, [0, 1, 1, 0, 1, 40, 60, 90], name="zzz qqq")
    assert matcher.rising() == ("zzz qqq",)
    assert matcher.proposals(now, TEMPLATES[1:]) == ()
    assert matcher.proposals(now, ()) == ()


def test_guesses_are_right_when_the_requests_stay_or_something_serves_them() -> None:
    matcher = TemplateMatcher()
    now = rise(matcher, [2, 1, 3, 2, 2, 30, 60, 90])
    matcher.proposals(now, TEMPLATES)
    now = rise(matcher, [90.0] * 20, start=now)
    assert (matcher.hit_rate().hits, matcher.hit_rate().misses) == (1, 0)
    other = TemplateMatcher()
    now = rise(other, [2, 1, 3, 2, 2, 30, 60, 90])
    high = other.proposals(now, TEMPLATES)[0].chance
    now = rise(other, [0.0] * 20, start=now)
    assert (other.hit_rate().hits, other.hit_rate().misses, other.hit_rate().open) == (0, 1, 0)
    now = rise(other, [2, 1, 3, 2, 2, 30, 60, 90], start=now)
    assert other.proposals(now, TEMPLATES)[0].chance < high, "having been wrong lowers the chance"
    other.observe(now + 60, 60.0, [requests("GET /orders/refund", 90.0, served=True)])
    assert (other.hit_rate().hits, other.rising()) == (1, ())


def test_a_matcher_goes_on_after_a_restart_and_is_bounded() -> None:
    matcher, again = TemplateMatcher(), TemplateMatcher()
    now = rise(matcher, [2, 1, 3, 2, 2, 30, 60])
    again.restore(matcher.state())
    json.loads(matcher.state())
    now = rise(again, [90], start=now)
    assert len(again.proposals(now, TEMPLATES)) == 1
    for bad in (
        b"",
        b"{}",
        b'{"classes": {"a": {"counts": [1], "seconds": []}}, "guesses": [], "hits": 0, "misses": 0}',
    ):
        with pytest.raises(ValueError, match="not the state"):
            again.restore(bad)
    again.observe(now, 60.0, [requests(f"/{i}", 1.0) for i in range(CLASSES + 500)])
    assert len(again._classes) <= CLASSES
    assert "GET /orders/refund" in again._classes, "what is guessed about stays"
    with pytest.raises(ValueError, match="an interval of 0"):
        again.observe(now, 0.0, [])
