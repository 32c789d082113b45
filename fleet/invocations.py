"""One invocation of a function: what it used, how long it took, and what it was given (S1.2).

The report format is one JSON object a line; ``docs/invocations.md`` has it. Only ``app``
and ``wall_s`` must be there; everything that is not known is left out and becomes NaN.
Texts come from others and are scrubbed here, once.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import Label, scrub

#: longest line of a report, most features of one invocation, longest name and text of a feature
MAX_LINE: Final = 4096
MAX_FEATURES: Final = 16
MAX_NAME: Final = 40
MAX_TEXT: Final = 80
#: a report may stand for at most so many invocations, and name no time later than so many seconds from now
MAX_COUNT: Final = 1_000_000
AHEAD: Final = 300.0
#: names of what is measured of an invocation, in the order of every array; seconds, seconds, bytes, bytes
MEASURES: Final = ("wall_s", "cpu_s", "max_rss", "net_bytes")
_HINT: Final = 'such as {"app": "thumbs", "shard": "thumbs-1", "wall_s": 0.21, "cpu_s": 0.2, "x": {"pixels": 2e6}}'

Text = Annotated[str, Meta(max_length=200)]
Value = float | Label
Amount = Annotated[float, Meta(ge=0)]


class Invocation(Struct, frozen=True, kw_only=True):
    """One call, or ``n`` equal ones; ``t`` is the unix time of its end, NaN what is not known.

    ``x`` are the features of the input, sorted by name: numbers, or texts for kinds.
    """

    app: Label
    shard: Label = Label("")
    t: float
    wall_s: float
    cpu_s: float = math.nan
    max_rss: float = math.nan
    net_bytes: float = math.nan
    n: int = 1
    x: tuple[tuple[Label, Value], ...] = ()

    @property
    def measures(self) -> tuple[float, float, float, float]:
        """In the order of MEASURES."""
        return self.wall_s, self.cpu_s, self.max_rss, self.net_bytes

    def encode(self) -> bytes:
        """The line of a report, without its end."""
        said = {"app": self.app, "shard": self.shard, "t": self.t}
        known = {name: value for name, value in zip(MEASURES, self.measures, strict=True) if not math.isnan(value)}
        return msgspec.json.encode({**said, **known, "n": self.n, "x": dict(self.x)})


class _Report(Struct, forbid_unknown_fields=True):
    app: Annotated[str, Meta(min_length=1, max_length=200)]
    wall_s: Amount
    shard: Text = ""
    t: Amount | None = None
    cpu_s: Amount | None = None
    max_rss: Amount | None = None
    net_bytes: Amount | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 1
    x: Annotated[dict[str, bool | float | str], Meta(max_length=MAX_FEATURES)] = {}


_decoder: Final = msgspec.json.Decoder(_Report)
_label: Final = lru_cache(maxsize=4096)(scrub)


def parse_report(line: bytes, source: str, number: int, now: float) -> Invocation:
    """An invocation from one line. Raises ConfigError naming ``source``, the line's number and the key.

    ``now`` (unix seconds) stands in for a time that is left out, and no time may be much later.
    """
    if len(line) > MAX_LINE:
        raise ConfigError(source, number, "", None, f"longer than {MAX_LINE} bytes", hint="report fewer features")
    try:
        said = _decoder.decode(line)
        return _made(said, now)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(source, number, "", None, f"not a report: {error}", hint=_HINT) from error


def _made(said: _Report, now: float) -> Invocation:
    t = now if said.t is None else said.t
    if not t <= now + AHEAD:
        raise ValueError(f"t = {t:g} is later than now; it is the unix time of the invocation's end, in seconds")
    return Invocation(
        app=_label(said.app),
        shard=_label(said.shard),
        t=t,
        wall_s=_finite(said.wall_s),
        cpu_s=_finite(said.cpu_s),
        max_rss=_finite(said.max_rss),
        net_bytes=_finite(said.net_bytes),
        n=said.n,
        x=features(said.x),
    )


def features(given: dict[str, bool | float | str] | dict[str, float | str]) -> tuple[tuple[Label, Value], ...]:
    """Features in their canonical form: scrubbed, sorted by name, numbers finite. Raises ValueError."""
    if len(given) > MAX_FEATURES:
        raise ValueError(f"{len(given)} features; at most {MAX_FEATURES} are kept")
    made: list[tuple[Label, Value]] = []
    for name, value in given.items():
        if not 0 < len(name) <= MAX_NAME:
            raise ValueError(f"x: the name of a feature has 1 to {MAX_NAME} characters")
        if isinstance(value, str):
            made.append((_label(name), scrub(value, MAX_TEXT)))
        else:
            number = float(value)
            if not math.isfinite(number):
                raise ValueError(f"x.{scrub(name)}: a number that is not finite")
            made.append((_label(name), number))
    return tuple(sorted(made, key=lambda pair: pair[0])) if len(made) > 1 else tuple(made)


def _finite(value: float | None) -> float:
    if value is None:
        return math.nan
    if not value < math.inf:
        raise ValueError("a number that is not finite")
    return value
