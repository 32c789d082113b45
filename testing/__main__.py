"""``python -m sidestep.testing NAME``: run an installed backend or constraint through the kit, and print its card.

Exit code 0 when no rule is broken, 1 when one is, 2 for a name or rule that does not exist. A plugin whose
shards are not started by a command brings a ``Subject`` of its own: an entry point of the same name in the
group ``sidestep.subjects`` that points to something that is called without arguments and returns one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from sidestep.fleet.errors import SidestepError
from sidestep.plugins import BACKENDS, CONSTRAINTS, available, load
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


def _is_constraint(name: str) -> bool:
    """Whether a constraint is called so, and no backend: backends go first."""
    return name in (str(each.name) for each in available(CONSTRAINTS)) and not any(
        each.name == name for group in (BACKENDS, SUBJECTS) for each in available(group)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(
        "sidestep plugin check", description="Try a backend or a constraint by every rule of its contract."
    )
    parser.add_argument("name", help="the name of its entry point")
    parser.add_argument("--driver", choices=("hook", "restart"), default="hook", help="of the counter that is moved")
    parser.add_argument(
        "--only",
        default="",
        metavar="RULE,...",
        help=f"of {', '.join(rule_names())}; constraints: {', '.join(constraint_rules())}",
    )
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="try N steps a rule; all without")
    parser.add_argument("--seed", type=int, default=1, help="chooses these steps")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)

    def told(finding: Finding) -> None:
        if sys.stderr.isatty():
            print(f"{finding.verdict}: {finding.rule} ({finding.seconds:.1f} s)", file=sys.stderr)

    try:
        only = tuple(word for word in given.only.split(",") if word)
        if _is_constraint(given.name):
            maker = load(CONSTRAINTS, given.name)
            card: ReportCard = check_constraint(maker, given.name, only=only, seed=given.seed, told=told)
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
