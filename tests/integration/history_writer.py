"""A keeper in a process of its own, to be killed: minutes pass as fast as they are on the disk.

Prints the start of every minute once it is on the disk. ``python history_writer.py FOLDER BEGIN SERIES MINUTES``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from sidestep.autopilot.history_keeper import Keeper
from sidestep.fleet.inventory import HistorySpec


async def main() -> None:
    folder, begin, series, minutes = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    now = begin
    names = tuple(f"host h{number} cpu" for number in range(series))
    kept = Keeper(HistorySpec(), folder, interval=10.0, clock=lambda: now, report=lambda text: print(text, flush=True))
    kept.begin(names)
    life = asyncio.create_task(kept.run(names))
    for minute in range(minutes):
        for _ in range(6):
            kept.append(now, names, np.full(series, float(minute)))
            now += 10
        if minute:
            await kept.written()
            print(f"minute {now - 120:.0f}", flush=True)
        await asyncio.sleep(0.001)
    print("done", flush=True)
    await life


asyncio.run(main())
