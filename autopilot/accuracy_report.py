"""The accuracy board as people read it: tables of cells and sentences, from rows. Pure, and light to import."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sidestep.autopilot.accuracy_rolling import rolling
from sidestep.fleet.accuracy import PEAK, AccuracyRow
from sidestep.fleet.resources import show_seconds, show_size

#: the first row of each table, and how its columns are aligned
_WORTH: Final = ("SCORED", "SKILL", "IN 80%", "IN 95%", "PINBALL", "ERROR", "BIAS")
SCORE: Final = ("METRIC", "AHEAD", *_WORTH, "FORESEEN", "MODEL")
SCORE_ALIGN: Final = "llrrrrrrrll"
OVER_TIME: Final = ("AT", "METRIC", "AHEAD", "SCORED", "SKILL", "IN 80%", "IN 95%", "ERROR", "FORESEEN")
OVER_TIME_ALIGN: Final = "lllrrrrrl"
FLEET: Final = ("NAME", *SCORE)
FLEET_ALIGN: Final = "l" + SCORE_ALIGN
#: metrics in bytes, or in bytes a second
_BYTES: Final = frozenset({"memory", "net"})
#: a band that holds this much less or more often than it says is named
_OFF: Final = 0.05
_MANY: Final = 30.0


def score_table(rows: Sequence[AccuracyRow]) -> list[list[str]]:
    """One line a metric and horizon of one host, shard or app, of the newest board among the rows."""
    newest = max((row.time for row in rows), default=0.0)
    return [list(SCORE), *(_cells(row) for row in rows if row.time == newest)]


def over_time_table(rows: Sequence[AccuracyRow]) -> list[list[str]]:
    """One line a board and metric, at the farthest horizon of each, oldest first."""
    farthest: dict[tuple[float, str, str], AccuracyRow] = {}
    for row in rows:
        key = row.time, row.metric, row.of
        if key not in farthest or row.horizon > farthest[key].horizon:
            farthest[key] = row
    lines = [
        [
            datetime.fromtimestamp(row.time, UTC).strftime("%Y-%m-%dT%H:%MZ"),
            row.metric,
            _ahead(row),
            _count(row.n),
            _signed(row.skill),
            _share(row.coverage80),
            _share(row.coverage95),
            _amount(row, row.error),
            _foreseen(row),
        ]
        for row in sorted(farthest.values(), key=lambda row: (row.time, row.metric, row.of))
    ]
    return [list(OVER_TIME), *lines]


def fleet_table(rows: Sequence[AccuracyRow], limit: int = 20) -> list[list[str]]:
    """One line a series at its farthest horizon, the worst skill first, at most ``limit`` of them."""
    farthest: dict[tuple[str, str, str], AccuracyRow] = {}
    for row in rows:
        key = row.name, row.metric, row.of
        if key not in farthest or (row.time, row.horizon) > (farthest[key].time, farthest[key].horizon):
            farthest[key] = row
    order = sorted(farthest.values(), key=lambda row: (math.inf if row.skill is None else row.skill, row.name))
    return [list(FLEET), *([row.name, *_cells(row)] for row in order[:limit])]


def sentences(rows: Sequence[AccuracyRow], now: float) -> list[str]:
    """What the rows of one host, shard or app mean, metric by metric; says so when there is nothing."""
    if not rows:
        return ["nothing was scored yet: forecasts are held against what came once their time has come"]
    newest = max(row.time for row in rows)
    found = [f"as of {show_seconds(max(0.0, now - newest))} ago"]
    for metric in dict.fromkeys(row.metric for row in rows):
        mine = [row for row in rows if row.metric == metric and row.of != PEAK]
        now_of = [row for row in mine if row.time == newest]
        if not now_of:
            continue
        whole = rolling(mine)
        words = [_worth(whole.skill)]
        if whole.coverage80 is not None and whole.n >= _MANY and abs(whole.coverage80 - 0.8) > _OFF:
            wide = "wide" if whole.coverage80 > 0.8 else "narrow"
            words.append(f"the 80 % band is too {wide} (it held {whole.coverage80 * 100:.0f} %)")
        if now_of[-1].reactive:
            words.append("REACTIVE: it cannot be foreseen, so only what is measured counts")
        found.append(f"{metric}: {'; '.join(words)}")
    return found


def _worth(skill: float | None) -> str:
    if skill is None:
        return "not comparable with persistence yet"
    if abs(skill) < 0.02:
        return f"as good as persistence (skill {skill:+.2f})"
    if skill > 0:
        return f"errs {skill * 100:.0f} % less than persistence"
    return f"errs {-skill * 100:.0f} % more than persistence"


def _cells(row: AccuracyRow) -> list[str]:
    return [
        row.metric,
        _ahead(row),
        _count(row.n),
        _signed(row.skill),
        _share(row.coverage80),
        _share(row.coverage95),
        "-" if row.pinball is None else f"{row.pinball:.2f}",
        _amount(row, row.error),
        _amount(row, row.bias, sign=True),
        _foreseen(row),
        row.model or "-",
    ]


def _ahead(row: AccuracyRow) -> str:
    return f"{'peak in ' if row.of == PEAK else '+'}{show_seconds(row.horizon)}"


def _count(n: float) -> str:
    return f"{n:,.0f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f}%"


def _amount(row: AccuracyRow, value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    shown = show_size(abs(value)) if row.metric in _BYTES else f"{abs(value):.3g}"
    return f"{'-' if value < 0 else '+' if sign else ''}{shown}"


def _foreseen(row: AccuracyRow) -> str:
    """How well the series can be foreseen, in a word."""
    if row.reactive:
        return "reactive"
    return "-" if row.forecastability is None else f"{row.forecastability * 100:.0f}%"
