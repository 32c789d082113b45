"""Which host, shard or app a name means, with the nearest names when it means none."""

from __future__ import annotations

from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet.errors import UsageError
from sidestep.fleet.forecast_report import KINDS, Kind
from sidestep.fleet.labels import scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.snapshot import Snapshot

__all__ = ["find", "near"]


def find(snapshot: Snapshot, name: str, kind: str = "", kinds: tuple[Kind, ...] = KINDS) -> Kind:
    """Which of ``kinds`` a name is.

    Raises UnknownReference, and UsageError for a name of several kinds or a kind that is none.
    """
    known: dict[Kind, frozenset[str]] = {
        "host": frozenset(snapshot.hosts.names),
        "shard": frozenset(snapshot.shards.names),
        "app": frozenset(snapshot.shards.apps),
    }
    if kind and kind not in KINDS:
        raise UsageError(f"{scrub(kind)} is no kind", hint=f"kinds: {', '.join(KINDS)}")
    wanted = [each for each in kinds if kind in ("", each)]
    found = [each for each in wanted if name in known[each]]
    if not found:
        what = " or ".join([", ".join(wanted[:-1]), wanted[-1]] if len(wanted) > 1 else wanted)
        raise UnknownReference(f"no {what} {scrub(name)}", hint=near(name, [n for each in wanted for n in known[each]]))
    if len(found) > 1:
        raise UsageError(f"{scrub(name)} is {' and '.join(found)}", hint=f"say which: --kind {found[0]}")
    return found[0]
