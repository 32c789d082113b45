"""What authors of plugins test with: the conformance kit for backends, and doubles of the world.

``check_backend`` tries every rule of the backend contract on real hosts over real SSH, faults included, and
returns a report card; ``check_action`` does so with an action of a plugin, and ``check_constraint`` with a constraint
on fleets that are made up.
The names here follow semantic versioning; the modules behind them may move.
"""

from sidestep.testing.actions import action_rules, check_action
from sidestep.testing.card import Finding, ReportCard, Verdict
from sidestep.testing.case import Broken, Case, insist
from sidestep.testing.constraints import check_constraint, constraint_rules
from sidestep.testing.doubles import FakeClock, MemoryBackend, MemoryFleet, RecordedSampler
from sidestep.testing.ground import EmbeddedGround, Ground, NotHere
from sidestep.testing.kit import check_backend, check_backend_now, rule_names
from sidestep.testing.subject import CounterSubject, Subject

__all__ = [
    "Broken",
    "Case",
    "CounterSubject",
    "EmbeddedGround",
    "FakeClock",
    "Finding",
    "Ground",
    "MemoryBackend",
    "MemoryFleet",
    "NotHere",
    "RecordedSampler",
    "ReportCard",
    "Subject",
    "Verdict",
    "action_rules",
    "check_action",
    "check_backend",
    "check_backend_now",
    "check_constraint",
    "constraint_rules",
    "insist",
    "rule_names",
]
