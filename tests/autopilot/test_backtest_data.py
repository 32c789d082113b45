"""Recordings from folders, tables and arrays; what cannot be replayed is named with file, line and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidestep.autopilot import history_parquet
from sidestep.autopilot.backtest.__main__ import arguments, main, prepare, read
from sidestep.autopilot.backtest.policy import setting
from sidestep.autopilot.backtest.recordings import Recording
from sidestep.autopilot.backtest.replay import limits_of
from sidestep.fleet.errors import ConfigError, SidestepError, UsageError
from sidestep.fleet.resources import HOST_SERIES, PLANNED

START = 1_700_000_000


def csv(folder: Path, rows: list[str], header: str = "time,series,value") -> Path:
    path = folder / "load.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def npz(folder: Path, **changes: object) -> Path:
    found: dict[str, object] = {"values": np.random.default_rng(1).random((3, 2, 80)), "step_s": 300}
    found |= changes
    path = folder / "load.npz"
    np.savez(path, **{name: value for name, value in found.items() if value is not None})  # type: ignore[arg-type]
    return path


def metric(recording: Recording, name: str) -> np.ndarray:
    return recording.values[:, :, HOST_SERIES.index(name)]


def test_a_table_of_series_is_laid_on_its_own_grid(tmp_path: Path) -> None:
    db = (("db", "cpu", 2), ("db", "net_rx", 5), ("db", "net_tx", 3))
    series = [(*db, ("web1", "cpu", k), ("web1", "memory", 7)) for k in range(40)]
    rows = [f"{START + 60 * k},host {name} {m},{v}" for k, each in enumerate(series) for name, m, v in each]
    found = read(csv(tmp_path, rows), 0.0, {})
    assert (found.step, found.steps, found.names) == (60.0, 40, ("db", "web1"))
    assert metric(found, "cpu")[:, 1].tolist() == list(range(40))
    assert metric(found, "net")[0].tolist()[0] == 8.0 and np.isnan(metric(found, "net")[0, 1])


def test_short_names_iso_times_and_unknown_values_are_understood(tmp_path: Path) -> None:
    rows = [f"2030-01-01T00:{k:02d}:00Z,web1,{'' if k == 3 else 0.5}" for k in range(40)]
    found = read(csv(tmp_path, rows), 0.0, {})
    assert (found.step, found.start) == (60.0, 1893456000.0)
    assert np.isnan(metric(found, "cpu")[3, 0]) and metric(found, "cpu")[4, 0] == 0.5


def test_a_coarser_grid_holds_means(tmp_path: Path) -> None:
    rows = [f"{START - START % 300 + 60 * k},web1,{k}" for k in range(300)]
    found = read(csv(tmp_path, rows), 300.0, {})
    assert found.steps == 60 and metric(found, "cpu")[0, 0] == 2.0


def test_an_export_of_the_history_and_its_folder_are_the_same_recording(tmp_path: Path) -> None:
    hour = 472_222
    block = history_parquet.empty(hour, 2)
    block.mean[:, 0], block.mean[:, 1] = np.arange(60), 3.0
    block.count[:] = 60
    folder = tmp_path / "history"
    folder.mkdir()
    history_parquet.write(folder, hour, ("host web1 cpu", "shard s1 cpu"), block)
    found = read(tmp_path, 0.0, {})
    assert (found.names, found.step, found.steps) == (("web1",), 60.0, 60)
    assert metric(found, "cpu")[:, 0].tolist() == list(range(60)) and "shards" in found.notes[0]
    again = read(history_parquet.path_of(folder, hour), 0.0, {})
    assert np.array_equal(again.values, found.values, equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([f"{START},web1 cpu,0.5", f"{START + 60},web1 cpu,much"], "time,series,value", r"load\.csv:3: value = 'much'"),
        ([f"{START},web1 cpu,0.5", "someday,web1 cpu,1"], "time,series,value", r"load\.csv:3: time = 'someday'"),
        ([f"{START},a b c d,0.5"], "time,series,value", "no numbers of cpu"),
        ([f"{START},,0.5"], "time,series,value", "not the name of a series"),
        (["1,2"], "when,what", r"load\.csv:1: columns"),
        ([f"{START},web1 cpu,0.5"], "time,series,value", "1 steps"),
        ([f"{START},web1 cpu,0.5,9"], "time,series,value", "cannot be read"),
        ([], "time,series,value", "no numbers"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path: Path, rows: list[str], header: str, said: str) -> None:
    with pytest.raises(SidestepError, match=said) as caught:
        prepare(arguments([str(csv(tmp_path, rows, header))]))
    assert caught.value.exit_code == 2 and caught.value.hint


def test_arrays_are_taken_by_the_names_of_their_metrics_or_as_told(tmp_path: Path) -> None:
    values = np.arange(3 * 3 * 80, dtype=float).reshape(3, 3, 80)
    path = npz(tmp_path, values=values, metrics=np.array(["disk", "mem_kb", "cpu_pct"]), ids=np.array([4, 5, 6]))
    found = read(path, 0.0, {})
    assert found.names == ("4", "5", "6") and found.step == 300.0
    assert np.array_equal(metric(found, "cpu"), values[:, 2].T) and np.array_equal(
        metric(found, "memory"), values[:, 1].T
    )
    told = read(path, 60.0, {"cpu": "disk"})
    assert np.array_equal(metric(told, "cpu"), values[:, 0].T) and told.step == 60.0
    assert not np.isfinite(metric(told, "memory")).any()
    nameless = read(npz(tmp_path), 0.0, {})
    assert nameless.names == ("h0", "h1", "h2") and "cpu: m0" in nameless.notes[0]


def test_a_capacity_of_another_shape_is_left_out_and_said(tmp_path: Path) -> None:
    found = read(npz(tmp_path, capacity=np.ones((3, 5)), metrics=np.array(["cpu", "mem"])), 0.0, {})
    assert np.isnan(found.capacity).all() and "left out" in found.notes[1]
    fits = read(npz(tmp_path, capacity=np.array([[4.0, 0.0]] * 3), metrics=np.array(["cpu", "mem"])), 0.0, {})
    assert fits.capacity[0, 0] == 4.0 and np.isnan(fits.capacity[0, 1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": None, "other": np.ones(3)}, "no array values"),
        ({"values": np.ones((3, 80))}, r"shape \(3, 80\)"),
        ({"values": np.array([[["a"]]])}, "type"),
        ({"step_s": None}, "step_s is nan"),
        ({"step_s": np.array([1, 2])}, "not one number"),
        ({"ids": np.array([1, 2])}, "ids of shape"),
        ({"ids": np.array(["a", "a", "b"])}, "two hosts are called a"),
        ({"values": np.full((3, 2, 80), np.nan)}, "no cpu or memory"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        prepare(arguments([str(npz(tmp_path, **changes))]))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "horizont=1h"], "did you mean horizon"),
        (["--policy", "horizon=soon"], "--policy horizon"),
        (["--policy", "min_probability=7"], "min_probability"),
        (["--policy", "nowhere.toml"], "neither a file nor name=value"),
        (["--policy", "horizon=1m"], "shorter than one step"),
        (["--policy", "horizon=4w"], "600 at most"),
        (["--capacity", "cpu"], "not NAME=VALUE"),
        (["--capacity", "disk=4"], "no dimension disk"),
        (["--capacity", "cpu=lots"], "not a number"),
        (["--capacity", "cpu=-1"], "not above 0"),
        (["--limit", "p20"], "not a percentile"),
        (["--warmup", "30d"], "leaves nothing"),
        (["--warmup", "soon"], "not a duration"),
        (["--host", "nobody"], "no host nobody"),
        (["--column", "cpu=nothing"], "no metric nothing"),
        (["--column", "gpu=m0"], "gpu is no metric"),
        (["--fleet", "none.toml"], "no such file"),
        (["--last", "1m"], "1 steps"),
        (["--model", "magic"], "--model magic: no such model\n  remedy: --model is one of aggregate, network"),
    ],
)
def test_bad_options_are_exit_code_2(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(SidestepError, match=said) as caught:
        prepare(arguments([str(npz(tmp_path)), *options]))
    assert caught.value.exit_code == 2


def test_what_is_no_file_is_said_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("none.npz", "none.csv", "none", "none.txt"):
        assert main([str(tmp_path / name)]) == 2
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 not really")
    assert main([str(tmp_path / "torn.npz")]) == 2
    (tmp_path / "latin.csv").write_bytes(b"time,series,value\n1,caf\xe9 cpu,2\n")
    assert main([str(tmp_path / "latin.csv")]) == 2
    said = capsys.readouterr().err
    assert said.count("sidestep: ") == 7 and "Traceback" not in said


def test_a_policy_is_read_from_files_and_values_the_last_wins(tmp_path: Path) -> None:
    path = tmp_path / "careful.toml"
    path.write_text('[policy]\nhorizon = "1h"\nquantile = 0.9\n[oracle]\nseason = "1w"\n', encoding="utf-8")
    found = setting([str(path), "horizon=30m", "name=careful"], 60.0, model="trend")
    assert (found.policy.horizon, found.policy.quantile, found.policy.name) == (1800.0, 0.9, "careful")
    assert (found.oracle.season, found.oracle.step, found.oracle.model) == (604800.0, 60.0, "trend")
    assert setting([], 300.0).policy.horizon == 3600.0, "the default is stretched to 12 steps"
    path.write_text("[policy]\nhorizon = -1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"careful\.toml:2: policy.horizon = -1"):
        setting([str(path)], 60.0)


def test_capacity_comes_from_the_fleet_file_the_option_or_the_warm_up(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[fleet]\nname = "f"\n[hosts.h1]\naddress = "h1"\ncpu = 8\nmemory = "4G"\n', encoding="utf-8")
    path = npz(tmp_path)
    _, limit, chosen, begin = prepare(arguments([str(path), "--fleet", str(fleet)]))
    assert limit[1, 0] == pytest.approx(8 * chosen.policy.threshold_cpu) and np.isnan(limit[0, 0])
    _, limit, _, _ = prepare(arguments([str(path), "--capacity", "cpu=2", "--policy", "threshold_cpu=0.5"]))
    assert limit[:, 0].tolist() == [1.0, 1.0, 1.0]
    recording, limit, chosen, begin = prepare(arguments([str(path)]))
    assert "no capacity is known" in chosen.notes[-1]
    assert limit[2, 0] == pytest.approx(np.percentile(recording.values[:begin, 2, 0], 97.5), rel=1e-6)


def test_a_limit_that_was_asked_for_is_kept_beside_a_capacity(tmp_path: Path) -> None:
    """Issue 4: what an option says is done, or refused; here the limit goes first, and that is said."""
    path = npz(tmp_path)
    recording, limit, chosen, begin = prepare(arguments([str(path), "--capacity", "cpu=2", "--limit", "p90"]))
    wanted = np.percentile(recording.values[:begin, :, 0], 90, axis=0)
    assert limit[:, 0] == pytest.approx(wanted, rel=1e-6)
    assert chosen.notes[-1] == "--limit goes before capacity: contention is above p90 of each series' warm-up"
    _, alone, chosen, _ = prepare(arguments([str(path), "--limit", "p90"]))
    assert alone[:, 0] == pytest.approx(wanted, rel=1e-6) and "no capacity is known" in chosen.notes[-1]


def test_a_series_that_was_not_seen_in_the_warm_up_keeps_its_capacity(tmp_path: Path) -> None:
    recording, _, chosen, begin = prepare(arguments([str(npz(tmp_path))]))
    recording.values[:begin, 1] = np.nan
    limit = limits_of(recording, chosen, np.full((3, PLANNED), 8.0), 90.0, begin)
    assert limit[1, 0] == pytest.approx(8.0 * chosen.policy.threshold_cpu) and limit[0, 0] < limit[1, 0]
