"""Work that comes and goes by the calendar: when it was there, and when it is expected again (S4.13 a).

Shards that are there at some times only are remembered by app and name, digits aside, since
the night's report has another number each night. Two appearances at the same time of the day,
or of the week, make a guess; how often that time passed without one makes its chance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.labels import scrub
from sidestep.fleet.newwork import WORK_LEVELS, HitRate, SpeculativeWork

DAY: Final = 86400.0
WEEK: Final = 7 * DAY
#: kinds of work that are remembered, and appearances of each
KINDS: Final = 2048
APPEARANCES: Final = 24
#: seconds without it before work counts as gone
GONE: Final = 120.0
#: beginnings within this of their usual time are at it; a guess that has not come by then is wrong
NEAR: Final = 1800.0
#: what is told of: at least so likely, seen so often
CHANCE: Final = 0.35
SEEN: Final = 2
#: instances that may be prepared on one guess
QUOTA: Final = 4
#: guesses that wait to be settled
OPEN: Final = 4096
_DIGITS: Final = re.compile(r"\d+")


class Appearance(Struct):
    """From when to when work was there, how many shards at most, and the mean and highest use of one."""

    begin: float
    end: float
    instances: int
    mean: list[float]
    high: list[float]
    steps: int = 0


class _Kind(Struct):
    app: str
    name: str
    past: list[Appearance] = []
    now: Appearance | None = None
    #: it was there when we began to look, or looked again: its beginning is not known
    old: bool = False


class _Guess(Struct):
    key: str
    begins: float
    expires: float


class _State(Struct):
    since: float
    time: float
    kinds: dict[str, _Kind]
    guesses: list[_Guess]
    hits: int
    misses: int


class _Rhythm(NamedTuple):
    """A calendar that appearances follow: the next beginning, how sure, and how far beginnings lie apart."""

    begins: float
    chance: float
    spread: float
    words: str


def kind_of(app: str, name: str) -> str:
    """What names of one kind of work have in common: app and name with digits left out."""
    return f"{app}/{_DIGITS.sub('#', name)}"


class SeasonalCatalogue:
    """Remembers when kinds of work were there; ``zone`` is whose days and weeks count."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._since = math.nan
        self._time = -math.inf
        self._kinds: dict[str, _Kind] = {}
        self._guesses: list[_Guess] = []
        self._hits = self._misses = 0

    def observe(self, time: float, names: Sequence[str], apps: Sequence[str], use: NDArray[np.floating]) -> None:
        """These shards are there at ``time``, each using so much (N, R); NaN is unknown.

        Raises ValueError unless there is one app and one row of use a name.
        """
        if not (len(names) == len(apps) == len(use)):
            raise ValueError(f"{len(names)} names, {len(apps)} apps, {len(use)} rows of use")
        if time <= self._time:
            return
        # After a time without looking nobody knows when what is there now began.
        first = math.isnan(self._since) or time - self._time > GONE
        if math.isnan(self._since):
            self._since = time
        if first:
            for kind in self._kinds.values():
                if kind.now is not None:
                    self._gone(kind)
        rows: dict[str, list[int]] = {}
        for row, (app, name) in enumerate(zip(apps, names, strict=True)):
            rows.setdefault(kind_of(app, name), []).append(row)
        for key, its in rows.items():
            self._there(key, apps[its[0]], names[its[0]], time, np.asarray(use[its], dtype=np.float64), first=first)
        for kind in self._kinds.values():
            if kind.now is not None and time - kind.now.end > GONE:
                self._gone(kind)
        self._time = time
        self._settle(time)

    def _there(self, key: str, app: str, name: str, time: float, use: NDArray[np.float64], *, first: bool) -> None:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS and not self._forget():
                return
            kind = self._kinds[key] = _Kind(app, _DIGITS.sub("#", name))
        if kind.now is None:
            kind.old = first
            kind.now = Appearance(time, time, 0, [0.0] * use.shape[1], [0.0] * use.shape[1])
            if not kind.old:
                self._came(key, time)
        now, known = kind.now, np.isfinite(use)
        now.end, now.instances = time, max(now.instances, len(use))
        if not known.any(axis=0).all():
            return
        now.steps += 1
        mean = np.where(known, use, 0.0).sum(axis=0) / known.sum(axis=0)
        now.mean = [a + (b - a) / now.steps for a, b in zip(now.mean, mean.tolist(), strict=True)]
        high = np.where(known, use, -np.inf).max(axis=0)
        now.high = [max(a, b) for a, b in zip(now.high, high.tolist(), strict=True)]

    def _gone(self, kind: _Kind) -> None:
        assert kind.now is not None
        if not kind.old:
            kind.past = [*kind.past, kind.now][-APPEARANCES:]
        kind.now, kind.old = None, False

    def _forget(self) -> bool:
        """Make room: the absent kind that was seen least, longest ago."""
        absent = [
            (len(k.past), k.past[-1].end if k.past else 0.0, key) for key, k in self._kinds.items() if k.now is None
        ]
        if not absent:
            return False
        del self._kinds[min(absent)[2]]
        return True

    # -- guesses

    def expected(self, now: float, ahead: float) -> tuple[SpeculativeWork, ...]:
        """Work that is not there and is likely to begin within ``ahead`` seconds, the soonest first.

        Every guess that is told of is settled later: it is a hit if the work appears near its time.
        """
        found: list[tuple[str, SpeculativeWork]] = []
        for key, kind in self._kinds.items():
            if kind.now is not None or len(kind.past) < SEEN:
                continue
            rhythm = self._rhythm(kind.past, now)
            if rhythm is not None and rhythm.chance >= CHANCE and rhythm.begins <= now + ahead:
                found.append((key, self._work(kind, rhythm)))
        known = {(guess.key, round(guess.begins / DAY)) for guess in self._guesses}
        for key, work in found:
            if (key, round(work.begins / DAY)) not in known and len(self._guesses) < OPEN:
                self._guesses.append(_Guess(key, work.begins, work.expires))
        return tuple(work for _, work in sorted(found, key=lambda each: (each[1].begins, each[0])))

    def _work(self, kind: _Kind, rhythm: _Rhythm) -> SpeculativeWork:
        past = kind.past
        share = np.array(WORK_LEVELS)
        mean, high = (np.array([getattr(each, field) for each in past]) for field in ("mean", "high"))
        # The middle by what appearances used on average, the upper quantiles towards their peaks.
        together = np.where(share[:, None] <= 0.5, np.quantile(mean, share, axis=0), np.quantile(high, share, axis=0))
        together = np.maximum.accumulate(together, axis=0)
        lasts = float(np.median([each.end - each.begin for each in past]))
        return SpeculativeWork(
            name=scrub(kind.name),
            app=scrub(kind.app),
            kind="seasonal",
            begins=rhythm.begins,
            lasts=lasts,
            chance=rhythm.chance,
            demand=tuple(tuple(row) for row in together.T.tolist()),
            quota=min(QUOTA, max(1, round(float(np.median([each.instances for each in past]))))),
            expires=rhythm.begins + max(NEAR, 3 * rhythm.spread),
            reason=scrub(f"seen {len(past)} times, {rhythm.words}"),
        )

    def _rhythm(self, past: list[Appearance], now: float) -> _Rhythm | None:
        """The calendar that explains the appearances best: every day, such days of the week, or once a week."""
        begins = np.array([each.begin for each in past])
        offset = _offset(now, self._zone)
        # On the clock of the zone: the offset of each beginning, so that 02:30 stays 02:30.
        wall = begins + np.array([_offset(at, self._zone) for at in begins.tolist()])
        first = max(self._since, now - APPEARANCES * DAY)
        best: _Rhythm | None = None
        usual, spread = _usual(wall, DAY)
        at_usual = np.abs(_apart(wall - usual, DAY)) <= NEAR
        if at_usual.sum() >= SEEN:
            days = np.floor((wall[at_usual] - usual + DAY / 2) / DAY)
            start = math.ceil((now + offset - usual) / DAY)
            since = math.ceil((first + _offset(first, self._zone) - usual) / DAY)
            passed = np.arange(since, start)
            hit = np.isin(passed, days)
            for ahead in range(8):
                alike = (passed - (start + ahead)) % 7 == 0
                # What this day of the week did counts more the more often it was seen.
                overall = (hit.sum() + 0.5) / (len(passed) + 1.0)
                chance = (hit[alike].sum() + 1.5 * overall) / (alike.sum() + 1.5)
                if chance >= CHANCE:
                    begin = (start + ahead) * DAY + usual - offset
                    best = _Rhythm(float(begin), float(chance), spread, f"at about {_clock(usual)}")
                    break
        usual, spread = _usual(wall, WEEK)
        at_usual = np.abs(_apart(wall - usual, WEEK)) <= NEAR
        if at_usual.sum() >= SEEN:
            start = math.ceil((now + offset - usual) / WEEK)
            weeks = start - math.floor((max(self._since, float(begins[0]) - 1) + offset - usual) / WEEK)
            chance = min(1.0, (at_usual.sum() + 0.5) / (max(weeks, int(at_usual.sum())) + 1.0))
            if best is None or chance > best.chance:
                best = _Rhythm(start * WEEK + usual - offset, float(chance), spread, f"weekly at about {_clock(usual)}")
        return best

    # -- how right it was

    def _came(self, key: str, time: float) -> None:
        for guess in self._guesses:
            if guess.key == key and abs(time - guess.begins) <= max(NEAR, guess.expires - guess.begins):
                self._hits += 1
                self._guesses.remove(guess)
                return

    def _settle(self, time: float) -> None:
        late = [guess for guess in self._guesses if guess.expires < time]
        self._misses += len(late)
        self._guesses = [guess for guess in self._guesses if guess.expires >= time]

    def hit_rate(self) -> HitRate:
        """How often what was told of came."""
        return HitRate(kind="seasonal", hits=self._hits, misses=self._misses, open=len(self._guesses))

    # -- kept over a restart

    def state(self) -> bytes:
        """Everything, as JSON."""
        since = self._since if math.isfinite(self._since) else -1.0
        time = self._time if math.isfinite(self._time) else -1.0
        return msgspec.json.encode(_State(since, time, self._kinds, self._guesses, self._hits, self._misses))

    def restore(self, data: bytes) -> None:
        """Go on from what ``state`` gave. Work that was there then counts as ended then. Raises ValueError."""
        try:
            found = msgspec.json.decode(data, type=_State)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not the state of a catalogue: {error}") from error
        if len(found.kinds) > KINDS or len(found.guesses) > OPEN:
            raise ValueError(f"not the state of a catalogue: {len(found.kinds)} kinds of work")
        self._since = math.nan if found.since < 0 else found.since
        self._time = -math.inf if found.time < 0 else found.time
        self._kinds, self._guesses, self._hits, self._misses = found.kinds, found.guesses, found.hits, found.misses


def _offset(time: float, zone: tzinfo) -> float:
    ahead = datetime.fromtimestamp(time, zone).utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


def _apart(times: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    return np.asarray((times + period / 2) % period - period / 2)


def _usual(wall: NDArray[np.float64], period: float) -> tuple[float, float]:
    """The phase that most beginnings lie near, and how far those lie from it (s)."""
    near = np.abs(_apart(wall[:, None] - wall[None, :], period)) <= NEAR
    middle = int(np.argmax(near.sum(axis=1)))
    off = _apart(wall[near[middle]] - wall[middle], period)
    return float((wall[middle] + np.median(off)) % period), float(np.std(off))


def _clock(phase: float) -> str:
    days = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")
    minute = int(phase % DAY // 60)
    day = f"{days[int(phase // DAY)]} " if phase >= DAY else ""
    return f"{day}{minute // 60:02d}:{minute % 60:02d}"
