"""A client that replays traffic: requests come when they are due, whether or not the ones before were answered.

    python -m benchmarks.redis_replay < ORDER      # one line of JSON; ends by itself, or at the end of its input

A request runs a script that takes a known time of its node's processor, about a key of the hot range or one of all.
What is said of each is when it was due and how long after that its answer came, so a node that is behind shows.
"""

from __future__ import annotations

import json
import random
import sys
import time

from benchmarks.redis_client import Client, Refused


def run(order: dict[str, object]) -> dict[str, object]:
    """Replay one order: ``port``, ``sha``, ``turns``, ``hot`` and ``cold`` keys, ``rates`` (hot, cold) and ``step``."""
    port, sha, turns, step = int(str(order["port"])), str(order["sha"]), str(order["turns"]), float(str(order["step"]))
    hot, cold, rates = order["hot"], order["cold"], order["rates"]
    assert isinstance(hot, list)
    assert isinstance(cold, list)
    assert isinstance(rates, list)
    chance, client = random.Random(str(order["seed"])), Client(port)

    def ask(key: str) -> None:
        client.ask(b"EVALSHA", sha.encode(), b"1", key.encode(), turns.encode(), at=3)

    for key in {*hot, *cold}:  # learns who has what before anything is measured
        client.ask(b"GET", str(key).encode())
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    due: list[float] = []
    took: list[float] = []
    errors: list[str] = []
    at = begun
    while (index := int((at - begun) / step)) < len(rates):
        often = sum(rates[index])
        at += chance.expovariate(often) if often > 0 else step
        key = chance.choice(hot) if chance.random() * often < rates[index][0] else chance.choice(cold)
        if (wait := at - time.monotonic()) > 0:
            time.sleep(wait)
        try:
            ask(key)
        except (Refused, OSError) as error:
            errors.append(f"{type(error).__name__}: {error}")
            client.forget()
        due.append(at)
        took.append(time.monotonic() - at)
    return {"begun": begun, "due": due, "took": took, "errors": errors}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.readline()))), flush=True)
