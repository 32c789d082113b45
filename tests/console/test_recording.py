"""What the daemon records of what consoles were shown, and what a reader makes of it, whatever happened to it."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest
from frames import START, Fleet, lively, make_plan, view_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.protocol import SnapshotFrame
from sidestep.autopilot.recorder import parquet
from sidestep.autopilot.recorder.__main__ import main
from sidestep.autopilot.recorder.keeper import Disk
from sidestep.autopilot.recorder.parquet import Damaged
from sidestep.autopilot.recorder.recording import Recording
from sidestep.autopilot.recorder.rows import COLUMNS, KEY_EVERY, BadRow, Frames, Rows, packed, rounded, unpacked
from sidestep.autopilot.recorder.segments import segments
from sidestep.console.view import decode
from sidestep.fleet.errors import UsageError
from sidestep.fleet.events import Event
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState

HOUR = 3600.0
BEGIN = START - START % HOUR + 60


def pictures(count: int, fleet: Fleet | None = None, begin: float = BEGIN, step: float = 5.0) -> list[SnapshotFrame]:
    fleet = fleet or lively()
    made = [fleet.frame(begin + at * step, at + 1) for at in range(count)]
    return [msgspec.structs.replace(frame, tables=7) for frame in made]


EIGHT = pictures(8)


def record(state: Path, frames: list[SnapshotFrame]) -> Path:
    said: list[str] = []
    disk = Disk(state / "record", said.append)
    for at, frame in enumerate(frames):
        event = Event(seq=at + 1, time=frame.time, kind="plan", text=Label(f"row {at + 1}"))
        disk.add(frame, Policy(), (event,)).result()
    disk.close()
    assert not said
    return state


def same(found: SnapshotFrame, given: SnapshotFrame) -> bool:
    """Apart from what is rounded or made anew."""
    blank = {"past": b"", "tables": 0}
    return msgspec.structs.replace(found, **blank) == msgspec.structs.replace(rounded(given), **blank)


def test_every_picture_comes_back_in_any_order(tmp_path: Path) -> None:
    given_frames = pictures(KEY_EVERY + 5)
    found = Recording.open(record(tmp_path, given_frames))
    assert len(found) == len(given_frames)
    for at in (0, 1, 2, KEY_EVERY + 3, KEY_EVERY, 5, KEY_EVERY - 1):
        shown = found.picture(at)
        assert same(shown.frame, given_frames[at])
        assert shown.policy == Policy()
        decode(shown.frame)


def test_recent_use_is_made_of_the_pictures_before(tmp_path: Path) -> None:
    fleet = lively()
    found = Recording.open(record(tmp_path, pictures(12, fleet, step=5.0)))
    view = decode(found.picture(11).frame)
    past = view.history(0, 0)
    assert len(past) == 90
    for back in (0, 10, 20):  # pictures were taken five seconds apart; what is between stands still
        assert past[-1 - back] == pytest.approx(fleet.load(0, BEGIN + 55 - back), abs=0.002)
    assert past[0] == pytest.approx(fleet.load(0, BEGIN + 55 - 89), abs=0.002)  # from before the first picture


def test_whole_hours_become_parquet_and_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    frames = pictures(6, begin=BEGIN, step=HOUR / 4)
    record(tmp_path, frames)
    assert len(segments(tmp_path / "record")) == 2
    parquet.compact(tmp_path / "record", 1 << 30, pytest.fail)
    assert len(parquet.files(tmp_path / "record")) == 1
    found = Recording.open(tmp_path)
    assert [same(found.picture(at).frame, frame) for at, frame in enumerate(frames)] == [True] * 6
    assert [event.text for event in found.log(frames[2].time)] == ["row 1", "row 2", "row 3"]


def test_the_oldest_hours_go_when_the_budget_is_used_up(tmp_path: Path) -> None:
    record(tmp_path, pictures(5, step=HOUR))
    said: list[str] = []
    parquet.compact(tmp_path / "record", 1 << 30, said.append)
    sizes = [path.stat().st_size for path in parquet.files(tmp_path / "record")]
    assert len(sizes) == 4
    parquet.compact(tmp_path / "record", sizes[-1] + sizes[-2], said.append)
    assert len(parquet.files(tmp_path / "record")) == 2
    assert "dropped the 2 oldest hours" in said[0]
    assert Recording.open(tmp_path).times[0] == BEGIN + 2 * HOUR


@given(cut=st.integers(1, 4000), junk=st.binary(max_size=40))
@settings(max_examples=12, deadline=None)
def test_a_segment_that_was_cut_off_anywhere_is_read_up_to_there_and_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    state = tmp_path_factory.mktemp("cut")
    frames = EIGHT
    record(state, frames[:6])
    (path,) = segments(state / "record")
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)] + junk)
    try:
        kept = len(Recording.open(state))
    except UsageError:
        kept = 0
    assert kept < 6
    record(state, frames[6:])
    found = Recording.open(state)
    assert len(found) == kept + 2
    assert same(found.picture(kept + 1).frame, frames[7])


def test_an_export_is_one_file_that_opens_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = pictures(20)
    state, file = record(tmp_path / "state", frames), tmp_path / "noon.parquet"
    assert main(["export", "--state", str(state), str(file)]) == 0
    assert "20 pictures" in capsys.readouterr().out
    assert file.stat().st_mode & 0o077 == 0
    found = Recording.open(file)
    assert [same(found.picture(at).frame, frame) for at, frame in enumerate(frames)] == [True] * 20
    assert len(found.log(frames[-1].time)) == 20
    part = Recording.open(file, frames[5].time, frames[9].time)
    assert part.times == [frame.time for frame in frames[5:9]]
    assert same(part.picture(0).frame, frames[5])


def test_plans_are_as_they_were_then(tmp_path: Path) -> None:
    fleet = lively()
    first = pictures(2, fleet)
    plan = make_plan(12)
    fleet.plans = (view_of(plan, PlanState.APPROVED, updated=START + 9), *fleet.plans[1:])
    second = pictures(2, fleet, begin=BEGIN + 10)
    found = Recording.open(record(tmp_path, first + second))
    assert found.picture(3).frame.plans[0].status.state is PlanState.APPROVED
    assert found.picture(1).frame.plans[0].status.state is PlanState.PROPOSED
    assert len(found.picture(1).frame.plans) == 3


def test_strings_of_somebody_elses_recording_are_made_harmless_as_they_enter() -> None:
    """S7.6: rule 1 holds for recordings."""
    evil = Label("\x1b]52;c;aGk=\x07[@click=app.quit]x\u202e")
    frame = pictures(1, Fleet(names=(evil, evil)))[0]
    frame = msgspec.structs.replace(frame, reasons={0: evil}, alerts=(evil,), oracle=evil)
    row = unpacked(packed(Rows().row(frame, Policy())))
    for text in (row.frame.hosts[0].name, row.frame.reasons[0], row.frame.alerts[0], row.frame.oracle):
        assert text.isprintable()
        assert "52;c" in text


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_the_reader_fail_in_any_other_way(data: bytes) -> None:
    with pytest.raises(BadRow):
        Frames().frame(unpacked(data))


def test_a_column_that_is_not_as_long_as_it_says_is_refused_by_the_console() -> None:
    frame = pictures(1)[0]
    for name in COLUMNS:
        row = unpacked(packed(Rows().row(msgspec.structs.replace(frame, **{name: getattr(frame, name) + b"1234"}))))
        with pytest.raises(Exception, match=f"column {name}|priority"):
            decode(Frames().frame(row))


@pytest.mark.parametrize("data", [b"", b"PAR1nonsense", b"SIDEREC1" + struct.pack("<II", 9, 9) + b"123456789"])
def test_a_file_that_is_no_recording_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    for name in ("x.parquet", "x.frames"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises((UsageError, Damaged), match=name):
            Recording.open(tmp_path / name)


def test_what_was_never_recorded_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--state", str(tmp_path)]) == 2
    assert "nothing was recorded" in capsys.readouterr().err
    assert main(["export", "--state", str(tmp_path), "x.csv"]) == 2
