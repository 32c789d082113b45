"""Lost hosts, poisoned shards and recoveries as a program prints them (S2.21, S5.15)."""

from __future__ import annotations

import json
import time

from frames import Daemon
from test_command_line import ask

from sidestep.autopilot.protocol_failover import (
    ClearPoison,
    LossesView,
    LostHost,
    PoisonedShard,
    RecoveredShard,
)
from sidestep.fleet.labels import Label


def some(now: float) -> LossesView:
    lost = LostHost(
        host=Label("h1"), heard=now - 95.0, lost=now - 70.0, back=0.0, quarantined=0.0, reason=Label("no sample"),
        stays={Label("s3"): "WAITS"},
    )  # fmt: skip
    back = LostHost(
        host=Label("h2"), heard=now - 900.0, lost=now - 800.0, back=now - 100.0, quarantined=now + 500.5,
        reason=Label("no sample"),
    )  # fmt: skip
    return LossesView(
        hosts=(lost, back),
        poisoned=(PoisonedShard(shard=Label("s9"), since=now - 30.0, reason=Label("it was on h2, h3")),),
        recovered=(
            RecoveredShard(shard=Label("s1"), host=Label("h1"), at=now - 60.0, rto=35.0, rpo=12.0),
            RecoveredShard(shard=Label("s2"), host=Label("h1"), at=now - 60.0, rto=34.0),
        ),
        brake=Label("7 of 12 hosts are DEAD"),
    )


async def test_losses_are_told_a_line_each(daemon: Daemon) -> None:
    daemon.losses = some(time.time())
    out = (await ask(daemon, "losses")).out.splitlines()
    assert out[0] == "failover brake: 7 of 12 hosts are DEAD"
    assert "h1 is lost, last heard of 2m ago: no sample; s3 stays (WAITS)" in out[1] or "no sample; s3 stays" in out[1]
    assert out[2].startswith("h2 is back and in quarantine for 8m")
    assert "s9 is poisoned since" in out[3]
    assert out[4].endswith("ago: RTO 35s, RPO 12s")
    assert out[5].endswith("ago: RTO 34s, began with nothing")


async def test_no_losses_are_told_as_well(daemon: Daemon) -> None:
    assert (await ask(daemon, "losses")).out == "no host is lost or in quarantine, and no shard is poisoned\n"
    assert json.loads((await ask(daemon, "losses", "--json")).out)["hosts"] == []


async def test_status_says_both_figures_of_a_recovery(daemon: Daemon) -> None:
    daemon.losses = some(time.time())
    out = (await ask(daemon, "status")).out
    assert "s1 came back from h1" in out and "RTO 35s, RPO 12s" in out
    assert json.loads((await ask(daemon, "status", "--json")).out)["recovered"][1]["rpo"] is None


async def test_a_shard_is_cleared_with_a_reason(daemon: Daemon) -> None:
    ran = await ask(daemon, "clear-poison", "s9", "--reason", "fixed in version 7")
    assert (ran.code, ran.out) == (0, "s9 may start again\n")
    assert daemon.steered == [ClearPoison("s9", "fixed in version 7")]
    assert (await ask(daemon, "clear-poison", "s9")).code == 2
