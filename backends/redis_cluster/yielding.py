"""Our own place behind whoever serves, where a node, its clients and we share a machine.

What moves slots can wait for a processor, a client cannot (``benchmarks.redis`` has all of them on two cores).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

#: what ``nice`` calls it; larger gives way to more
NICE: Final = 15


@contextlib.contextmanager
def yielding() -> Iterator[None]:
    """This process gives way to others; back to where it was afterwards, if the system allows that.

    It does only to those who may (CAP_SYS_NICE, RLIMIT_NICE); whoever may not gives way until it ends. What is to be as
    quick as a client, a probe, is started before.
    """
    was = os.getpriority(os.PRIO_PROCESS, 0)
    if was >= NICE:
        yield
        return
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, was)
