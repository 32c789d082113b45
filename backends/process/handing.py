"""Small capsules from one standing shell to the other, with no session of its own: what a seeded move has left.

What follows one another on a host while users wait is asked for at once there, so that nobody waits for round trips: at
the source freezing, capturing and saying the capsule; at the destination taking it, restoring and verifying. What
became of each is told in its own step, and any may be asked for alone instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sidestep.backends.process.scripts import called, chained, understood
from sidestep.backends.process.standing import ShellLost, StandingShell
from sidestep.backends.ssh.base import Transport

#: bytes up to which a capsule goes this way; it is held in memory here
SMALL: Final = 8 << 20

Values = Mapping[str, str | int]


async def ahead(
    end: Transport, shell: StandingShell | None, step: str, operations: Mapping[str, Values], timeout: float
) -> None:
    """Have these operations done one after the other; where that cannot be, each is asked for in its turn."""
    if shell is not None:
        with suppress(ShellLost):
            told = {name: {**given, "bytes": "", "most": SMALL} for name, given in operations.items()}
            program = chained(end.host, step, told)
            await shell.begin(program, [*operations], timeout=timeout)


async def hand_over(
    source: Transport,
    here: StandingShell | None,
    destination: Transport,
    there: StandingShell | None,
    values: tuple[Values, Mapping[str, Values]],
    size: int | None,
    expected: str,
    *,
    timeout: float,
) -> bool:
    """Carry the capsule of ``size`` bytes of a move from shell to shell, if it is the one with that SHA-256.

    ``values`` are what the source is told, and the destination of landing and of all that may follow at once. False
    where this cannot be done, and then nothing came of it. Raises HostError.
    """
    if here is None or there is None or size is None or not 0 < size <= SMALL:
        return False
    lift, (land, *more) = {**values[0], "bytes": size, "most": SMALL}, values[1].items()
    try:
        if here.awaits("lift"):
            done = await here.stage(timeout=timeout, take=SMALL)
        else:
            done = await here.run(called(source.host, "transfer", "lift", lift), timeout=timeout, take=SMALL)
        data = understood(source, "transfer", "lift", lift, done)
        if hashlib.sha256(data).hexdigest() != expected:
            return False
        landing = {land[0]: {**land[1], "bytes": size}, **dict(more)}
        program = chained(destination.host, "transfer", landing)
        await there.begin(program, [*landing], timeout=timeout, give=data)
        done = await there.stage(timeout=timeout)
        understood(destination, "transfer", "land", landing["land"], done)
    except ShellLost:
        return False
    return True
