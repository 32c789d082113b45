"""What ``sidestep cluster`` prints: plain tables for people, one object for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from sidestep.autopilot.cluster.watching import Tick
from sidestep.backends.redis_cluster.demand import SlotDemand
from sidestep.backends.redis_cluster.job import Leg
from sidestep.backends.redis_cluster.look import wrong
from sidestep.backends.redis_cluster.mover import Done
from sidestep.backends.redis_cluster.ranges import written
from sidestep.backends.redis_cluster.repair import Fix
from sidestep.backends.redis_cluster.topology import Member, View
from sidestep.fleet.resources import show_size


def dump(value: object) -> None:
    """As JSON, ASCII only."""
    print(json.dumps(value, ensure_ascii=True, indent=2))


def table(rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns."""
    wide = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(part.ljust(wide[at]) for at, part in enumerate(row)).rstrip())


def cluster(seen: View, demand: SlotDemand | None, atomic: str, *, as_json: bool) -> None:
    """Nodes, ranges, what is wrong; and demand where it was measured."""
    if as_json:
        dump({**_cluster(seen, demand), "atomic": atomic or None})
        return
    rows = [("NODE", "ID", "ROLE", "EPOCH", "SLOTS", *(("KEYS", "MEMORY", "CORES", "NETWORK/S") if demand else ()))]
    for one in seen.members:
        slots = list(seen.slots_of(one.id))
        row: tuple[str, ...] = (
            one.name,
            one.id[:8],
            _role(seen, one),
            str(one.epoch),
            str(len(slots)) if one.master else "-",
        )
        if demand:
            estimated = "~" if demand.source.get(one.id) == "estimated" else ""
            network = show_size(int(demand.network[slots].sum())) if demand.source.get(one.id) == "counted" else "-"
            row += (
                f"{demand.keys[slots].sum():.0f}", f"~{show_size(int(demand.bytes[slots].sum()))}",
                f"{estimated}{demand.cpu[slots].sum():.3f}", network,
            )  # fmt: skip
        rows.append(row)
    table(rows)
    print()
    shards: list[tuple[str, ...]] = [("SLOTS", "COUNT", "OWNER", *(("KEYS", "CORES") if demand else ()))]
    for part, one in seen.shards():
        extra: tuple[str, ...] = ()
        if demand:
            piece = slice(part.first, part.last + 1)
            extra = (f"{demand.keys[piece].sum():.0f}", f"{demand.cpu[piece].sum():.3f}")
        shards.append((str(part), str(len(part)), one.name, *extra))
    table(shards)
    if demand:
        how = sorted(set(demand.source.values()))
        said = {"counted": "counted by the nodes for each slot", "estimated": "estimated from keys and the node's CPU"}
        print(f"\ndemand is {' and '.join(said[one] for one in how)}")
    if atomic:
        print(f"\nthese nodes have {atomic}, which is not used: slots are moved by SETSLOT and MIGRATE")
    if said_wrong := wrong(seen):
        print(f"\nnot well: {said_wrong}")


def _role(seen: View, one: Member) -> str:
    role = "master" if one.master else f"replica of {_name(seen, one.of)}"
    state = " (lost)" if one.failed else "" if one.answers else " (no answer)"
    return role + state


def _name(seen: View, id: str) -> str:
    one = seen.by_id(id)
    return one.name if one else id[:8]


def _cluster(seen: View, demand: SlotDemand | None) -> dict[str, object]:
    nodes = []
    for one in seen.members:
        slots = list(seen.slots_of(one.id))
        row: dict[str, object] = {
            "id": one.id, "address": one.name, "role": "master" if one.master else "replica", "of": one.of or None,
            "epoch": one.epoch, "slots": len(slots), "ranges": written(slots), "failed": one.failed,
            "answers": one.answers,
        }  # fmt: skip
        if demand and one.master:
            row["demand"] = {
                "keys": float(demand.keys[slots].sum()), "bytes": round(float(demand.bytes[slots].sum())),
                "cores": round(float(demand.cpu[slots].sum()), 6),
                "network": round(float(demand.network[slots].sum())),
                "source": demand.source.get(one.id),
            }  # fmt: skip
        nodes.append(row)
    return {
        "ok": seen.ok,
        "wrong": wrong(seen),
        "nodes": nodes,
        "shards": [{"first": p.first, "last": p.last, "owner": one.id} for p, one in seen.shards()],
        "half_moved": [{"slot": h.slot, "at": h.at, "way": h.way, "peer": h.peer} for h in seen.halves],
        "disputed": written(seen.disputed),
    }


def legs(seen: View, every: Iterable[Leg], *, as_json: bool) -> None:
    """What would be moved."""
    rows = [{"source": leg.source, "target": leg.target, "slots": written(leg.slots)} for leg in every]
    if as_json:
        dump({"moves": rows})
        return
    for leg in every:
        count = len(leg.slots)
        print(f"{count} slots from {_name(seen, leg.source)} to {_name(seen, leg.target)}: {written(leg.slots)}")
    if not rows:
        print("nothing to move")


def fixes(seen: View, every: Sequence[Fix], *, as_json: bool) -> None:
    """What a repair would do."""
    if as_json:
        dump({"fixes": [{"slot": f.slot, "what": f.what, "to": f.to, "why": f.why} for f in every]})
        return
    groups: dict[tuple[str, str, str], list[int]] = {}
    for fix in every:
        groups.setdefault((fix.what, fix.to, fix.why), []).append(fix.slot)
    words: Mapping[str, str] = {
        "finish": "finish the move to", "claim": "give to", "clear": "unmark; it stays at",
        "gather": "bring stray keys to", "route": "its owner is lost; send it on to",
    }  # fmt: skip
    for (what, to, why), slots in groups.items():
        print(f"{written(slots)}: {words[what]} {_name(seen, to)} ({why})")
    if not every:
        print("no slot is half moved")


def tick(one: Tick, *, as_json: bool) -> None:
    """One reading of ``watch``: a line, and what is done about it."""
    if as_json:
        masters = [
            {"address": name, "cores": round(now, 4), "peak": round(peak, 4), "ahead": ahead, "source": source}
            for name, now, peak, ahead, source in zip(
                one.masters, one.now, one.peak, one.ahead, one.source, strict=True
            )
        ]
        moves = [{"source": leg.source, "target": leg.target, "slots": written(leg.slots)} for leg in one.legs]
        row = {
            "reading": one.number, "predicted": one.predicted, "masters": masters, "why": one.why or None,
            "moves": moves,
        }  # fmt: skip
        print(json.dumps(row, ensure_ascii=True), flush=True)
        return
    parts = [
        f"{name} {now:.2f}" + (f" (up to {peak:.2f} in {ahead:.0f} s)" if one.predicted else "")
        for name, now, peak, ahead in zip(one.masters, one.now, one.peak, one.ahead, strict=True)
    ]
    print(f"{one.number}: {', '.join(parts)} cores, {'/'.join(sorted(set(one.source)))}", flush=True)
    if one.why:
        moves_now = "" if one.legs else " (not yet)"
        print(f"  {one.why}{moves_now}", flush=True)


def done(what: Done, *, as_json: bool, id: str) -> None:
    """What came of a job."""
    speed = what.slots / what.seconds if what.seconds else 0.0
    if as_json:
        dump({
            "job": id, "slots": what.slots, "keys": what.keys, "seconds": round(what.seconds, 3),
            "slots_per_second": round(speed, 1), "replaced": what.replaced, "interrupted": what.interrupted,
            "ceiling_ms": round(what.ceiling * 1e3, 3), "p99_before_ms": round(what.p99_before * 1e3, 3),
            "p99_during_ms": round(what.p99_during * 1e3, 3),
        })  # fmt: skip
        return
    print(
        f"moved {what.slots} slots with {what.keys} keys in {what.seconds:.2f} s ({speed:.0f} slots/s); "
        f"nodes answered in {what.p99_before * 1e3:.2f} ms before and {what.p99_during * 1e3:.2f} ms meanwhile (p99)"
    )
    if what.interrupted:
        print(f"interrupted by lost nodes {what.interrupted} times, and gone on with")
    if what.replaced:
        print(f"{what.replaced} keys were at both ends; the owner's were taken")
