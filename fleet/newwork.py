"""Work that is not there yet but is likely to come (S4.13): always a guess, and marked as one."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label

#: the quantile levels of ``SpeculativeWork.demand``
WORK_LEVELS = (0.5, 0.8, 0.95)


class SpeculativeWork(Struct, frozen=True, kw_only=True):
    """One guess: prepare for this much, at that time, and drop it when it has not come by ``expires``.

    ``kind`` is "seasonal" (known work that comes and goes by the calendar) or "template"
    (rising requests of a class that nothing serves, like something known). ``demand`` has the
    WORK_LEVELS quantiles of one instance, by the first dimensions (cpu in cores, memory in
    bytes); ``quota`` is the most instances that may be prepared on this guess alone. Times are
    unix seconds; ``chance`` is 0 to 1.
    """

    name: Label
    app: Label
    kind: str
    begins: float
    lasts: float
    chance: float
    demand: tuple[tuple[float, ...], ...]
    quota: int
    expires: float
    reason: Label
    #: the known work that it is like; empty for seasonal work, which is like itself
    template: Label = Label("")
    speculative: bool = True


class HitRate(Struct, frozen=True, kw_only=True):
    """How often guesses of one kind were right: ``hits`` and ``misses`` are settled, ``open`` are not yet."""

    kind: str
    hits: int
    misses: int
    open: int

    @property
    def rate(self) -> float:
        """Share of settled guesses that came true; NaN before the first."""
        settled = self.hits + self.misses
        return self.hits / settled if settled else float("nan")


class Template(Struct, frozen=True, kw_only=True):
    """Known work that new work may be like: words and numbers that describe it, and what an instance needs.

    ``numbers`` are positive sizes such as bytes a request; ``demand`` is as in SpeculativeWork.
    """

    name: Label
    app: Label
    words: tuple[Label, ...] = ()
    numbers: dict[Label, float] = {}
    demand: tuple[tuple[float, ...], ...] = ()


class RequestClass(Struct, frozen=True, kw_only=True):
    """What came in an interval of requests of one kind; ``served`` says that something known answers them."""

    name: Label
    count: float
    served: bool = False
    words: tuple[Label, ...] = ()
    numbers: dict[Label, float] = {}
