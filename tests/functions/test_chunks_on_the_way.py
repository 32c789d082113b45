"""Chunks that a worker has taken are found at once, whether their files are there already or not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sidestep.backends.functions.capsules import Refused, Store
from sidestep.backends.functions.shelf import Shelf
from sidestep.sharding.capsules.chunks import Packer, name_of


def records(*chunks: bytes) -> dict[bytes, bytes]:
    """Chunks as they travel."""
    return {name_of(chunk): Packer().record(name_of(chunk), chunk) for chunk in chunks}


class Slow(Shelf):
    """Writes when it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()

    def _write(self, path: Path, record: bytes) -> None:
        assert self.gate.wait(30)
        super()._write(path, record)


def test_what_was_caught_is_found_before_and_after_its_file_is_there(tmp_path: Path) -> None:
    """S2.24, S2.29: known, given to others and proven, at any time."""
    shelf, given = Slow(tmp_path), records(b"one" * 900, b"two" * 900)
    shelf.catch(given)
    for _ in range(2):
        assert shelf.have([*given, b"x" * 16]) == list(given)
        assert shelf.records(list(given)) == list(given.values())
        for name in given:
            shelf.prove(name)
        elsewhere = Store(tmp_path).have(list(given))
        assert elsewhere == ([] if not shelf.gate.is_set() else list(given))
        shelf.gate.set()
        shelf.settle()
    assert shelf.take(given) == 0


def test_of_damaged_chunks_none_is_caught(tmp_path: Path) -> None:
    """S2.26: checked before any of them is believed."""
    shelf, given = Shelf(tmp_path), records(b"good" * 50, b"bad" * 50)
    good, bad = given
    given[bad] = given[bad][:-1] + bytes([given[bad][-1] ^ 1])
    with pytest.raises(Refused, match=bad.hex()):
        shelf.catch(given)
    assert shelf.have([good, bad]) == []
    shelf.hold(given)
    # Those of a seat of ours are checked when somebody asks.
    shelf.prove(good)
    with pytest.raises(Refused, match=bad.hex()):
        shelf.prove(bad)
    with pytest.raises(Refused, match="not here"):
        shelf.prove(b"x" * 16)


def test_what_cannot_be_written_stays_in_memory_and_is_said(tmp_path: Path) -> None:
    """S2.24: a disk that takes no file costs no chunk; who needs the file is told, until it can be written."""
    shelf, given = Shelf(tmp_path), records(b"kept" * 90)
    (name,) = given
    blocked = tmp_path / name.hex()[:2]
    blocked.touch()
    shelf.catch(given)
    with pytest.raises(Refused, match="could not be written"):
        shelf.settle()
    assert shelf.records([name]) == [given[name]]
    blocked.unlink()
    shelf.settle()
    assert Store(tmp_path).records([name]) == [given[name]]
