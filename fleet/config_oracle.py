"""What the fleet file says of forecasters that compete: values read, and names checked against the fleet.

Whether a class exists and forecasts is not known here, since nothing of sktime is imported;
the trainer finds out when it starts, says so, and goes on without it.
"""

from __future__ import annotations

import difflib
import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from sidestep.fleet.config_read import name_of, reads
from sidestep.fleet.extensions import FORECASTERS, Plugged
from sidestep.fleet.inventory import CandidateSpec
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES

#: the models that are ours; ``forecasting.registry`` makes each of them (held equal by a test)
MODELS: Final = ("aggregate", "network", "window", "trend", "persistence", "seasonal")
#: everything that can be forecast, of hosts or of shards
METRICS: Final = tuple(dict.fromkeys((*HOST_SERIES, *SHARD_SERIES)))
#: characters of parameters as JSON
MOST_PARAMS: Final = 4000
MOST_CANDIDATES: Final = 32

_PART: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_PATH: Final = re.compile(rf"{_PART}(\.{_PART})*")
Add = Callable[[tuple[str, ...], object, str, str], None]


@reads(enum=list(MODELS))
def model(value: object) -> str:
    """The name of a model of ours, which serves the whole fleet."""
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {name_of(value)}")
    if value not in MODELS:
        if "." in value and _PATH.fullmatch(value):
            raise ValueError("is a path, and only a model of ours serves; name it under [oracle.candidates.NAME]")
        raise ValueError(_no_model(value))
    return value


def _no_model(value: str, theirs: Iterable[str] = ()) -> str:
    near = difflib.get_close_matches(value, [*MODELS, *theirs], 1)
    said = f"; did you mean {near[0]}?" if near else ""
    return f"is no model{said}"


@reads(type="string", pattern=f"^{_PATH.pattern}$", maxLength=240)
def forecaster(value: object) -> str:
    """The dotted path of a class, or the one word that names a model of ours or of a plugin."""
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {name_of(value)}")
    if len(value) > 240 or not _PATH.fullmatch(value):
        raise ValueError("is not the path of a Python class")
    return value


@reads(type="object", propertyNames={"pattern": f"^{_PART}$"})
def parameters(value: object) -> str:
    """Keyword arguments as JSON, sorted by key."""
    if not isinstance(value, dict):
        raise TypeError(f"must be a table of parameters, not {name_of(value)}")
    for key in value:
        if not re.fullmatch(_PART, key) or keyword.iskeyword(key):
            raise ValueError(f"has a key that cannot be a parameter: {key!r}")
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except TypeError:
        raise ValueError(
            "holds a date or a time; only texts, numbers, true, false, lists and tables are passed"
        ) from None
    except ValueError:
        raise ValueError("holds a number that is not finite") from None
    if len(text) > MOST_PARAMS:
        raise ValueError(f"is longer than {MOST_PARAMS} characters")
    return text


@reads(type="array", items={"enum": list(METRICS)}, minItems=1)
def metrics(value: object) -> tuple[str, ...]:
    """Names of series, each once."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list of metrics, not {name_of(value)}")
    for each in value:
        if each not in METRICS:
            near = difflib.get_close_matches(str(each), METRICS, 1)
            said = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{each!r} is not forecast{said}")
    if not value or len(set(value)) < len(value):
        raise ValueError("must name each metric once" if value else "must not be empty")
    return tuple(value)


class Groups(Struct, frozen=True, kw_only=True):
    """The names that a candidate's ``group`` may be."""

    hosts: frozenset[str]
    apps: frozenset[str]
    #: whether some app's name could not be read, so that any name may be right
    unsure: bool


def check_candidates(
    candidates: Iterable[CandidateSpec], served: str, groups: Groups, plugged: Plugged | None, add: Add
) -> None:
    """Note what candidates name that is not there, or is nothing that they could forecast, through ``add``.

    ``served`` is the oracle's own model; ``plugged`` None takes any word for a plugin's.
    """
    for candidate in candidates:
        path = ("oracle", "candidates", candidate.name)
        if candidate.name == served:
            add(path, None, "has the name of the model that it competes with", "give it another name")
        if "." not in candidate.model and candidate.model not in MODELS and plugged is not None:
            theirs = plugged(FORECASTERS)
            if candidate.model not in theirs:
                add((*path, "model"), candidate.model, _no_model(candidate.model, theirs),
                    f"ours are {', '.join(MODELS)}; a plugin's needs its package installed here")  # fmt: skip
        if candidate.model in MODELS and candidate.params != "{}":
            add((*path, "params"), json.loads(candidate.params), f"model {candidate.model} takes no parameters",
                "leave params out, or name a sktime forecaster by its path")  # fmt: skip
        if not candidate.group or (groups.unsure and candidate.group not in groups.hosts):
            continue
        if candidate.group not in groups.hosts | groups.apps:
            near = difflib.get_close_matches(candidate.group, groups.hosts | groups.apps, 1)
            hint = f"did you mean {near[0]}?" if near else "name a group of hosts or an app, or leave it out"
            add((*path, "group"), candidate.group, "is neither a group of hosts nor an app of this fleet", hint)
        elif candidate.group not in groups.hosts and not set(candidate.metrics) & set(SHARD_SERIES):
            add((*path, "metrics"), [*candidate.metrics], f"{candidate.group} is an app, and shards have none of these",
                f"shards have {', '.join(SHARD_SERIES)}")  # fmt: skip
        elif candidate.group not in groups.apps and not set(candidate.metrics) & set(HOST_SERIES):
            add((*path, "metrics"), [*candidate.metrics], f"{candidate.group} is of hosts, and they have none of these",
                f"hosts have {', '.join(HOST_SERIES)}")  # fmt: skip


def dumped(candidate: CandidateSpec) -> Mapping[str, Any]:
    """The keys of a candidate's table."""
    return {
        "model": candidate.model,
        "params": json.loads(candidate.params),
        "group": candidate.group,
        "metrics": candidate.metrics,
    }
