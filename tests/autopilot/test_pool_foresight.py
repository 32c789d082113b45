"""Pools follow a daily peak that was seen on days before, and it is the forecast that makes them do so in time."""

from __future__ import annotations

import numpy as np

from sidestep.autopilot.pool.foresee import LEVELS, Foresight
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool import Decider, Look, Terms

DAY, PLACES = 120, 4


def load_at(second: int) -> float:
    """A day of two minutes: little at night, and a peak that begins at once at its half."""
    return 40.0 if 60 <= second % DAY < 90 else 4.0


def short_in_the_last_of(days: int, *, enabled: bool) -> tuple[int, int]:
    """Requests that find no instance that serves in the last peak's first seconds, and the instances of the night."""
    oracle = OracleSpec(enabled=enabled, season=float(DAY), min_steps=DAY, model="seasonal")
    pool = PoolSpec(
        name=Label("p"), apps=(Label("p"),), hosts=(Label("h"),), max=40, places=PLACES, stabilise=2, step_down=0
    )
    foresight, decider = Foresight(oracle, 1, 1.0), Decider(Terms.of([pool]), 1.0)
    serving, short, night = np.ones(1, dtype=np.int64), 0.0, 0
    for second in range(days * DAY):
        load = load_at(second)
        if second >= (days - 1) * DAY:
            short += max(0.0, load - PLACES * int(serving[0]))
            night = int(serving[0]) if second % DAY == 30 else night
        foresight.observe(float(second), np.array([load]))
        look = Look(
            now=float(second), levels=LEVELS, step=foresight.step, quantiles=foresight.quantiles,
            load=np.array([load]), serving=serving, activation=np.array([0.1]), warming=np.array([1.0]),
        )  # fmt: skip
        serving = decider.decide(look, np.zeros(1, dtype=np.int64)).active
    return round(short), night


def test_instances_serve_before_a_daily_peak_begins_and_only_the_forecast_makes_them() -> None:
    """S4.6, S4.12: no request of the predicted peak finds too little"""
    foreseen, night = short_in_the_last_of(6, enabled=True)
    reacted, _ = short_in_the_last_of(6, enabled=False)
    assert foreseen == 0
    assert reacted > 0
    assert night <= 3
