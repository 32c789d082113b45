"""One process of a chain: goes on with the capture on its input, and stops after so many loop heads (-1: never)."""

from __future__ import annotations

import sys

from benchmarks.capsules_kernels import KERNELS
from sidestep.sharding.codec import dumps, pack, unpack
from sidestep.sharding.resume import Program, Suspended, suspender


def main(name: str, skip: int) -> None:
    source, args = KERNELS[name]
    carried = sys.stdin.buffer.read()
    program = Program(source)
    asks = suspender(program)
    try:
        if skip >= 0:
            asks.request(skip=skip)
        out = dumps(program.resume(unpack(carried)) if carried else program.run("main", *args))
    except Suspended as stopped:
        out = pack(stopped.captured)
    finally:
        asks.close()
    sys.stdout.buffer.write(out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
