"""What a client of these nodes waits for an answer now, asked over connections of its own.

By a process of its own, too: in ours an answer would wait for whatever the mover does just then, and a mover that
hears itself slows down for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from sidestep.backends.redis_cluster.access import Access
from sidestep.backends.redis_cluster.listen import Order
from sidestep.backends.redis_cluster.pace import Ear, quantile
from sidestep.backends.redis_cluster.topology import Member

#: where "sidestep" is found, wherever we were started
ROOT: Final = str(Path(__file__).absolute().parents[3])
#: seconds between two questions, and for which nodes are listened to before anything moves
EVERY: Final = 0.002
BEFORE: Final = 1.5
#: seconds until the first answer has to be there
STARTING: Final = 10.0
#: without a ceiling that is named: so many times the 99th percentile of before
TIMES: Final = 1.2
PARTS: Final = 3


class Heard:
    """What the probe heard: every answer's seconds, and the ear that judges them once there is a ceiling."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.during: list[float] = []
        self.ear: Ear | None = None
        self.begun = asyncio.Event()

    def add(self, seconds: float) -> None:
        """One more answer."""
        self.begun.set()
        if self.ear is None:
            self.before.append(seconds)
        else:
            self.during.append(seconds)
            self.ear.add(seconds)

    @property
    def slice(self) -> float:
        """Seconds by which an answer may be late without being above the ceiling; 0 for silence."""
        assert self.ear is not None
        return max(0.0, self.ear.ceiling - quantile(self.before, 0.5))


@contextlib.asynccontextmanager
async def listening(
    members: Sequence[Member], access: Access, *, ceiling: float = 0.0, before: float = BEFORE
) -> AsyncIterator[Heard]:
    """Ask these members all the time; begins with ``before`` seconds in which only they are listened to.

    ``ceiling`` in seconds; 0 takes it from what was heard before. A member that does not answer is left out. Without
    a ceiling and with no ``before`` there is nothing to compare with: then nobody is asked, and nothing is too slow.
    """
    heard = Heard()
    if not ceiling and not before:
        heard.ear = Ear(math.inf)
        yield heard
        return
    order = Order(nodes=tuple((one.host, one.port) for one in members), access=access, every=EVERY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidestep.backends.redis_cluster.listen",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH", "")]))},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    task = asyncio.create_task(_read(process.stdout, heard))
    try:
        if members:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.begun.wait(), STARTING)
        await asyncio.sleep(before)
        heard.ear = Ear(ceiling or TIMES * usual(heard.before))
        yield heard
    finally:
        process.stdin.close()  # which ends it
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def usual(took: Sequence[float]) -> float:
    """The 99th percentile of a time in which a part may have been noisy: the median of those of three parts."""
    size = max(1, len(took) // PARTS)
    return quantile((quantile(took[at : at + size], 0.99) for at in range(0, size * PARTS, size)), 0.5)


async def _read(lines: asyncio.StreamReader, heard: Heard) -> None:
    """Its lines: microseconds of answers, apart by blanks."""
    while line := await lines.readline():
        for word in line.split():
            heard.add(int(word) / 1e6)
