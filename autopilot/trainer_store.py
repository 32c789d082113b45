"""What the trainer found, kept over restarts: ``champions.json`` in the fleet's state folder.

The file is replaced whole, so that a crash leaves the old one or the new one. It is ours but
read with the same care as anything else: one that cannot be read is put aside and said.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.forecasting.training.protocol import Standing

VERSION: Final = 1
#: promotions and demotions that are kept
KEPT: Final = 200
#: no state is larger
MOST: Final = 64 << 20


class Change(Struct, frozen=True):
    """A line of the log of promotions, and when (unix seconds)."""

    time: float
    line: str


class Kept(Struct, frozen=True):
    """``round`` is when the latest round ended (unix seconds), 0 for never."""

    version: int = VERSION
    round: float = 0.0
    standings: tuple[Standing, ...] = ()
    changes: tuple[Change, ...] = ()
    weights: bytes = b""


class TrainerStore:
    """The file. Blocking, but small: a few kilobytes, and the weights where a network was tuned."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[Kept, str]:
        """What is kept, and "" or why nothing is."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MOST + 1)
        except FileNotFoundError:
            return Kept(), ""
        except OSError as error:
            return Kept(), f"{self.path} cannot be read: {error.strerror}; champions begin anew"
        try:
            kept = msgspec.json.decode(data, type=Kept)
            if kept.version == VERSION:
                return kept, ""
            said = f"is of version {kept.version}, not {VERSION}"
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            said = f"cannot be understood ({error})"
        aside = self.path.with_suffix(".broken")
        with contextlib.suppress(OSError):
            self.path.replace(aside)
        return Kept(), f"{self.path} {said}; it is now {aside.name}, and champions begin anew"

    def save(self, kept: Kept) -> None:
        """Keep this instead. Raises OSError."""
        kept = msgspec.structs.replace(kept, changes=kept.changes[-KEPT:])
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
