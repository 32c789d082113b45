"""Single shards whose departure is enough, for all hosts in contention at once.

Most hosts need no more than one shard to leave. Looking at them together finds the same shard
as looking at each by itself (``Server.covers``), in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.planning.model import Duty
from sidestep.planning.relief.covers import MARGINS
from sidestep.planning.relief.desk import Desk


def usable(desk: Desk) -> bool:
    """Whether single shards can be judged together: demand adds up, contention is at once, moves are preferred."""
    p = desk.problem
    return p.certain and p.duration <= 1 and desk.tasks.prefer == "moves" and not desk.tasks.previous


def singles(desk: Desk, duties: Sequence[Duty]) -> dict[int, int]:
    """By host, the one shard whose departure before any other move ends its contention; none where more must leave.

    Of several the one that ``Desk.order`` puts first. Only duties of contention without a gain are looked at.
    """
    p = desk.problem
    hosts = [duty.host for duty in duties if duty.kind == "contention" and duty.gain <= 0]
    shards = [desk.movable_at_start(host) for host in hosts]
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *shards])
    if not len(rows):
        return {}
    here = np.array(hosts, dtype=np.int64)
    limit = p.limit[here] * (1.0 + 1e-9) + 1e-12
    with np.errstate(invalid="ignore"):
        lacking = p.median[here] + p.fixed[here] - limit
    # what does not help enough where most is lacking never is enough
    column = np.nan_to_num(lacking, nan=-np.inf).argmax(axis=1)
    number = np.arange(len(here))
    owner = np.repeat(number, [len(found) for found in shards])
    first = (lacking[number, column] * (1.0 - 1e-6))[owner]
    keep = (first > 0) & (p.mean[rows, column[owner]] >= first)
    rows, owner = rows[keep], owner[keep]
    at = here[owner]
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.maximum(p.median[at] - p.mean[rows], 0.0) + p.fixed[at]
        enough = ((left <= limit[owner]) | ~(lacking[owner] > 0)).all(axis=1)
    rows, owner, left = rows[enough], owner[enough], left[enough]
    top = p.limit[at := here[owner]]
    with np.errstate(invalid="ignore", divide="ignore"):
        near = (p.median[at] + p.fixed[at] > (1.0 - MARGINS[-1]) * top) & (top > 0)
        used = np.where(near, left / top, 0.0).max(axis=1, initial=0.0)
    weak = len(MARGINS) - np.digitize(1.0 - used, MARGINS)
    order = np.lexsort([rows, p.bytes[rows], desk.effort(rows), weak, p.count[rows], owner])
    best = order[np.unique(owner[order], return_index=True)[1]]
    return dict(zip(here[owner[best]].tolist(), rows[best].tolist(), strict=True))
