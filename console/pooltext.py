"""What the page of pools says: a sheet of all pools, and lines about the one under the cursor. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from sidestep.autopilot.protocol_pools import PoolApp, PoolInstanceRow, PoolRow
from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Line, Span, StyleName, condition_style, fit, span
from sidestep.fleet.resources import show_seconds

Cells = tuple[Span, ...]
#: states in the order of an instance's life: its sign among the glyphs, and its colour
STATES: Final[dict[str, tuple[str, StyleName]]] = {
    "COLD": ("none", "muted"),
    "WARMING": ("running", "accent"),
    "READY": ("done", "ok"),
    "ACTIVATING": ("running", "accent"),
    "ACTIVE": ("waiting", "text"),
    "DEACTIVATING": ("undone", "warn"),
    "SCRUBBING": ("undone", "warn"),
}
#: what is between the states that an instance stays in
_BETWEEN: Final = ("WARMING", "ACTIVATING", "DEACTIVATING", "SCRUBBING")
#: how a pool is, worst first, and the condition of hosts that has the same sign and colour
_LIKE: Final = {"short": "hot", "drill failed": "hot", "filling": "warming", "ok": "ok"}


class PoolRows(Struct, frozen=True):
    """Pools as of the newest tick, looked at at a unix time."""

    pools: tuple[PoolRow, ...]
    now: float

    @classmethod
    def of(cls, pools: Iterable[PoolRow], now: float) -> PoolRows:
        """The pools, worst first."""
        order = tuple(_LIKE)
        return cls(tuple(sorted(pools, key=lambda pool: (order.index(condition(pool)), pool.name))), now)

    @property
    def names(self) -> tuple[str, ...]:
        """The rows' identities."""
        return tuple(pool.name for pool in self.pools)


def condition(pool: PoolRow) -> str:
    """One word for a pool, worst first: apps get less than they need, the newest drill failed, too few stand ready."""
    if any(app.unmet for app in pool.apps):
        return "short"
    if pool.drilled and pool.drill_ended and not pool.drill_ok:
        return "drill failed"
    return "filling" if pool.states.get("READY", 0) < pool.ready_wanted else "ok"


def drilled(pool: PoolRow, now: float) -> str:
    """What is to be said of the newest fire drill."""
    if not pool.drilled:
        return "none yet"
    if under_way(pool):
        return "under way"
    ago = show_seconds(max(0.0, now - pool.drilled))
    if pool.drill_ok:
        return f"ok, woke within {show_seconds(pool.drill_seconds)}, {ago} ago"
    return f"FAILED {ago} ago: {pool.drill_detail}"


def no_drill(pool: PoolRow | None) -> str:
    """Why no fire drill of that pool (None: of no pool) can begin now, or ""; the daemon has the last word."""
    if pool is None:
        return "drill is disabled: no pool is selected"
    if not pool.states.get("COLD", 0):
        return f"drill is disabled: pool {pool.name} has no cold instance to wake"
    return f"drill is disabled: one of pool {pool.name} is under way" if under_way(pool) else ""


def under_way(pool: PoolRow) -> bool:
    """Whether its newest drill has not ended."""
    return bool(pool.drilled) and not pool.drill_ended


def costs(pool: PoolRow) -> str:
    """What one ready instance fewer, and one more, would cost."""
    if math.isnan(pool.more):
        return "what one more or fewer would cost is not known yet"
    fewer = "there is none to take away" if math.isnan(pool.fewer) else f"one fewer costs {pool.fewer:+.2f}"
    return f"{fewer}, one more {pool.more:+.2f} idle instances"


def _name(rows: PoolRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    like = _LIKE[condition(rows.pools[row])]
    name = fit(span(rows.pools[row].name).text, width, glyphs)
    return (Span(f" {glyphs.conditions[like]} ", condition_style(like)), Span(name))


def _state(rows: PoolRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    word = condition(rows.pools[row])
    return (Span(fit(word, width - 1, glyphs) + " ", condition_style(_LIKE[word])),)


def _text(said: Callable[[PoolRow], str], style: StyleName = "text") -> Callable[..., Cells]:
    def cells(rows: PoolRows, row: int, width: int, glyphs: Glyphs) -> Cells:
        return (Span(fit(said(rows.pools[row]), width - 1, glyphs, right=True) + " ", style),)

    return cells


def _unmet(rows: PoolRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    unmet = sum(app.unmet for app in rows.pools[row].apps)
    return (Span(fit(str(unmet), width - 1, glyphs, right=True) + " ", "error" if unmet else "muted"),)


def _drill(rows: PoolRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    pool = rows.pools[row]
    failed = pool.drilled and pool.drill_ended and not pool.drill_ok
    return (Span(fit(f" {span(drilled(pool, rows.now)).text}", width, glyphs), "error" if failed else "muted"),)


def _between(pool: PoolRow) -> int:
    return sum(pool.states.get(state, 0) for state in _BETWEEN)


def _key(value: Callable[[PoolRow], float]) -> Callable[[PoolRows], Any]:
    def read(rows: PoolRows) -> Any:
        import numpy as np  # noqa: PLC0415 - not before the first paint

        return np.array([value(pool) for pool in rows.pools], dtype=float)

    return read


def _count(state: str) -> Callable[[PoolRow], int]:
    return lambda pool: pool.states.get(state, 0)


def _counted(id: str, title: str, count: Callable[[PoolRow], int], least: int = 0) -> Column[PoolRows]:
    cells = _text(lambda pool: str(count(pool)), "text" if id in {"ready", "active"} else "muted")
    return Column(id=id, title=title, width=8, cells=cells, key=_key(count), right=True, least=least)


POOLS: Final[Sheet[PoolRows]] = Sheet(
    columns=(
        Column(id="pool", title="POOL", width=0, cells=_name, key=lambda r: Words(r.names), high=False),
        Column(
            id="state", title="STATE", width=13, cells=_state, high=False,
            key=lambda r: Words(tuple(condition(pool) for pool in r.pools)),
        ),
        Column(
            id="unmet", title="UNMET", width=7, cells=_unmet, right=True,
            key=_key(lambda pool: sum(app.unmet for app in pool.apps)),
        ),
        _counted("ready", "READY", _count("READY")),
        Column(
            id="wanted", title="WANTED", width=8, cells=_text(lambda p: str(p.ready_wanted), "muted"), right=True,
            key=_key(lambda p: p.ready_wanted),
        ),
        _counted("active", "ACTIVE", _count("ACTIVE")),
        _counted("cold", "COLD", _count("COLD"), 62),
        _counted("between", "BETWEEN", _between, 88),
        _counted("most", "MAX", lambda pool: pool.most, 96),
        Column(
            id="wakes", title="WAKES IN", width=10, cells=_text(lambda p: show_seconds(p.activation)), right=True,
            key=_key(lambda p: p.activation), least=72,
        ),
        Column(id="drill", title=" DRILL", width=0, cells=_drill, key=_key(lambda p: p.drilled), least=112),
    ),
    names=lambda rows: rows.names,
    first="unmet",
)  # fmt: skip


def pool_lines(pool: PoolRow, now: float, width: int, glyphs: Glyphs) -> list[Line]:
    """One pool: what its apps get and why, what stands ready and what that costs, drills, and every instance."""
    lines: list[Line] = [*_standing(pool), *_apps(pool, width, glyphs), *_measured(pool, now), ()]
    lines.append((Span(f"   {'INSTANCE':<18} {'STATE':<14} {'HOST':<12} {'PORT':>5}  {'APP':<12} SINCE", "muted"),))
    lines += [_instance(one, now, glyphs) for one in pool.instances]
    if not pool.instances:
        lines[-1] = (Span(" no instance yet", "muted"),)
    return lines


def _standing(pool: PoolRow) -> list[Line]:
    ready = pool.states.get("READY", 0)
    style: StyleName = "ok" if ready >= pool.ready_wanted else "warn"
    head = (Span(f" {ready} of {pool.ready_wanted} stand ready", style), Span(f"  {costs(pool)}", "muted"))
    rights = f" priority {pool.priority}, at least {pool.guarantee} and at most {pool.most} instances"
    return [head, (Span(f"{rights}, {pool.places} places in each", "muted"),)]


def _apps(pool: PoolRow, width: int, glyphs: Glyphs) -> list[Line]:
    if not pool.apps:
        return [(Span(" no app asks for any", "muted"),)]
    head = f"   {'APP':<18} {'IN USE':>7} {'SOON':>7} {'SERVE':>6} {'WANTED':>7} {'UNMET':>6}  WHY"
    return [(), (Span(head, "muted"),), *(_app(app, width, glyphs) for app in pool.apps)]


def _app(app: PoolApp, width: int, glyphs: Glyphs) -> Line:
    like = "hot" if app.unmet else "warming" if app.serving < app.wanted else "ok"
    why = f"{app.reason}, measurement {app.added:+d}" if app.added else app.reason
    counts = f" {_number(app.load):>7} {_number(app.soon):>7} {app.serving:>6} {app.wanted:>7}"
    return (
        Span(f" {glyphs.conditions[like]} ", condition_style(like)),
        Span(fit(span(app.app).text, 18, glyphs)),
        Span(counts),
        Span(f" {app.unmet:>6}  ", "error" if app.unmet else "muted"),
        Span(fit(span(why).text, max(0, width - 59), glyphs).rstrip(), "muted"),
    )


def _measured(pool: PoolRow, now: float) -> list[Line]:
    lines: list[Line] = [()]
    if pool.forecast:
        lines.append((Span(" no forecast: ", "warn"), span(pool.forecast)))
    wakes = f" wakes in {show_seconds(pool.activation)} (p95 of {pool.activations})"
    warms = f", warms in {show_seconds(pool.warming)} (of {pool.warmings})"
    settled = pool.guesses_hit + pool.guesses_missed
    lines.append((Span(wakes + warms), Span(f", served {pool.served:,}", "muted")))
    if settled or pool.guesses_open:
        guesses = f" guesses: {pool.guesses_hit} of {settled} came true, {pool.guesses_open} open"
        lines.append((Span(guesses, "muted"),))
    failed = pool.drilled and pool.drill_ended and not pool.drill_ok
    lines.append((Span(" fire drill: ", "muted"), span(drilled(pool, now), "error" if failed else "text")))
    return lines


def _instance(one: PoolInstanceRow, now: float, glyphs: Glyphs) -> Line:
    sign, style = STATES.get(one.state, ("pending", "muted"))
    state = fit(span(one.state.lower() + (" *" if one.busy else "")).text, 14, glyphs)
    host, app = (fit(span(text).text, 12, glyphs) for text in (one.host, one.app))
    return (
        Span(f" {getattr(glyphs, sign)} ", style),
        Span(fit(span(one.name).text, 18, glyphs) + " "),
        Span(f"{state} ", style),
        Span(f"{host} {one.port or glyphs.none:>5}  {app} "),
        Span(show_seconds(max(0.0, now - one.since)), "muted"),
    )


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.1f}"
