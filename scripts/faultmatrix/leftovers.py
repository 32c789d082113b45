"""What a move left on hosts that ended as it should: no file that bears its key stays, whatever happened meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import scrub

if TYPE_CHECKING:
    from scripts.faultmatrix.lane import Lane

#: seconds until what a move left has to be gone, and between two looks
TIDY: Final = 20.0
_PAUSE: Final = 0.2
_LOOK: Final = """
cd "${{XDG_STATE_HOME:-$HOME/.local/state}}/sidestep/{fleet}/{shard}" 2>/dev/null || exit 0
for file in *.{key} *.{key}.*; do [ ! -e "$file" ] || echo "$file"; done
"""


async def left_behind(lane: Lane, shard: str, key: str) -> list[str]:
    """What is left once all that is to take it away had its time, as problems; none mostly."""
    end = time.monotonic() + TIDY
    while found := await _left(lane, shard, key):
        if time.monotonic() > end:
            return [f"left behind: {found}"]
        await asyncio.sleep(_PAUSE)
    return []


async def _left(lane: Lane, shard: str, key: str) -> str:
    """What there is of it, by host; nothing if there is nothing, and in words if that cannot be seen."""
    found = []
    for spec in lane.hosts.specs:
        try:
            transport = await lane.transport(spec.name)
            script = _LOOK.format(fleet=lane.fleet, shard=shard, key=key)
            done = await transport.run("exec sh -s", stdin=script.encode(), timeout=5.0)
            names = [str(scrub(word.replace(key.encode(), b"KEY"))) for word in done.stdout.split()]
        except SidestepError as error:
            names = [str(error)]
        if names:
            found.append(f"{spec.name}: {' '.join(names)}")
    return "; ".join(found)
