"""The embedded fleet that whole stories run on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="ss-") as folder:
        fleet = Ground(Path(folder), hosts=2, shards=4)
        try:
            yield fleet
        finally:
            fleet.close()
