"""Pools of instances: the part of the console tests' daemon that has some."""

from __future__ import annotations

import math

from frames_oracle import START

from sidestep.autopilot.protocol_pools import PoolApp, PoolInstanceRow, PoolRow, PoolsView
from sidestep.fleet.labels import Label


def _instance(number: int, state: str, app: str = "", busy: bool = False) -> PoolInstanceRow:
    return PoolInstanceRow(
        name=Label(f"web-{number}"), host=Label(f"h{number % 4 + 1}"), state=state, app=Label(app),
        port=0 if state == "COLD" else 9000 + number, since=START - 60.0 * number, busy=busy,
    )  # fmt: skip


def pool(
    name: str, *, unmet: int = 0, wanted: int = 2, drill_ok: bool = True, apps: bool = True, detail: str = ""
) -> PoolRow:
    """A pool of six instances, of which two stand ready. ``detail`` is what others say in every place that can."""
    states = ("READY", "READY", "ACTIVE", "ACTIVATING", "COLD", "SCRUBBING")
    instances = tuple(
        _instance(at + 1, state, detail or "shop" if state.startswith("ACTIV") else "", busy=state == "SCRUBBING")
        for at, state in enumerate(states)
    )
    return PoolRow(
        name=Label(name), priority=3, guarantee=1, most=8, places=4, ready_wanted=wanted, fewer=1.25, more=0.5,
        states={state: states.count(state) for state in states},
        apps=(
            PoolApp(app=Label(detail or "shop"), load=5.5, soon=9.0, wanted=3, serving=2, forecast=2, added=1,
                    unmet=unmet, reason=Label(detail or "forecast")),
            PoolApp(app=Label("mail"), load=0.0, soon=math.nan, wanted=0, serving=0, forecast=0, added=0, unmet=0,
                    reason=Label("nothing asked")),
        ) if apps else (),
        instances=instances, forecast=Label(detail), activation=0.35, activations=12, warming=4.5, warmings=9,
        served=41,
        drilled=START - 3600, drill_ended=True, drill_ok=drill_ok, drill_seconds=2.5,
        drill_detail=Label("" if drill_ok else detail or "it did not answer"), guesses_hit=7,
        guesses_missed=2, guesses_open=1,
    )  # fmt: skip


POOLS = PoolsView(
    time=START,
    pools=(pool("web", unmet=1), pool("batch", wanted=3, apps=False), pool("old", drill_ok=False, apps=False)),
)
