"""Demand vectors: what an app will need at one future instant, in the exchange format of S3.11.

The format's own keys are ``timestamp``, ``application_id`` and ``resources`` with cpu,
memory and io; we add only under extra keys (``quantiles``, ``network``, ``shard``,
``granularity``, ``confidence``, ``schema``), so that a reader of the plain format reads
ours. Numbers keep the form they were written in.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from sidestep.fleet.errors import UsageError

SCHEMA: Final = "sidestep.demand/1"

Amount = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]


class Cpu(Struct, frozen=True, kw_only=True):
    """Cores, and percent of what is allocatable to the app."""

    cores: Amount
    percentage: Amount


class Memory(Struct, frozen=True, kw_only=True):
    """Gigabytes (2**30 bytes), and percent of what is allocatable to the app."""

    gb: Amount
    percentage: Amount


class Io(Struct, frozen=True, kw_only=True):
    """Operations per second."""

    read_ops: Amount
    write_ops: Amount


class Network(Struct, frozen=True, kw_only=True):
    """Extension: bytes per second."""

    rx_bytes: Amount
    tx_bytes: Amount


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The demand itself; ``network`` is an extension."""

    cpu: Cpu
    memory: Memory
    io: Io
    network: Network | None = None


class Quantiles(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Extension: demand at further levels; lists have the length of ``levels``, operations may be missing."""

    levels: tuple[float, ...]
    cpu_cores: tuple[float, ...]
    memory_gb: tuple[float, ...]
    read_ops: tuple[float, ...] = ()
    write_ops: tuple[float, ...] = ()


class Granularity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Extension: the quanta that the demand was rounded up to (S3.12); one that is not there was not rounded to."""

    cpu_cores: float | None = None
    memory_gb: float | None = None


class DemandVector(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Predicted demand of one app, or of one ``shard`` of it; ``timestamp`` is the future instant it is for (S3.4)."""

    timestamp: str
    application_id: str
    resources: Resources
    quantiles: Quantiles | None = None
    shard: str | None = None
    granularity: Granularity | None = None
    #: "insufficient" while too little was seen to act on it
    confidence: str | None = None
    schema: str | None = None

    def encode(self) -> str:
        """The JSON text, two spaces deep, keys in the order of the format."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()


_decoder = msgspec.json.Decoder(DemandVector)


def parse_demand(text: str | bytes, source: str = "demand vector") -> DemandVector:
    """A demand vector from JSON text. Raises UsageError naming the field that is wrong."""
    try:
        vector = _decoder.decode(text)
        moment = datetime.fromisoformat(vector.timestamp)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: {error}", hint="see fleet/demand.schema.json for the format") from error
    except ValueError as error:
        raise UsageError(
            f"{source}: timestamp: {error}", hint='write an ISO 8601 instant, such as "2024-10-27T10:00:00Z"'
        ) from error
    if moment.tzinfo is None:
        raise UsageError(f"{source}: timestamp: {vector.timestamp} names no time zone", hint='end it with "Z" for UTC')
    quantiles = vector.quantiles
    if quantiles and any(len(each) != len(quantiles.levels) for each in _columns(quantiles)):
        raise UsageError(f"{source}: quantiles: the lists differ in length", hint="one value for every level")
    return vector


def _columns(quantiles: Quantiles) -> list[tuple[float, ...]]:
    """The lists that must be as long as the levels."""
    optional = (quantiles.read_ops, quantiles.write_ops)
    return [quantiles.cpu_cores, quantiles.memory_gb, *(each for each in optional if each)]


def instant(time: float) -> str:
    """A unix time as the format's timestamp, to the second, in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def round_up(demand: float, quantum: float) -> float:
    """The smallest whole number of quanta that covers ``demand`` (S3.12).

    Never below the demand, and less than one quantum above it. Raises ValueError for a
    quantum that is not positive, a demand that is negative, and a demand of more quanta
    than can be counted exactly (2**53).
    """
    if not 0 < quantum < math.inf:
        raise ValueError("a quantum is finite and above 0")
    if not 0 <= demand < math.inf:
        raise ValueError("a demand is finite and at least 0")
    if demand / quantum > 2**53:
        raise ValueError(f"a demand of {demand:g} is too many quanta of {quantum:g} to count")
    count = math.ceil(demand / quantum)
    while count * quantum < demand:
        count += 1
    while count > 0 and (count - 1) * quantum >= demand:
        count -= 1
    return count * quantum


def schema() -> dict[str, object]:
    """The JSON Schema of the format; published as ``fleet/demand.schema.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **msgspec.json.schema(DemandVector),
    }
