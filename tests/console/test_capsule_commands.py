"""``sidestep capsules``: what is kept for the loss of a host, in plain text and as JSON."""

from __future__ import annotations

import json
import time

import pytest
from frames import Daemon
from test_command_line import ask

from sidestep.autopilot.protocol_capsules import CapsuleList, CapsuleRow, ScrubCapsules
from sidestep.fleet.labels import Label


def some() -> CapsuleList:
    row = CapsuleRow(
        shard=Label("shop-01"), owner=Label("h1"), replicas=2, every=60.0, age=41.0, stale=False, seq=9, token=3,
        bytes=3 << 20, digest="ab" * 32, copies=(Label("h2"), Label("h4")),
    )  # fmt: skip
    old = CapsuleRow(
        shard=Label("shop-02"), owner=Label("h2"), replicas=2, every=60.0, age=600.0, stale=True,
        copies=(Label("h1"),), lost=(Label("h3"),), trouble=Label("no room for a copy"),
    )  # fmt: skip
    none = CapsuleRow(shard=Label("shop-03"), owner=Label("h1"), replicas=1, every=60.0, age=None, stale=False)
    return CapsuleList(rows=(old, row, none), scrubbed=time.time() - 5, read=4, bad=1, repaired=1, carried=5 << 20)


async def test_every_replicated_shard_has_a_line_with_its_age_and_its_copies(daemon: Daemon) -> None:
    """S5.15: the age of the last capsule, which is the RPO, is shown live."""
    daemon.capsules = some()
    out = (await ask(daemon, "capsules")).out.splitlines()
    assert out[0].split() == ["SHARD", "OWNER", "AGE", "WANTED", "SIZE", "COPIES", "STATE"]
    assert "2/2 h2 h4" in out[2] and "41s" in out[2] and out[2].endswith("ok")
    assert out[1].endswith("OLD; lost with h3; no room for a copy") and "none" in out[3]
    assert "4 copies read, 1 damaged, 0 gone, 0 not read" in out[4] and "1 copies made anew" in out[5]
    rows = json.loads((await ask(daemon, "capsules", "--json")).out)["rows"]
    assert [row["age"] for row in rows] == [600.0, 41.0, None]


async def test_without_replicas_the_command_says_so(daemon: Daemon) -> None:
    assert "no shard has replicas" in (await ask(daemon, "capsules")).out


async def test_a_scrub_is_asked_for_with_its_reason(daemon: Daemon) -> None:
    ran = await ask(daemon, "capsules", "scrub", "shop-01", "--reason", "disk was odd")
    assert (ran.code, ran.out) == (0, "reading copies of shop-01\n")
    assert daemon.steered == [ScrubCapsules("shop-01", "disk was odd")]


async def test_the_list_of_shards_has_the_age_of_every_capsule(daemon: Daemon) -> None:
    daemon.capsules = some()
    shards = {row["name"]: row for row in json.loads((await ask(daemon, "shards", "--json")).out)}
    assert shards["shop-01"]["capsule_age"] == pytest.approx(41.0)
    assert shards["shop-03"]["capsule_age"] is None
