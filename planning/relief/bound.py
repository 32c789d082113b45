"""How few moves any plan can do with: what is proven, not guessed.

Every host with a duty must shed its own minimum cover, and different hosts shed different
shards, so the covers add up. What giants add to that is told in ``giants``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.planning.model import Duty
from sidestep.planning.relief.covers import Shedding
from sidestep.planning.relief.desk import Desk


def least_count(desk: Desk, shedding: Shedding) -> int:
    """No cover counts fewer moves than this."""
    size = shedding.least()
    counts = np.sort(desk.problem.count[shedding.shards])
    if not len(counts) or counts[-1] == 1:
        return size
    bound = int(counts[: min(len(counts), 4)].sum()) if size > 3 else int(counts[:size].sum())
    found = [int(desk.problem.count[shedding.shards][picks].sum(axis=1).min()) for _, picks in shedding.sizes()]
    # every set of up to three was looked at, or else only the sizes below the first that were found
    return min(found[0], max(bound, size)) if found and size <= 3 and len(found) == 1 else bound


def per_host(desk: Desk, duties: Sequence[Duty], covers: dict[int, int]) -> int:
    """Sum over hosts and rules of the moves that each cannot do without; ``covers`` are the hosts' least."""
    p = desk.problem
    hosts = dict(covers)
    for duty in duties:
        if duty.kind in {"drain", "failover"}:
            rows = np.array(duty.shards, dtype=np.int64)
            for host in np.unique(p.host[rows]).tolist():
                part = int(p.count[rows[p.host[rows] == host]].sum())
                hosts[host] = max(hosts.get(host, 0), part)
    total = sum(hosts.values())
    seen: set[int] = set()
    for duty in sorted((d for d in duties if d.kind == "rule"), key=lambda d: -d.least):
        rows = np.array(duty.shards, dtype=np.int64)
        alone = [s for s in rows.tolist() if int(p.host[s]) not in hosts and s not in seen]
        missing = duty.least - (len(rows) - len(alone))
        if missing > 0:
            total += int(np.sort(p.count[alone])[:missing].sum())
        seen.update(rows.tolist())
    return total
