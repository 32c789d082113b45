"""Pools of pre-initialised instances behind the fleet's router: ahead of a daily peak, and woken from cold."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.harness import Sample
from benchmarks.routing_daemon import PATIENCE
from benchmarks.services.days import Days
from benchmarks.services.hosts import PROGRAM, Hosts
from benchmarks.services.load import Load
from benchmarks.services.stage import FIRST, Stage, scene, shard, staged
from sidestep.autopilot.protocol_pools import ListPools, PoolRow
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import KEYS
from sidestep.fleet.pools import PoolSpec

APP: Final = "shop"
#: clients at the height of the day, and requests at once that one instance is for
CLIENTS: Final = 24
PLACES: Final = 4
#: seconds of a day, and the days that are lived through before instances have to be there ahead of the load
DAY: Final = 80.0
LEARNED: Final = 2
#: seconds between two looks at a pool
EVERY: Final = 0.25


class Look(NamedTuple):
    """A pool at a time (s): places in use as the router says, what is forecast to be exceeded in one of ten cases.

    And instances that serve, those that were to serve, and how many the clients need.
    """

    time: float
    load: float
    soon: float
    serving: int
    wanted: int
    needed: int


def pool(hosts: Hosts, **more: Any) -> PoolSpec:
    """Instances on three hosts; the fourth has the shard that owns the keys."""
    given: dict[str, Any] = {
        "ready_min": 1, "max": 8, "min": 1, "stabilise": 6.0, "step_down": 1, "margin": 2.0, "drain_deadline": 20.0,
    }  # fmt: skip
    return PoolSpec(
        name=Label("web"), apps=(Label(APP),), hosts=tuple(Label(name) for name in hosts.names[1:]),
        service=Path(PROGRAM).stem, path=str(Path(PROGRAM).parent), places=PLACES, **(given | more),
    )  # fmt: skip


def owner(hosts: Hosts) -> Any:
    """The shard that owns the app's keys, beside whom instances serve."""
    return shard(APP, APP, hosts.names[0], FIRST, (0, KEYS), driver="restart", options="--cost 0.0005")


async def row(stage: Stage) -> PoolRow:
    """The pool as the daemon shows it."""
    found = (await stage.call(ListPools())).pools[0]
    assert isinstance(found, PoolRow)
    return found


async def served(stage: Stage, least: int = 1, **states: int) -> None:
    """Wait until so many instances serve, and so many are in these states."""
    async with asyncio.timeout(PATIENCE):
        while True:
            now = await row(stage)
            if now.states.get("ACTIVE", 0) >= least and all(now.states.get(k, 0) >= n for k, n in states.items()):
                return
            await asyncio.sleep(EVERY)


def needed(height: float) -> int:
    """Instances that so high a load needs: one for every PLACES clients that are at work."""
    return max(1, math.ceil(round(height * CLIENTS) / PLACES))


async def peak(
    hosts: Hosts, folder: Path, least: int, days: Days, looks_to: Path | None = None, *, off: bool = False
) -> Sample:
    """Days with a peak: from the third on, instances are to serve before the load needs them; ``off``: unforeseen."""
    oracle = OracleSpec(enabled=not off, model="network", season=DAY, step=1.0, min_steps=20)
    async with staged(folder, hosts, (owner(hosts),), pools=(pool(hosts),), oracle=oracle) as stage:
        await served(stage)
        began = time.monotonic()

        def height() -> float:
            return days.height((time.monotonic() - began) / DAY)

        async def act(load: Load) -> Sample:
            looks: list[Look] = []
            while time.monotonic() < began + len(days.heights) * DAY or load.account.requests < least:
                high, at, now = height(), time.monotonic() - began, await row(stage)
                (app,) = now.apps
                serving = now.states.get("ACTIVE", 0)
                looks.append(Look(at, app.load, app.soon, serving, app.wanted, needed(high)))
                await asyncio.sleep(EVERY)
            if looks_to is not None:
                write(looks, looks_to)
            timed = {
                "activation_p95_s": now.activation, "activations": now.activations, "warming_p95_s": now.warming,
                "requests_of_instances": now.served,
            }  # fmt: skip
            return judged(looks, len(days.heights)) | timed

        return await scene(stage, (APP,), least, act, clients=CLIENTS, rate=100_000.0, share=height)


def write(looks: list[Look], path: Path) -> None:
    """As CSV."""
    rows = [",".join(Look._fields), *(",".join(f"{value:g}" for value in one) for one in looks)]
    path.write_text("\n".join(rows) + "\n")


def judged(looks: list[Look], count: int) -> dict[str, float]:
    """How far ahead of the load instances served, and how often they were too few, in the first ``count`` days."""
    days = [[one for one in looks if int(one.time // DAY) == number] for number in range(count)]
    short = [sum(one.serving < one.needed for one in rows) / max(1, len(rows)) for rows in days]
    climbs = [lead for rows in days[LEARNED:] for lead in ahead(rows, looks)]
    tops = [lead for rows in days[LEARNED:] for lead in ahead(rows, looks)[-1:]]
    asked, led = sum(one.needed for one in looks), [lead for lead in climbs if lead >= 0]
    return {
        "days": count, "short_first_day": short[0],
        "short_learned_days": sum(short[LEARNED:]) / max(1, count - LEARNED),
        "ahead_first_day_s": min(ahead(days[0], looks), default=math.nan),
        "height_ahead_s": median(tops) if tops else math.nan, "least_ahead_s": min(climbs, default=math.nan),
        "climbs": len(climbs), "climbs_in_time": len(led), "instances_most": max(one.serving for one in looks),
        "in_flight_most": max(one.load for one in looks),
        "instance_share": sum(one.serving for one in looks) / max(1, asked),
    }  # fmt: skip


def ahead(rows: list[Look], looks: list[Look]) -> list[float]:
    """Of each number of instances that a day needs more than any time before in it: seconds for which so many served.

    Negative are the seconds until so many did. In the order of the numbers, the day's height last.
    """
    found = []
    for number in range(rows[0].needed + 1, max(one.needed for one in rows) + 1) if rows else ():
        when = next(one.time for one in rows if one.needed >= number)
        few = [one.time for one in looks if one.time <= when and one.serving < number]
        since = next(
            (one.time for one in looks if one.time > max(few, default=-1.0) and one.serving >= number), math.inf
        )
        found.append(when - since)
    return found


async def wake(hosts: Hosts, folder: Path, least: int) -> Sample:
    """The load steps up; nothing stands ready, and what is cold is woken."""
    spec = pool(hosts, cold=2, ready_min=0, drill_every=0.0)
    async with staged(folder, hosts, (owner(hosts),), pools=(spec,)) as stage:
        await served(stage, COLD=2)
        part, stepped = 2 / CLIENTS, 0.0

        async def act(_: Load) -> Sample:
            nonlocal part, stepped
            await served(stage, COLD=2)
            now = await row(stage)
            cold, before = {one.name for one in now.instances if one.state == "COLD"}, len(active(now))
            part, stepped = 1.0, time.monotonic()
            async with asyncio.timeout(PATIENCE):
                while not (cold & active(now := await row(stage))):  # noqa: ASYNC110 - of the daemon
                    await asyncio.sleep(EVERY)
            first = time.monotonic() - stepped
            await served(stage, least=CLIENTS // PLACES - 1)
            now = await row(stage)
            return {
                "served_before": before, "woken": len(cold & active(now)), "first_woken_serves_s": first,
                "enough_serve_s": time.monotonic() - stepped, "warming_p95_s": now.warming,
                "activation_p95_s": now.activation,
            }  # fmt: skip

        return await scene(stage, (APP,), least, act, clients=CLIENTS, rate=100_000.0, share=lambda: part)


def active(now: PoolRow) -> set[Label]:
    """The instances that serve."""
    return {one.name for one in now.instances if one.state == "ACTIVE"}
