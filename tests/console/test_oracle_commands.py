"""``forecast``, ``event`` and ``oracle`` as a program: what they print, and that it keeps to its schema."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest
from frames import Daemon
from frames_oracle import START, OracleAnswers, raw
from hypothesis import given, settings
from hypothesis import strategies as st
from test_command_line import ask, run

from sidestep.autopilot.protocol_oracle import AddOccasion, GetForecast, GetScores
from sidestep.console.forecasttext import WIDTH, at_instant, report_lines, report_of
from sidestep.console.text import ASCII, UNICODE
from sidestep.console.trusttext import marks, sign
from sidestep.fleet import demand, forecast_report
from sidestep.fleet.errors import ProtocolError, UsageError

FLEET = Path(forecast_report.__file__).parent


def view(name: str = "h2", **changes: object):  # type: ignore[no-untyped-def]
    found = OracleAnswers().forecast(GetForecast(name))
    return type(found)(**{field: getattr(found, field) for field in found.__struct_fields__} | changes)


async def test_a_forecast_is_a_table_and_json_of_the_published_schema(daemon: Daemon) -> None:
    """S3.4, S5.5."""
    text = await ask(daemon, "forecast", "h2")
    assert (text.code, text.err) == (0, "")
    assert "chance of contention 83 %, from" in text.out and "[unproven]" in text.out
    assert max(map(len, text.out.splitlines())) <= WIDTH and text.out.isascii()
    for name in ("h2", "shop-01", "shop"):
        ran = await ask(daemon, "forecast", name, "--json")
        found = msgspec.json.decode(ran.out, type=forecast_report.ForecastReport)
        assert list(json.loads(ran.out)) == list(forecast_report.ForecastReport.__struct_fields__)
        assert json.loads(msgspec.json.encode(found)) == json.loads(ran.out)
    assert json.loads(ran.out)["allocatable"] is None


async def test_one_instant_can_be_asked_for(daemon: Daemon) -> None:
    """S3.4: the horizon is the caller's."""
    (row,) = [line for line in (await ask(daemon, "forecast", "h2", "--at", "+30s")).out.splitlines() if "+30s" in line]
    assert " 2.40 " in row
    found = json.loads((await ask(daemon, "forecast", "h2", "--at", "30s", "--json")).out)
    assert found["ahead"] == [30.0] and found["values"][0][found["levels"].index(0.5)] == pytest.approx(2.4, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("forecast", "h9"), "did you mean h1"),
        (("forecast", "h2", "--at", "2h"), "beyond the forecast"),
        (("forecast", "h2", "--at", "soon"), "not a duration"),
        (("forecast", "show"), "name a host"),
        (("event", "add", "sale", "--at", "someday"), "not a time"),
        (("event", "add", "sale", "--at", "+1h", "--lasts", "2d", "--every", "1d"), "lasts"),
        (("event", "remove", "7"), "no event 7"),
        (("event", "remove", "0"), "ID"),
        (("demand", "--quantum-memory", "much"), "not a size"),
        (("demand", "--quantum-cpu", "-1"), "--quantum-cpu"),
        (("forecast", "score", "--since", "once"), "not a duration"),
    ],
)
async def test_what_cannot_be_is_exit_code_2_and_one_message(
    daemon: Daemon, arguments: tuple[str, ...], said: str
) -> None:
    ran = await ask(daemon, *arguments)
    assert ran.code == 2 and said in ran.err and ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "published"),
    [(("forecast", "--schema"), forecast_report.schema()), (("demand", "--schema"), demand.schema())],
    ids=["forecast", "demand"],
)
async def test_schemas_are_printed_without_a_daemon(
    socket: Path, arguments: tuple[str, ...], published: dict[str, object]
) -> None:
    """S3.11: the JSON Schema is published."""
    assert json.loads((await run(*arguments)).out) == json.loads(json.dumps(published))


def test_the_published_schema_of_forecasts_is_that_of_the_code() -> None:
    text = (FLEET / "forecast.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(forecast_report.schema()))


async def test_events_are_announced_listed_and_taken_back(daemon: Daemon) -> None:
    added = await ask(
        daemon, "event", "add", "sale", "--at", "2040-11-27 09:00 UTC", "--lasts", "4h", "--effect", "1.5",
        "--app", "shop", "--reason", "campaign",
    )  # fmt: skip
    assert (added.code, added.err) == (0, "")
    (request, _) = daemon.asked[0]
    assert isinstance(request, AddOccasion) and request.reason == "campaign"
    assert (request.occasion.begins, request.occasion.lasts, request.occasion.apps) == (
        2237619600.0,
        14400.0,
        ("shop",),
    )
    listed = await ask(daemon, "event", "list")
    assert "x 1.5" in listed.out and "shop" in listed.out
    assert json.loads((await ask(daemon, "event", "list", "--json")).out)[0]["occasion"]["name"] == "sale"
    assert "removed" in (await ask(daemon, "event", "remove", "1")).out
    assert "event add" in (await ask(daemon, "event", "list")).out


@pytest.mark.parametrize("option", ["--at", "--begins"])
async def test_a_repeating_event_keeps_its_period(daemon: Daemon, option: str) -> None:
    await ask(daemon, "event", "add", "backup", option, "daily 02:30", "--lasts", "20m")
    (request, _) = daemon.asked[0]
    assert isinstance(request, AddOccasion) and request.occasion.period == 86400.0


async def test_scores_and_models_are_lists(daemon: Daemon) -> None:
    """S4.22."""
    ran = await ask(daemon, "forecast", "score", "h2", "--limit", "1")
    assert "errs 30 % less than persistence" in ran.out and "and 1 more" in ran.out and "+0.30" in ran.out
    (request, _) = daemon.asked[0]
    assert isinstance(request, GetScores) and (request.name, request.since, request.limit) == ("h2", 0.0, 1)
    assert "h2" in (await ask(daemon, "forecast", "score")).out
    assert "2026-09-21T14:13Z" in (await ask(daemon, "forecast", "score", "h2", "--since", "1d")).out
    listed = json.loads((await ask(daemon, "forecast", "score", "--json")).out)
    assert listed["schema"] == "sidestep.accuracy/1" and listed["rows"][0]["coverage95"] is None
    daemon.fallback, daemon.confidence = "worker starting", "insufficient"
    status = await ask(daemon, "oracle")
    assert "aggregate is configured" in status.out and "fallback: trend is served: worker starting" in status.out
    assert "insufficient: " in status.out and "process 7" in status.out and "promoted ets" in status.out
    assert json.loads((await ask(daemon, "oracle", "--json")).out)["models"][1]["group"] == "db"


async def test_new_work_is_listed_as_a_guess_with_its_hit_rate(daemon: Daemon) -> None:
    """S4.13: marked speculative, hit rate told."""
    text = (await ask(daemon, "oracle")).out
    (row,) = [line for line in text.splitlines() if "report-#" in line]
    assert "speculative" in text and "80%" in row and "3.00" in row and "seen 3 times" in row
    assert "seasonal guesses of new work: 75% of 4 were right, 1 are open" in text and "template guesses" not in text
    found = json.loads((await ask(daemon, "oracle", "--json")).out)
    assert found["coming"][0]["speculative"] is True and found["hit_rates"][0]["hits"] == 3


def test_what_must_be_known_before_acting_is_said_in_words() -> None:
    """S5.6, S5.22: insufficient, fallback, reactive and unproven."""
    shown = "\n".join(report_lines(report_of(view(confidence="insufficient", fallback="worker lost"))))
    for word in ("insufficient: ", "fallback: trend is served: worker lost", "unproven: "):
        assert word in shown
    chances = view().chances
    calm = tuple(type(c)(host=c.host, dimension="cpu", chance=math.nan, proven=True, reactive=True) for c in chances)
    shown = "\n".join(report_lines(report_of(view(chances=calm))))
    assert "not known [" not in shown and "reactive: " in shown and "unproven" not in shown


def test_every_mark_has_a_sign_of_its_own_and_a_word() -> None:
    found = marks(confidence="insufficient", model="m", fallback="why", reactive=False, proven=False)
    found += marks(confidence="ok", model="m", fallback="", reactive=True, proven=True)
    assert [mark.word for mark in found] == ["insufficient", "fallback", "unproven", "reactive"]
    for glyphs in (UNICODE, ASCII):
        assert len({sign(mark, glyphs) for mark in found}) == 4
    assert marks(confidence="ok", model="m", fallback="", reactive=False, proven=True) == ()


def test_columns_that_do_not_fit_each_other_are_refused() -> None:
    for changes in ({"values": b"\0" * 8}, {"ahead": b"\0" * 3}, {"kind": "rack"}):
        with pytest.raises(ProtocolError):
            report_of(view(**changes))


@settings(deadline=None)
@given(st.floats(0, 1e12), st.floats(0, 1e12), st.sampled_from(["cores", "bytes", "ops/s", "percent"]))
def test_any_numbers_fit_80_columns(value: float, capacity: float, unit: str) -> None:
    given_ = view(
        unit=unit, now=value, allocatable=capacity, threshold=0.8, ahead=raw([1.0, 2.0]),
        values=raw([value] * 10 + [math.nan] * 10), chances=(),
    )  # fmt: skip
    lines = report_lines(report_of(given_))
    assert max(map(len, lines)) <= WIDTH


@settings(deadline=None)
@given(st.floats(0, 60))
def test_between_two_steps_the_forecast_is_on_the_line(seconds: float) -> None:
    report = report_of(view())
    row = at_instant(report, seconds).values[0]
    middle = report.levels.index(0.5)
    assert row[middle] == pytest.approx(1.2 + 0.04 * max(seconds, 1.0), abs=1e-4)


def test_an_instant_beyond_the_forecast_is_refused() -> None:
    for seconds in (-1.0, 60.5, math.nan):
        with pytest.raises(UsageError, match="beyond"):
            at_instant(report_of(view()), seconds)


def test_the_report_says_when_it_was_made() -> None:
    report = report_of(view())
    assert (report.made_at, report.timestamp) == (START, "2026-09-21T14:13:20Z")


def test_a_series_that_was_never_measured_is_said_to_be_so() -> None:
    values = raw([math.nan] * 600)
    shown = report_lines(report_of(view(values=values, now=math.nan)))
    assert shown[-1] == "nothing is forecast: no cpu of this host was measured yet"
