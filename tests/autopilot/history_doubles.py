"""Blocks, folders and clocks for the tests of the history."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sidestep.fleet.history import Block

#: an hour that began long after 1970, in seconds
HOUR = 3600
BEGIN = 500_000 * HOUR


def minute(time: float, *values: float, count: int = 60) -> Block:
    """One minute of several series."""
    mean = np.array([values], dtype=np.float32)
    return Block(60.0, 1.0, np.array([time]), mean, mean + 1, np.where(np.isnan(mean), 0, count).astype(np.uint16))


def history_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    (folder / "open").mkdir(parents=True)
    return folder
