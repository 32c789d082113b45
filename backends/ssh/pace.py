"""What a transfer asks before it carries anything, where somebody limits how fast bytes may go."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


class Flow(Protocol):
    """One transfer under way."""

    async def take(self, count: int) -> None:
        """Wait until that many more bytes may go."""
        ...


@runtime_checkable
class Pace(Protocol):
    """A limit that all transfers keep together."""

    @property
    def limited(self) -> bool:
        """Whether there is one now."""
        ...

    def refusal(self, size: int, seconds: float) -> str:
        """Why so many bytes cannot be carried in that time beside everything that is under way, or ""."""
        ...

    def carrying(self, name: str, size: int) -> AbstractContextManager[Flow]:
        """A transfer of ``size`` bytes, known by ``name``, for as long as the block lasts."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A backend whose transfers keep to a pace; None is none."""

    pace: Pace | None
