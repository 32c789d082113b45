"""The gate: the highest level that the autopilot has earned; down at once, up only by proposal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from sidestep.autopilot.trust.evidence import Evidence
from sidestep.autopilot.trust.terms import DEFAULT_TERMS, Terms
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Reason

Most = Callable[[str, str, str], None]

#: automation levels, the most cautious first
LEVELS: Final = ("off", "shadow", "advise", "semi", "full")


def lower(one: str, other: str) -> str:
    """The more cautious of two levels."""
    return min(one, other, key=LEVELS.index)


class TrustState(Struct, frozen=True, kw_only=True):
    """What is remembered between judgements, and shown: stored by the daemon, never edited by hand."""

    #: the highest level allowed now
    allowed: str = "full"
    #: why it is not higher, a coded reason for each
    reasons: tuple[Reason, ...] = ()
    #: the level that could be allowed again, waiting for a person; "" for none
    proposed: str = ""
    #: judgements in a row that would have allowed more
    steady: int = 0
    since: float = 0.0
    evidence: Evidence = Evidence()


def judge(evidence: Evidence, terms: Terms = DEFAULT_TERMS, *, spare: float = 0.0) -> tuple[str, tuple[Reason, ...]]:
    """The highest level that the evidence allows, and why not more.

    ``spare`` (0..1) asks for that much more than the terms do: for promotion. A forecast without
    skill or with bands that are too narrow takes the autopilot back to advise; outcomes that
    were not as predicted take it to semi; half as many successes as asked for, to advise too.
    """
    level, reasons = "full", list[Reason]()

    def most(what: str, code: str, text: str) -> None:
        nonlocal level
        level = lower(level, what)
        reasons.append(Reason(code, scrub(text)))

    if evidence.forecasts >= terms.forecasts:
        _forecasts(evidence, terms, spare, most)
    if evidence.plans:
        _plans(evidence, terms, spare, most)
    return level, tuple(reasons)


def _forecasts(evidence: Evidence, terms: Terms, spare: float, most: Most) -> None:
    skill, coverage = evidence.skill, evidence.coverage80
    least = terms.least_skill + spare * 0.1
    if skill is not None and skill < least:
        most(
            "advise", "NO_SKILL", f"forecasts are no better than the last value: skill {skill:.2f}, needed {least:.2f}"
        )
    if coverage is not None and coverage < 0.8 - terms.too_sure * (1 - spare):
        floor = 0.8 - terms.too_sure * (1 - spare)
        most("advise", "TOO_SURE", f"{coverage:.0%} of values were inside the 80 % band, needed {floor:.0%}")
    if coverage is not None and coverage > 0.8 + terms.too_wide * (1 - spare):
        most("semi", "TOO_WIDE", f"{coverage:.0%} of values were inside the 80 % band: it says too little")


def _plans(evidence: Evidence, terms: Terms, spare: float, most: Most) -> None:
    share = evidence.succeeded / evidence.plans
    needed = terms.success + spare * (1 - terms.success)
    if evidence.plans >= terms.least_plans and share < needed:
        level = "advise" if share < needed / 2 else "semi"
        text = f"{evidence.succeeded} of the last {evidence.plans} plans succeeded, needed {needed:.0%}"
        most(level, "PLANS_FAILED", text)
    over = evidence.peak_over
    if over is not None and over > terms.peak_over * (1 - spare):
        most("semi", "PEAK_MISSED", f"after plans peaks were {over:.0%} of capacity above what was predicted")
    freeze, size = evidence.freeze_ratio, evidence.bytes_ratio
    if freeze is not None and freeze > terms.freeze_over * (1 - spare):
        most("semi", "FREEZE_MISSED", f"freezes took {freeze:.1f} times what was said")
    if size is not None and size > terms.bytes_over * (1 - spare):
        most("semi", "BYTES_MISSED", f"moves carried {size:.1f} times the bytes that were said")


class Gate:
    """Judges again and again; keeps one ``state``, which its owner stores."""

    def __init__(self, state: TrustState | None = None, terms: Terms = DEFAULT_TERMS) -> None:
        self.state = state or TrustState()
        self.terms = terms

    def look(self, evidence: Evidence, now: float) -> str:
        """Take one more judgement; returns "" or what changed, in a sentence, demotions with their reasons."""
        before = self.state
        level, reasons = judge(evidence, self.terms)
        if LEVELS.index(level) < LEVELS.index(before.allowed):
            self.state = TrustState(allowed=level, reasons=reasons, since=now, evidence=evidence)
            why = "; ".join(reason.text for reason in reasons)
            return f"autopilot trust: {before.allowed} -> {level}: {why}"
        again, missing = judge(evidence, self.terms, spare=self.terms.better)
        steady = before.steady + 1 if LEVELS.index(again) > LEVELS.index(before.allowed) else 0
        offer = lower(again, before.proposed) if before.proposed and steady else before.proposed
        if steady == 0:
            offer = ""
        elif steady >= self.terms.steady:
            offer = again
        why_not = reasons or (missing if before.allowed != "full" else ())
        self.state = replace(before, reasons=why_not, proposed=offer, steady=steady, evidence=evidence)
        if offer and offer != before.proposed:
            return f"autopilot trust: {offer} could be allowed again; it waits for a person"
        return ""

    def promote(self, level: str, actor: Label, now: float) -> str:
        """A person takes the offer. Raises ValueError for more than is offered."""
        if not self.state.proposed or LEVELS.index(level) > LEVELS.index(self.state.proposed):
            raise ValueError(f"{level} is not offered: trust allows {self.state.allowed} now")
        before = self.state.allowed
        self.state = replace(self.state, allowed=level, proposed="", steady=0, since=now, reasons=())
        return f"autopilot trust: {before} -> {level}, allowed by {actor}"
