"""What has stayed above its limit for long enough is said to be there, by the oracle and without one."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
from conftest import snapshot_of

from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting.client import Oracle
from sidestep.forecasting.held import Held

#: of the 0.3 cores that hosts have here
POLICY = Policy(threshold_cpu=0.8, min_duration=3.0)
CALM, HOT = 0.2, 0.25


def seen(
    held: Held, uses: list[tuple[float, ...]], *, names: tuple[str, ...] | None = None, begin: int = 0
) -> list[str]:
    """A word of ``!`` (held) and ``.`` for every host after each sample, a second apart."""
    found = []
    for number, use in enumerate(uses, begin):
        flags = held.see(snapshot_of(number, np.array(use), names=names), POLICY)
        assert flags.shape == (len(use), 2) and not flags[:, 1].any(), "memory is far below its limit"
        found.append("".join("!" if flag else "." for flag in flags[:, 0]))
    return found


def test_demand_is_held_once_it_was_above_its_limit_for_the_minimum_duration() -> None:
    """A sample is of the second before it; one below the limit begins the count anew, and so does an unknown one."""
    once = [(HOT, CALM), (HOT, HOT), (HOT, HOT), (HOT, HOT), (CALM, HOT), (HOT, float("nan")), (HOT, HOT), (HOT, HOT)]
    assert seen(Held(1.0), once) == ["..", "..", "!.", "!!", ".!", "..", "..", "!."]
    assert seen(Held(3.0), once[:2]) == ["!.", "!!"], "one sample of three seconds is enough"


def test_hosts_keep_their_count_under_their_names() -> None:
    held = Held(1.0)
    assert seen(held, [(CALM, HOT), (CALM, HOT)], names=("a", "b")) == ["..", ".."]
    assert seen(held, [(HOT, HOT)], names=("b", "c"), begin=2) == ["!."]


def test_what_was_measured_long_ago_holds_nothing() -> None:
    """A host that is silent is last seen above its limit for ever; that is no contention."""
    held = Held(1.0)

    def silent(number: int, age: float) -> Snapshot:
        snapshot = snapshot_of(number, np.array([HOT]))
        return dataclasses.replace(snapshot, hosts=dataclasses.replace(snapshot.hosts, age=np.array([age])))

    ages = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]
    assert [bool(held.see(silent(at, age), POLICY)[0, 0]) for at, age in enumerate(ages)] == [
        False, False, True, True, False, False,
    ]  # fmt: skip


async def test_the_oracle_says_so_with_every_forecast_and_by_the_policy_that_holds() -> None:
    oracle = Oracle(OracleSpec(enabled=False), POLICY)
    try:
        found = [await oracle.forecast(snapshot_of(at, np.array([HOT, CALM]))) for at in range(3)]
        assert [one.held[:, 0].tolist() for one in found if one.held.size] == [[True, False]]
        oracle.switch(msgspec.structs.replace(POLICY, threshold_cpu=0.9))
        assert not (await oracle.forecast(snapshot_of(3, np.array([HOT, CALM])))).held.size
    finally:
        await oracle.aclose()
