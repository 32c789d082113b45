"""Which slots a command means. Pure: a view and options in, legs of a job out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable

from sidestep.backends.redis_cluster.balance import Demand, changes, rebalanced, split
from sidestep.backends.redis_cluster.job import Leg
from sidestep.backends.redis_cluster.members import named
from sidestep.backends.redis_cluster.ranges import Range, one_range, read, written
from sidestep.backends.redis_cluster.topology import Member, View
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub


def moved(seen: View, options: argparse.Namespace, keys: Demand) -> list[Leg]:
    """The legs of ``move``: by ``--slots``, ``--from`` and ``--count``, ``--split``, ``--merge``. Raises UsageError."""
    if options.merge:
        return _legs(seen, one_range(options.merge), options.to)
    target = _master(seen, options.to)
    if options.slots:
        return _legs(seen, read(options.slots), options.to)
    if options.split:
        part = one_range(options.split)
        if len({int(seen.owners[slot]) for slot in _slots(part)}) != 1:
            raise UsageError(f"{part} has more than one owner", hint="split one of: sidestep cluster show")
        return _legs(seen, split(part, keys)[1], options.to)
    source = _master(seen, options.source)
    slots = seen.slots_of(source.id)
    if source.id == target.id:
        raise UsageError(f"--from and --to are both {source.name}")
    if not 0 < options.count <= len(slots):
        raise UsageError(f"{source.name} has {len(slots)} slots", hint="say how many go: --count N")
    return [Leg(source.id, target.id, slots[-options.count :])]


def evened(seen: View, options: argparse.Namespace, demand: Demand) -> list[Leg]:
    """The legs of ``rebalance``. Raises UsageError."""
    masters = seen.masters
    weights = {one.id: 1.0 if one.alive else 0.0 for one in masters}
    if lost := [one for one in masters if not one.alive and seen.slots_of(one.id)]:
        raise UsageError(f"{lost[0].name} has slots and does not answer", hint="start it again first")
    for text in options.weight:
        name, _, value = text.rpartition("=")
        one = _master(seen, name)
        try:
            weights[one.id] = float(value)
        except ValueError:
            weights[one.id] = math.nan
        if not (math.isfinite(weights[one.id]) and weights[one.id] >= 0):
            raise UsageError(f"--weight {scrub(text)}: no weight", hint="write --weight HOST:PORT=2; 0 empties it")
    if not 0 <= options.tolerance <= 1:
        raise UsageError("--tolerance is a share, 0 to 1")
    after = rebalanced(seen.owners, demand, [weights[one.id] for one in masters], tolerance=options.tolerance)
    return [Leg(masters[a].id, masters[b].id, slots) for (a, b), slots in changes(seen.owners, after).items()]


def _legs(seen: View, what: Range | Iterable[int], to: str) -> list[Leg]:
    """These slots to that master; without one to whoever has most of them."""
    slots = _slots(what)
    if orphans := [slot for slot in slots if seen.owner(slot) is None]:
        raise UsageError(f"slots {written(orphans)} have no owner")
    by: dict[str, list[int]] = {}
    for slot in slots:
        owner = seen.owner(slot)
        assert owner is not None
        by.setdefault(owner.id, []).append(slot)
    target = _master(seen, to).id if to else max(by, key=lambda id: len(by[id]))
    return [Leg(source, target, tuple(found)) for source, found in by.items() if source != target]


def _slots(what: Range | Iterable[int]) -> list[int]:
    return list(range(what.first, what.last + 1)) if isinstance(what, Range) else list(what)


def _master(seen: View, word: str) -> Member:
    if not word:
        raise UsageError("no master was named", hint="say where to: --to HOST:PORT")
    one = named(seen, word)
    if not one.master:
        raise UsageError(f"{one.name} is a replica", hint="slots belong to masters")
    if not one.alive:
        raise UsageError(f"{one.name} does not answer", hint="see: sidestep cluster show")
    return one
