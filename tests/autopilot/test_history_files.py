"""Export and import of files, retention, and what the commands say."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from history_doubles import HOUR, minute
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot import history, history_parquet
from sidestep.autopilot.history_segments import Writer

NAMES = ("host h1 cpu", "host h1 memory", "shard kv-1 cpu")
BEGIN = int(time.time()) // HOUR * HOUR - 5 * HOUR


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A fleet with two hours of Parquet and the minutes of one that is not complete."""
    path = tmp_path / "fleet.toml"
    path.write_text('[fleet]\nname = "test"\n[hosts.h1]\naddress = "h1"\n')
    folder = tmp_path / "state" / "history"
    (folder / "open").mkdir(parents=True)
    for hour in (0, 1):
        block = minute(BEGIN + hour * HOUR + 60, hour, 5e9, np.nan)
        history_parquet.add(folder, BEGIN // HOUR + hour, (NAMES, block), print)
    writer = Writer(folder, BEGIN // HOUR + 2)
    writer.add(BEGIN + 2 * HOUR, NAMES, minute(BEGIN + 2 * HOUR, 2, 6e9, 0.5, count=30))
    writer.close()
    return path


def run(fleet: Path, *arguments: str, state: str = "state") -> int:
    return history.main([arguments[0], "--fleet", str(fleet), "--state", str(fleet.parent / state), *arguments[1:]])


def rows(path: Path) -> list[dict[str, object]]:
    return sorted(pq.read_table(path).to_pylist(), key=lambda row: (row["time"], row["name"], row["metric"]))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_was_exported_can_be_imported_elsewhere(fleet: Path, kind: str) -> None:
    out = fleet.parent / f"out.{kind}"
    assert run(fleet, "export", str(out)) == 0
    assert run(fleet, "import", str(out), state="other") == 0
    again = fleet.parent / "again.parquet"
    assert run(fleet, "export", str(again), state="other") == 0
    first = fleet.parent / "first.parquet"
    run(fleet, "export", str(first))
    assert rows(again) == rows(first)
    assert len(rows(first)) == 7
    assert (fleet.parent / "other").stat().st_mode & 0o077 == 0


def test_an_export_can_be_narrowed(fleet: Path) -> None:
    out = fleet.parent / "out.csv"
    since = f"{int(time.time()) - BEGIN - HOUR}s"
    assert run(fleet, "export", str(out), "--metric", "cpu", "--name", "h1", "--from", since, "--to", "1h") == 0
    with out.open() as file:
        found = list(csv.DictReader(file))
    assert [(row["name"], row["metric"], row["mean"]) for row in found] == [("h1", "cpu", "1"), ("h1", "cpu", "2")]
    out.write_text("")
    assert run(fleet, "export", str(fleet.parent / "out.xlsx")) == 2


def test_info_says_what_there_is(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fleet, "info", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["hours"], found["series"], found["damaged"]) == (3, 3, [])
    assert run(fleet, "info") == 0
    assert "3 hours with data" in capsys.readouterr().out
    assert run(fleet, "info", state="none") == 0
    assert "nothing yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,kind,name,metric\n", "no column mean"),
        ("time,kind,name,metric,mean\nyesterday,host,h1,cpu,1\n", "cannot be imported"),
        ("time,kind,name,metric,mean\n2026-01-01T00:00:00,host,h 1,cpu,1\n", "not a usable"),
        ("time,kind,name,metric,mean\n2026-01-01T00:00:00,host,\x1b[2J,cpu,1\n", "not a usable"),
        ("", "cannot be imported"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_columns(
    fleet: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = fleet.parent / "in.csv"
    path.write_text(text)
    assert run(fleet, "import", str(path)) == 2
    said = capsys.readouterr().err
    assert words in said and "columns are time" in said and "\x1b" not in said


def test_samples_of_one_minute_become_its_mean_and_maximum(fleet: Path) -> None:
    path = fleet.parent / "in.csv"
    lines = [f"{BEGIN + second},host,h9,cpu,{value},{value},1" for second, value in ((1, 1.0), (31, 3.0), (61, 7.0))]
    path.write_text("\n".join(["time,kind,name,metric,mean,max,samples", *lines, ""]))
    assert run(fleet, "import", str(path)) == 0
    names, block = history_parquet.read(history_parquet.path_of(fleet.parent / "state" / "history", BEGIN // HOUR))
    column = names.index("host h9 cpu")
    assert block.mean[:2, column].tolist() == [2.0, 7.0]
    assert block.high[:2, column].tolist() == [3.0, 7.0]
    assert block.count[:2, column].tolist() == [2, 1]
    assert "host h1 cpu" in names, "what was there stays"


def test_what_is_older_than_kept_is_left_out_and_said(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fleet.parent / "in.csv"
    path.write_text("time,kind,name,metric,mean\n2001-01-01T00:00:00,host,h1,cpu,1\n")
    assert run(fleet, "import", str(path)) == 2
    assert "older than [history] keep" in capsys.readouterr().err


def test_the_oldest_hours_go_when_there_are_too_many_bytes(fleet: Path) -> None:
    folder, said = fleet.parent / "state" / "history", list[str]()
    old = BEGIN // HOUR - 100
    history_parquet.add(folder, old, (NAMES, minute(old * HOUR, 1, 2, 3)), print)
    size = sum(path.stat().st_size for _, path in history_parquet.files(folder))
    history_parquet.retain(folder, 50 * HOUR, size, said.append)
    assert [hour for hour, _ in history_parquet.files(folder)] == [BEGIN // HOUR, BEGIN // HOUR + 1]
    assert said == []
    history_parquet.retain(folder, 50 * HOUR, size // 2, said.append)
    assert [hour for hour, _ in history_parquet.files(folder)] == [BEGIN // HOUR + 1]
    assert "dropped the 1 oldest hours" in said[0]


SERIES = st.lists(st.tuples(*[st.sampled_from(["a", "b", "c-1"])] * 3), min_size=1, max_size=9, unique=True)


@given(series=SERIES, data=st.data())
def test_any_hour_comes_back_from_parquet(
    tmp_path_factory: pytest.TempPathFactory, series: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    names = tuple(" ".join(each) for each in series)
    block = history_parquet.empty(BEGIN // HOUR, len(names), 2.0)
    cells = st.tuples(st.integers(0, 59), st.integers(0, len(names) - 1), st.floats(-1e9, 1e9, width=32))
    for row, column, value in data.draw(st.lists(cells, max_size=30)):
        block.mean[row, column], block.high[row, column], block.count[row, column] = value, value + 1, 30
    history_parquet.write(folder, BEGIN // HOUR, names, block)
    found, again = history_parquet.read(history_parquet.path_of(folder, BEGIN // HOUR))
    assert again.interval == 2.0
    for column, name in enumerate(names):
        if block.count[:, column].any():
            at = found.index(name)
            np.testing.assert_array_equal(again.mean[:, at], block.mean[:, column])
            np.testing.assert_array_equal(again.high[:, at], block.high[:, column])
            np.testing.assert_array_equal(again.count[:, at], block.count[:, column])
        else:
            assert name not in found


@pytest.mark.parametrize("at", ["2090-01-01T00:00:00", "1e17"])
def test_hours_that_are_still_to_come_are_left_out(fleet: Path, capsys: pytest.CaptureFixture[str], at: str) -> None:
    path = fleet.parent / "in.csv"
    path.write_text(f"time,kind,name,metric,mean\n{at},host,h1,cpu,1\n")
    assert run(fleet, "import", str(path)) == 2
    assert "still to come" in capsys.readouterr().err


def test_hours_of_many_series_are_merged_in_a_time_that_grows_with_them() -> None:
    names = tuple(f"host h{number} cpu" for number in range(20_000))
    block = minute(BEGIN + 60, *np.zeros(len(names)))
    began = time.process_time()
    newer = (*names[10_000:], "host new cpu"), minute(BEGIN, *np.ones(10_001))
    merged, _ = history_parquet.merge((names, block), newer)
    assert time.process_time() - began < 2 and merged == (*names, "host new cpu")


def test_info_names_what_cannot_be_read(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = history_parquet.path_of(fleet.parent / "state" / "history", BEGIN // HOUR + 3)
    broken.parent.mkdir(exist_ok=True)
    broken.write_bytes(b"PAR1 nothing PAR1")
    assert run(fleet, "info", "--json") == 0
    assert json.loads(capsys.readouterr().out)["damaged"] == [str(broken)]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_export_writes_through_no_link_that_waits_for_it(fleet: Path, kind: str) -> None:
    victim, target = fleet.parent / "victim", fleet.parent / f"out.{kind}"
    victim.write_text("precious")
    (fleet.parent / f".out.{kind}.writing").symlink_to(victim)
    assert run(fleet, "export", str(target)) == 0
    assert victim.read_text() == "precious" and target.is_file() and not target.is_symlink()
