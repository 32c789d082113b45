"""What else than moves helps: resize, split, merge, activate, deactivate, preempt, failover, drain; by rows."""

from sidestep.planning.ladder.climb import climb
from sidestep.planning.ladder.headroom import Survival, deactivate, survives
from sidestep.planning.ladder.hosts import Offer, Refusal, best_hosts, with_work
from sidestep.planning.ladder.leaving import Blocker, Failover, Preflight, drains, failover, preflight
from sidestep.planning.ladder.merging import merges
from sidestep.planning.ladder.remedy import Allowed, Climbed, Relieve, Remedy
from sidestep.planning.ladder.resize import Sizes, better_quanta, right_sizes
from sidestep.planning.ladder.splitting import Breach, Decision, decide

__all__ = [
    "Allowed",
    "Blocker",
    "Breach",
    "Climbed",
    "Decision",
    "Failover",
    "Offer",
    "Preflight",
    "Refusal",
    "Relieve",
    "Remedy",
    "Sizes",
    "Survival",
    "best_hosts",
    "better_quanta",
    "climb",
    "deactivate",
    "decide",
    "drains",
    "failover",
    "merges",
    "preflight",
    "right_sizes",
    "survives",
    "with_work",
]
