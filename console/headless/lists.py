"""``hosts``, ``shards``, ``demand``, ``log``, ``level``, ``retry``: what the daemon knows, printed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import (
    DemandList,
    EventList,
    GetDemand,
    GetLog,
    GetSnapshot,
    Retry,
    SnapshotFrame,
)
from sidestep.autopilot.protocol_oracle import GetRoundTrips, HostRoundTrips, RoundTripList
from sidestep.console.headless import capsules, output
from sidestep.console.headless.published import HostReport, Part, RoundTrips, Samples
from sidestep.console.hosttext import hot_when
from sidestep.console.text import ASCII, chance, clock, percent, size
from sidestep.console.view import FleetView, decode
from sidestep.fleet.errors import UsageError
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED, parse_seconds, parse_size


def picture(socket: Path) -> FleetView:
    """The daemon's newest picture. Raises SidestepError."""
    with Client.connect(socket) as client:
        answer = client.call(GetSnapshot())
    assert isinstance(answer, SnapshotFrame)
    return decode(answer)


def hosts(socket: Path, *, as_json: bool) -> None:
    """One line or object a host, highest risk first."""
    with Client.connect(socket) as client:
        answer, trips = client.call(GetSnapshot()), client.call(GetRoundTrips())
    assert isinstance(answer, SnapshotFrame) and isinstance(trips, RoundTripList)
    view, known = decode(answer), {trip.host: trip for trip in trips.hosts}
    order = sorted(range(len(view.hosts)), key=lambda host: (-view.urgency(host), view.hosts[host].name))
    if as_json:
        output.dump([_host(view, host, known.get(view.hosts[host].name)) for host in order])
        return
    rows = [["HOST", "STATE", "CONDITION", "RISK", "HOT IN", "CPU", "PEAK", "MEMORY", "SHARDS", "RTT"]]
    rows += [
        [
            view.hosts[host].name,
            view.host_states[host],
            view.condition(host),
            chance(view.chance(host), ASCII),
            hot_when(view, host, ASCII),
            percent(view.load(host, CPU), ASCII),
            percent(view.peak(host, CPU), ASCII),
            percent(view.load(host, MEMORY), ASCII),
            str(len(view.shards_by_host.get(host, ()))),
            _milliseconds(known.get(view.hosts[host].name)),
        ]
        for host in order
    ]
    output.table(rows, "lllrrrrrrr")


def _milliseconds(trips: HostRoundTrips | None) -> str:
    """The round trip from the controller."""
    return "-" if trips is None or math.isnan(trips.here) else f"{1e3 * trips.here:.3g}ms"


def _host(view: FleetView, host: int, trips: HostRoundTrips | None) -> HostReport:
    words = view.hosts[host]
    return HostReport(
        name=words.name,
        state=view.host_states[host],
        reason=view.reason(host),
        zone=words.zone,
        samples=Samples(age=view.age[host], **view.quality(host)),
        condition=view.condition(host),
        risk=view.chance(host),
        contention=view.contentions.get(words.name),
        cpu=Part(now=view.load(host, CPU), peak=view.peak(host, CPU)),
        memory=Part(now=view.load(host, MEMORY), peak=view.peak(host, MEMORY)),
        use=_use(view.use, host, DIMENSIONS),
        shards=tuple(view.shards[shard].name for shard in view.shards_by_host.get(host, ())),
        round_trip=RoundTrips(here=trips.here if trips else math.nan, between=trips.between if trips else ()),
    )


def _use(column: memoryview[float], row: int, dimensions: Sequence[str]) -> dict[str, float]:
    at = row * len(dimensions)
    return dict(zip(dimensions, column[at : at + len(dimensions)], strict=True))


def shards(socket: Path, *, as_json: bool) -> None:
    """One line or object a shard."""
    with Client.connect(socket) as client:
        answer = client.call(GetSnapshot())
        kept = capsules.ages(client) if as_json else {}
    assert isinstance(answer, SnapshotFrame)
    view = decode(answer)
    places = [view.hosts[host].name if host >= 0 else "" for host in view.shard_host]
    if as_json:
        output.dump(
            [
                {
                    "name": words.name,
                    "app": words.app,
                    "state": view.shard_states[row],
                    "host": places[row],
                    "priority": view.shard_priority[row],
                    "state_bytes": view.shard_bytes[row],
                    "use": _use(view.shard_use, row, DIMENSIONS[:PLANNED]),
                    "capsule_age": kept[words.name].age if words.name in kept else None,
                }
                for row, words in enumerate(view.shards)
            ]
        )
        return
    rows = [["SHARD", "APP", "HOST", "STATE", "CORES", "MEMORY", "MOVES"]]
    for row, words in enumerate(view.shards):
        use = _use(view.shard_use, row, DIMENSIONS[:PLANNED])
        cores = "-" if math.isnan(use["cpu"]) else f"{use['cpu']:.2f}"
        memory, moves = size(use["memory"], ASCII), size(view.shard_bytes[row], ASCII)
        rows.append([words.name, words.app, places[row] or "-", view.shard_states[row], cores, memory, moves])
    output.table(rows, "llllrrr")


def demand_request(app: str, at: str, quantum_cpu: float, quantum_memory: str, *, profile: bool) -> GetDemand:
    """What is asked for. Raises UsageError naming the option that cannot be read."""
    try:
        ahead = parse_seconds(at.removeprefix("+"))
    except ValueError as error:
        raise UsageError(f"--at {at}: {error}", hint="for example --at +15m") from error
    try:
        quantum = parse_size(quantum_memory) if quantum_memory else 0
    except ValueError as error:
        raise UsageError(f"--quantum-memory {quantum_memory}: {error}", hint="for example 2G") from error
    return GetDemand(app, ahead, quantum_cpu, quantum, profile)


def demand(socket: Path, asked: GetDemand, *, as_json: bool) -> None:
    """Demand vectors: what each app will need at that time."""
    with Client.connect(socket) as client:
        answer = client.call(asked)
    assert isinstance(answer, DemandList)
    vectors = [json.loads(vector) for vector in answer.vectors]
    if as_json:
        output.dump(vectors)
        return
    rows = [["APP", "AT", "CPU CORES", "MEMORY GB", "READS/S", "WRITES/S"]]
    for vector in vectors:
        resources = vector.get("resources", {})
        cells = [
            _number(resources.get(part, {}).get(field))
            for part, field in (("cpu", "cores"), ("memory", "gb"), ("io", "read_ops"), ("io", "write_ops"))
        ]
        rows.append(
            [str(vector.get("shard") or vector.get("application_id", "")), str(vector.get("timestamp", "")), *cells]
        )
    output.table(rows, "llrrrr")
    if any(vector.get("confidence") for vector in vectors):
        output.say("insufficient: too few valid windows yet; do nothing on account of these")


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "-"


def log(socket: Path, since: int, limit: int, *, as_json: bool) -> None:
    """The journal's rows, oldest first."""
    with Client.connect(socket) as client:
        answer = client.call(GetLog(since, limit))
    assert isinstance(answer, EventList)
    if as_json:
        output.dump(answer.events)
        return
    for event in answer.events:
        plan, actor = (f" #{event.plan}" if event.plan else ""), (f" ({event.actor})" if event.actor else "")
        output.say(f"{event.seq:>6} {clock(event.time)} {event.kind:<8}{plan} {event.text}{actor}")


def retry(socket: Path, host: str, *, as_json: bool) -> None:
    """Try hosts again that refused us."""
    with Client.connect(socket) as client:
        answer = client.call(Retry(host))
    output.result(answer, as_json=as_json)
