"""What clients of a shard saw, and whether it can be what one counter did that never lost or repeated anything.

The shard's log is its final state: every counted request in order. An acknowledgement names its place in
that order and the value of its key, so that a history is linearizable exactly if every acknowledged request
stands at its place, and the order respects real time. All of it is pure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal


@dataclass(frozen=True)
class Call:
    """One request as its client saw it; times are monotonic seconds.

    ``unknown`` is a request whose connection broke: it may have been counted, at any time after it began.
    """

    id: str
    verb: Literal["INC", "GET"]
    key: str
    begun: float
    ended: float
    outcome: Literal["ok", "unknown"]
    token: int = 0
    #: INC: its place among all that the shard counted, from 1; GET: how many it had counted
    seq: int = 0
    value: int = 0


@dataclass(frozen=True)
class Entry:
    """One line of the shard's log."""

    id: str
    key: str
    token: int


def entries(log: bytes) -> tuple[Entry, ...]:
    """The lines of a saved log. Raises ValueError."""
    found = []
    for line in log.decode("ascii").splitlines():
        ident, key, token, _ = line.split(" ")
        found.append(Entry(ident, key, int(token)))
    return tuple(found)


def check(calls: Sequence[Call], log: Sequence[Entry]) -> list[str]:
    """Everything that is wrong, in words; nothing if the history is linearizable and complete."""
    return [*_log(calls, log), *_places(calls, log), *_real_time(calls, log)]


@dataclass(frozen=True)
class Restored:
    """A failover: the owner with ``token`` went on from a capsule that was begun at ``begun`` (monotonic seconds)."""

    token: int
    begun: float


def check_restored(calls: Sequence[Call], log: Sequence[Entry], failovers: Iterable[Restored]) -> list[str]:
    """As ``check``, but for what failovers may lose: what was acknowledged after their capsule was begun.

    What an older owner acknowledged beyond the end of the capsule is lost; that is wrong only if it had ended
    before the capsule was begun. All else has to be as if those requests had never been sent; whatever was lost,
    no older owner may acknowledge anything once a newer one has.
    """
    lost: dict[str, Call] = {}
    wrong: list[str] = []
    for failover in failovers:
        kept = sum(entry.token < failover.token for entry in log)
        for call in calls:
            if call.outcome != "ok" or call.token >= failover.token or call.seq <= kept:
                continue
            lost.setdefault(call.id, call)
            if call.ended < failover.begun:
                wrong.append(
                    f"{call.id} was acknowledged as number {call.seq} {failover.begun - call.ended:.2f} s before the"
                    f" capsule of token {failover.token} was begun, which has {kept}"
                )
    left = [call for call in calls if call.id not in lost]
    return [*wrong, *_owners(calls), *check(left, log)]


def _owners(calls: Sequence[Call]) -> Iterable[str]:
    """Owners whose generations overlap: an older token answers what began after a newer one had answered."""
    ended: list[tuple[float, int, str]] = []
    newest, by = 0, ""
    for call in sorted((c for c in calls if c.outcome == "ok"), key=lambda call: call.begun):
        while ended and ended[0][0] < call.begun:
            _, token, ident = heappop(ended)
            if token > newest:
                newest, by = token, ident
        if call.token < newest:
            yield f"{call.id} began after {by} had ended under token {newest}, and has token {call.token}: two owners"
        heappush(ended, (call.ended, call.token, call.id))


def _log(calls: Sequence[Call], log: Sequence[Entry]) -> Iterable[str]:
    """Nothing is in the log twice, or that nobody asked for, or under a token that goes back."""
    counted = Counter(entry.id for entry in log)
    for ident, times in counted.items():
        if times > 1:
            yield f"{ident} was counted {times} times"
    asked = {call.id for call in calls if call.verb == "INC"}
    for entry in log:
        if entry.id not in asked:
            yield f"{entry.id} was counted, and nobody asked for it"
    newest = 0
    for entry in log:
        if entry.token < newest:
            yield f"{entry.id} was counted under token {entry.token} after token {newest}"
        newest = max(newest, entry.token)


def _places(calls: Sequence[Call], log: Sequence[Entry]) -> Iterable[str]:
    """Every acknowledgement agrees with the log."""
    place: dict[str, int] = {}
    value: dict[str, int] = {}
    after: dict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(log, 1):
        place.setdefault(entry.id, number)
        after[entry.key].append(number)
        value.setdefault(entry.id, len(after[entry.key]))
    for call in calls:
        if call.outcome != "ok":
            continue
        if call.verb == "GET":
            have = sum(number <= call.seq for number in after[call.key][: call.value + 1])
            if call.seq > len(log) or have != call.value:
                yield f"{call.id} read {call.value} of {call.key} after {call.seq}, where it was {have}"
            continue
        if call.id not in place:
            yield f"{call.id} was acknowledged under token {call.token} and is lost"
            continue
        entry = log[place[call.id] - 1]
        if (call.seq, call.value) != (place[call.id], value[call.id]):
            yield (
                f"{call.id} was acknowledged as number {call.seq} with value {call.value} of {call.key},"
                f" and is number {place[call.id]} with value {value[call.id]}"
            )
        if entry.token != call.token or entry.key != call.key:
            yield f"{call.id} was acknowledged under token {call.token}, and counted under {entry.token}"


def _real_time(calls: Sequence[Call], log: Sequence[Entry]) -> Iterable[str]:
    """What ended before something began comes before it: in the order, and under no newer token."""
    place = {entry.id: number for number, entry in enumerate(log, 1)}
    token = {entry.id: entry.token for entry in log}
    ended: list[tuple[float, int, int, str]] = []
    most, newest, by, under = 0, 0, "", ""
    for call in sorted(calls, key=lambda call: call.begun):
        while ended and ended[0][0] < call.begun:
            _, seq, its, ident = heappop(ended)
            if seq > most:
                most, by = seq, ident
            if its > newest:
                newest, under = its, ident
        ok = call.outcome == "ok"
        at: float = call.seq if ok else place.get(call.id, math.inf)
        its = call.token if ok else token.get(call.id, newest)
        if at < most or (at == most and call.verb == "INC" and most):
            yield f"{call.id} began after {by} had ended as number {most}, and is number {at:g}"
        if its < newest:
            yield f"{call.id} began after {under} had ended under token {newest}, and has token {its}: two owners"
        if ok:
            heappush(ended, (call.ended, call.seq, call.token, call.id))
