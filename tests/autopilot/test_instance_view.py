"""S3.1: an app is one thing over its independent shards, and says which of them are in trouble."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sidestep.autopilot.instance import instance
from sidestep.autopilot.protocol_instance import InstanceView
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Owner, Placement

HOSTS = tuple(HostSpec(name=Label(n), address=f"10.0.0.{i}") for i, n in enumerate(("h1", "h2"), 1))
SHARDS = tuple(
    ShardSpec(name=Label(f"kv-{i}"), app=Label("kv"), host=Label("h1"), start="true", port=7000 + i, limit_cpu=0.5)
    for i in range(3)
)
FLEET = FleetSpec(name=Label("f"), source="f.toml", hosts=HOSTS, shards=SHARDS)


def seen(states: tuple[ShardState, ...], hosts: tuple[HostState, ...], queued: bool = False) -> InstanceView:
    snapshot: Any = SimpleNamespace(
        hosts=SimpleNamespace(names=tuple(h.name for h in HOSTS), states=hosts),
        shards=SimpleNamespace(
            names=tuple(s.name for s in SHARDS), states=states, state_bytes=np.array([10.0, np.nan, 30.0]),
            use=np.array([[0.25, 100.0], [0.5, 200.0], [np.nan, np.nan]]),
        ),
    )  # fmt: skip
    owners = {s.name: Owner(Label("h2" if at else "h1"), at + 1) for at, s in enumerate(SHARDS)}
    waiting = {SHARDS[2].name: owners.pop(SHARDS[2].name).token} if queued else {}
    return instance(FLEET, "kv", snapshot, Placement(3, owners, waiting), {SHARDS[0].name: ("10.9.9.9", 81)})


def test_a_whole_app_has_totals_and_endpoints() -> None:
    view = seen((ShardState.RUNNING,) * 3, (HostState.READY,) * 2)
    assert (view.status, view.running, view.hosts) == ("whole", 3, ("h1", "h2"))
    assert view.endpoints == ("10.0.0.2:7001", "10.0.0.2:7002", "10.9.9.9:81")
    assert (view.cpu, view.memory, view.limit_cpu, view.limit_memory, view.state_bytes) == (0.75, 300.0, 1.5, 0, 40.0)
    assert view.shards[2].cpu is None and view.shards[1].state_bytes is None


def test_parts_in_trouble_are_named_and_the_others_still_count() -> None:
    view = seen((ShardState.RUNNING, ShardState.FROZEN, ShardState.RUNNING), (HostState.READY,) * 2, queued=True)
    assert (view.status, view.running, view.endpoints) == ("partial", 1, ("10.9.9.9:81",))
    assert [one.trouble for one in view.shards] == ["", "is FROZEN on h2", "waits in the queue"]


def test_a_lost_host_takes_its_shards_down_with_it() -> None:
    view = seen((ShardState.RUNNING,) * 3, (HostState.DEAD, HostState.DEAD))
    assert view.status == "down" and view.shards[0].trouble == "h1 is DEAD" and view.endpoints == ()


def test_an_app_that_nobody_declared_is_an_error() -> None:
    with pytest.raises(KeyError):
        instance(FLEET, "web", SimpleNamespace(), Placement(0, {}), {})  # type: ignore[arg-type]
