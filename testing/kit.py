"""``check_backend``: the rules of the backend contract, each tried on real hosts over real SSH."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from random import Random
from typing import Final

from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub
from sidestep.testing import rules_basic, rules_capsules, rules_faults, rules_moves
from sidestep.testing.card import Finding, ReportCard, Verdict, finding
from sidestep.testing.case import Broken, Case
from sidestep.testing.ground import EmbeddedGround, Ground, NotHere
from sidestep.testing.rules import RULES, Rule
from sidestep.testing.subject import Subject

__all__ = ["MODULES", "check_backend", "check_backend_now"]

#: where rules stand
MODULES: Final = (rules_basic, rules_moves, rules_capsules, rules_faults)
#: seconds for one rule
PATIENCE: Final = 300.0
#: shards that one rule may use
_ROOM: Final = 20


async def check_backend(
    subject: Subject,
    ground: Ground,
    *,
    only: Collection[str] = (),
    sample: int = 0,
    seed: int = 1,
    lanes: int = 4,
    first: int = 0,
    deadline: float = 3.0,
    told: Callable[[Finding], None] = lambda _: None,
) -> ReportCard:
    """Try every rule on a started ground, and return the card; it never raises for what the backend does.

    ``only`` are names of rules; ``sample`` bounds how many steps a rule tries (0: all of them), chosen by
    ``seed``; ``lanes`` rules run side by side, and those that hurt hosts by themselves, last. ``first`` is the
    number of the first shard, for several runs on one ground; ``deadline`` is how long (s) a step on a host that
    is cut off is waited for; ``told`` hears of each finding as it is made.
    Raises UsageError for a rule that does not exist.
    """
    unknown = sorted(set(only) - set(RULES))
    if unknown:
        raise UsageError(f"no rule is called {', '.join(unknown)}", hint=f"rules: {', '.join(RULES)}")
    chosen = [rule for rule in RULES.values() if not only or rule.name in only]
    found: dict[str, Finding] = {}
    gate = asyncio.Semaphore(lanes)

    async def attempt(rule: Rule) -> None:
        async with gate:
            case = Case(
                ground=ground, subject=subject, number=first + _ROOM * list(RULES).index(rule.name),
                random=Random(f"{rule.name}-{seed}"),  # noqa: S311 - chooses steps, not secrets
                sample=sample, deadline=deadline,
            )  # fmt: skip
            found[rule.name] = await _attempt(rule, case)
            told(found[rule.name])

    await asyncio.gather(*(attempt(rule) for rule in chosen if not rule.alone))
    for rule in chosen:
        if rule.alone:
            await attempt(rule)
    backend = subject.backend()
    return ReportCard(
        backend=scrub(str(backend.name)),
        subject=scrub(subject.name),
        capabilities=tuple(sorted(scrub(str(each)) for each in backend.capabilities)),
        findings=tuple(found[rule.name] for rule in chosen),
    )


async def _attempt(rule: Rule, case: Case) -> Finding:
    began = time.monotonic()

    def said(verdict: Verdict, detail: str = "") -> Finding:
        return finding(rule.name, rule.says, verdict, detail, time.monotonic() - began)

    try:
        lacking = rule.needs - case.backend.capabilities
        if lacking:
            return said(Verdict.NOT_APPLICABLE, f"it does not declare {', '.join(sorted(lacking))}")
        try:
            async with asyncio.timeout(PATIENCE):
                await rule.attempt(case)
        finally:
            await case.end()
    except Broken as error:
        return said(Verdict.BROKEN, str(error))
    except NotHere as error:
        return said(Verdict.NOT_CHECKED, str(error))
    except TimeoutError:
        return said(Verdict.BROKEN, f"it did not end within {PATIENCE:.0f} s")
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a finding about it
        return said(Verdict.BROKEN, f"{type(error).__name__}: {error}")
    return said(Verdict.HOLDS)


def check_backend_now(
    subject: Subject,
    *,
    folder: Path | None = None,
    only: Collection[str] = (),
    sample: int = 0,
    seed: int = 1,
    told: Callable[[Finding], None] = lambda _: None,
) -> ReportCard:
    """``check_backend`` on embedded hosts that are started for it, outside of any event loop."""

    async def run(place: Path) -> ReportCard:
        async with EmbeddedGround(place) as ground:
            return await check_backend(subject, ground, only=only, sample=sample, seed=seed, told=told)

    if folder is not None:
        return asyncio.run(run(folder))
    with tempfile.TemporaryDirectory(prefix="sidestep-kit-") as made:
        return asyncio.run(run(Path(made)))


def rule_names() -> Sequence[str]:
    """All rules, in the order of the card."""
    return tuple(RULES)
