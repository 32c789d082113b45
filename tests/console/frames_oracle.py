"""What the synthetic daemon of the console's tests answers about its oracle."""

from __future__ import annotations

import math
import sys
from array import array

from sidestep.autopilot.protocol import Answer
from sidestep.autopilot.protocol_oracle import (
    AddOccasion,
    ForecastView,
    GetForecast,
    GetOracle,
    GetRoundTrips,
    GetScores,
    HostChance,
    HostRoundTrips,
    ListOccasions,
    ModelRow,
    OccasionList,
    OccasionRow,
    OracleRequest,
    OracleView,
    RemoveOccasion,
    RoundTrip,
    RoundTripList,
    ScoreList,
)
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.accuracy import AccuracyRow
from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import HitRate, SpeculativeWork

START = 1_790_000_000.0


def raw(values: list[float], code: str = "f") -> bytes:
    """Values as the little-endian column that travels."""
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


class OracleAnswers:
    """Answers from a made-up forecast and remembers what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, str]] = []
        self.occasions: tuple[OccasionRow, ...] = ()
        self.confidence, self.fallback, self.proven, self.reactive = "ok", "", False, False

    async def oracle(self, request: OracleRequest, actor: Label) -> Answer:
        self.asked.append((request, actor))
        match request:
            case GetForecast():
                return self.forecast(request)
            case GetOracle():
                plain = ModelRow(group=Label(""), metric="", model=Label("trend"))
                row = ModelRow(group=Label("db"), metric="cpu", model=Label("ets"), score=0.4, versus=0.5, since=START)
                return OracleView(
                    configured=Label("aggregate"), model=Label("trend"), confidence=self.confidence,
                    fallback=Label(self.fallback), models=(plain, row),
                    hosts=4, reactive=1, proven=2, trainer=Label("process 7; no round has ended yet"),
                    changes=((START, Label("promoted ets")),),
                    coming=(
                        SpeculativeWork(
                            name=Label("report-#"), app=Label("reports"), kind="seasonal", begins=START + 3600,
                            lasts=1200.0, chance=0.8, demand=((3.0, 3.5, 4.0), (1e9, 1e9, 1e9)), quota=1,
                            expires=START + 5400, reason=Label("seen 3 times, at about 02:00"),
                        ),
                    ),
                    hit_rates=(
                        HitRate(kind="seasonal", hits=3, misses=1, open=1),
                        HitRate(kind="template", hits=0, misses=0, open=0),
                    ),
                )  # fmt: skip
            case GetScores():
                rows = [
                    AccuracyRow(
                        time=START, kind="host", name=Label("h2"), metric="cpu", of="value", horizon=float(h), n=40.0,
                        skill=0.3, coverage80=0.79, coverage95=None, pinball=0.2, error=0.1, bias=0.0,
                        forecastability=0.6, reactive=False, model=Label("trend"),
                    )
                    for h in (60, 300)
                ]  # fmt: skip
                return ScoreList(tuple(rows[: request.limit]), max(0, len(rows) - request.limit))
            case AddOccasion():
                self.occasions = (*self.occasions, OccasionRow(len(self.occasions) + 1, request.occasion))
                return OccasionList(self.occasions[-1:])
            case ListOccasions():
                return OccasionList(self.occasions)
            case RemoveOccasion():
                gone = tuple(row for row in self.occasions if row.id == request.id)
                if not gone:
                    raise UnknownReference(f"no event {request.id}", hint="list them: sidestep event list")
                self.occasions = tuple(row for row in self.occasions if row.id != request.id)
                return OccasionList(gone)
            case GetRoundTrips():
                trip = RoundTrip(Label("h1"), 0.0004, 12.0)
                return RoundTripList(
                    (
                        HostRoundTrips(Label("h1"), math.nan, (RoundTrip(Label("h2"), 0.0004, 12.0),)),
                        HostRoundTrips(Label("h2"), 0.0011, (trip,)),
                    )
                )

    def forecast(self, request: GetForecast) -> ForecastView:
        """A rise from 1.2 to 3.6 of 4 cores in a minute; h1 is calm, "shop" an app."""
        if request.name not in {"h1", "h2", "shop-01", "shop"}:
            raise UnknownReference(f"no host, shard or app {request.name}", hint="did you mean h1?")
        kind = "host" if request.name.startswith("h") else "app" if request.name == "shop" else "shard"
        steps, levels = range(1, 61), (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
        rise = 0.0 if request.name == "h1" else 0.04
        values = [1.2 + rise * t + (level - 0.5) * 0.02 * t for t in steps for level in levels]
        hot = request.name != "h1"
        chance = HostChance(
            host=Label("h2"), dimension="cpu", chance=0.83 if hot else 0.02, proven=self.proven, reactive=self.reactive,
            **({"starts_at": START + 31, "lead": 31.0, "peak": 0.95} if hot else {}),
        )  # fmt: skip
        return ForecastView(
            kind=kind, name=Label(request.name), metric=request.metric, unit="cores", time=START, step=1.0,
            confidence=self.confidence, model=Label("trend"), fallback=Label(self.fallback), now=1.2,
            allocatable=4.0 if kind == "host" else math.nan, threshold=0.8 if kind == "host" else math.nan,
            shards=12 if kind == "app" else 0, unknown=1 if kind == "app" else 0, levels=levels,
            ahead=raw([float(t) for t in steps]), values=raw(values), chances=(chance,), skill=0.41, coverage80=0.79,
            scored=1240,
        )  # fmt: skip
