"""``forecast``, ``event`` and ``oracle``: what is expected, what was announced, and how good it was."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from sidestep.autopilot.accuracy_report import (
    FLEET_ALIGN,
    OVER_TIME_ALIGN,
    SCORE_ALIGN,
    fleet_table,
    over_time_table,
    score_table,
    sentences,
)
from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol_oracle import (
    AddOccasion,
    ForecastView,
    GetForecast,
    GetOracle,
    GetScores,
    ListOccasions,
    OccasionList,
    OccasionRow,
    OracleView,
    RemoveOccasion,
    ScoreList,
)
from sidestep.console.forecasttext import at_instant, report_lines, report_of
from sidestep.console.headless import output
from sidestep.console.text import fit
from sidestep.console.trusttext import marks
from sidestep.fleet.accuracy import listing
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.occasion_times import parse_when
from sidestep.fleet.occasions import announced
from sidestep.fleet.resources import CPU, parse_seconds, show_seconds

_MISSING = "-"


def seconds_of(option: str, text: str) -> float:
    """The seconds that ``+30m`` or ``30m`` means. Raises UsageError naming the option."""
    try:
        return parse_seconds(text.removeprefix("+"))
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}", hint=f"for example {option} +30m") from error


def forecast(socket: Path, name: str, metric: str, kind: str, at: str, *, as_json: bool) -> None:
    """The forecast of one host, shard or app: every step, or one instant."""
    ahead = seconds_of("--at", at) if at else None
    with Client.connect(socket) as client:
        answer = client.call(GetForecast(name, metric, kind))
    assert isinstance(answer, ForecastView)
    report = report_of(answer)
    if ahead is not None:
        report = at_instant(report, ahead)
    if as_json:
        output.dump(report)
        return
    for line in report_lines(report):
        output.say(line)


def schema(name: str) -> None:
    """Print a published JSON Schema by its name."""
    from sidestep import fleet  # noqa: PLC0415

    print((Path(fleet.__file__).with_name(f"{name}.schema.json")).read_text(encoding="utf-8"), end="")


def status(socket: Path, *, as_json: bool) -> None:
    """Which model serves what, and how the trainer is."""
    with Client.connect(socket) as client:
        answer = client.call(GetOracle())
    assert isinstance(answer, OracleView)
    if as_json:
        output.dump(answer)
        return
    output.say(f"{answer.model or 'nothing'} is served; {answer.configured} is configured; {answer.confidence}")
    for mark in marks(confidence=answer.confidence, model=answer.model, fallback=answer.fallback,
                      reactive=False, proven=True):  # fmt: skip
        output.say(f"{mark.word}: {mark.why}")
    output.say(
        f"{answer.proven} of {answer.hosts} hosts have chances that are proven; {answer.reactive} cannot be forecast"
    )
    output.say(f"trainer: {answer.trainer or 'none'}")
    if answer.drifted:
        output.say("drift: what is served has lost touch with the fleet; a round comes early")
    rows = [["GROUP", "METRIC", "MODEL", "SCORE", "BEFORE", "SINCE"]]
    rows += [
        [
            row.group or "everything else",
            row.metric or "every",
            row.model or _MISSING,
            _number(row.score),
            _number(row.versus),
            _day(row.since),
        ]
        for row in answer.models
    ]
    output.table(rows, "lllrr")
    for moment, text in answer.changes:
        output.say(f"{_day(moment)}  {text}")
    _say_coming(answer)


def _say_coming(answer: OracleView) -> None:
    """New work that is guessed, marked as such, and how often such guesses were right."""
    if answer.coming:
        output.say("new work that may begin within a day (speculative; nothing is started or moved for it):")
        rows = [["BEGINS", "LASTS", "NAME", "APP", "CHANCE", "CPU", "WHY"]]
        rows += [
            [
                _day(work.begins),
                show_seconds(work.lasts) if work.lasts > 0 else _MISSING,
                work.name,
                work.app,
                f"{work.chance:.0%}",
                _number(work.demand[CPU][0], ".2f") if work.demand else _MISSING,
                fit(f"{work.kind}: {work.reason}", 60),
            ]
            for work in answer.coming
        ]
        output.table(rows, "lrllrrl")
    for rate in answer.hit_rates:
        if rate.hits + rate.misses + rate.open:
            share = _MISSING if math.isnan(rate.rate) else f"{rate.rate:.0%}"
            settled = rate.hits + rate.misses
            output.say(f"{rate.kind} guesses of new work: {share} of {settled} were right, {rate.open} are open")


def score(socket: Path, asked: GetScores, *, as_json: bool) -> None:
    """How good forecasts were: one host, shard or app at every horizon, or the worst of all."""
    with Client.connect(socket) as client:
        answer = client.call(asked)
    assert isinstance(answer, ScoreList)
    now = time.time()
    if as_json:
        print(listing(answer.rows, now).encode("ascii", "backslashreplace").decode())
        return
    if asked.name or not answer.rows:
        for line in sentences(answer.rows, now):
            output.say(line)
    if answer.rows and not asked.name:
        output.table(fleet_table(answer.rows, len(answer.rows)), FLEET_ALIGN)
    elif answer.rows and asked.since:
        output.table(over_time_table(answer.rows), OVER_TIME_ALIGN)
    elif answer.rows:
        output.table(score_table(answer.rows), SCORE_ALIGN)
    if answer.more:
        output.say(f"and {answer.more} more; name a host, shard or app, or ask for more with --limit")


def scores_asked(name: str, kind: str, metric: str, since: str, limit: int) -> GetScores:
    """What is asked for. Raises UsageError for a time that is none."""
    start = time.time() - seconds_of("--since", since) if since else 0.0
    return GetScores(name, kind, metric, start, limit)


def _number(value: float, form: str = ".3f") -> str:
    return _MISSING if math.isnan(value) else format(value, form)


def _day(moment: float) -> str:
    if not 0 < moment < 1e11:
        return _MISSING
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def local_zone() -> tzinfo:
    """The zone that the operator's clock shows: ``TZ``, that of the system, or its present offset."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        linked = str(Path("/etc/localtime").resolve())
        if "/zoneinfo/" in linked:
            return ZoneInfo(linked.split("/zoneinfo/", 1)[1])
    except (ValueError, OSError):
        pass
    return datetime.now().astimezone().tzinfo or UTC


def add_event(
    socket: Path,
    name: str,
    begins: str,
    lasts: str,
    every: str,
    effect: float | None,
    hosts: tuple[str, ...],
    apps: tuple[str, ...],
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Announce an event; it is checked here and by the daemon, and logged with who announced it."""
    first, period = parse_when(begins, time.time(), local_zone())
    if every:
        period = seconds_of("--every", every)
    occasion = announced(
        name,
        begins=first,
        period=period,
        lasts=seconds_of("--lasts", lasts) if lasts else 0.0,
        hosts=hosts,
        apps=apps,
        effect=effect,
    )
    with Client.connect(socket) as client:
        answer = client.call(AddOccasion(occasion, reason))
    _told(answer, "added", as_json=as_json)


def remove_event(socket: Path, number: int, reason: str, *, as_json: bool) -> None:
    """Take an event back."""
    with Client.connect(socket) as client:
        answer = client.call(RemoveOccasion(number, reason))
    _told(answer, "removed", as_json=as_json)


def _told(answer: object, what: str, *, as_json: bool) -> None:
    assert isinstance(answer, OccasionList)
    if as_json:
        output.dump(answer.occasions[0] if answer.occasions else None)
        return
    for row in answer.occasions:
        output.say(f"event {row.id} {what}: {row.occasion.name}, {_day(row.occasion.begins)}, {_whom(row)}")


def list_events(socket: Path, *, as_json: bool) -> None:
    """What is known to come, soonest first."""
    with Client.connect(socket) as client:
        answer = client.call(ListOccasions())
    assert isinstance(answer, OccasionList)
    if as_json:
        output.dump(msgspec.to_builtins(answer.occasions))
        return
    if not answer.occasions:
        output.say(
            'nothing is announced and no timer was found; sidestep event add "sale" --at "friday 9:00" --lasts 4h'
        )
        return
    rows = [["ID", "KIND", "NAME", "BEGINS", "EVERY", "LASTS", "EFFECT", "WHERE"]]
    for row in answer.occasions:
        each = row.occasion
        rows.append(
            [
                str(row.id) if row.id else _MISSING,
                each.kind,
                fit(each.name, 24).rstrip(),
                _day(each.begins),
                show_seconds(each.period) if each.period else "once",
                show_seconds(each.lasts) if each.lasts else _MISSING,
                f"x {each.effect:g}" if each.effect is not None else "learned",
                _whom(row),
            ]
        )
    output.table(rows, "r")


def _whom(row: OccasionRow) -> str:
    names: tuple[Label, ...] = (*row.occasion.hosts, *row.occasion.apps)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return shown or "everywhere"
