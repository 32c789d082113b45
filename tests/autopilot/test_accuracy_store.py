"""The accuracy of forecasts is kept over weeks, whatever happens to its file (S4.22)."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accuracy_doubles import AHEAD, START, board_of, part_of
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from sidestep.autopilot.accuracy_codec import CHUNK, pack, unpack
from sidestep.autopilot.accuracy_keep import bytes_used
from sidestep.autopilot.accuracy_store import KEEP, AccuracyStore
from sidestep.fleet.accuracy import COLUMNS, PEAK, AccuracyBoard
from sidestep.fleet.history import Series

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> AccuracyStore:
    return AccuracyStore(tmp_path / "accuracy.sqlite", said.append, clock=lambda: START)


def times(store: AccuracyStore, kind: str = "host", name: str = "h-1") -> list[float]:
    return sorted({row.time - START for row in store.query(kind, name, "cpu", 0.0)})


def test_what_was_put_is_found_by_name_and_metric(store: AccuracyStore, said: list[str]) -> None:
    """S4.22: queryable per series and horizon."""
    assert store.put(board_of(10.0, shards=("s-1",)))
    rows = store.query("host", "h-2", "memory")
    assert [row.horizon for row in rows] == list(AHEAD)
    first = rows[0]
    assert (first.kind, first.name, first.metric, first.time, first.n) == ("host", "h-2", "memory", START + 10, 40)
    assert (first.skill, first.coverage80, first.coverage95) == pytest.approx((0.25, 0.8, 0.952), abs=1e-3)
    assert (first.pinball, first.error, first.bias) == pytest.approx((0.5, 2.0, -1.0), rel=0.01)
    assert (first.forecastability, first.reactive, first.model) == (pytest.approx(0.6), False, "theta")
    assert len(store.query("shard", "s-1")) == 4 * len(AHEAD)
    assert len(store.query("host", "h-1", "cpu", of=None)) == 2 * len(AHEAD)
    assert [row.of for row in store.query("host", "h-1", "cpu", of=PEAK)] == [PEAK] * len(AHEAD)
    assert store.find("h-1") == ("host",) and store.find("s-1") == ("shard",) and store.find("nobody") == ()
    assert store.query("host", "nobody") == []
    assert said == []


def test_the_newest_and_all_since_a_time(store: AccuracyStore) -> None:
    for at in range(5):
        store.put(board_of(300.0 * at, skill=at / 10))
    assert [row.skill for row in store.query("host", "h-1", "cpu")] == pytest.approx([0.4] * 3, abs=1e-3)
    since = store.query("host", "h-1", "cpu", START + 600)
    assert [row.time - START for row in since[:: len(AHEAD)]] == [600, 900, 1200]
    everybody = store.newest("host", "cpu")
    assert [row.name for row in everybody] == ["h-1"] * 3 + ["h-2"] * 3
    assert {row.time for row in everybody} == {START + 1200}


def test_a_host_that_left_is_not_in_the_newest_board_but_in_the_past(store: AccuracyStore) -> None:
    store.put(board_of(0.0))
    store.put(board_of(300.0, hosts=("h-2",)))
    assert store.query("host", "h-1") == []
    assert times(store) == [0]
    assert {row.name for row in store.newest("host")} == {"h-2"}
    assert store.query("host", "h-2", "cpu")[0].error == pytest.approx(1.0)


def test_hosts_roll_up_to_hours_after_a_day_and_shards_at_once(store: AccuracyStore) -> None:
    at = 0.0
    while at < DAY + 3 * HOUR:
        store.put(board_of(at, shards=("s-1",)))
        at += 900.0
    hours = [hour * HOUR + 2700 for hour in range(27)]
    assert times(store, "shard", "s-1") == hours
    found = times(store)
    assert found[:2] == hours[:2]
    assert found[-96:] == [at - 900.0 * back for back in range(96, 0, -1)]
    assert len(found) == 2 + 100
    assert sorted({row.time - START for row in store.query("host", "h-1", "cpu", 0.0, PEAK)}) == found


def test_what_is_too_old_goes_and_so_do_names_of_whom_nothing_is_left(store: AccuracyStore) -> None:
    store.put(board_of(0.0, hosts=("gone", "h-1")))
    store.put(board_of(2 * HOUR))
    store.put(board_of(KEEP + 0.5 * HOUR))
    assert store.find("gone") == ("host",)
    assert store.query("host", "gone", since=0.0) == []
    store.put(board_of(KEEP + 2 * HOUR + 1))
    assert store.find("gone") == ()
    assert times(store) == [KEEP + 0.5 * HOUR, KEEP + 2 * HOUR + 1]


def test_bytes_are_bounded_and_the_newest_stays(tmp_path: Path, said: list[str]) -> None:
    most = 400_000
    store = AccuracyStore(tmp_path / "a.sqlite", said.append, max_bytes=most)
    rng = np.random.default_rng(1)
    names = [f"s-{at}" for at in range(300)]
    for hour in range(40):
        values = np.abs(rng.standard_normal((300 * 4, len(AHEAD), len(COLUMNS))))
        part = structs.replace(part_of("shard", names), values=values.astype("<f4").tobytes())
        assert store.put(AccuracyBoard(time=START + hour * HOUR, sections=(part,)))
        assert bytes_used(store._db) <= most
    kept = times(store, "shard", "s-299")
    assert kept[-1] == 39 * HOUR and 2 < len(kept) < 40
    store.close()
    assert (tmp_path / "a.sqlite").stat().st_size < 2 * most
    assert said == []


def test_a_clock_that_was_set_back_overwrites_what_was_the_future(store: AccuracyStore) -> None:
    for at in (0.0, 300.0, 600.0, 900.0):
        store.put(board_of(at))
    store.put(board_of(450.0, skill=0.5))
    assert times(store) == [0, 300, 450]
    assert store.query("host", "h-1", "cpu")[0].skill == pytest.approx(0.5)
    assert not store.put(board_of(float("nan")))


def test_trust_looks_at_a_window_of_one_series(store: AccuracyStore) -> None:
    for at, skill in enumerate((0.9, 0.5, -1.0)):
        store.put(board_of(300.0 * at, skill=skill))
    found = store.rolling(Series("host", "h-1", "cpu"), 500.0, START + 800)
    assert found.boards == 2
    assert found.n == 2 * 40 * len(AHEAD)
    assert found.skill == pytest.approx(0.0, abs=1e-3)  # half the error, then twice the error
    assert found.worst == pytest.approx(-1.0)
    assert found.coverage80 == pytest.approx(0.8) and found.reactive == 0
    nothing = store.rolling(Series("host", "nobody", "cpu"), 500.0)
    assert (nothing.boards, nothing.skill, nothing.reactive) == (0, None, None)


def test_the_file_is_ours_alone_and_is_found_again(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "state" / "accuracy.sqlite"
    store = AccuracyStore(path, said.append)
    store.put(board_of(0.0))
    store.close()
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = AccuracyStore(path, said.append)
    assert times(again) == [0]
    again.put(board_of(300.0, hosts=("h-0", "h-1")))
    assert times(again) == [0, 300]
    assert said == []


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from accuracy_doubles import board_of
from sidestep.autopilot.accuracy_store import AccuracyStore
store = AccuracyStore(Path(sys.argv[1]), print)
at = 0
while True:
    assert store.put(board_of(10.0 * at, shards=[f"s-{n}" for n in range(400)]))
    print(at, flush=True)
    at += 1
"""


def test_nothing_that_was_put_is_lost_when_the_process_is_killed(tmp_path: Path, said: list[str]) -> None:
    """A real process, killed with SIGKILL in the middle of its writing."""
    path = tmp_path / "accuracy.sqlite"
    for round_ in range(3):
        command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            done = [int(writer.stdout.readline()) for _ in range(7 + 3 * round_)][-1]
            os.kill(writer.pid, signal.SIGKILL)
            done = max([done, *(int(line) for line in writer.stdout.read().split("\n")[:-1])])
        store = AccuracyStore(path, said.append)
        found = times(store)
        assert found[: done + 1] == [10.0 * at for at in range(done + 1)]
        assert len(found) <= done + 2, "at most one more than was told"
        assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert store.put(board_of(found[-1] + 10))
        store.close()
    assert said == []


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)


def text(path: Path) -> None:
    path.write_text("this is somebody's notes, and long enough to be looked at twice" * 50)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cookies (name TEXT)")


def newer(path: Path) -> None:
    AccuracyStore(path, print).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")


def without_tables(path: Path) -> None:
    AccuracyStore(path, print).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE part")


@pytest.mark.parametrize("make", [damaged, text, foreign, newer, without_tables])
def test_a_file_that_cannot_be_used_is_moved_aside_and_the_daemon_goes_on(
    tmp_path: Path, said: list[str], make: object
) -> None:
    path = tmp_path / "accuracy.sqlite"
    assert callable(make)
    make(path)
    before = path.read_bytes()
    store = AccuracyStore(path, said.append, clock=lambda: 1234.5)
    assert store.put(board_of(0.0))
    assert times(store) == [0]
    aside = tmp_path / "accuracy.sqlite.damaged-1234"
    assert aside.read_bytes() == before
    assert len(said) == 1 and "moved to accuracy.sqlite.damaged-1234" in said[0]


def test_a_file_that_is_damaged_while_it_is_used_is_moved_aside(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "accuracy.sqlite"
    store = AccuracyStore(path, said.append, clock=lambda: 1.0)
    shards = [f"s-{at}" for at in range(2000)]
    store.put(board_of(0.0, shards=shards))
    store.close()
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    store = AccuracyStore(path, said.append, clock=lambda: 1.0)
    for at in range(1, 4):
        store.put(board_of(300.0 * at, shards=shards))
    assert times(store)[-1] == 900
    assert store.query("shard", "s-1999", "cpu")
    assert any("moved to" in sentence for sentence in said)


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_where_no_file_can_be_had_accounts_are_kept_in_memory(tmp_path: Path, said: list[str], kind: str) -> None:
    path = tmp_path / "accuracy.sqlite"
    if kind == "directory":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "accuracy.sqlite"
    else:
        path.symlink_to(tmp_path / "elsewhere")
    store = AccuracyStore(path, said.append)
    assert store.put(board_of(0.0))
    assert times(store) == [0]
    assert len(said) == 1 and "in memory" in said[0]
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_that_is_full_is_reported_once_and_survived(store: AccuracyStore, said: list[str]) -> None:
    store.put(board_of(0.0))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = [f"s-{at}" for at in range(3000)]
    assert not store.put(board_of(300.0, shards=many))
    assert not store.put(board_of(600.0, shards=many))
    assert len(said) == 1 and "full" in said[0]
    assert times(store) == [0]
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.put(board_of(900.0, shards=many))
    assert times(store) == [0, 900]


def test_a_store_that_was_closed_says_so_and_raises_nothing(store: AccuracyStore, said: list[str]) -> None:
    store.put(board_of(0.0))
    store.close()
    assert not store.put(board_of(300.0))
    assert store.query("host", "h-1") == []
    assert "closed" in said[0]


def test_a_blob_that_cannot_be_read_is_passed_over(store: AccuracyStore, said: list[str]) -> None:
    store.put(board_of(0.0))
    store.put(board_of(300.0))
    store._db.execute("UPDATE part SET data = x'00ff' WHERE time = ?", (START,))
    assert times(store) == [300]
    assert len(said) == 1 and "damaged blob" in said[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from([1e-9, 1.0, 1e12]))
def test_numbers_come_back_as_precise_as_they_are_shown(seed: int, missing: float, unit: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (2 * CHUNK, 4, 3)
    error = rng.lognormal(0, 3, shape) * unit
    columns = [
        rng.integers(0, 60000, shape),
        rng.uniform(-10, 1, shape),
        rng.random(shape),
        rng.random(shape),
        rng.lognormal(0, 2, shape),
        error,
        error * rng.uniform(-1, 1, shape),
    ]
    values = np.stack(columns, axis=-1).astype(np.float32)
    values[..., 1:][rng.random((*shape, 6)) < missing] = np.nan
    chance, flags = rng.random(shape[:2]).astype(np.float32), rng.integers(0, 2, (2, *shape[:2]))
    found = [unpack(blob, 4, 3) for blob in pack(values, chance, *flags)]
    back = [np.concatenate(each) for each in zip(*found, strict=True)]
    got, wanted = back[0], values
    np.testing.assert_array_equal(got[..., 0], wanted[..., 0])
    np.testing.assert_allclose(got[..., 1], wanted[..., 1], atol=0.0006)
    np.testing.assert_allclose(got[..., 2:4], wanted[..., 2:4], atol=0.0021)
    np.testing.assert_allclose(got[..., 4:6], wanted[..., 4:6], rtol=0.004)
    both = np.isfinite(wanted[..., 5:7]).all(axis=-1)
    off = np.abs(got[..., 6] - wanted[..., 6])[both]
    assert (off <= 0.009 * wanted[..., 5][both]).all()
    np.testing.assert_allclose(back[1], chance, atol=0.0021)
    np.testing.assert_array_equal(np.array([back[2], back[3]]), flags)


@given(st.binary(max_size=200))
def test_a_blob_of_anything_is_refused_and_never_swells(data: bytes) -> None:
    with pytest.raises(ValueError, match="blob"):
        unpack(data, 4, 5)
