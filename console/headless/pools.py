"""``pool``: pools of pre-initialised instances, without a screen."""

from __future__ import annotations

import math
import time
from pathlib import Path

from sidestep.autopilot.client import Client
from sidestep.autopilot.protocol import Done
from sidestep.autopilot.protocol_pools import DrillPool, ListPools, PoolRow, PoolsView
from sidestep.console.headless import output
from sidestep.console.pooltext import costs, drilled
from sidestep.fleet.resources import show_seconds

#: states in the order of an instance's life, as the table heads them
STATES = ("COLD", "WARMING", "READY", "ACTIVATING", "ACTIVE", "DEACTIVATING", "SCRUBBING")


def show(socket: Path, name: str, *, as_json: bool) -> None:
    """Print all pools, or one with its apps and instances."""
    with Client.connect(socket) as client:
        view = client.call(ListPools(name))
    assert isinstance(view, PoolsView)
    if as_json:
        output.dump(view)
        return
    if not view.pools:
        output.say("no pool is declared; see docs/pool.md")
        return
    rows: list[tuple[str, ...]] = [("POOL", *STATES, "MAX", "ACTIVATION P95", "DRILL")]
    for pool in view.pools:
        counts = [str(pool.states.get(state, 0)) for state in STATES]
        rows.append((pool.name, *counts, str(pool.most), show_seconds(pool.activation), drilled(pool, time.time())))
    output.table(rows, "lrrrrrrrrrl")
    if name:
        _details(view.pools[0])


def _details(pool: PoolRow) -> None:
    rows: list[tuple[str, ...]] = [("APP", "IN USE", "SOON (P90)", "SERVE", "WANTED", "UNMET", "BY")]
    for app in pool.apps:
        why = f"{app.reason}, measurement {app.added:+d}" if app.added else app.reason
        rows.append(
            (app.app, _number(app.load), _number(app.soon), str(app.serving), str(app.wanted), str(app.unmet), why)
        )
    if pool.apps:
        output.say("")
        output.table(rows, "lrrrrrl")
    output.say("")
    output.say(f"{pool.ready_wanted} instances are to stand ready; {costs(pool)}")
    if pool.forecast:
        output.say(f"no forecast: {pool.forecast}")
    measured = f"activation {show_seconds(pool.activation)} ({pool.activations} measured)"
    output.say(f"p95: {measured}, warming {show_seconds(pool.warming)} ({pool.warmings} measured)")
    settled = pool.guesses_hit + pool.guesses_missed
    if settled or pool.guesses_open:
        output.say(f"guesses: {pool.guesses_hit} of {settled} came true, {pool.guesses_open} open")
    rows = [("INSTANCE", "STATE", "HOST", "PORT", "APP", "SINCE")]
    now = time.time()
    for one in pool.instances:
        since = show_seconds(max(0.0, now - one.since))
        rows.append((one.name, one.state + (" *" if one.busy else ""), one.host, str(one.port), one.app, since))
    if pool.instances:
        output.say("")
        output.table(rows, "lllrlr")


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.1f}"


def drill(socket: Path, name: str, reason: str, *, as_json: bool) -> None:
    """Begin a fire drill."""
    with Client.connect(socket) as client:
        answer = client.call(DrillPool(name, reason))
    text = answer.text if isinstance(answer, Done) else ""
    if as_json:
        output.dump({"result": text})
    else:
        output.say(text)
