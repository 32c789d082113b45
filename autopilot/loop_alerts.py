"""Says predicted contention once: when it appears, and when it has been gone for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidestep.fleet.contention import threshold_of
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.resources import show_seconds

#: seconds without a prediction after which it counts as gone; shorter gaps are noise of the forecast
QUIET: Final = 10.0


class Alerts:
    """Remembers which contention was said already."""

    def __init__(self, policy: Policy, report: Callable[[str], None]) -> None:
        self.policy, self._report = policy, report
        self._seen: dict[tuple[str, str], float] = {}

    def tell(self, contention: tuple[Contention, ...], now: float) -> None:
        """Take one tick's predictions."""
        for item in contention:
            key = (str(item.host), item.dimension)
            if key not in self._seen:
                self._report(self._words(item))
            self._seen[key] = now
        for key in [key for key, seen in self._seen.items() if now - seen > QUIET]:
            del self._seen[key]
            self._report(f"{key[0]} {key[1]}: contention is no longer predicted")

    def _words(self, item: Contention) -> str:
        threshold = threshold_of(self.policy, item.dimension)
        return (
            f"{item.host} {item.dimension} will be over {threshold:.0%} in {show_seconds(item.lead)}, "
            f"p={item.probability:.2f}, peak {item.peak:.0%}"
        )
