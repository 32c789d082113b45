"""Small capsules from one standing shell to the other, with no session of its own: what a seeded move has left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from sidestep.backends.process.scripts import called, understood
from sidestep.backends.process.standing import ShellLost, StandingShell
from sidestep.backends.ssh.base import Transport

#: bytes up to which a capsule goes this way; it is held in memory here
SMALL: Final = 8 << 20


async def hand_over(
    source: Transport,
    here: StandingShell | None,
    destination: Transport,
    there: StandingShell | None,
    values: tuple[Mapping[str, str | int], Mapping[str, str | int]],
    size: int | None,
    *,
    timeout: float,
) -> str | None:
    """Carry the capsule of ``size`` bytes of a move from shell to shell; the SHA-256 of what was carried.

    ``values`` are what operations at the source and at the destination are told. None where this cannot be done, and
    then nothing came of it. Raises HostError.
    """
    if here is None or there is None or size is None or not 0 < size <= SMALL:
        return None
    lift, land = ({**given, "bytes": size} for given in values)
    try:
        done = await here.run(called(source.host, "transfer", "lift", lift), timeout=timeout, take=size)
        data = understood(source, "transfer", "lift", lift, done)
        done = await there.run(called(destination.host, "transfer", "land", land), timeout=timeout, give=data)
        understood(destination, "transfer", "land", land, done)
    except ShellLost:
        return None
    return hashlib.sha256(data).hexdigest()
