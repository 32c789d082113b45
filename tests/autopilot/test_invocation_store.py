"""The store of invocations: what goes in comes out, sums agree with rows, and nothing grows without end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from sidestep.autopilot.invocations import HOUR, InvocationError, InvocationStore, Keeping
from sidestep.autopilot.invocations_import import export_lines, import_file, main
from sidestep.fleet.errors import ConfigError, UsageError
from sidestep.fleet.invocations import Invocation, features
from sidestep.fleet.labels import Label

NOW = 1_700_000_000.0


def made(
    count: int, *, app: str = "thumbs", shard: str = "t-1", start: float = NOW, gap: float = 1.0
) -> list[Invocation]:
    """Invocations whose ``i``-th took ``i + 1`` ms."""
    return [
        Invocation(
            app=Label("thumbs"),
            shard=Label("t-1"),
            t=start + gap * i,
            wall_s=(i + 1) / 1000,
            cpu_s=(i + 1) / 2000,
            max_rss=1e6 + i,
            net_bytes=100.0,
            x=features({"size": float(i), "kind": "even" if i % 2 == 0 else "odd"}),
        )
        for i in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> InvocationStore:
    return InvocationStore(tmp_path / "invocations.db")


def test_what_is_added_is_found_again_newest_first(store: InvocationStore) -> None:
    """S1.2: query API."""
    batch = made(20)
    store.add(batch)
    assert store.rows() == tuple(reversed(batch))
    assert store.rows("thumbs", "t-1", since=NOW + 15, until=NOW + 17) == (batch[16], batch[15])
    assert store.rows("nobody") == ()
    assert len(store.rows(limit=3)) == 3


def test_rows_are_found_by_the_features_of_their_input(store: InvocationStore) -> None:
    """S1.2: input features as keys and values."""
    store.add(made(20))
    assert [row.x[1][1] for row in store.rows(x={"size": (3.0, 5.0)})] == [5.0, 4.0, 3.0]
    assert len(store.rows(x={"kind": "odd"})) == 10
    assert len(store.rows(x={"kind": "odd", "size": 7.0})) == 1
    assert store.rows(x={"colour": "red"}) == ()
    with pytest.raises(UsageError):
        store.rows(x={'si"ze': 1.0})


def test_hours_hold_counts_sums_and_quantiles_however_the_rows_were_cut_into_batches(tmp_path: Path) -> None:
    """S1.2: roll-up."""
    start = NOW // HOUR * HOUR
    batch = made(1000, start=start, gap=7.2)
    at_once, piecemeal = InvocationStore(tmp_path / "a.db"), InvocationStore(tmp_path / "b.db")
    at_once.add(batch)
    for first in range(0, 1000, 130):
        piecemeal.add(batch[first : first + 130])
    hours = at_once.hours("thumbs")
    for one, other in zip(hours, piecemeal.hours("thumbs"), strict=True):
        assert one.wall_sum == pytest.approx(other.wall_sum)
        assert (one.n, one.wall, one.cpu, one.rss, one.rss_max) == (
            other.n,
            other.wall,
            other.cpu,
            other.rss,
            other.rss_max,
        )
    assert [hour.n for hour in hours] == [500, 500]
    first = batch[:500]
    assert hours[0].wall_sum == pytest.approx(sum(row.wall_s for row in first))
    assert hours[0].net_sum == pytest.approx(50_000)
    exact = np.quantile([row.wall_s for row in first], (0.5, 0.95))
    assert np.allclose(hours[0].quantiles("wall_s", (0.5, 0.95)), exact, rtol=0.06)
    assert len(at_once.hours(since=start + HOUR)) == 1


def test_a_row_that_stands_for_several_counts_as_several(store: InvocationStore) -> None:
    store.add([Invocation(app=Label("a"), t=NOW, wall_s=2.0, n=10), Invocation(app=Label("a"), t=NOW, wall_s=1.0)])
    (hour,) = store.hours("a")
    assert (hour.n, hour.wall_sum, hour.cpu_n) == (11, 21.0, 0)
    assert np.isnan(hour.quantiles("cpu_s", (0.5,))[0])
    assert [(f.app, f.n) for f in store.functions()] == [("a", 11)]


def test_rows_and_hours_are_bounded_and_the_oldest_go_first(tmp_path: Path) -> None:
    """S1.2: retention."""
    store = InvocationStore(tmp_path / "i.db", keeping=Keeping(rows=100, hours=5))
    for number in range(20):
        store.add(made(50, start=NOW + number * HOUR))
    last = NOW + 20 * HOUR
    store.tidy(last)
    rows = store.rows(limit=10_000)
    assert len(rows) == 100
    assert min(row.t for row in rows) >= NOW + 18 * HOUR
    assert len(store.hours()) <= 5
    store.tidy(last + 15 * 86400)
    assert store.rows() == ()
    assert len(store.hours()) == 5
    store.tidy(last + 500 * 86400)
    assert store.hours() == ()


def test_the_file_stops_growing(tmp_path: Path) -> None:
    store = InvocationStore(tmp_path / "i.db", keeping=Keeping(rows=2000))
    sizes = []
    for number in range(60):
        store.add(made(1000, start=NOW + number * 1000))
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert max(sizes[30:]) <= max(sizes[:30]) * 1.05


def test_the_file_and_its_log_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = InvocationStore(tmp_path / "state" / "i.db")
        store.add(made(3))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(InvocationError, match="another program"):
        InvocationStore(path)
    assert path.read_bytes() == before
    (tmp_path / "text.db").write_text("not a database at all, and long enough to be read as one" * 20)
    with pytest.raises(InvocationError, match="remedy"):
        InvocationStore(tmp_path / "text.db")


def test_a_closed_store_says_so_and_nothing_else(store: InvocationStore) -> None:
    store.close()
    store.close()
    with pytest.raises(InvocationError):
        store.add(made(1))
    with pytest.raises(InvocationError):
        store.rows()


KILLED = """
import sys
from pathlib import Path
from sidestep.autopilot.invocations import InvocationStore
from sidestep.fleet.invocations import Invocation
from sidestep.fleet.labels import Label
store = InvocationStore(Path(sys.argv[1]))
for number in range(100000):
    store.add([Invocation(app=Label("a"), t=1.7e9 + number, wall_s=0.5) for _ in range(50)])
    print(number, flush=True)
"""


def test_killed_at_any_instant_sums_agree_with_rows_and_nothing_said_to_be_added_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    said = 0
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(17):
                writer.stdout.readline()
                said += 50
            writer.send_signal(signal.SIGKILL)
            said += 50 * len(writer.stdout.read().splitlines())
    store = InvocationStore(path)
    rows, hours = store.rows(limit=10**9), store.hours()
    assert sum(hour.n for hour in hours) == len(rows)
    assert said <= len(rows) <= said + 150
    assert sum(hour.wall_sum for hour in hours) == pytest.approx(0.5 * len(rows))


def test_thousands_are_added_in_a_second(store: InvocationStore) -> None:
    batch = made(5000, gap=0.01)
    began = time.process_time()
    store.add(batch)
    assert time.process_time() - began < 2.5


def test_a_file_of_lines_is_imported_whole_and_once(store: InvocationStore, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    batch = made(30)
    path.write_bytes(b"\n".join(export_lines(batch)))
    assert import_file(store, path, NOW + 100) == 30
    assert store.rows() == tuple(reversed(batch))
    with pytest.raises(ConfigError, match="imported before"):
        import_file(store, path, NOW + 100)
    assert sum(hour.n for hour in store.hours()) == 30


def test_a_table_is_imported_with_its_features(store: InvocationStore, tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("app,shard,t,wall_s,cpu_s,x.size,x.kind\nf,f-1,1699990000,0.5,,12,png\nf,,1699990001,0.6,0.4,,\n")
    assert import_file(store, path, NOW) == 2
    second, first = store.rows("f")
    assert first.x == (("kind", "png"), ("size", 12.0))
    assert np.isnan(first.cpu_s)
    assert (second.shard, second.cpu_s, second.x) == ("", 0.4, ())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"app":"a","wall_s":1}\n{"app":"a"}\n', "a.jsonl:2"),
        ("a.csv", "app,wall_s\na,1\na,fast\n", "a.csv:3: wall_s = 'fast'"),
        ("a.csv", "app,wall_s,colour\n", "colour"),
        ("a.csv", "app,wall_s\na\n", "a.csv:2"),
        ("a.csv", "", "a.csv:1"),
        ("a.csv", "app,wall_s\na,nan\n", "a.csv:2"),
    ],
    ids=["line", "number", "column", "short", "empty", "nan"],
)
def test_a_file_with_a_fault_adds_nothing_and_the_fault_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    """Bad input: file, line, value, remedy; exit code 2 and no traceback."""
    (tmp_path / name).write_text(text)
    assert main(["import", str(tmp_path / name), "--state", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert InvocationStore(tmp_path / "invocations.db").rows() == ()


def test_the_entry_imports_into_a_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(export_lines(made(3))))
    assert main(["import", str(tmp_path / "a.jsonl"), "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("3 invocations")
