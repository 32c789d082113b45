"""What the daemon's frame says, ready for the screens: columns read in place, never copied.

Pure. Columns stay the bytes they arrived as and are read where a screen needs them: the rows
on screen one by one from here, whole columns as arrays from ``figures``.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from sidestep.autopilot.protocol import (
    PROVEN,
    QUALITY,
    REACTIVE,
    HostStrings,
    PlanView,
    ShardStrings,
    SnapshotFrame,
    host_states,
    shard_states,
)
from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import DIMENSIONS, MEMORY, PLANNED

if TYPE_CHECKING:
    from sidestep.console.figures import Figures

#: the levels of SnapshotFrame.future, and which of them the peaks in tables are read at
LEVELS: Final = (0.05, 0.2, 0.5, 0.8, 0.95)
MEDIAN: Final = 2
PEAK: Final = 3
#: a host whose newest sample is older than this many seconds is shown as stale
STALE_AFTER: Final = 10.0
#: risk from which a host counts as warming, although nothing is predicted firmly yet
WARMING: Final = 0.2
PLANS_KEPT: Final = 200

Condition = Literal["hot", "warming", "ok", "stale", "down", "held"]
_HELD: Final = frozenset(
    {HostState.CORDONED, HostState.DRAINING, HostState.DRAINED, HostState.MAINTENANCE, HostState.QUARANTINED}
)
Floats = Sequence[float]


def _floats(data: bytes, count: int, what: str) -> memoryview[float]:
    return memoryview(_native(_checked(data, count * 4, what), "f")).cast("f")


def _ints(data: bytes, count: int, what: str) -> memoryview[int]:
    return memoryview(_native(_checked(data, count * 4, what), "i")).cast("i")


def _halves(data: bytes, at: int, count: int) -> tuple[float, ...]:
    return struct.unpack_from(f"<{count}e", data, at * 2)


def _checked(data: bytes, size: int, what: str) -> bytes:
    if len(data) != size:
        raise ProtocolError(
            f"column {what} has {len(data)} bytes, not {size}", hint="are console and daemon of one version?"
        )
    return data


def _native(data: bytes, code: Literal["f", "i"]) -> bytes:
    """The column in this machine's byte order; it travels little-endian."""
    if sys.byteorder == "little":
        return data
    swapped = array(code, data)
    swapped.byteswap()
    return swapped.tobytes()


@dataclass(frozen=True, kw_only=True)
class FleetView:
    """One picture of the fleet. Hosts and shards are row numbers; unknown numbers are NaN."""

    frame: SnapshotFrame
    hosts: tuple[HostStrings, ...]
    shards: tuple[ShardStrings, ...]
    host_states: tuple[HostState, ...]
    shard_states: tuple[ShardState, ...]
    allocatable: memoryview[float]
    use: memoryview[float]
    age: memoryview[float]
    risk: memoryview[float]
    #: half floats, read by ``history`` and ``quantile``
    past: bytes
    future: bytes
    shard_host: memoryview[int]
    shard_use: memoryview[float]
    shard_bytes: memoryview[float]
    shard_priority: memoryview[int]
    #: how well samples come, ``QUALITY`` a host; empty from a daemon that does not say
    samples: memoryview[float]
    #: how far chances may be trusted, a byte a host and planned dimension; empty likewise
    trust: bytes = b""
    #: seconds that this picture is ahead of the present: 0 is what was measured
    ahead: float = 0.0

    STALE_AFTER: ClassVar[float] = STALE_AFTER
    WARMING: ClassVar[float] = WARMING
    HELD: ClassVar[frozenset[HostState]] = _HELD

    @cached_property
    def figures(self) -> Figures:
        """Whole columns as arrays; numpy is loaded when this is first asked for."""
        from sidestep.console.figures import Figures  # noqa: PLC0415 - not before the first paint

        return Figures(self)

    @cached_property
    def host_names(self) -> tuple[str, ...]:
        """The hosts' names by row."""
        return tuple(host.name for host in self.hosts)

    @property
    def time(self) -> float:
        """The controller's unix time of this picture."""
        return self.frame.time

    @cached_property
    def rows(self) -> dict[str, int]:
        """Host name to row."""
        return {host.name: row for row, host in enumerate(self.hosts)}

    @cached_property
    def contentions(self) -> dict[str, Contention]:
        """Host name to its soonest predicted contention."""
        found: dict[str, Contention] = {}
        for item in self.frame.contention:
            if item.host not in found or item.starts_at < found[item.host].starts_at:
                found[item.host] = item
        return found

    @cached_property
    def states(self) -> Counter[str]:
        """How many hosts are in which state."""
        return Counter(self.host_states)

    @cached_property
    def shards_by_host(self) -> dict[int, list[int]]:
        """Host row to its shards' rows; for commands, screens ask ``figures.shards_of``."""
        found: dict[int, list[int]] = {}
        for shard, host in enumerate(self.shard_host):
            found.setdefault(host, []).append(shard)
        return found

    @cached_property
    def shard_names(self) -> tuple[str, ...]:
        """The shards' names by row; the same object as long as the names are the same."""
        return tuple(shard.name for shard in self.shards)

    @cached_property
    def shard_rows(self) -> dict[str, int]:
        """Shard name to row."""
        return {name: row for row, name in enumerate(self.shard_names)}

    @cached_property
    def apps(self) -> dict[str, list[int]]:
        """App name to its shards' rows, in the order of the names."""
        found: dict[str, list[int]] = {}
        for row, shard in enumerate(self.shards):
            found.setdefault(shard.app, []).append(row)
        return dict(sorted(found.items()))

    @property
    def learning(self) -> bool:
        """Whether there is a forecast that has not seen enough to say anything about contention."""
        return self.frame.future_steps > 0 and self.frame.confidence == "insufficient"

    def proven(self, host: int, dimension: int) -> bool:
        """Whether such chances have beaten this host's own frequency; not for a daemon that does not say."""
        return bool(self._trusted(host, dimension) & PROVEN)

    def reactive(self, host: int, dimension: int) -> bool:
        """Whether the series cannot be forecast, so that only what is measured counts."""
        return bool(self._trusted(host, dimension) & REACTIVE)

    def _trusted(self, host: int, dimension: int) -> int:
        return self.trust[host * PLANNED + dimension] if self.trust else 0

    def reason(self, host: int) -> Label:
        """Why a host is in its state, or ""."""
        return _clean(self.frame.reasons.get(host, Label("")))

    def quality(self, host: int) -> dict[str, float]:
        """How well a host's samples come, by the names of ``QUALITY``; NaN where the daemon does not say."""
        at = host * len(QUALITY)
        row = self.samples[at : at + len(QUALITY)] if self.samples else (math.nan,) * len(QUALITY)
        return dict(zip(QUALITY, row, strict=True))

    def threshold(self, dimension: int) -> float:
        """The fraction of allocatable capacity above which a planned dimension is in contention."""
        return self.frame.threshold_memory if dimension == MEMORY else self.frame.threshold_cpu

    def load(self, host: int, dimension: int) -> float:
        """Present use as a fraction of what may be handed out."""
        at = host * len(DIMENSIONS) + dimension
        capacity = self.allocatable[at]
        return float(self.use[at] / capacity) if capacity > 0 else math.nan

    def chance(self, host: int, dimension: int | None = None) -> float:
        """The chance of contention within the horizon, in one dimension or in the likeliest; NaN if unknown."""
        row = self.risk[host * PLANNED : (host + 1) * PLANNED]
        if dimension is not None:
            return float(row[dimension])
        return max((float(v) for v in row if not math.isnan(v)), default=math.nan)

    def history(self, host: int, dimension: int) -> Floats:
        """Recent use as fractions, oldest first."""
        steps = self.frame.past_steps
        at = (host * PLANNED + dimension) * steps
        return _halves(self.past, at, steps)

    def quantile(self, host: int, dimension: int, level: int) -> Floats:
        """The forecast at ``LEVELS[level]`` as fractions, next step first; empty without a forecast."""
        width = self.frame.future_steps * len(LEVELS)
        at = (host * PLANNED + dimension) * width
        return _halves(self.future, at, width)[level :: len(LEVELS)]

    def peak(self, host: int, dimension: int) -> float:
        """The highest value ahead at the 0.8 quantile; NaN without a forecast."""
        return max((float(v) for v in self.quantile(host, dimension, PEAK) if not math.isnan(v)), default=math.nan)

    def condition(self, host: int) -> Condition:
        """One word for a host, worst first: down, held, stale, hot, warming, ok."""
        found = self._conditions.get(host)
        if found is None:
            found = self._conditions[host] = self._condition(host)
        return found

    def know(self, conditions: Mapping[int, Condition]) -> None:
        """Take the conditions of hosts that were worked out together."""
        self._conditions.update(conditions)

    @cached_property
    def _conditions(self) -> dict[int, Condition]:
        return {}

    def _condition(self, host: int) -> Condition:
        state = self.host_states[host]
        if state is HostState.DEAD:
            return "down"
        if state in _HELD:
            return "held"
        if state is not HostState.READY or self.age[host] > STALE_AFTER:
            return "stale"
        now = any(self.load(host, d) > self.threshold(d) for d in range(PLANNED))
        if now or self.hosts[host].name in self.contentions:
            return "hot"
        return "warming" if self.chance(host) >= WARMING else "ok"

    def word(self, host: int) -> str:
        """The condition as it is written: held hosts say how they are held."""
        condition = self.condition(host)
        return self.host_states[host].lower() if condition == "held" else condition

    def urgency(self, host: int) -> float:
        """What commands list hosts by: risk; a host that is down or stale is never at the very end."""
        chance = self.chance(host)
        floor = {"down": 0.5, "stale": 0.25, "hot": 0.5}.get(self.condition(host), 0.0)
        return max(floor, 0.0 if math.isnan(chance) else round(chance, 2))


def decode(frame: SnapshotFrame, before: FleetView | None = None, *, ahead: float = 0.0) -> FleetView:
    """A view of the frame; words that are still those of ``before`` are taken from it.

    Raises ProtocolError when a column is not as long as the frame says.
    """
    h, n, d = len(frame.hosts), len(frame.shards), len(DIMENSIONS)
    r, t = PLANNED, frame.future_steps
    _checked(frame.host_state, h, "host_state")
    _checked(frame.shard_state, n, "shard_state")
    view = FleetView(
        frame=frame,
        hosts=before.hosts if before and before.frame.hosts is frame.hosts else tuple(map(_host, frame.hosts)),
        shards=before.shards if before and before.frame.shards is frame.shards else tuple(map(_shard, frame.shards)),
        host_states=before.host_states
        if before and before.frame.host_state == frame.host_state
        else host_states(frame),
        shard_states=before.shard_states
        if before and before.frame.shard_state == frame.shard_state
        else shard_states(frame),
        allocatable=_floats(frame.allocatable, h * d, "allocatable"),
        use=_floats(frame.use, h * d, "use"),
        age=_floats(frame.age, h, "age"),
        risk=_floats(frame.risk, h * r, "risk"),
        past=_checked(frame.past, h * r * frame.past_steps * 2, "past"),
        future=_checked(frame.future, h * r * t * len(LEVELS) * 2, "future"),
        shard_host=_ints(frame.shard_host, n, "shard_host"),
        shard_use=_floats(frame.shard_use, n * r, "shard_use"),
        shard_bytes=_floats(frame.shard_bytes, n, "shard_bytes"),
        shard_priority=_ints(frame.shard_priority, n, "shard_priority"),
        samples=_floats(frame.quality, h * len(QUALITY) if frame.quality else 0, "quality"),
        trust=_checked(frame.trust, h * r if frame.trust else 0, "trust"),
        ahead=ahead,
    )
    if before is not None:
        _carry(before, view)
    return view


def _carry(before: FleetView, view: FleetView) -> None:
    """What was made from words that are still the same is not made again."""
    for words, names in (("hosts", ("rows", "host_names")), ("shards", ("shard_names", "shard_rows", "apps"))):
        if getattr(before, words) is getattr(view, words):
            vars(view).update({name: made for name in names if (made := vars(before).get(name)) is not None})
    if before.hosts is view.hosts and before.frame.shard_host == view.frame.shard_host and "figures" in vars(before):
        view.figures.keep_places(before.figures)


def _host(words: HostStrings) -> HostStrings:
    if words.name.isprintable() and words.zone.isprintable():
        return words
    return HostStrings(_clean(words.name), _clean(words.zone))


def _shard(words: ShardStrings) -> ShardStrings:
    if words.name.isprintable() and words.app.isprintable():
        return words
    return ShardStrings(_clean(words.name), _clean(words.app))


def _clean(text: Label) -> Label:
    return text if text.isprintable() else scrub(text)


def merge_plans(known: tuple[PlanView, ...], fresh: tuple[PlanView, ...]) -> tuple[PlanView, ...]:
    """Known plans with fresh ones taken over them, newest number first; an older status never wins."""
    by_digest = {item.digest: item for item in known}
    for item in fresh:
        old = by_digest.get(item.digest)
        if old is None or item.status.updated >= old.status.updated:
            by_digest[item.digest] = item
    merged = sorted(by_digest.values(), key=lambda p: (-p.plan.number, -p.plan.created, p.digest))
    return tuple(merged[:PLANS_KEPT])
