"""Faults at random for as long as is wanted, then the checker: ``python tests/locks/lock_soak.py --seconds 60``.

Six clients with clocks of their own. They, most often whoever holds the lock, are stopped for up to three
leases and lose connections, and the service is killed and started again. Prints what there was; exits 1 if
anything was violated. Not part of the tests: these do the same in an order that is known.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from lock_history import violations
from lock_world import World

CLIENTS = "abcdef"
TTL = 0.6


def soak(folder: Path, seconds: float, chance: random.Random) -> int:
    faults: Counter[str] = Counter()
    told: Counter[str] = Counter()
    holder = CLIENTS[0]
    with World(folder) as world:
        for name in CLIENTS:
            world.client(
                name, rounds=10**9, ttl=TTL, writes=4,
                offset=chance.uniform(-1e6, 1e6), rate=chance.uniform(0.95, 1.05),
                drops=[number for number in range(10_000) if chance.random() < 0.1],
            )  # fmt: skip
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(chance.uniform(0.0, 0.5))
            while not world.events.empty():
                event = world.events.get()
                told[event["event"]] += 1
                holder = event["client"] if event["event"] == "granted" else holder
            if chance.random() < 0.15:
                world.kill_service()
                time.sleep(chance.choice([0.0, TTL]))
                world.serve()
                faults["service killed"] += 1
            else:
                client = world.clients[holder if chance.random() < 0.7 else chance.choice(CLIENTS)]
                client.send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0.0, 3 * TTL))
                client.send_signal(signal.SIGCONT)
                faults["client stopped"] += 1
    history = world.history()
    found = violations(*history)
    while not world.events.empty():
        told[world.events.get()["event"]] += 1
    grants, checks, writes = history
    print(
        f"{len(grants)} grants, {len(checks)} checks of which {sum(c.ok for c in checks)} passed, {len(writes)} writes,"
        f" {dict(faults)}, clients said {dict(told)}; {len(found)} violations"
    )
    print("\n".join(found[:20]))
    return 1 if found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sidestep-soak-") as place:
        sys.exit(soak(Path(place), wanted.seconds, random.Random(wanted.seed)))
