"""Keeps what is beside the forecast from taking the forecast with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sidestep.fleet.labels import scrub

T = TypeVar("T")


class Guard:
    """Runs parts that may fail; one that did is left out from then on, and that is said once."""

    def __init__(self) -> None:
        self._failed: set[str] = set()
        self._notes: list[str] = []

    def run(self, part: str, work: Callable[[], T], otherwise: T) -> T:
        """What ``work`` gives, or ``otherwise`` if that part failed now or before."""
        if part in self._failed:
            return otherwise
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the supervisor of one part: its state may be broken, ours is not
            self._failed.add(part)
            self._notes.append(scrub(f"the {part} failed and is left out: {type(error).__name__}: {error}"))
            return otherwise

    def notes(self) -> tuple[str, ...]:
        """What is to be said, each once."""
        said, self._notes = tuple(self._notes), []
        return said
