"""Shards that do not run as the journal says, seen in samples: when a host is looked at because of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.daemon_astray import FIRST, FORGET, LONGEST, STANDS, Astray
from sidestep.autopilot.world_columns import ShardTable
from sidestep.backends.sampler.protocol import SHARD_COLUMNS
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.placement import Owner, Placement

COLUMN = {name: place for place, (name, _) in enumerate(SHARD_COLUMNS)}


class Rows:
    """What the panel knows of shards: (shard, host row, token, running)."""

    def __init__(self, *rows: tuple[str, int, int, int]) -> None:
        self.shard_layout = 1
        self.shard_names = tuple(Label(name) for name, *_ in rows)
        self.shard_host = np.array([host for _, host, *_ in rows], dtype=np.int32)
        self.shard_values = np.full((len(rows), len(SHARD_COLUMNS)), np.nan)
        for at, (_, _, token, running) in enumerate(rows):
            self.shard_values[at, [COLUMN["token"], COLUMN["running"]]] = token, running


def found(*rows: tuple[str, int, int, int], fresh: tuple[bool, bool] = (True, True)) -> list[tuple[int, str]]:
    """What is astray while kv belongs to host 0 under token 5, and other waits in the queue."""
    hosts = tuple(HostSpec(name=Label(f"h{n}"), address="127.0.0.1") for n in (1, 2))
    shards = tuple(ShardSpec(name=Label(n), app=Label("a"), host=Label("h1"), start="true") for n in ("kv", "other"))
    shards += (ShardSpec(name=Label("idle"), app=Label("a"), host=Label("h1"), start="true", spare=True),)
    fleet = FleetSpec(name=Label("f"), source="", hosts=hosts, shards=shards)
    table = ShardTable(fleet, Rows(*rows))  # type: ignore[arg-type]
    placement = Placement(5, {Label("kv"): Owner(Label("h1"), 5)})
    return table.astray(np.array(fresh), placement)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (("kv", 0, 5, 1), []),
        (("kv", 0, 5, 0), [(0, "kv")]),  # the owner is gone, or stands still
        (("kv", 0, 4, 1), [(0, "kv")]),  # an older process in its place
        (("kv", 1, 4, 1), [(1, "kv")]),  # an older owner that came back
        (("kv", 1, 4, 0), []),  # its dead remains
        (("other", 0, 1, 1), []),  # nobody owns it
        (("stranger", 0, 1, 1), []),
        (("idle", 1, 3, 1), [(1, "idle")]),  # a spare whose keys were merged away
        (("idle", 1, 3, 0), []),
        (("idle", 1, 9, 1), []),  # newer than anything here: not ours to judge
    ],
)
def test_samples_are_compared_with_the_placement(row: tuple[str, int, int, int], wrong: list[tuple[int, str]]) -> None:
    """S2.27 S3.9: an owner that died, and one that is none any more."""
    assert found(row) == wrong
    assert found(row, fresh=(False, False)) == []


def test_an_owner_and_its_stray_are_told_apart() -> None:
    assert found(("kv", 0, 5, 1), ("kv", 1, 3, 1)) == [(1, "kv")]


def test_one_look_is_no_reason_and_later_ones_are_ever_rarer() -> None:
    """A sample may be older than a commit; a shard that dies at once is not started for ever."""
    astray = Astray()
    assert astray.due({"h1": {"kv"}}, (), 0.0) == frozenset()
    times = [now for now in np.arange(0.0, 200.0, 0.5) if astray.due({"h1": {"kv"}}, (), float(now))]
    assert times[0] >= STANDS
    gaps = np.diff(times)
    assert (np.diff(gaps) >= 0).all()
    assert gaps[0] == FIRST
    assert gaps[-1] == LONGEST


def test_what_somebody_works_on_is_left_alone() -> None:
    astray = Astray()
    assert not any(astray.due({"h1": {"kv"}}, {"kv"}, float(now)) for now in range(50))
    assert astray.due({"h1": {"kv", "db"}}, {"kv"}, 50.0) == frozenset()
    assert astray.due({"h1": {"kv", "db"}}, {"kv"}, 53.0) == {"h1"}


@given(st.lists(st.booleans(), max_size=80))
def test_a_passing_contradiction_is_never_acted_on(looks: list[bool]) -> None:
    """Between two looks there are 2 s; what is wrong in one of them alone is nothing."""
    astray, before = Astray(), False
    for number, wrong in enumerate(looks):
        told = astray.due({"h1": {"kv"}} if wrong and not before else {}, (), number * (FORGET + 1.0))
        assert told == frozenset()
        before = wrong
