"""The accuracy board is told in tables and sentences, and apps are their shards together (S4.22)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from accuracy_doubles import AHEAD, START, board_of, part_of
from msgspec import structs

from sidestep.autopilot import accuracy_report as report
from sidestep.autopilot.accuracy_apps import with_apps
from sidestep.fleet.accuracy import AccuracyBoard, AccuracyRow, rows_of


def rows(time: float = 0.0, skill: float = 0.25, kind: str = "host", metric: str | None = "cpu") -> list[AccuracyRow]:
    return list(rows_of(START + time, part_of(kind, ("a", "b"), skill=skill), ("a",), metric))


def test_a_table_has_one_line_a_horizon_of_the_newest_board() -> None:
    table = report.score_table([*rows(0.0, 0.9), *rows(300.0)])
    assert table[0] == list(report.SCORE)
    assert len(table) == 1 + len(AHEAD)
    assert table[2] == ["cpu", "+60s", "40", "+0.25", "80%", "95%", "0.50", "1", "-0.5", "60%", "aggregate"]
    assert len(report.SCORE_ALIGN) == len(report.SCORE)
    assert len(report.FLEET_ALIGN) == len(report.FLEET)
    assert len(report.OVER_TIME_ALIGN) == len(report.OVER_TIME)


def test_bytes_are_shown_as_sizes_and_what_is_not_known_as_a_dash() -> None:
    row = structs.replace(rows()[0], metric="memory", error=3 * 2**30, bias=-(2.0**20), skill=None, pinball=None)
    line = report.score_table([row])[1]
    assert (line[3], line[6], line[7], line[8]) == ("-", "-", "3.0G", "-1.0M")


def test_over_time_there_is_one_line_a_board_at_the_farthest_horizon() -> None:
    table = report.over_time_table([*rows(0.0, 0.9), *rows(300.0, -0.5)])
    assert [line[0] for line in table[1:]] == ["2023-11-14T22:00Z", "2023-11-14T22:05Z"]
    assert [line[2] for line in table[1:]] == ["+10m", "+10m"]
    assert [line[4] for line in table[1:]] == ["+0.90", "-0.50"]


def test_the_worst_of_the_fleet_come_first() -> None:
    found = [structs.replace(rows(skill=skill)[-1], name=name) for name, skill in (("good", 0.5), ("bad", -2.0))]
    unknown = structs.replace(found[0], name="new", skill=None)
    assert [line[0] for line in report.fleet_table([unknown, *found])[1:]] == ["bad", "good", "new"]
    assert len(report.fleet_table([unknown, *found], 1)) == 2


def test_sentences_say_what_the_numbers_mean() -> None:
    """S5.22: the reactive fallback is stated."""
    assert "nothing was scored yet" in report.sentences([], 0.0)[0]
    assert report.sentences(rows(), START + 90) == ["as of 90s ago", "cpu: errs 25 % less than persistence"]
    assert report.sentences(rows(skill=-0.5), START)[1] == "cpu: errs 50 % more than persistence"
    assert report.sentences(rows(skill=0.0), START)[1] == "cpu: as good as persistence (skill +0.00)"
    row = structs.replace(rows()[-1], reactive=True, coverage80=0.6, skill=None)
    said = report.sentences([row], START)[1]
    assert "not comparable with persistence yet" in said
    assert "80 % band is too narrow (it held 60 %)" in said
    assert "REACTIVE: it cannot be foreseen, so only what is measured counts" in said
    assert report.score_table([row])[1][9] == "reactive"


def test_the_account_of_an_app_is_that_of_its_shards_together() -> None:
    part = part_of("shard", ("s-1", "s-2", "s-3", "s-4"))
    values, _, reactive, _ = (each.copy() for each in part.arrays())
    values[0, :, :, 1], values[1, :, :, 1] = 0.5, -1.0
    values[2, :, :, :] = np.nan
    values[2, :, :, 0] = 0
    reactive[0] = reactive[1] = True
    part = structs.replace(part, values=values.astype("<f4").tobytes(), reactive=reactive.astype(np.uint8).tobytes())
    board = with_apps(AccuracyBoard(time=START, sections=(part,)), ("web", "web", "idle", "db"))
    apps = next(section for section in board.sections if section.kind == "app")
    found = {row.name: row for row in rows_of(START, apps, metric="cpu") if row.horizon == AHEAD[0]}
    assert sorted(found) == ["db", "web"]
    web = found["web"]
    assert web.n == 80
    assert web.skill == pytest.approx(0.0, abs=1e-6)  # half the error and twice the error
    assert web.coverage80 == pytest.approx(0.8)
    assert web.error == pytest.approx(1.5)
    assert web.reactive and not found["db"].reactive
    assert web.forecastability == pytest.approx(0.6)


def test_every_shard_has_an_app_or_nothing_is_pooled() -> None:
    with pytest.raises(ValueError, match="1 apps named for 2 shards"):
        with_apps(board_of(0.0, shards=("s-1", "s-2")), ("web",))
    alone = board_of(0.0)
    assert with_apps(alone, ()) == alone


def test_the_tables_load_nothing_heavy() -> None:
    program = (
        "import sys, sidestep.autopilot.accuracy_report; print([m for m in ('numpy', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
