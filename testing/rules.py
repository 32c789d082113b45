"""What a rule is, and the list of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sidestep.backends.base import Capability
from sidestep.testing.case import Case

Try = Callable[[Case], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``attempt`` raises ``Broken`` where the rule does not hold; ``alone``: it hurts hosts, so nothing runs beside."""

    name: str
    says: str
    attempt: Try
    needs: frozenset[Capability]
    alone: bool


RULES: Final[dict[str, Rule]] = {}


def rule(name: str, says: str, *needs: Capability, alone: bool = False) -> Callable[[Try], Try]:
    """Add a rule, for backends that declare all of ``needs``."""

    def add(attempt: Try) -> Try:
        RULES[name] = Rule(name=name, says=says, attempt=attempt, needs=frozenset(needs), alone=alone)
        return attempt

    return add
