"""Whether several shards, whose keys change hands, can be what one counter a key did that never lost anything.

A history of many keys is linearizable exactly if that of each key is. So places in a shard's whole log, which a
split changes, do not matter: what counts is the place among the requests of the same key, which is its value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.faultmatrix.history import Call, Entry, check


@dataclass(frozen=True)
class Held:
    """The shard that has a key in the end, and the tokens of all that had it, one after the other."""

    shard: str
    tokens: tuple[int, ...]


def check_divided(
    calls: Sequence[Call], logs: Mapping[str, Sequence[Entry]], keys: Mapping[str, Held], *, copies: bool = False
) -> list[str]:
    """Everything that is wrong, in words. ``copies``: shards may still have copies of keys that they gave away."""
    wrong: list[str] = []
    for key, held in keys.items():
        log = [entry for entry in logs[held.shard] if entry.key == key]
        mine = [call for call in calls if call.key == key]
        wrong += check(
            [replace(call, seq=call.value, token=0) for call in mine], [replace(entry, token=0) for entry in log]
        )
        wrong += _owners(mine, log, held.tokens)
    known = {call.id for call in calls}
    for shard, kept in logs.items():
        wrong += [f"{e.id} was counted by {shard}, and nobody asked for it" for e in kept if e.id not in known]
        foreign = Counter(e.key for e in kept if e.key not in keys or keys[e.key].shard != shard)
        if not copies:
            wrong += [f"{shard} has {many} requests of {key}, which is not its" for key, many in foreign.items()]
    return wrong


def _owners(calls: Sequence[Call], log: Sequence[Entry], tokens: Sequence[int]) -> Iterable[str]:
    """Whoever acknowledged had the key then: in the order of the key's counts each owner follows its predecessor."""
    under = {entry.id: entry.token for entry in log}
    seen = [(place, 0, 0.0, entry.token, entry.id) for place, entry in enumerate(log, 1)]
    for call in calls:
        if call.outcome != "ok":
            continue
        if call.verb == "GET":
            seen.append((call.value, 1, call.ended, call.token, call.id))
        elif under.get(call.id, call.token) != call.token:
            yield f"{call.id} was acknowledged under token {call.token}, and counted under {under[call.id]}"
    left = list(tokens)
    for value, _, _, token, ident in sorted(seen):
        while left and left[0] != token:
            left.pop(0)
        if not left:
            yield f"{ident} is number {value} under token {token}, whose time was over: owners were {tuple(tokens)}"
            return
