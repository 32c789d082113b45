"""One forecast for people and for programs: a table with a small fan, or the published report. Pure.

The columns of the daemon's answer are read with the standard library: no numpy here.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sidestep.autopilot.protocol_oracle import ForecastView
from sidestep.console.text import clock, until, wrap
from sidestep.console.trusttext import marks
from sidestep.fleet.errors import ProtocolError, UsageError
from sidestep.fleet.forecast_report import KINDS, Accuracy, Chance, ForecastReport, Peaks
from sidestep.fleet.resources import show_seconds, show_size

Row = tuple[float | None, ...]

#: what the report is made for
WIDTH: Final = 80
#: most rows of the table, its levels, and the columns of the fan in 80
_ROWS: Final = 12
_LEVELS: Final = (0.05, 0.2, 0.5, 0.8, 0.95)
_FAN: Final = 24
_LEGEND: Final = "- 5 to 95 %, = 20 to 80 %, O median, ! contention, # above it"


def report_of(view: ForecastView) -> ForecastReport:
    """The published form of an answer. Raises ProtocolError for columns that do not fit each other."""
    ahead = tuple(number or 0.0 for number in _floats(view.ahead))
    windows = tuple(number or 0.0 for number in _floats(view.windows))
    kind = next((each for each in KINDS if each == view.kind), None)
    if kind is None:
        raise ProtocolError(f"a forecast of a {view.kind}", hint="are console and daemon of one version?")
    known = view.scored > 0
    return ForecastReport(
        kind=kind,
        name=view.name,
        metric=view.metric,
        unit=view.unit,
        made_at=view.time,
        timestamp=_iso(view.time),
        step=view.step,
        confidence=view.confidence,
        model=view.model,
        fallback=view.fallback,
        now=_known(view.now),
        allocatable=_known(view.allocatable),
        threshold=_known(view.threshold),
        shards=view.shards,
        unknown=view.unknown,
        levels=view.levels,
        ahead=ahead,
        values=_rows(view.values, len(ahead), len(view.levels)),
        peaks=Peaks(within=windows, values=_rows(view.peaks, len(windows), len(view.levels))) if windows else None,
        contention=tuple(
            Chance(
                host=each.host,
                dimension=each.dimension,
                chance=_known(each.chance),
                proven=each.proven,
                reactive=each.reactive,
                starts_at=_known(each.starts_at),
                lead=_known(each.lead),
                peak=_known(each.peak),
            )
            for each in view.chances
        ),
        accuracy=Accuracy(
            scope="series" if view.scope == "series" else "fleet",
            skill=_known(view.skill),
            coverage80=_known(view.coverage80),
            coverage95=_known(view.coverage95),
            scored=view.scored,
        )
        if known
        else None,
    )


def _iso(time: float) -> str:
    if not math.isfinite(time) or not 0 <= time < 1e11:
        return ""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _floats(data: bytes) -> tuple[float | None, ...]:
    if len(data) % 4:
        raise ProtocolError(f"a column of {len(data)} bytes", hint="are console and daemon of one version?")
    return tuple(_known(value) for value in struct.unpack(f"<{len(data) // 4}f", data))


def _rows(data: bytes, count: int, width: int) -> tuple[Row, ...]:
    numbers = _floats(data)
    if len(numbers) != count * width:
        raise ProtocolError(
            f"{len(numbers)} quantiles, not {count} times {width}", hint="are console and daemon of one version?"
        )
    return tuple(numbers[at * width : (at + 1) * width] for at in range(count))


def at_instant(report: ForecastReport, seconds: float) -> ForecastReport:
    """The report with the one row that is ``seconds`` ahead, on a line between its neighbours. Raises UsageError."""
    ahead = report.ahead
    reach = ahead[-1] if ahead else 0.0
    if not 0 <= seconds <= reach:
        raise UsageError(
            f"{show_seconds(seconds)} ahead is beyond the forecast, which reaches {show_seconds(reach)}",
            hint="name less, or have a longer horizon in [policy] of the fleet file",
        )
    right = min(bisect_left(ahead, seconds - 1e-9), len(ahead) - 1)
    row = report.values[right]
    if right and ahead[right] - seconds > 1e-9:
        share = (seconds - ahead[right - 1]) / (ahead[right] - ahead[right - 1])
        pairs = zip(report.values[right - 1], row, strict=True)
        row = tuple(None if a is None or b is None else a + (b - a) * share for a, b in pairs)
    changed = {"ahead": (max(seconds, ahead[0]),), "values": (row,)}
    return ForecastReport(**{name: getattr(report, name) for name in report.__struct_fields__} | changed)


def report_lines(report: ForecastReport) -> list[str]:
    """The report in at most 80 columns of ASCII."""
    found = [_title(report), *_now(report), *_contention(report), *_trust(report), *_accuracy(report)]
    return [*(part for line in found for part in wrap(line, WIDTH)), "", *_table(report)]


def _title(report: ForecastReport) -> str:
    what = f"{report.kind} {report.name}, {report.metric} in {_unit(report)}"
    parts = f" of {report.shards} shards" if report.kind == "app" else ""
    return f"{what}{parts}, by {report.model} at {clock(report.made_at)}"


def _unit(report: ForecastReport) -> str:
    return "bytes" if report.unit == "bytes" else report.unit


def _now(report: ForecastReport) -> list[str]:
    said = f"now {amount(report.now, report.unit)}"
    if report.allocatable is not None and report.threshold is not None:
        limit = amount(report.allocatable * report.threshold, report.unit)
        total = amount(report.allocatable, report.unit)
        said += f" of {total}; contention above {limit} ({report.threshold * 100:.0f} %)"
    if report.unknown:
        said += f"; {report.unknown} of its shards have no forecast"
    return [said]


def _contention(report: ForecastReport) -> list[str]:
    lines = []
    for each in report.contention[:8]:
        whose = "" if report.kind == "host" else f"{each.host}: "
        if each.chance is None:
            lines.append(f"{whose}chance of contention: not known")
            continue
        text = f"{whose}chance of contention {each.chance * 100:.0f} %"
        if each.starts_at is not None and each.lead is not None:
            ahead = each.starts_at - report.made_at
            text += f", from {clock(each.starts_at)} ({until(ahead)})"
        if each.peak is not None:
            text += f", peak {each.peak * 100:.0f} %"
        word = "reactive" if each.reactive else "" if each.proven else "unproven"
        lines.append(f"{text} [{word}]" if word else text)
    left = len(report.contention) - len(lines)
    return [*lines, f"and {left} hosts with smaller chances"] if left else lines


def _trust(report: ForecastReport) -> list[str]:
    chances = report.contention
    found = marks(
        confidence=report.confidence,
        model=report.model,
        fallback=report.fallback,
        reactive=bool(chances) and all(each.reactive for each in chances),
        proven=not chances or all(each.proven or each.reactive for each in chances),
    )
    return [f"{mark.word}: {mark.why}" for mark in found]


def _accuracy(report: ForecastReport) -> list[str]:
    seen = report.accuracy
    if seen is None or seen.skill is None:
        return [f"{report.model}: nothing scored yet"]
    whose = "" if seen.scope == "series" else " (all cpu)"
    bands = [f"{level} % band held {share * 100:.0f} %" for level, share in
             ((80, seen.coverage80), (95, seen.coverage95)) if share is not None]  # fmt: skip
    return [f"so far{whose}: skill {seen.skill:+.2f}, {', '.join(bands)} of {seen.scored:,}"]


def amount(value: float | None, unit: str) -> str:
    """A number in its unit, in at most seven characters; ``-`` if it is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    if unit.startswith("bytes"):
        return show_size(value)
    if value >= 1e5:
        return f"{value:.1e}"
    return f"{value:.2f}" if unit == "cores" and value < 1000 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def _table(report: ForecastReport) -> list[str]:
    if not report.ahead:
        return ["no forecast"]
    if all(value is None for row in report.values for value in row):
        return [f"nothing is forecast: no {report.metric} of this {report.kind} was measured yet"]
    columns = [report.levels.index(level) for level in _LEVELS if level in report.levels]
    chosen = _chosen(report.ahead)
    limit = report.allocatable * report.threshold if report.allocatable and report.threshold else None
    values = [report.values[at] for at in chosen]
    shown = [value for row in values for value in (row[column] for column in columns) if value is not None]
    top = max([*shown, limit or 0.0, report.now or 0.0, 1e-9])
    scale = f"0{amount(top, report.unit):>{_FAN - 1}}"
    heads = ["median" if level == 0.5 else f"{level * 100:.0f} %" for level in _LEVELS if level in report.levels]
    lines = [f"{'AHEAD':>8}" + "".join(f"{head:>9}" for head in heads) + f"  {scale}"]
    for at, row in zip(chosen, values, strict=True):
        cells = "".join(f"{amount(row[column], report.unit):>9}" for column in columns)
        fan = _fan([row[column] for column in columns], top, limit)
        lines.append(f"{'+' + show_seconds(report.ahead[at]):>8}{cells}  {fan}".rstrip())
    return [*lines, _LEGEND.rjust(WIDTH)]


def _chosen(ahead: Sequence[float]) -> list[int]:
    """At most so many rows: near ones closer together, the last always."""
    if len(ahead) <= _ROWS:
        return list(range(len(ahead)))
    first, last = max(ahead[0], 1e-9), ahead[-1]
    wanted = [first * (last / first) ** (at / (_ROWS - 1)) for at in range(_ROWS)]
    return sorted({min(bisect_left(ahead, want - 1e-6), len(ahead) - 1) for want in wanted})


def _fan(row: Sequence[float | None], top: float, limit: float | None) -> str:
    """One row of the fan: ``-`` the outer band, ``=`` the inner, ``O`` the median, ``!`` the limit, ``#`` beyond it."""
    cells = [" "] * _FAN
    places = [None if value is None else max(0, min(_FAN - 1, int(value / top * _FAN))) for value in row]
    edge = None if limit is None else max(0, min(_FAN - 1, int(limit / top * _FAN)))
    for low, high, ink in ((0, len(row) - 1, "-"), (1, len(row) - 2, "=")):
        a, b = places[low], places[high]
        if a is not None and b is not None:
            for at in range(a, b + 1):
                cells[at] = "#" if edge is not None and at > edge else ink
    if edge is not None:
        cells[edge] = "!"
    middle = places[len(row) // 2]
    if middle is not None:
        cells[middle] = "O"
    return "".join(cells)
