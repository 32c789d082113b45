"""Readers of windows, freezes, time zones and levels of apps in the fleet file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from sidestep.fleet import windows
from sidestep.fleet.config_read import Reader, labels, name_of, reads
from sidestep.fleet.inventory import Level
from sidestep.fleet.labels import Label, scrub

#: ranges that one key may list
MOST: Final = 100


def _listed(parse: Callable[[str], object], pattern: str) -> Reader[tuple[Label, ...]]:
    @reads(type="array", items={"type": "string", "pattern": pattern}, maxItems=MOST)
    def read(value: object) -> tuple[Label, ...]:
        if not isinstance(value, list):
            raise TypeError(f"must be a list of ranges, not {name_of(value)}")
        if len(value) > MOST:
            raise ValueError(f"must be at most {MOST} ranges")
        for item in value:
            if not isinstance(item, str):
                raise TypeError(f"must be a list of texts, not of {name_of(item)}")
            parse(item)
        return tuple(scrub(item.strip()) for item in value)

    return read


#: weekly ranges such as ``Mon-Fri 22:00-06:00``
ranges: Final = _listed(windows.weekly, r"^\s*([A-Za-z*][A-Za-z,*-]*\s+)?\d{2}:\d{2}-\d{2}:\d{2}\s*$")
#: dates such as ``2026-12-20..2027-01-03``
freezes: Final = _listed(
    windows.freeze, r"^\s*\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?\s*\.\.\s*\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?\s*$"
)


@reads(type="string", pattern=r"^[A-Za-z0-9_+/-]+$", maxLength=64)
def zone(value: object) -> Label:
    """The name of a time zone that this machine knows."""
    if not isinstance(value, str):
        raise TypeError(f"must be a text, not {name_of(value)}")
    windows.zone_of(value)
    return scrub(value)


@reads(
    type="object", additionalProperties={"enum": list(get_args(Level))}, propertyNames=labels.schema["propertyNames"]
)
def app_levels(value: object) -> tuple[tuple[Label, Label], ...]:
    """A table of automation levels by app."""
    found = labels(value)
    for app, level in found:
        if level not in get_args(Level):
            raise ValueError(f"has {app} = {level}, which is none of {', '.join(get_args(Level))}")
    return found
