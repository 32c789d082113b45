"""What is asked of the oracle on the daemon's socket, and its answers; part of ``protocol``.

A forecast travels as columns (C-ordered little-endian ``f4``), everything else as words and
single numbers; unknown numbers are NaN. Needs msgspec only.
"""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.accuracy import AccuracyRow
from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import HitRate, SpeculativeWork
from sidestep.fleet.occasions import Occasion


class GetForecast(Struct, frozen=True, tag="get-forecast"):
    """The forecast of one host, shard or app in one metric. Answered by ForecastView.

    ``kind`` is host, shard or app; "" is whichever has that name.
    """

    name: str
    metric: str = "cpu"
    kind: str = ""


class GetOracle(Struct, frozen=True, tag="get-oracle"):
    """Which model serves what, and how the trainer is. Answered by OracleView."""


class GetScores(Struct, frozen=True, tag="get-scores"):
    """How good forecasts were. Answered by ScoreList.

    Of one host, shard or app: at every horizon, since a unix time, or as of now for 0. Without
    a ``name`` of all of a ``kind`` (hosts by default): at the farthest horizon, the worst first.
    """

    name: str = ""
    kind: str = ""
    metric: str = ""
    since: float = 0.0
    limit: int = 500


class AddOccasion(Struct, frozen=True, tag="add-occasion"):
    """Tell the oracle of an event to come. Answered by OccasionList with that one."""

    occasion: Occasion
    reason: str = ""


class ListOccasions(Struct, frozen=True, tag="list-occasions"):
    """Events that are not over, and timers that were found. Answered by OccasionList."""


class RemoveOccasion(Struct, frozen=True, tag="remove-occasion"):
    """Forget the event of that number. Answered by OccasionList with what it was."""

    id: int
    reason: str = ""


class GetRoundTrips(Struct, frozen=True, tag="get-round-trips"):
    """What was measured of round trips to and between hosts (S1.16). Answered by RoundTripList."""


OracleRequest = GetForecast | GetOracle | GetScores | AddOccasion | ListOccasions | RemoveOccasion | GetRoundTrips


class HostChance(Struct, frozen=True, kw_only=True):
    """The chance of contention of one host in one dimension; ``starts_at`` NaN where it is too small for a time."""

    host: Label
    dimension: str
    chance: float
    proven: bool
    reactive: bool
    starts_at: float = float("nan")
    lead: float = float("nan")
    peak: float = float("nan")


class ForecastView(Struct, frozen=True, tag="forecast", kw_only=True):
    """Quantiles of one series ahead; see ``fleet.forecast_report`` for the meaning of the fields."""

    kind: str
    name: Label
    metric: str
    unit: str
    time: float
    step: float
    confidence: str
    model: Label
    fallback: Label
    now: float
    allocatable: float
    threshold: float
    shards: int
    unknown: int
    levels: tuple[float, ...]
    #: (B,) f4 seconds ahead, and (B, Q) f4
    ahead: bytes
    values: bytes
    #: (W,) f4 seconds, and (W, Q) f4 quantiles of the highest value within them; empty from a model without
    windows: bytes = b""
    peaks: bytes = b""
    chances: tuple[HostChance, ...] = ()
    #: of this series ("series") or of the whole fleet ("fleet")
    scope: str = "fleet"
    skill: float = float("nan")
    coverage80: float = float("nan")
    coverage95: float = float("nan")
    scored: int = 0


class ModelRow(Struct, frozen=True, kw_only=True):
    """One group and metric, and the model that serves it; ``group`` "" is everything else."""

    group: Label
    metric: str
    model: Label
    #: the champion's scaled CRPS and that of the next best in the round that chose it; NaN where none was run
    score: float = float("nan")
    versus: float = float("nan")
    since: float = float("nan")


class OracleView(Struct, frozen=True, tag="oracle", kw_only=True):
    """How the oracle is: what serves, why not what is configured, and what the trainer does."""

    configured: Label
    model: Label
    confidence: str
    fallback: Label
    #: one row a group with a model of its own; the first is everything else
    models: tuple[ModelRow, ...]
    #: hosts that cannot be forecast (reactive), and those whose chances are proven, of all
    hosts: int
    reactive: int
    proven: int
    #: what the trainer does, in a sentence; "" where there is none
    trainer: Label = Label("")
    #: promotions and demotions, newest first, each with its unix time
    changes: tuple[tuple[float, Label], ...] = ()
    #: whether what is served had lost touch with the fleet when it was last looked at
    drifted: bool = False
    #: work that is guessed to begin within a day, and how often such guesses were right, by kind
    coming: tuple[SpeculativeWork, ...] = ()
    hit_rates: tuple[HitRate, ...] = ()


class ScoreList(Struct, frozen=True, tag="scores"):
    """Rows of the accuracy board; ``more`` were left out."""

    rows: tuple[AccuracyRow, ...]
    more: int = 0


class OccasionRow(Struct, frozen=True):
    """An occasion and its number; 0 for a timer that was found on hosts, which cannot be removed."""

    id: int
    occasion: Occasion


class OccasionList(Struct, frozen=True, tag="occasions"):
    """What is known to come, soonest first."""

    occasions: tuple[OccasionRow, ...]


class RoundTrip(Struct, frozen=True):
    """One round trip that was measured, ``age`` seconds ago, from a host to the one of this name."""

    host: Label
    seconds: float
    age: float


class HostRoundTrips(Struct, frozen=True):
    """One host's: ``here`` is from the controller (seconds, NaN for not known), ``between`` the fastest first."""

    host: Label
    here: float
    between: tuple[RoundTrip, ...]


class RoundTripList(Struct, frozen=True, tag="round-trips"):
    """A row for every host, in the order of the fleet; both ends of a pair have it."""

    hosts: tuple[HostRoundTrips, ...]


OracleAnswer = ForecastView | OracleView | ScoreList | OccasionList | RoundTripList
