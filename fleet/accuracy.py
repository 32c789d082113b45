"""The accuracy board (S4.22): what forecasts were worth, as worker, daemon and console hand it on.

Columns travel as one array of little-endian float32; rows are what people and scripts read.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.labels import Label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA: Final = "sidestep.accuracy/1"
#: whose forecasts are scored, and what of them
KINDS: Final = ("host", "shard", "app")
VALUE: Final = "value"
PEAK: Final = "peak"
#: the last axis of a section's values; ``AccuracyRow`` says what they are
COLUMNS: Final = ("n", "skill", "coverage80", "coverage95", "pinball", "error", "bias")


class AccuracyRow(Struct, frozen=True, kw_only=True):
    """What the forecasts of one series were worth at one horizon, over the recent past up to ``time``.

    ``of`` is "value" for the value ``horizon`` seconds ahead, "peak" for the highest within
    as long. ``n`` is how many forecasts count. ``skill`` is 1 - error / error of persistence
    (of a peak: of the last window's peak), ``coverage80`` and ``coverage95`` the shares inside
    the bands, ``pinball`` the loss in typical deviations of the series, ``error`` the mean
    absolute error and ``bias`` what was said minus what came, in the series' own unit.
    ``forecastability`` is 0..1; ``reactive`` says that only measured values count. None is not known.
    """

    time: float
    kind: str
    name: Label
    metric: str
    of: str
    horizon: float
    n: float
    skill: float | None
    coverage80: float | None
    coverage95: float | None
    pinball: float | None
    error: float | None
    bias: float | None
    forecastability: float | None
    reactive: bool
    model: Label


class AccuracyList(Struct, frozen=True, kw_only=True):
    """What ``sidestep forecast score --json`` prints: rows oldest first; ``time`` is when they were asked for."""

    schema: str
    time: float
    rows: tuple[AccuracyRow, ...]


class Rolling(Struct, frozen=True, kw_only=True):
    """One series over a window of time, all horizons together: what trust in automation rests on.

    ``skill`` and coverage weigh every board by its ``n``; ``worst`` is the lowest skill of a
    single board; ``reactive`` the share of boards that said so; None where nothing was scored.
    """

    boards: int
    n: float
    skill: float | None
    worst: float | None
    coverage80: float | None
    coverage95: float | None
    reactive: float | None


class AccuracySection(Struct, frozen=True, kw_only=True):
    """All series of one kind: ``names`` x ``metrics`` (name-major) at ``horizons`` (seconds).

    ``values`` is (names, metrics, horizons, COLUMNS) f4; ``forecastability`` (names, metrics) f4
    with NaN for not known; ``reactive`` and ``served`` (an index into ``models``) the same in u1.
    """

    kind: str
    of: str
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    horizons: tuple[float, ...]
    models: tuple[str, ...]
    values: bytes
    forecastability: bytes
    reactive: bytes
    served: bytes

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
        """Values, forecastability, reactive and served, read-only. Raises ProtocolError if a size does not fit."""
        import numpy as np  # noqa: PLC0415  (a front end reads rows only)

        series = (len(self.names), len(self.metrics))
        shape = (*series, len(self.horizons), len(COLUMNS))
        wanted = (("values", "<f4", shape), ("forecastability", "<f4", series), ("reactive", "u1", series))
        found: list[Any] = []
        for name, kind, size in (*wanted, ("served", "u1", series)):
            data = getattr(self, name)
            if len(data) != math.prod(size) * np.dtype(kind).itemsize:
                raise ProtocolError(f"accuracy of {self.kind}s: {name} is {len(data)} bytes, not of shape {size}")
            found.append(np.frombuffer(data, kind).reshape(size))
        values, chance, reactive, served = found
        if len(served) and int(served.max(initial=0)) >= max(1, len(self.models)):
            raise ProtocolError(f"accuracy of {self.kind}s: a model is named that is not among {len(self.models)}")
        return values, chance, reactive.astype(bool), served


class AccuracyBoard(Struct, frozen=True, kw_only=True):
    """Everything that was scored, as of ``time`` (unix seconds)."""

    time: float
    sections: tuple[AccuracySection, ...]

    @property
    def scored(self) -> bool:
        """Whether anything was: boards of a young oracle have names and no numbers."""
        return any(bool((part.arrays()[0][..., COLUMNS.index("n")] > 0).any()) for part in self.sections)


def section(
    kind: str,
    of: str,
    names: Sequence[str],
    metrics: Sequence[str],
    horizons: Sequence[float],
    values: NDArray[Any],
    *,
    forecastability: NDArray[Any] | None = None,
    reactive: NDArray[Any] | None = None,
    models: Sequence[str] = (),
    served: NDArray[Any] | None = None,
) -> AccuracySection:
    """A section of arrays whose leading axes may be flat; what is not given is not known, or the first model."""
    import numpy as np  # noqa: PLC0415

    count = len(names) * len(metrics)
    unknown = np.full(count, np.nan)
    none = np.zeros(count)

    def packed(given: NDArray[Any] | None, default: NDArray[Any], kind: str) -> bytes:
        return np.ascontiguousarray(default if given is None else given, dtype=kind).tobytes()

    return AccuracySection(
        kind=kind,
        of=of,
        names=tuple(names),
        metrics=tuple(metrics),
        horizons=tuple(float(h) for h in horizons),
        models=tuple(models) or ("",),
        values=packed(values, none, "<f4"),
        forecastability=packed(forecastability, unknown, "<f4"),
        reactive=packed(reactive, none, "u1"),
        served=packed(served, none, "u1"),
    )


def rows_of(
    time: float, part: AccuracySection, names: Sequence[str] | None = None, metric: str | None = None
) -> Iterator[AccuracyRow]:
    """The rows of a section that were scored, of all or the chosen names, of all or one metric."""
    values, chance, reactive, served = part.arrays()
    wanted = None if names is None else frozenset(names)
    for at, name in enumerate(part.names):
        if wanted is not None and name not in wanted:
            continue
        for m, one in enumerate(part.metrics):
            if metric is not None and one != metric:
                continue
            for h, ahead in enumerate(part.horizons):
                n, *rest = (float(value) for value in values[at, m, h])
                if not n > 0:
                    continue
                skill, in80, in95, loss, error, bias = (each if math.isfinite(each) else None for each in rest)
                likely = float(chance[at, m])
                yield AccuracyRow(
                    time=time,
                    kind=part.kind,
                    name=Label(name),
                    metric=one,
                    of=part.of,
                    horizon=ahead,
                    n=n,
                    skill=skill,
                    coverage80=in80,
                    coverage95=in95,
                    pinball=loss,
                    error=error,
                    bias=bias,
                    forecastability=likely if math.isfinite(likely) else None,
                    reactive=bool(reactive[at, m]),
                    model=Label(part.models[int(served[at, m])]),
                )


def listing(rows: Sequence[AccuracyRow], time: float) -> str:
    """The JSON text of rows, two spaces deep, in the published format."""
    found = AccuracyList(schema=SCHEMA, time=time, rows=tuple(rows))
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def schema() -> dict[str, object]:
    """The JSON Schema of ``listing``; published as ``fleet/accuracy.schema.json``."""
    found = msgspec.json.schema(AccuracyList)
    for each in found["$defs"].values():
        each["description"] = inspect.cleandoc(each["description"]).replace("None is not known", "null is not known")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **found}
