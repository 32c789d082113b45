"""What a backtest found: as JSON (published as ``fleet/backtest.schema.json``), and as a table for people."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from sidestep.autopilot.backtest.events import Judged, judge, level, truth_of, yesterday
from sidestep.autopilot.backtest.policy import Setting
from sidestep.autopilot.backtest.recordings import F64, Recording
from sidestep.autopilot.backtest.replay import Said
from sidestep.fleet.inventory import Policy
from sidestep.fleet.resources import DIMENSIONS, PLANNED, show_seconds

SCHEMA: Final = "sidestep.backtest/1"

_DAY: Final = 86400.0
_CELL: Final = 11
#: the rules, in the order of the table, and how they are called there
RULES: Final = {
    "oracle": "oracle",
    "proven": "if proven",
    "reactive": "reactive",
    "level": "level",
    "yesterday": "season ago",
}


class Rule(Struct, frozen=True, kw_only=True):
    """What one rule's alarms were worth; null where there was nothing to judge.

    ``lead`` are quartiles in seconds of the warnings of onsets that were foreseen. A false
    alarm is one after whose end nothing came within the horizon. ``brier_skill`` is 1 - Brier
    score / that of each series' own frequency, known in hindsight.
    """

    onsets: int
    foreseen: int
    lead: tuple[float | None, float | None, float | None]
    alarms: int
    false_alarms: int
    false_alarms_per_host_day: float | None
    time_in_alarm: float | None
    brier: float | None
    brier_skill: float | None


class Score(Struct, frozen=True, kw_only=True):
    """The forecasts of one dimension so far ahead: CRPS in deviations of the series, median over hosts."""

    dimension: str
    ahead: float
    count: int
    crps: float | None
    crps_persistence: float | None
    skill: float | None
    coverage80: float | None
    coverage90: float | None


class Report(Struct, frozen=True, kw_only=True):
    """One backtest. Times are seconds; ``rules`` are ``oracle``, ``proven``, ``reactive``, ``level``, ``yesterday``."""

    schema: str = SCHEMA
    data: str
    hosts: int
    dimensions: tuple[str, ...]
    steps: int
    step: float
    start: float
    #: what was learned from before anything was judged
    warm_up: float
    model: str
    #: models that answered, and for how many steps
    served: dict[str, int]
    fallback_steps: int
    insufficient_steps: int
    policy: Policy
    #: series with a limit, of all hosts and dimensions
    limited: int
    rules: dict[str, Rule]
    scores: tuple[Score, ...]
    notes: tuple[str, ...]


def report_of(recording: Recording, limit: F64, setting: Setting, begin: int, said: Said) -> Report:
    """Judge what was said against what came, now that it is known."""
    policy, step = setting.policy, recording.step
    hosts = len(recording.names)
    values = recording.values[:, :, :PLANNED].reshape(recording.steps, hosts * PLANNED)
    flat = limit.reshape(-1)
    window = max(1, math.ceil(policy.horizon / step - 1e-9))
    duration = max(1, math.ceil(policy.min_duration / step - 1e-9))
    truth = truth_of(values, flat, window=window, duration=duration, begin=begin)
    ours = judge(truth, said.alarm, said.chance)
    trusted = said.alarm & said.proven
    vouched = np.where(said.proven, said.chance, np.float16("nan"))
    found: dict[str, Judged] = {
        "oracle": ours,
        "proven": judge(truth, trusted, vouched),
        "reactive": judge(truth, truth.over, truth.over.astype(np.float16)),
        "level": judge(truth, level(values, flat, truth, ours.in_alarm)),
    }
    before = yesterday(truth, round(setting.oracle.season / step))
    notes = [*recording.notes, *setting.notes]
    if before is None:
        notes.append(f"one season ({show_seconds(setting.oracle.season)}) is longer than the data")
    else:
        found["yesterday"] = judge(truth, before, before.astype(np.float16))
    days = truth.calm.any(axis=0).reshape(hosts, PLANNED).any(axis=1).sum() * (recording.steps - begin) * step / _DAY
    return Report(
        data=recording.source,
        hosts=hosts,
        dimensions=tuple(DIMENSIONS[row] for row in recording.planned),
        steps=recording.steps,
        step=step,
        start=recording.start,
        warm_up=begin * step,
        model=setting.oracle.model,
        served=said.models,
        fallback_steps=int(said.fallback.sum()),
        insufficient_steps=int((~said.sure).sum()),
        policy=policy,
        limited=int(np.isfinite(flat).sum()),
        rules={name: _rule(each, step, float(days)) for name, each in found.items()},
        scores=tuple(
            Score(
                dimension=DIMENSIONS[each.dimension],
                ahead=each.ahead,
                count=each.number,
                crps=_known(each.crps),
                crps_persistence=_known(each.persistence),
                skill=_known(each.skill),
                coverage80=_known(each.coverage80),
                coverage90=_known(each.coverage90),
            )
            for each in said.scored
        ),
        notes=tuple(notes),
    )


def _rule(found: Judged, step: float, days: float) -> Rule:
    low, middle, high = (_known(lead * step) for lead in found.leads)
    return Rule(
        onsets=found.onsets,
        foreseen=found.foreseen,
        lead=(low, middle, high),
        alarms=found.alarms,
        false_alarms=found.false,
        false_alarms_per_host_day=_known(found.false / days) if days > 0 else None,
        time_in_alarm=_known(found.in_alarm),
        brier=_known(found.brier),
        brier_skill=_known(1 - found.brier / found.climatology) if found.climatology > 0 else None,
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **msgspec.json.schema(Report),
    }


def lines(report: Report) -> list[str]:
    """The report for people, in 80 columns of ASCII."""
    policy = report.policy
    said = [
        f"{report.data}",
        f"{report.hosts} hosts, {', '.join(report.dimensions)}: {report.steps} steps of {show_seconds(report.step)},"
        f" the first {show_seconds(report.warm_up)} to learn from",
        f"policy {policy.name}: within {show_seconds(policy.horizon)}, for {show_seconds(policy.min_duration)},"
        f" at a chance of {policy.min_probability:g}",
        f"model {report.model}; served: {', '.join(f'{name} {count}' for name, count in report.served.items())}",
    ]
    said += [f"note: {note}" for note in report.notes]
    if not report.limited:
        said.append("note: no limit is known, so no contention; give --capacity cpu=16, --fleet FILE or --limit p97.5")
    return [*(line[:79] for line in said), "", *_rules(report), "", *_scores(report), "", *_LEGEND]


_LEGEND: Final = (
    "foreseen: the alarm was on before contention began; lead: for how long without",
    "a break. if proven: only chances that the oracle vouched for by then. reactive:",
    "the limit is crossed. level: present use, at a height that alarms as often as",
    "the oracle. Brier skill: against each series' own frequency, from hindsight.",
)


def _rules(report: Report) -> list[str]:
    rules = {name: rule for name, rule in report.rules.items() if name in RULES}
    rows: list[tuple[str, list[str]]] = [
        ("", [RULES[name] for name in rules]),
        ("onsets of contention", [str(rule.onsets) for rule in rules.values()]),
        ("foreseen", [_of(rule.foreseen, rule.onsets) for rule in rules.values()]),
        ("lead, median", [_time(rule.lead[1]) for rule in rules.values()]),
        ("lead, quartiles", [f"{_time(rule.lead[0])}-{_time(rule.lead[2])}" if rule.foreseen else "-"
                             for rule in rules.values()]),
        ("alarms", [str(rule.alarms) for rule in rules.values()]),
        ("false a host-day", [_number(rule.false_alarms_per_host_day, ".2f") for rule in rules.values()]),
        ("time in alarm", [_share(rule.time_in_alarm) for rule in rules.values()]),
        ("Brier score", [_number(rule.brier, ".4f") for rule in rules.values()]),
        ("Brier skill", [_number(rule.brier_skill, "+.3f") for rule in rules.values()]),
    ]  # fmt: skip
    return [f"{title:<20}" + "".join(" " + cell[:_CELL].rjust(_CELL) for cell in cells) for title, cells in rows]


def _scores(report: Report) -> list[str]:
    head = (
        f"{'forecasts':<12}{'ahead':>8}{'CRPS':>9}{'persist.':>10}{'skill':>8}{'in 80%':>9}{'in 90%':>9}{'scored':>12}"
    )
    rows = [
        f"{each.dimension:<12}{'+' + show_seconds(each.ahead):>8}{_number(each.crps, '.3f'):>9}"
        f"{_number(each.crps_persistence, '.3f'):>10}{_number(each.skill, '+.2f'):>8}"
        f"{_share(each.coverage80):>9}{_share(each.coverage90):>9}{each.count:>12,}"
        for each in report.scores
    ]
    return [head, *rows] if rows else ["nothing was scored"]


def _of(part: int, whole: int) -> str:
    return f"{part} ({part / whole * 100:.0f}%)" if whole else str(part)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else show_seconds(seconds)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}%"
