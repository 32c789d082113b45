"""The write-ahead file of the history: what was written is read again, whatever its end looks like."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from history_doubles import BEGIN, HOUR, history_folder, minute
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.history_segments import MAGIC, Writer, hour_name, hour_of, read_segment, retire, segments

NAMES = ("host h1 cpu", "host h2 cpu")


def written(tmp_path: Path, minutes: int = 3) -> Path:
    writer = Writer(history_folder(tmp_path), BEGIN // HOUR)
    for number in range(minutes):
        writer.add(BEGIN + 60 * number, NAMES, minute(BEGIN + 60 * number, number, 10 + number))
    writer.close()
    return writer.path


def test_minutes_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = read_segment(written(tmp_path))
    assert found.names == NAMES
    assert found.block.times.tolist() == [BEGIN, BEGIN + 60, BEGIN + 120]
    assert found.block.mean.tolist() == [[0, 10], [1, 11], [2, 12]]
    assert found.block.high.tolist() == [[1, 11], [2, 12], [3, 13]]
    assert (found.block.count == 60).all()
    assert (found.good, found.damaged) == (found.size, 0)


def test_a_segment_is_closed_to_others(tmp_path: Path) -> None:
    assert stat.S_IMODE(written(tmp_path).stat().st_mode) == 0o600


def test_a_link_in_the_place_of_a_segment_is_not_followed(tmp_path: Path) -> None:
    folder = history_folder(tmp_path)
    (tmp_path / "elsewhere").write_bytes(b"")
    (folder / "open" / f"{hour_name(BEGIN // HOUR)}.segment").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Writer(folder, BEGIN // HOUR)


def test_series_come_and_go_in_the_middle_of_an_hour(tmp_path: Path) -> None:
    writer = Writer(history_folder(tmp_path), BEGIN // HOUR)
    writer.add(BEGIN, ("a b c",), minute(BEGIN, 1))
    writer.add(BEGIN + 60, ("d e f", "a b c"), minute(BEGIN + 60, 2, 3))
    writer.add(BEGIN + 120, ("d e f",), minute(BEGIN + 120, 4))
    writer.close()
    found = read_segment(writer.path)
    assert found.names == ("a b c", "d e f")
    np.testing.assert_array_equal(found.block.mean, [[1, np.nan], [3, 2], [np.nan, 4]])


def test_a_writer_goes_on_where_another_ended_and_a_minute_written_again_counts_last(tmp_path: Path) -> None:
    path = written(tmp_path, 2)
    writer = Writer(path.parent.parent, BEGIN // HOUR)
    writer.add(BEGIN + 60, (*NAMES, "x y z"), minute(BEGIN + 60, 5, np.nan, 6))
    writer.close()
    np.testing.assert_array_equal(read_segment(path).block.mean, [[0, 10, np.nan], [5, 11, 6]])


@given(cut=st.integers(0, 400))
def test_a_torn_tail_costs_the_last_minute_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """S1.3: whatever was on the disk before is there after, and the next writer goes on."""
    path = written(tmp_path_factory.mktemp("torn"))
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    before = read_segment(path)
    assert len(before.block.times) >= 3 - (cut + 45) // 46
    writer = Writer(path.parent.parent, BEGIN // HOUR)
    assert writer.cut == before.size - before.good
    writer.add(BEGIN + 600, NAMES, minute(BEGIN + 600, 7, 8))
    writer.close()
    after = read_segment(path)
    assert after.block.times.tolist() == [*before.block.times.tolist(), BEGIN + 600]
    assert after.good == after.size


def test_a_damaged_record_costs_itself_and_is_said(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    found = read_segment(path)
    assert found.damaged == 1
    assert found.block.times.tolist() == [BEGIN, BEGIN + 120]


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_without_harm(tmp_path_factory: pytest.TempPathFactory, data: bytes, ours: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "x.segment"
    path.write_bytes(MAGIC * ours + data)
    found = read_segment(path)
    assert found.good <= found.size == len(MAGIC * ours + data)


def test_retired_segments_of_one_hour_do_not_replace_each_other(tmp_path: Path) -> None:
    first = retire(written(tmp_path))
    again = Writer(first.parent.parent, BEGIN // HOUR)
    second = again.retire()
    assert segments(first.parent.parent) == [first, second]
    assert hour_of(first.name) == hour_of(second.name) == BEGIN // HOUR


def test_names_of_a_minute_that_found_no_room_are_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(history_folder(tmp_path), BEGIN // HOUR)
    write, room = os.write, [20]

    def short(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        writer.add(BEGIN, NAMES, minute(BEGIN, 1, 11))
    monkeypatch.undo()
    writer.add(BEGIN + 60, NAMES, minute(BEGIN + 60, 2, 12))
    writer.close()
    found = read_segment(writer.path)
    assert (found.names, found.block.mean.tolist(), found.damaged) == (NAMES, [[2, 12]], 0)
