"""``check_constraint``: the rules that a constraint of a plugin keeps, each tried on fleets that are made up for it.

Nothing is started and no host is asked. What the planner does with the answer is not the plugin's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.planning.constraints import ConstraintMaker, Judged, judge
from sidestep.planning.goals import About
from sidestep.planning.model.constraints import Mask
from sidestep.testing.card import Finding, ReportCard, Verdict, finding
from sidestep.testing.case import Broken, insist

__all__ = ["CONSTRAINT_RULES", "check_constraint"]

#: (shards, hosts) of the fleets; what a large one may cost, in seconds of processor
SIZES: Final = ((0, 0), (0, 3), (1, 1), (40, 7), (300, 30))
LARGE: Final = (20_000, 500)
QUICK: Final = 2.0
_KEYS: Final = ("disk", "gpu", "licence", "tier")


def check_constraint(
    maker: ConstraintMaker,
    name: str,
    *,
    only: Collection[str] = (),
    seed: int = 1,
    told: Callable[[Finding], None] = lambda _: None,
) -> ReportCard:
    """Try every rule and return the card; it never raises for what the constraint does.

    Raises UsageError for a rule that does not exist.
    """
    unknown = sorted(set(only) - set(CONSTRAINT_RULES))
    if unknown:
        raise UsageError(f"no rule is called {', '.join(unknown)}", hint=f"rules: {', '.join(CONSTRAINT_RULES)}")
    found = []
    for rule, (says, attempt) in CONSTRAINT_RULES.items():
        if not only or rule in only:
            found.append(_attempt(rule, says, lambda attempt=attempt: attempt(maker, name, seed)))  # type: ignore[misc]
            told(found[-1])
    return ReportCard(
        backend=scrub(name), subject=Label("fleets made up"), capabilities=(Label("constraint"),), findings=tuple(found)
    )


def _attempt(rule: str, says: str, attempt: Callable[[], None]) -> Finding:
    began, verdict, detail = time.monotonic(), Verdict.HOLDS, ""
    try:
        attempt()
    except Broken as error:
        verdict, detail = Verdict.BROKEN, str(error)
    except SidestepError as error:
        verdict, detail = Verdict.BROKEN, str(error.args[0])
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is a finding about it
        verdict, detail = Verdict.BROKEN, f"{type(error).__name__}: {error}"
    return finding(rule, says, verdict, detail, time.monotonic() - began)


def fleet(shards: int, hosts: int, seed: int) -> FleetSpec:
    """A fleet of that size: zones, racks and labels on most hosts, and none of them on some."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(hosts):
        bare = at % 5 == 4
        labels = tuple((Label(key), Label(("yes", "no", "b")[rng.integers(3)])) for key in _KEYS if rng.integers(2))
        zone = int(rng.integers(3))
        made.append(
            HostSpec(
                name=scrub(f"host-{at}"), address="192.0.2.1", zone=Label("" if bare else f"eu-{zone}"),
                rack=Label("" if bare else f"eu-{zone}-r{rng.integers(2)}"), labels=() if bare else labels,
                cost=float(rng.integers(4)), standby=bool(rng.integers(8) == 0),
            )
        )  # fmt: skip
    apps = [("web", "db", "eu-api", "batch", "ümlaut")[rng.integers(5)] for _ in range(shards)]
    rows = tuple(
        ShardSpec(
            name=scrub(f"{app}-{at}"), app=scrub(app), host=made[at % hosts].name if hosts else Label(""), start="true",
            priority=1 + at % 5,
        )
        for at, app in enumerate(apps)
    )  # fmt: skip
    return FleetSpec(name=Label("kit"), source="kit.toml", hosts=tuple(made), shards=rows)


def _answers(maker: ConstraintMaker, name: str, seed: int) -> None:
    for shards, hosts in SIZES:
        judge([name], About.declared(fleet(shards, hosts, seed)), {name: maker})


def _strangers(maker: ConstraintMaker, name: str, seed: int) -> None:
    """What a what-if adds, or a file that was changed meanwhile has lost."""
    about = About.declared(fleet(12, 4, seed))
    judge([name], replace(about, fleet=fleet(6, 2, seed)), {name: maker})


def _same(maker: ConstraintMaker, name: str, seed: int) -> None:
    spec = fleet(60, 9, seed)
    first, second = (judge([name], About.declared(spec), {name: maker}) for _ in range(2))
    insist(bool((_matrix(first, 60) == _matrix(second, 60)).all()), "asked twice about one fleet, it answers twice")


def _order(maker: ConstraintMaker, name: str, seed: int) -> None:
    spec, rng = fleet(60, 9, seed), np.random.default_rng(seed)
    rows, columns = rng.permutation(60), rng.permutation(9)
    turned = FleetSpec(
        name=spec.name, source=spec.source,
        hosts=tuple(spec.hosts[at] for at in columns), shards=tuple(spec.shards[at] for at in rows),
    )  # fmt: skip
    straight = _matrix(judge([name], About.declared(spec), {name: maker}), 60)[np.ix_(rows, columns)]
    other = _matrix(judge([name], About.declared(turned), {name: maker}), 60)
    wrong = np.argwhere(straight != other)
    if len(wrong):
        shard, host = turned.shards[wrong[0][0]].name, turned.hosts[wrong[0][1]].name
        raise Broken(f"{shard} on {host} is judged otherwise where hosts and shards are listed in another order")


def _pure(maker: ConstraintMaker, name: str, seed: int) -> None:
    about = About.declared(fleet(40, 7, seed))
    before = about.domains.copy()
    judge([name], about, {name: maker})
    insist(bool((about.domains == before).all()), "it changed what it was given: about.domains")


def _large(maker: ConstraintMaker, name: str, seed: int) -> None:
    about = About.declared(fleet(*LARGE, seed))
    began = time.process_time()
    judge([name], about, {name: maker})
    cost = time.process_time() - began
    insist(cost <= QUICK, f"{LARGE[0]} shards on {LARGE[1]} hosts took {cost:.1f} s of processor; at most {QUICK:g}")


def _matrix(judged: Judged, shards: int) -> Mask:
    """(N, H) what is forbidden."""
    one = judged.verdicts[0]
    out = np.zeros((shards, one.hosts.shape[1]), dtype=np.bool_)
    own = one.group >= 0
    out[own] = one.hosts[one.group[own]]
    return out


Try = Callable[[ConstraintMaker, str, int], None]
CONSTRAINT_RULES: Final[dict[str, tuple[str, Try]]] = {
    "answers": ("it answers for every fleet: groups of all shards, masks of all hosts", _answers),
    "strangers": ("it answers for hosts and shards that the fleet file does not declare", _strangers),
    "same": ("the same fleet has the same answer", _same),
    "order": ("what is forbidden depends on what hosts and shards are, not on their rows", _order),
    "pure": ("it leaves what it is given as it is", _pure),
    "large": (f"{LARGE[0]} shards on {LARGE[1]} hosts are judged within bounds and {QUICK:g} s", _large),
}


def constraint_rules() -> Sequence[str]:
    """All rules, in the order of the card."""
    return tuple(CONSTRAINT_RULES)
