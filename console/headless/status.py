"""``status``: in a few lines, whether there is anything that somebody should look at."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import GetSnapshot, SnapshotFrame
from sidestep.autopilot.protocol_failover import GetLosses, LossesView, RecoveredShard
from sidestep.console.headless import output
from sidestep.console.headless.losses import recovered
from sidestep.console.view import decode
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.resources import show_seconds

#: recoveries that are told
RECENT = 5
_OPEN = (PlanState.PROPOSED, PlanState.APPROVED, PlanState.RUNNING)


class StatusView(Struct, frozen=True, kw_only=True):
    """The daemon and its fleet; ``alerts`` is what has to be known at once, ``age`` seconds of the newest picture."""

    fleet: Label
    daemon: str
    pid: int
    level: str
    alerts: tuple[Label, ...]
    oracle: Label
    age: float
    lag: float
    generation: int
    hosts: dict[str, int]
    shards: dict[str, int]
    hot: int
    plans: tuple[str, ...]
    #: shards that came back from lost hosts, with both figures
    recovered: tuple[RecoveredShard, ...] = ()


def show(socket: Path, *, as_json: bool) -> None:
    """Print it."""
    with Client.connect(socket) as client:
        answer, welcome = client.call(GetSnapshot()), client.welcome
        losses = client.call(GetLosses())
    assert isinstance(answer, SnapshotFrame)
    assert welcome is not None
    view = decode(answer)
    found = StatusView(
        fleet=welcome.fleet,
        daemon=welcome.daemon,
        pid=welcome.pid,
        level=answer.level,
        alerts=answer.alerts,
        oracle=answer.oracle,
        age=max(0.0, time.time() - answer.time),
        lag=answer.lag,
        generation=answer.generation,
        hosts=dict(Counter(map(str, view.host_states))),
        shards=dict(Counter(map(str, view.shard_states))),
        hot=len({item.host for item in answer.contention}),
        plans=tuple(f"#{p.plan.number} {p.status.state}" for p in answer.plans if p.status.state in _OPEN),
        recovered=losses.recovered if isinstance(losses, LossesView) else (),
    )
    if as_json:
        output.dump(found)
        return
    for alert in found.alerts:
        output.say(f"ALERT {alert}")
    output.say(f"fleet {found.fleet}, level {found.level}, daemon {found.daemon} (process {found.pid})")
    output.say(f"hosts: {_counts(found.hosts)}; {found.hot} will run hot")
    output.say(f"shards: {_counts(found.shards)}; placement of generation {found.generation}")
    output.say(f"plans: {', '.join(found.plans) or 'none is open'}")
    for one in found.recovered[-RECENT:]:
        output.say(recovered(one, time.time()))
    output.say(f"picture: {show_seconds(found.age)} old{f'; oracle {found.oracle}' if found.oracle else ''}")


def _counts(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())) or "none"
