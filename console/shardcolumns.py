"""The columns of tables of shards and of apps."""

from __future__ import annotations

import math
from typing import Any

from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Span, StyleName, fit, percent, size, span
from sidestep.console.view import FleetView
from sidestep.fleet.machines import ShardState
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED

Cells = tuple[Span, ...]


def _right(text: str, width: int, glyphs: Glyphs, style: StyleName = "text") -> Cells:
    return (Span(fit(text, width - 1, glyphs, right=True) + " ", style),)


def _name(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    state = view.shard_states[shard]
    sign = {ShardState.RUNNING: glyphs.pending, ShardState.STOPPED: glyphs.none, ShardState.PENDING: glyphs.waiting}
    style: StyleName = "ok" if state is ShardState.RUNNING else "warn"
    name = fit(span(view.shards[shard].name).text, width, glyphs)
    return (Span(f" {fit(sign.get(state, glyphs.running), 1, glyphs)} ", style), Span(name))


def _app(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    return (Span(fit(span(view.shards[shard].app).text, width - 1, glyphs) + " "),)


def _state(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    state = view.shard_states[shard]
    return (Span(fit(state.lower(), width - 1, glyphs) + " ", "ok" if state is ShardState.RUNNING else "warn"),)


def _host(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    at = view.shard_host[shard]
    name = view.hosts[at].name if 0 <= at < len(view.hosts) else glyphs.none
    return (Span(fit(span(name).text, width - 1, glyphs) + " ", "text" if at >= 0 else "warn"),)


def _cores(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    cores = view.shard_use[shard * PLANNED + CPU]
    return _right(glyphs.none if math.isnan(cores) else f"{cores:.2f}", width, glyphs)


def _memory(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    return _right(size(view.shard_use[shard * PLANNED + MEMORY], glyphs), width, glyphs)


def _bytes(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    return _right(size(view.shard_bytes[shard], glyphs), width, glyphs)


def _share(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    at = view.shard_host[shard]
    room = view.allocatable[at * len(DIMENSIONS) + CPU] if 0 <= at < len(view.hosts) else 0.0
    share = view.shard_use[shard * PLANNED + CPU] / room if room > 0 else math.nan
    return _right(percent(share, glyphs), width, glyphs, "muted")


def _priority(view: FleetView, shard: int, width: int, glyphs: Glyphs) -> Cells:
    return _right(str(view.shard_priority[shard]), width, glyphs, "muted")


def _apps(view: FleetView) -> Words:
    return Words(tuple(shard.app for shard in view.shards))


def _priorities(view: FleetView) -> Any:
    import numpy as np  # noqa: PLC0415 - not before the first paint

    return np.asarray(view.shard_priority)


SHARDS: Sheet[FleetView] = Sheet(
    columns=(
        Column(id="shard", title="SHARD", width=0, cells=_name, key=lambda v: Words(v.shard_names), high=False),
        Column(id="app", title="APP", width=11, cells=_app, key=_apps, high=False, least=56),
        Column(id="state", title="STATE", width=11, cells=_state, key=lambda v: v.figures.shard_states, high=False),
        Column(id="host", title="HOST", width=12, cells=_host, key=lambda v: v.figures.shard_places, high=False),
        Column(
            id="cpu", title="CORES", width=8, cells=_cores, right=True,
            key=lambda v: v.figures.shard_use[:, CPU].round(1),
        ),
        Column(
            id="mem", title="MEM", width=8, cells=_memory, right=True, key=lambda v: v.figures.shard_use[:, MEMORY]
        ),
        Column(id="bytes", title="MOVES", width=8, cells=_bytes, right=True, key=lambda v: v.figures.shard_bytes),
        Column(
            id="share", title="OF HOST", width=9, cells=_share, right=True, least=80,
            key=lambda v: v.figures.shard_share[:, CPU].round(2),
        ),
        Column(id="priority", title="PRIO", width=6, cells=_priority, right=True, least=90, key=_priorities),
    ),
    names=lambda view: view.shard_names,
    first="cpu",
)  # fmt: skip


#: the same for the shards of one host, which needs not be said in every row
ON_HOST: Sheet[FleetView] = Sheet(
    columns=tuple(c for c in SHARDS.columns if c.id != "host"), names=lambda view: view.shard_names, first="cpu"
)
