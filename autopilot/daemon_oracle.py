"""What the daemon answers about its oracle: forecasts, models, scores, and events that operators announce."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

import numpy as np
from msgspec.structs import replace

from sidestep.autopilot.accuracy_rolling import rolling
from sidestep.autopilot.daemon_forecast import forecast_view
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_lookup import find, near
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.protocol_oracle import (
    AddOccasion,
    ForecastView,
    GetForecast,
    GetOracle,
    GetRoundTrips,
    GetScores,
    HostRoundTrips,
    ListOccasions,
    ModelRow,
    OccasionList,
    OccasionRow,
    OracleAnswer,
    OracleRequest,
    OracleView,
    RemoveOccasion,
    RoundTripList,
    ScoreList,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.autopilot.trainer_store import Kept
from sidestep.fleet.accuracy import KINDS, AccuracyRow
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.newwork import HitRate, SpeculativeWork
from sidestep.fleet.occasions import Occasion, announced
from sidestep.fleet.resources import show_seconds

#: rows that one request may ask for
MOST_SCORES: Final = 20000
#: an event may begin so long before it is announced, or after (s)
EARLIEST: Final = 366 * 86400.0
LATEST: Final = 5 * 366 * 86400.0
LONGEST_REASON: Final = 500
#: promotions and demotions that are told
CHANGES: Final = 20


class Calendar(Protocol):
    """What is kept of occasions."""

    def add(self, occasion: Occasion) -> int:
        """Keep an event; its number."""
        ...

    def rows(self, now: float) -> tuple[tuple[int, Occasion], ...]:
        """Events that are not over with their numbers, and timers with number 0, soonest first."""
        ...

    def remove(self, number: int) -> Occasion | None:
        """Forget an event; what it was, None if there was none."""
        ...


class Scores(Protocol):
    """What is kept of how good forecasts were: ``accuracy_store.AccuracyStore``."""

    def find(self, name: str) -> tuple[str, ...]:
        """The kinds that have something of this name."""
        ...

    def query(
        self, kind: str, name: str, metric: str | None = None, since: float | None = None
    ) -> Sequence[AccuracyRow]:
        """Rows of one series, of the newest board or since a time."""
        ...

    def newest(self, kind: str, metric: str | None = None) -> Sequence[AccuracyRow]:
        """Rows of all series of a kind, of the newest board."""
        ...


class Trainer(Protocol):
    """What the trainer did: ``trainer.Trainer``."""

    @property
    def pid(self) -> int:
        """Its process, 0 while there is none."""
        ...

    @property
    def kept(self) -> Kept:
        """Champions and their rounds."""
        ...

    @property
    def idle(self) -> str:
        """Why there is none, empty if there is one."""
        ...

    @property
    def drifted(self) -> bool:
        """Whether what is served had lost touch when it was last looked at."""
        ...


class Guesses(Protocol):
    """What is guessed of new work: ``daemon_newwork.Coming``."""

    @property
    def expected(self) -> tuple[SpeculativeWork, ...]:
        """What is expected within a day, soonest first."""
        ...

    def hit_rates(self) -> tuple[HitRate, ...]:
        """How often such guesses were right, by kind."""
        ...


@dataclass(frozen=True, kw_only=True)
class OracleDesk:
    """Answers the oracle's requests; a store that is None is not kept by this daemon, and that is said."""

    fleet: FleetSpec
    picture: Callable[[], Picture]
    log: Log
    wall: Callable[[], float]
    calendar: Calendar | None = None
    scores: Scores | None = None
    trainer: Trainer | None = None
    coming: Guesses | None = None
    #: what was measured of round trips, a row a host
    round_trips: Callable[[], tuple[HostRoundTrips, ...]] = tuple

    async def answer(self, request: OracleRequest, actor: Label) -> OracleAnswer:  # noqa: PLR0911 - one a request
        """One answer. Raises SidestepError."""
        match request:
            case GetForecast():
                return await self._forecast(request)
            case GetOracle():
                return self._oracle()
            case GetScores():
                return await self._scored(request)
            case AddOccasion():
                return self._add(request, actor)
            case ListOccasions():
                return self._listed()
            case RemoveOccasion():
                return self._remove(request, actor)
            case GetRoundTrips():
                return RoundTripList(self.round_trips())

    async def _forecast(self, request: GetForecast) -> ForecastView:
        """The forecast, with the account of this very series where there is one."""
        view = forecast_view(self.picture(), request)
        if self.scores is None:
            return view
        found = rolling(await asyncio.to_thread(self.scores.query, view.kind, view.name, view.metric))
        if not found.n:
            return view
        return replace(
            view,
            scope="series",
            skill=math.nan if found.skill is None else found.skill,
            coverage80=math.nan if found.coverage80 is None else found.coverage80,
            coverage95=math.nan if found.coverage95 is None else found.coverage95,
            scored=round(found.n),
        )

    def _oracle(self) -> OracleView:
        forecast, spec = self.picture().forecast, self.fleet.oracle
        served = forecast.model if forecast else Label("")
        kept = self.trainer.kept if self.trainer else Kept()
        champions = [standing.champion for standing in kept.standings]
        return OracleView(
            configured=scrub(spec.model),
            model=served,
            confidence=forecast.confidence if forecast else "insufficient",
            fallback=forecast.fallback if forecast else scrub(self.picture().oracle or "no forecast yet"),
            models=(
                ModelRow(group=Label(""), metric="", model=served),
                *(
                    ModelRow(
                        group=scrub(each.group),
                        metric=each.metric,
                        model=scrub(each.model),
                        score=each.score,
                        versus=each.versus,
                        since=each.since,
                    )
                    for each in champions
                ),
            ),
            hosts=len(self.fleet.hosts),
            reactive=int(np.any(forecast.reactive, axis=-1).sum()) if forecast else 0,
            proven=int(np.any(forecast.proven, axis=-1).sum()) if forecast else 0,
            trainer=scrub(self._training(kept)),
            changes=tuple((each.time, scrub(each.line)) for each in reversed(kept.changes[-CHANGES:])),
            drifted=self.trainer.drifted if self.trainer else False,
            coming=self.coming.expected if self.coming else (),
            hit_rates=self.coming.hit_rates() if self.coming else (),
        )

    def _training(self, kept: Kept) -> str:
        """What the trainer does, in a sentence."""
        if self.trainer is None:
            return ""
        if self.trainer.idle:
            return self.trainer.idle
        state = f"process {self.trainer.pid}" if self.trainer.pid else "no process runs"
        if not kept.round:
            return f"{state}; no round has ended yet"
        return f"{state}; the latest round ended {show_seconds(max(0.0, self.wall() - kept.round))} ago"

    async def _scored(self, request: GetScores) -> ScoreList:
        if not 0 < request.limit <= MOST_SCORES:
            raise UsageError(f"limit {request.limit}: must be 1 to {MOST_SCORES}")
        if request.kind and request.kind not in KINDS:
            raise UsageError(f"{scrub(request.kind)} is no kind", hint=f"kinds: {', '.join(KINDS)}")
        if self.scores is None:
            raise SidestepError(
                "this daemon keeps no scores", hint="restart it with the release that the console is of"
            )
        found = await asyncio.to_thread(self._rows, self.scores, request)
        return ScoreList(found[: request.limit], max(0, len(found) - request.limit))

    def _rows(self, scores: Scores, request: GetScores) -> tuple[AccuracyRow, ...]:
        metric = request.metric or None
        if not request.name:
            return worst_first(scores.newest(request.kind or "host", metric))
        kinds = [kind for kind in scores.find(request.name) if request.kind in ("", kind)]
        if not kinds:
            kinds = [find(self.picture().snapshot, request.name, request.kind)]
        return tuple(scores.query(kinds[0], request.name, metric, request.since or None))

    def _listed(self) -> OccasionList:
        kept = self._calendar().rows(self.wall())
        return OccasionList(tuple(OccasionRow(number, occasion) for number, occasion in kept))

    def _add(self, request: AddOccasion, actor: Label) -> OccasionList:
        calendar, occasion = self._calendar(), self._checked(request.occasion)
        number = calendar.add(occasion)
        try:
            self._act("event-add", f"event {number} added: {describe(occasion)}", number, request.reason, actor)
        except SidestepError:  # no act without its entry
            calendar.remove(number)
            raise
        return OccasionList((OccasionRow(number, occasion),))

    def _remove(self, request: RemoveOccasion, actor: Label) -> OccasionList:
        removed = self._calendar().remove(request.id)
        if removed is None:
            raise UnknownReference(f"no event {request.id}", hint="list them: sidestep event list")
        said = f"event {request.id} removed: {describe(removed)}"
        self._act("event-remove", said, request.id, request.reason, actor)
        return OccasionList((OccasionRow(request.id, removed),))

    def _act(self, act: str, said: str, number: int, reason: str, actor: Label) -> None:
        why = scrub(reason, LONGEST_REASON)
        text, subject = f"{said}: {why}" if why else said, f"event {number}"
        self.log.act(act, text, actor=actor, kind="forecast", subject=subject, reason=why, detail=said)

    def _calendar(self) -> Calendar:
        if self.calendar is None:
            raise SidestepError(
                "this daemon keeps no calendar", hint="restart it with the release that the console is of"
            )
        return self.calendar

    def _checked(self, given: Occasion) -> Occasion:
        """The event with clean names. Raises UsageError for one that cannot be, or that is about nobody here."""
        now = self.wall()
        occasion = announced(
            given.name,
            begins=given.begins,
            period=given.period,
            lasts=given.lasts,
            hosts=given.hosts,
            apps=given.apps,
            effect=given.effect,
        )
        if not now - EARLIEST <= occasion.begins <= now + LATEST:
            raise UsageError(f"event {occasion.name} begins more than a year ago or in five years", hint="check --at")
        for what, names, known in (
            ("host", occasion.hosts, tuple(str(host.name) for host in self.fleet.hosts)),
            ("app", occasion.apps, tuple(str(shard.app) for shard in self.fleet.shards)),
        ):
            for name in names:
                if not any(fnmatchcase(each, name) for each in known):
                    raise UnknownReference(f"no {what} {name}", hint=near(name, known))
        return occasion


def worst_first(rows: Sequence[AccuracyRow]) -> tuple[AccuracyRow, ...]:
    """The farthest horizon of every series, the worst skill first."""
    farthest: dict[tuple[str, str], AccuracyRow] = {}
    for row in rows:
        before = farthest.get((row.name, row.metric))
        if before is None or row.horizon > before.horizon:
            farthest[row.name, row.metric] = row
    order = sorted(farthest.values(), key=lambda row: (math.inf if row.skill is None else row.skill, row.name))
    return tuple(order)


def describe(occasion: Occasion) -> str:
    """An occasion in words, for the log."""
    whom = ", ".join((*occasion.hosts, *occasion.apps)) or "all hosts"
    times = f"every {show_seconds(occasion.period)}" if occasion.period else "once"
    effect = f", demand x {occasion.effect:g}" if occasion.effect is not None else ""
    return f"{occasion.name} at {occasion.begins:.0f} {times}, {whom}{effect}"
