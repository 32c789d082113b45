"""Sources of metrics: what somebody else's monitoring measures of shards, and what a plugin for one looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from sidestep.fleet.labels import Label


class SourceSpec(Struct, frozen=True, kw_only=True):
    """One source as the fleet file declares it; ``params`` is JSON, ``secret`` says where one is to be had."""

    name: Label
    plugin: str
    every: float = 15.0
    params: str = "{}"
    #: "file:PATH" or "command:LINE"; "" is none
    secret: str = ""


class Reading(Struct, frozen=True):
    """What is measured of one shard now; NaN where it is not known."""

    #: requests a second
    requests: float = math.nan
    #: median and 95th percentile of the latency in seconds
    latency_p50: float = math.nan
    latency_p95: float = math.nan


class Source(Protocol):
    """What the maker behind an entry point of ``sidestep.sources`` makes."""

    def read(self, shards: Sequence[str]) -> Mapping[str, Reading]:
        """What is known of these shards, by name; others are left out.

        May block: it has a thread of its own, and is not asked again before it has answered. What it raises is
        told once, of a SidestepError the text and of anything else the type; what it knew before becomes stale.
        """


class SourceMaker(Protocol):
    """An entry point of ``sidestep.sources``: called once, when first asked, with the params and the secret or ""."""

    def __call__(self, params: Mapping[str, Any], secret: str) -> Source:
        """Raises UsageError for parameters that cannot be used."""
