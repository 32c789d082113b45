"""Slots moved between the masters of a real Redis Cluster under load, ours and redis-cli in turns.

Six nodes (three masters, three replicas) and clients that follow MOVED and ASK, keep an account of every request and
read everything back at the end. ``reshard`` moves slots from one master to another; ``rebalance`` takes the cluster
from equal shares to shares in which one has more, or back. redis-cli moves as fast as it can, with large and with
small pipelines, and slowed down by stopping it for most of the time. What we are compared with is its best rate among
those at which clients waited no longer than with us; if it has none, its gentlest, and that is said. Of clients' waits
the 99th percentile is that of all requests of all moves of a kind, since of one move it is of some twenty; and a time
in which nothing is moved is measured in the same way, which says how much of a ratio is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from benchmarks.harness import Goal, Report, Sample, Spread, main
from benchmarks.redis_stage import CLIENTS, RATE, Stage, median, staged
from sidestep.backends.redis_cluster.balance import changes, rebalanced
from sidestep.backends.redis_cluster.job import Leg
from sidestep.backends.redis_cluster.yielding import NICE

#: keys, slots of a reshard, runs
FULL: Final = (100_000, 600, 3)
QUICK: Final = (50_000, 200, 1)
OURS: Final = "sidestep"
NOTHING: Final = "nothing moved"


class Contender(NamedTuple):
    """Who moves, and how: keys of one MIGRATE, share of the time in which it runs, of the slots how many, niceness."""

    name: str
    pipeline: int = 0
    share: float = 1.0
    part: float = 1.0
    nice: int = 0


#: those that are slowed down move fewer slots: rates are what is compared
CONTENDERS: Final = (
    Contender(OURS, part=0.4),
    Contender(NOTHING),
    Contender("redis-cli", 100),
    Contender("redis-cli pipeline 1", 1),
    Contender("redis-cli a quarter of the time", 100, 0.25, 0.5),
    Contender("redis-cli a sixteenth of the time", 100, 1 / 16, 0.2),
    Contender("redis-cli a sixteenth, niced", 1, 1 / 16, 0.2, NICE),
    Contender("redis-cli a 64th, niced", 1, 1 / 64, 0.05, NICE),
)


#: of them, those that ``--quick`` has time for: the fastest and the gentlest
SHORT: Final = tuple(who for who in CONTENDERS if who.name in {OURS, NOTHING, "redis-cli", "redis-cli a 64th, niced"})


def reshard(stage: Stage, slots: int, who: Contender, back: bool) -> None:
    """From the first master to the third, or back."""
    source, target = stage.ids[2 if back else 0], stage.ids[0 if back else 2]
    count = int(slots * who.part)
    if who.name == OURS:
        stage.ours("reshard", [Leg(source, target, stage.look().slots_of(source)[-count:])])
    else:
        words = ["reshard", stage.cluster.addresses[0], "--cluster-from", source, "--cluster-to", target]
        words += ["--cluster-slots", str(count), "--cluster-yes"]
        stage.theirs(who.name, "reshard", words, pipeline=who.pipeline, share=who.share, nice=who.nice)


def rebalance(stage: Stage, slots: int, who: Contender, back: bool) -> None:
    """To shares in which the second master has about twice so many slots more than the others, or to equal ones."""
    more = 1.0 + max(slots * who.part / 1500, 0.017)  # redis-cli leaves less than a hundredth as it is
    weights = (1.0, 1.0, 1.0) if back else (1.0, more, 1.0)
    if who.name == OURS:
        seen = stage.look()
        order = [one.id for one in seen.masters]
        shares = [weights[stage.ids.index(id)] for id in order]
        after = rebalanced(seen.owners, np.ones(len(seen.owners)), shares, tolerance=0.002)
        moved = changes(seen.owners, after)
        stage.ours("rebalance", [Leg(order[a], order[b], slots) for (a, b), slots in moved.items()])
    else:
        words = [f"{id}={weight}" for id, weight in zip(stage.ids, weights, strict=True)]
        options = ["--cluster-threshold", "1", "--cluster-weight", *words]
        words = ["rebalance", stage.cluster.addresses[0], *options]
        stage.theirs(who.name, "rebalance", words, pipeline=who.pipeline, share=who.share, nice=who.nice)


def samples(stage: Stage, who: str, what: str) -> Sequence[Sample]:
    """Of every such move."""
    return [stage.sample(moved) for moved in stage.moves if moved.who == who and moved.what == what]


def run(quick: bool) -> Report:
    """All moves on one stage, one after the other; who begins changes, and so does the direction."""
    keys, slots, runs = QUICK if quick else FULL
    contenders = SHORT if quick else CONTENDERS
    with staged(keys) as stage:
        total = sum(stage.sizes())
        turn = 0
        for each in range(runs):
            for move in (reshard, rebalance):
                for who in (*contenders, contenders[0]) if each % 2 == 0 else (contenders[0], *contenders[::-1]):
                    if who.name == NOTHING:
                        stage.nothing(move.__name__)
                        continue
                    move(stage, slots, who, turn % 2 == 1)
                    turn += 1
                turn += turn % 2  # each kind of move begins with equal shares
        there = sum(stage.sizes())
    load = stage.load
    goals = [
        Goal("requests that failed", len(load.errors), "requests", 0, "=="),
        Goal("keys that are not what was acknowledged", load.wrong, "keys", 0, "=="),
        Goal("keys more or fewer than before", abs(there - total), "keys", 0, "=="),
    ]
    figures: dict[str, dict[str, Spread]] = {}
    said: list[str] = []
    for what in ("reshard", "rebalance"):
        found = {who.name: samples(stage, who.name, what) for who in contenders}
        for name, each_of in found.items():
            figures[f"{name} {what}"] = {key: Spread.of([one[key] for one in each_of]) for key in each_of[0]}
        pooled = {name: stage.pooled(name, what, 0.99) for name in found}
        ratios = {name: during / calm for name, (calm, during) in pooled.items()}
        rates = {name: median(each_of, "slots_per_second") for name, each_of in found.items()}
        peers = [name for name in found if name not in {OURS, NOTHING}]
        waits = {name: during for name, (_, during) in pooled.items()}
        fair = [name for name in peers if waits[name] <= waits[OURS]]
        peer = max(fair, key=lambda name: rates[name]) if fair else min(peers, key=lambda name: waits[name])
        if not fair:
            said.append(
                f"{what}: redis-cli had no setting at which clients waited no longer than with us; compared "
                f"with {peer}: p99 {waits[peer]:.3f} ms, ours {waits[OURS]:.3f} ms"
            )
        goals += [
            Goal(f"{what}: p99 of clients during, over before", ratios[OURS], "times", 1.2, "<=",
                 {name: ratio for name, ratio in ratios.items() if name != OURS}),
            Goal(f"{what}: slots a second, over redis-cli at no worse p99", rates[OURS] / rates[peer], "times", 2.0,
                 ">=", {f"{name} slots/s": rate for name, rate in rates.items() if name != NOTHING}),
        ]  # fmt: skip
    asked = sum(len(answer["at"]) for answer in load.answers)
    notes = (
        f"{asked} requests by {CLIENTS} clients of {RATE:g} a second at most, half of them writes; "
        f"{keys} keys of 200 bytes; nodes, clients and movers share the machine",
        *said,
        *load.errors[:3],
    )
    return Report("redis", tuple(goals), figures, runs, quick, notes)


if __name__ == "__main__":
    main("redis", run)
