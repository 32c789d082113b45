"""The fleet as it is predicted for a later time, as a picture like any other. Pure.

Hosts are the daemon's own forecast, read at that time. Shards have no forecast in a picture:
each is taken to keep its share of its host's demand, which is said where it is shown. With a
plan, what its actions move is taken off the one host and put on the other.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

import msgspec

from sidestep.autopilot.protocol import PlanView
from sidestep.console.view import MEDIAN, PEAK, FleetView, decode
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.resources import DIMENSIONS, PLANNED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cube = NDArray[np.float64]

#: how many steps of the cursor lead through the whole forecast
STEPS: Final = 24
#: the outermost level in standard deviations, and what makes a logistic curve like a normal one
_OUTER: Final = 1.645
_LOGISTIC: Final = 1.702
#: kinds of actions after which a shard is on another host
_MOVES: Final = frozenset({"migrate", "failover", "place"})


def reach(view: FleetView) -> float:
    """How far ahead there is a forecast (s); 0 without one."""
    return view.frame.future_steps * view.frame.future_step


def stepped(view: FleetView, ahead: float, by: int) -> float:
    """Where the cursor goes from ``ahead`` in so many steps; never beyond the forecast."""
    far, step = reach(view), view.frame.future_step
    if far <= 0:
        return 0.0
    stride = max(step, round(far / STEPS / step) * step)
    return min(far, max(0.0, round((ahead + by * stride) / step) * step))


def moves(view: FleetView, item: PlanView) -> list[tuple[int, int, int]]:
    """(shard, source, destination) rows of what the plan moves and has not moved yet."""
    found = []
    for action in item.plan.actions:
        shard, to = view.shard_rows.get(action.shard), view.rows.get(action.destination)
        if action.kind in _MOVES and shard is not None and to is not None and view.shard_host[shard] != to:
            found.append((shard, view.shard_host[shard], to))
    return found


def predicted(view: FleetView, ahead: float, item: PlanView | None = None) -> FleetView:
    """The picture ``ahead`` seconds later, and after the plan if one is given.

    The past runs on along the median, the future is what is left of it. A chance is that of being
    above the threshold from then on. Without a forecast only the plan's moves are shown.
    """
    steps = view.frame.future_steps
    if not steps:
        return _placed(view, item)
    import numpy as np  # noqa: PLC0415 - not before the first paint

    frame, figures = view.frame, view.figures
    at = min(steps, max(0, round(ahead / frame.future_step)))
    future = figures.future.astype(np.float64)
    load = figures.load[:, :PLANNED]
    places = np.asarray(view.shard_host).copy()
    before = np.concatenate([load[:, :, None], future[:, :, :, MEDIAN]], axis=2)
    after = before
    moved = moves(view, item) if item is not None else []
    if moved:
        shift = _shift(view, before, moved)
        after = before + shift
        future = future + shift[:, :, 1:, None]
        for shard, _, to in moved:
            places[shard] = to
    touched = {host for _, source, to in moved for host in (source, to) if host >= 0}
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = np.where(load > 0, before[:, :, at] / load, 1.0)
    growth = np.where(np.isfinite(growth), growth, 1.0)
    home = np.clip(figures.shard_host, 0, max(0, figures.hosts - 1))
    shard_use = figures.shard_use * (growth[home] if figures.hosts else 1.0)
    use = np.array(view.use, dtype=np.float32).reshape(figures.hosts, len(DIMENSIONS))
    room = np.asarray(view.allocatable, dtype=np.float32).reshape(use.shape)[:, :PLANNED]
    use[:, :PLANNED] = after[:, :, at] * room
    rest = future[:, :, at:]
    made = msgspec.structs.replace(
        frame,
        time=frame.time + at * frame.future_step,
        use=use.astype("<f4").tobytes(),
        shard_use=shard_use.astype("<f4").tobytes(),
        shard_host=places.astype("<i4").tobytes(),
        past=_past(view, after, at),
        future=np.ascontiguousarray(rest, dtype="<f2").tobytes(),
        future_steps=steps - at,
        risk=_chances(view, future, touched, at).astype("<f4").tobytes(),
        contention=_contention(view, rest, frame.time + at * frame.future_step),
    )
    return decode(made, view, ahead=at * frame.future_step)


def _placed(view: FleetView, item: PlanView | None) -> FleetView:
    places = array("i", view.shard_host)
    for shard, _, to in moves(view, item) if item is not None else ():
        places[shard] = to
    return decode(msgspec.structs.replace(view.frame, shard_host=places.tobytes()), view)


def _shift(view: FleetView, before: Cube, moved: list[tuple[int, int, int]]) -> Cube:
    """(H, R, 1 + T) what the moves add to each host's demand, as a fraction of its capacity."""
    import numpy as np  # noqa: PLC0415 - likewise

    shift = np.zeros_like(before)
    room = np.asarray(view.allocatable, dtype=np.float32).reshape(-1, len(DIMENSIONS))[:, :PLANNED]
    for shard, source, to in moved:
        use = view.figures.shard_use[shard]
        with np.errstate(divide="ignore", invalid="ignore"):
            grown = before[source] / before[source, :, :1] if source >= 0 else np.ones_like(before[to])
            demand = np.nan_to_num(use)[:, None] * np.where(np.isfinite(grown), grown, 1.0)
            if source >= 0:
                shift[source] -= np.nan_to_num(demand / room[source][:, None])
            shift[to] += np.nan_to_num(demand / room[to][:, None])
    return shift


def _past(view: FleetView, ahead: Cube, at: int) -> bytes:
    """The past of a later present: history, then the median up to there."""
    import numpy as np  # noqa: PLC0415 - likewise

    frame = view.frame
    past = np.frombuffer(view.past, dtype="<f2").reshape(len(view.hosts), PLANNED, frame.past_steps)
    if not at or not frame.past_steps:
        return view.past
    times = at * frame.future_step - np.arange(frame.past_steps)[::-1] * frame.past_step
    old = np.clip(frame.past_steps - 1 + np.round(times / frame.past_step), 0, frame.past_steps - 1).astype(int)
    new = np.clip(np.round(times / frame.future_step), 0, ahead.shape[2] - 1).astype(int)
    return np.where(times <= 0, past[:, :, old], ahead[:, :, new]).astype("<f2").tobytes()


def _chances(view: FleetView, future: Cube, touched: set[int], at: int) -> Cube:
    """(H, R) chances of being above the threshold at any instant from then on; NaN unknown.

    For the present the daemon's own chances stay, but those of hosts that a plan touches. Between
    the levels that are known a logistic curve is taken, as wide as they are apart.
    """
    import numpy as np  # noqa: PLC0415 - likewise

    known, steps = view.figures.risk, future.shape[2]
    rest = future[:, :, min(at, steps - 1) :, :]
    limits = np.array([view.threshold(d) for d in range(PLANNED)])[None, :, None]
    middle = rest[..., MEDIAN]
    side = np.where(limits > middle, rest[..., -1] - middle, middle - rest[..., 0])
    away = np.clip((limits - middle) / np.maximum(side / _OUTER, 1e-9), -20, 20)
    found = (1 / (1 + np.exp(_LOGISTIC * away))).max(axis=2)
    if not at:
        others = np.ones(len(view.hosts), dtype=bool)
        others[list(touched)] = False
        found = np.where(others[:, None], known, found)
    return np.where(np.isnan(known), np.nan, found)


def _contention(view: FleetView, rest: Cube, time: float) -> tuple[Contention, ...]:
    """Where the 0.8 quantile is above its threshold from then on; only for what may be predicted at all."""
    import numpy as np  # noqa: PLC0415 - likewise

    if view.learning or not rest.shape[2]:
        return ()
    limits = np.array([view.threshold(d) for d in range(PLANNED)])
    over = rest[:, :, :, PEAK] > limits[None, :, None]
    found = []
    for host, d in np.argwhere(over.any(axis=2)):
        first = int(over[host, d].argmax())
        lead = first * view.frame.future_step
        found.append(
            Contention(
                host=view.hosts[host].name, dimension=DIMENSIONS[d], probability=view.chance(int(host), int(d)),
                starts_at=time + lead, lead=lead, peak=float(rest[host, d, :, PEAK].max()),
            )
        )  # fmt: skip
    return tuple(found)


def curve(view: FleetView, host: str, dimension: str) -> tuple[float, ...]:
    """The 0.8 quantile of a host ahead; empty for what is not known."""
    if host not in view.rows or dimension not in DIMENSIONS[:PLANNED] or not view.frame.future_steps:
        return ()
    return tuple(float(v) for v in view.quantile(view.rows[host], DIMENSIONS.index(dimension), PEAK))
