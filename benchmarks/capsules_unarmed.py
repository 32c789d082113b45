"""What the resumable form costs while nobody asks it to stop, in one process: ``TURNS`` runs of each kernel and form.

The original is compiled twice, so that what two copies of one program differ by is known beside it. One process says
little: where its memory lies favours one copy or another by a percent or two, so the benchmark starts several.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.capsules_kernels import KERNELS, PLAIN
from sidestep.sharding.resume import Program


def best(times: int, *runs: Callable[[], object]) -> list[float]:
    """The least CPU seconds of each, run in turns of random order."""
    seen: list[list[float]] = [[] for _ in runs]
    for _ in range(times):
        for at in random.sample(range(len(runs)), len(runs)):
            begun = time.process_time()
            runs[at]()
            seen[at].append(time.process_time() - begun)
    return [min(one) for one in seen]


def overhead(name: str, times: int) -> tuple[float, float]:
    """CPU of the resumable form that nobody asks anything, over the original; and of a second copy of the original.

    They are made in random order, as what is made first lies elsewhere.
    """
    source, args = KERNELS[name]

    def original() -> Callable[[], object]:
        names: dict[str, Any] = {}
        exec(compile(source, name, "exec"), names)
        return lambda: names["main"](*args)

    def resumable() -> Callable[[], object]:
        program = Program(source)
        return lambda: program.run("main", *args)

    makers = {"was": original, "again": original, "now": resumable}
    runs = {which: makers[which]() for which in random.sample(list(makers), len(makers))}
    was, again, now = best(times, runs["was"], runs["again"], runs["now"])
    return now / was, again / was


if __name__ == "__main__":
    print(json.dumps({name: overhead(name, int(sys.argv[1])) for name in PLAIN}))
