"""What a router's report says: totals for the rates, and its calls as invocations. Pure.

A router may see far more calls than are worth a row. Of every shard at most ``MOST`` a look
become rows, evenly chosen, and each says how many it stands for, so that sums stay right.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.invocation_sketch import BINS
from sidestep.fleet.invocations import MAX_FEATURES, MAX_NAME, Invocation, Value
from sidestep.fleet.labels import Label, scrub

#: rows of one shard in one look
MOST: Final = 20
_COSTS: Final = ("cpu_s", "max_rss")
_FEATURE: Final = "x."
_HINT: Final = "are daemon and router of one version?"

Call = tuple[float, str, str, Annotated[float, Meta(ge=0)], Annotated[int, Meta(ge=0)], dict[str, str]]


class RouterReport(Struct, frozen=True):
    """``backends.routing.meter.Meter.report`` as it came."""

    run: str
    shards: list[str]
    requests: bytes
    failed: bytes
    rows: bytes
    bins: bytes
    counts: bytes
    newest: int
    calls: list[Call]

    def totals(self) -> NDArray[np.int64]:
        """(K,) requests of every shard since the router began. Raises ProtocolError."""
        return self._array(self.requests, "<i8", len(self.shards)).astype(np.int64)

    def answered(self) -> NDArray[np.int64]:
        """(K,) of them, those that were answered. Raises ProtocolError."""
        return self.totals() - self._array(self.failed, "<i8", len(self.shards)).astype(np.int64)

    def latencies(self) -> NDArray[np.uint32]:
        """(K, BINS) sketches of latencies. Raises ProtocolError."""
        count = len(self.counts) // 4
        rows, bins = self._array(self.rows, "<u4", count), self._array(self.bins, "<u2", count)
        if count and (rows.max() >= len(self.shards) or bins.max() >= BINS):
            raise ProtocolError("the router reports a latency of no shard or bin", hint=_HINT)
        made = np.zeros((len(self.shards), BINS), dtype=np.uint32)
        made[rows, bins] = self._array(self.counts, "<u4", count)
        return made

    @staticmethod
    def _array(data: bytes, kind: str, count: int) -> NDArray[np.integer]:
        if len(data) != np.dtype(kind).itemsize * count:
            raise ProtocolError("the router's report has arrays of different lengths", hint=_HINT)
        return np.frombuffer(data, kind)


def report_of(values: dict[str, object]) -> RouterReport:
    """The report from the values of a router's answer. Raises ProtocolError."""
    try:
        return msgspec.convert(values, RouterReport)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"not a report of a router: {error}", hint=_HINT) from error


class Calls:
    """Makes rows of the calls of one router, look after look; a call is taken once."""

    def __init__(self) -> None:
        #: the number of the newest call that was taken; what came before the first look is left out
        self.after = 0
        self._run = ""
        self._answered: dict[str, int] = {}

    def take(self, report: RouterReport) -> list[Invocation]:
        """The invocations since the last report. Raises ProtocolError."""
        answered = dict(zip(report.shards, report.answered().tolist(), strict=True))
        before, self._answered = self._answered, answered
        first, anew = not self._run, report.run != self._run
        self._run = report.run
        self.after = 0 if anew and not first else report.newest
        if anew:
            # A router that began anew is asked for all of its calls the next time.
            self._answered = answered if first else {}
            return []
        of: dict[str, list[Call]] = {}
        for call in report.calls:
            of.setdefault(call[2], []).append(call)
        made = []
        for shard, calls in of.items():
            made += thinned(calls, answered.get(shard, 0) - before.get(shard, 0))
        return made


def thinned(calls: list[Call], total: int) -> list[Invocation]:
    """At most ``MOST`` of a shard's calls, evenly chosen; they stand for ``total``, or for all if those are more."""
    count, total = min(MOST, len(calls)), max(total, len(calls))
    chosen = (calls[len(calls) * place // count] for place in range(count))
    return [_invocation(call, total * (i + 1) // count - total * i // count) for i, call in enumerate(chosen)]


def _invocation(call: Call, n: int) -> Invocation:
    end, app, shard, seconds, length, said = call
    costs = {name: number for name in _COSTS if (number := _number(said.get(name, ""))) is not None and number >= 0}
    x: dict[Label, Value] = {}
    for name, text in said.items():
        if name.startswith(_FEATURE) and 0 < len(name) - len(_FEATURE) <= MAX_NAME and len(x) < MAX_FEATURES:
            number = _number(text)
            x[scrub(name[len(_FEATURE) :])] = scrub(text, 80) if number is None else number
    return Invocation(
        app=scrub(app),
        shard=scrub(shard),
        t=end,
        wall_s=seconds,
        cpu_s=costs.get("cpu_s", math.nan),
        max_rss=costs.get("max_rss", math.nan),
        net_bytes=float(length),
        n=n,
        x=tuple(sorted(x.items(), key=lambda pair: pair[0])),
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
