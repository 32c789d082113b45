"""``python -m sidestep.testing NAME``: run an installed backend, action or constraint through the kit; prints its card.

Exit code 0 when no rule is broken, 1 when one is, 2 for a name or rule that does not exist. A plugin whose
shards are not started by a command brings a ``Subject`` of its own: an entry point of the same name in the
group ``sidestep.subjects`` that points to something that is called without arguments and returns one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.plugins import ACTIONS, BACKENDS, CONSTRAINTS, available, load
from sidestep.testing.actions import action_rules, check_action
from sidestep.testing.card import Finding, ReportCard
from sidestep.testing.constraints import check_constraint, constraint_rules
from sidestep.testing.kit import check_backend_now, rule_names
from sidestep.testing.subject import CounterSubject, Subject

SUBJECTS: Final = "sidestep.subjects"


def subject_of(name: str, driver: str) -> Subject:
    """What to try that backend with: what its package brings, or the counter. Raises PluginError."""
    if any(each.name == name for each in available(SUBJECTS)):
        made: Subject = load(SUBJECTS, name)()
        return made
    kind = load(BACKENDS, name)
    return CounterSubject(make=lambda: kind("kit"), driver=driver)


def kind_of(name: str) -> str:
    """The group of the plugin of that name that is tried: a backend first, then an action, then a constraint."""
    backend = any(each.name == name for group in (BACKENDS, SUBJECTS) for each in available(group))
    others = (group for group in (ACTIONS, CONSTRAINTS) if any(each.name == name for each in available(group)))
    return BACKENDS if backend else next(others, BACKENDS)


def params_of(text: str) -> dict[str, Any]:
    """The parameters of an action. Raises UsageError."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"--params is no JSON object: {error}", hint="such as '{\"cores\": 1}'") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(
        "sidestep plugin check", description="Try a backend, an action or a constraint by every rule of its contract."
    )
    parser.add_argument("name", help="the name of its entry point")
    parser.add_argument("--driver", choices=("hook", "restart"), default="hook", help="of the counter that is moved")
    parser.add_argument(
        "--only",
        default="",
        metavar="RULE,...",
        help=f"of {', '.join(rule_names())}; actions: {', '.join(action_rules())}; "
        f"constraints: {', '.join(constraint_rules())}",
    )
    parser.add_argument("--params", default="{}", metavar="JSON", help="of an action, as in the fleet file")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="try N steps a rule; all without")
    parser.add_argument("--seed", type=int, default=1, help="chooses these steps")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)

    def told(finding: Finding) -> None:
        if sys.stderr.isatty():
            print(f"{finding.verdict}: {finding.rule} ({finding.seconds:.1f} s)", file=sys.stderr)

    try:
        only = tuple(word for word in given.only.split(",") if word)
        kind = kind_of(given.name)
        if kind == ACTIONS:
            params = params_of(given.params)
            card: ReportCard = check_action(load(ACTIONS, given.name), given.name, params, only=only, told=told)
        elif kind == CONSTRAINTS:
            maker = load(CONSTRAINTS, given.name)
            card = check_constraint(maker, given.name, only=only, seed=given.seed, told=told)
        else:
            subject = subject_of(given.name, given.driver)
            card = check_backend_now(subject, only=only, sample=given.sample, seed=given.seed, told=told)
    except SidestepError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(card).decode() if given.json else card.text())
    return 0 if card.ok else 1


if __name__ == "__main__":
    sys.exit(main())
