"""What trust rests on: how good forecasts were lately, and what came of the newest plans."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct

from sidestep.fleet.accuracy import AccuracyRow
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.plans import Plan, PlanStatus

_ENDED = frozenset({PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED})


class Evidence(Struct, frozen=True, kw_only=True):
    """Measurements; None is not known. Skill and coverage are medians over series, weighed by nothing else."""

    forecasts: float = 0.0
    skill: float | None = None
    coverage80: float | None = None
    #: plans that ended, and how many of them succeeded
    plans: int = 0
    succeeded: int = 0
    #: medians over plans: measured less predicted peak (fraction of capacity), measured / said
    peak_over: float | None = None
    freeze_ratio: float | None = None
    bytes_ratio: float | None = None


def evidence_of(rows: Sequence[AccuracyRow], plans: Iterable[tuple[Plan, PlanStatus]], newest: int) -> Evidence:
    """What the accuracy rows (any horizons) and the newest plans, newest first, say.

    Series that only their measured values count for (reactive) say nothing about forecasts.
    """
    scored = [row for row in rows if row.n > 0 and not row.reactive]
    ended = [(plan, status) for plan, status in plans if status.state in _ENDED][:newest]
    return Evidence(
        forecasts=sum(row.n for row in scored),
        skill=_median(row.skill for row in scored),
        coverage80=_median(row.coverage80 for row in scored),
        plans=len(ended),
        succeeded=sum(status.state is PlanState.SUCCEEDED for _, status in ended),
        peak_over=_median(_peak(status) for _, status in ended),
        freeze_ratio=_median(_ratio(plan, status, "freeze_ms") for plan, status in ended),
        bytes_ratio=_median(_ratio(plan, status, "bytes") for plan, status in ended),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _peak(status: PlanStatus) -> float | None:
    """By how much the worst host of a plan was above what was predicted for it."""
    return max((row.measured - row.predicted_with for row in status.outcome), default=None)


def _ratio(plan: Plan, status: PlanStatus, what: str) -> float | None:
    """Measured over said, of the actions that were done."""
    chosen = {action.id for action in plan.actions if action.kind != "failover"}  # a lost host is no prediction
    done = {a.id: getattr(a, what) for a in status.actions if a.state is ActionState.DONE and a.id in chosen}
    said = sum(float(getattr(action, what)) for action in plan.actions if action.id in done)
    return float(sum(done.values())) / said if said > 0 and done else None
