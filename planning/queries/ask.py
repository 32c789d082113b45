"""One question to the planner: the changed world is proposed on as ever, and the answer says what became of what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec.structs import replace as with_fields
from numpy.typing import NDArray

from sidestep.fleet.contention import Foresight, at_quantile, foresee, horizon_steps
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import NoPlan, Plan, Reason
from sidestep.fleet.policies import effective
from sidestep.fleet.questions import HostOutlook, PlanAnswer, PlanDifference
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.planning.load import persistence
from sidestep.planning.planner import propose
from sidestep.planning.queries.diff import difference
from sidestep.planning.queries.whatif import WhatIf, World

F64 = NDArray[np.float64]
Propose = Callable[..., Plan | NoPlan]


def propose_on(world: World, planner: Propose = propose, **asked: Any) -> Plan | NoPlan:
    """What the planner says of a world; ``asked`` are the other keywords of ``propose``."""
    return planner(world.snapshot, world.forecast, world.policy, world.placement, fleet=world.fleet, **asked)


def ask(
    world: World, what_if: WhatIf, *, planner: Propose = propose, compare: bool = False, **asked: Any
) -> PlanAnswer:
    """Propose on the world as it would be. ``compare``: also without the forecast, from present load alone.

    Raises UsageError for a what-if that cannot be.
    """
    then = what_if.apply(world)
    made = propose_on(then, planner, **asked)
    known = world.forecast.confidence == "ok"
    now, before = (_foreseen(each) if known else None for each in (world, then))
    plan = made if isinstance(made, Plan) else None
    none = made if isinstance(made, NoPlan) else None
    left = _after(before.contention if before else (), plan)
    return PlanAnswer(
        what_if=tuple(scrub(change.text) for change in what_if.changes),
        policy=then.policy.name,
        digest=plan.digest() if plan else "",
        plan=plan,
        no_plan=none,
        now=now.contention if now else (),
        before=before.contention if before else (),
        after=left,
        blocks=blocks(made),
        hosts=_outlooks(world, then, now, before, plan) if now and before else (),
        without_forecast=_compared(then, plan, planner, asked) if compare and plan else None,
    )


def blocks(made: Plan | NoPlan) -> tuple[Reason, ...]:
    """Why what stays undone stays so."""
    return made.left if isinstance(made, Plan) else made.reasons


def _foreseen(world: World) -> Foresight:
    return foresee(world.snapshot, world.forecast, effective(world.policy))


def _after(before: tuple[Contention, ...], plan: Plan | None) -> tuple[Contention, ...]:
    """What is still predicted: of hosts that the plan touches as its outlook says, of others as before."""
    if plan is None:
        return before
    said = {(o.host, o.dimension): o for o in plan.outlook}
    least = effective(plan.policy).min_probability
    return tuple(
        each for each in before if (o := said.get((each.host, each.dimension))) is None or o.probability_after >= least
    )


def _outlooks(
    world: World, then: World, now: Foresight, before: Foresight, plan: Plan | None
) -> tuple[HostOutlook, ...]:
    """Every host and planned dimension whose capacity is known, in the fleet's order."""
    said = {(o.host, o.dimension): o for o in plan.outlook} if plan else {}
    peaks_now, peaks = _peaks(world), _peaks(then)
    rows: list[HostOutlook] = []
    for host, name in enumerate(then.snapshot.hosts.names):
        for column in range(PLANNED):
            if not np.isfinite(peaks[host, column]):
                continue
            o = said.get((name, DIMENSIONS[column]))
            known = host < len(peaks_now)
            peak, chance = _number(peaks[host, column]), _number(before.risk[host, column])
            rows.append(
                HostOutlook(
                    host=name,
                    dimension=DIMENSIONS[column],
                    peak_now=_number(peaks_now[host, column]) if known else None,
                    peak_before=peak,
                    peak_after=o.peak_after if o else peak,
                    chance_now=_number(now.risk[host, column]) if known else None,
                    chance_before=chance,
                    chance_after=o.probability_after if o else chance,
                )
            )
    return tuple(rows)


def _peaks(world: World) -> F64:
    """(H, R) highest demand at the policy's quantile within the horizon, a fraction of allocatable."""
    reach = horizon_steps(world.policy, world.forecast)
    upper = at_quantile(world.forecast.hosts[:, :, :reach], world.policy.quantile).max(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(upper / world.snapshot.hosts.allocatable[:, :PLANNED], dtype=np.float64)


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _compared(world: World, plan: Plan, planner: Propose, asked: dict[str, Any]) -> PlanDifference:
    """The plan that present load alone asks for, against the one from the forecast."""
    present = replace(world, forecast=persistence(world.snapshot, world.policy))
    quiet = {key: value for key, value in asked.items() if key not in ("previous", "progress")}
    other = propose_on(present, planner, **quiet)
    names = ("from present load alone", "from the forecast")
    if isinstance(other, Plan):
        return difference(other, plan, names=names)
    why = "; ".join(f"{reason.code}: {reason.text}" for reason in other.reasons)
    alone = difference(plan, plan, names=names)
    new = tuple(with_fields(change, what="new", how=()) for change in alone.actions)
    return PlanDifference(
        old=alone.old, new=alone.new, actions=new, world=(scrub(f"no plan from present load: {why}"),)
    )
