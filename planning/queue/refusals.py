"""Why hosts do not take a shard of the queue, a coded reason each, those that come nearest first."""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.questions import HostRefusal
from sidestep.planning.build import Built
from sidestep.planning.model.state import TOLERANCE
from sidestep.planning.queue.worst import Trial
from sidestep.planning.rejected import lacking, why_blocked
from sidestep.planning.rules import WHY_HOST_NOT

#: hosts that are told of, of a larger fleet
TOLD: Final = 40


def refusals(
    built: Built, trial: Trial, row: int, why: Reason, hosts: frozenset[int] | None
) -> tuple[HostRefusal, ...]:
    """``why`` of all hosts together, and of each; ``hosts``: only those may be asked at all."""
    room = trial.state.spare(row)
    order = np.lexsort((built.problem.rank, -np.nan_to_num(room, neginf=-1e300))).tolist()
    shut = built.problem.constraints.blocked(trial.state.at, row)
    said = [HostRefusal(host=Label(""), reason=why)]
    for host in order[:TOLD]:
        if hosts is not None and host not in hosts:
            reason = Reason("NOT_ALLOWED", Label("is not the host that it is pinned to, or must be near others on"))
        else:
            reason = _of(built, trial, row, host, float(room[host]), shut=bool(shut[host]))
        said.append(HostRefusal(host=built.rules.host_names[host], reason=reason))
    if len(order) > TOLD:
        text = f"{len(order) - TOLD} more hosts have less room than these"
        said.append(HostRefusal(host=Label("(others)"), reason=Reason("NO_ROOM", scrub(text))))
    return tuple(said)


def _of(built: Built, trial: Trial, row: int, host: int, room: float, *, shut: bool) -> Reason:
    problem, rules = built.problem, built.rules
    code = rules.received[host] or ("" if problem.accepts[host] else "STANDBY")
    if code:
        return Reason(code, Label(WHY_HOST_NOT[code]))
    if host in trial.hot:
        return Reason("HOT", Label("is in predicted contention itself"))
    if shut:
        return Reason(*why_blocked(built, trial.state, row, host))
    if room >= -TOLERANCE:
        return Reason("RESERVED", Label("has room, but for who waits longer, for a move, or not enough to be sure"))
    with np.errstate(invalid="ignore"):
        lack = trial.state.arrivals(row, np.array([host]))[0] - problem.room[host]
        part = np.where(problem.mean[row] > 0, lack / problem.capacity[host], -np.inf)
    if np.isnan(part).any():
        return Reason("UNKNOWN", Label(WHY_HOST_NOT["UNKNOWN"]))
    column = int(part.argmax())
    return Reason("NO_ROOM", scrub(f"needs {lacking(built, host, column, float(lack[column]))}"))
