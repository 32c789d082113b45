"""What a policy leaves for later: contention that is less urgent than its aggressiveness acts on."""

from __future__ import annotations

from dataclasses import replace

from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.resources import show_seconds
from sidestep.planning.build import Built
from sidestep.planning.explain import priority


def urgent(built: Built, least: int) -> tuple[Built, dict[str, Reason]]:
    """The same problem without duties of a priority below ``least`` (5 leaves none out), and by host why.

    Broken rules, dead hosts and drains are mandatory, whatever the aggressiveness.
    """
    if least >= 5:
        return built, {}
    kept, spared = [], dict[str, Reason]()
    for duty in built.duties:
        contention = built.contentions[duty.host][0] if duty.kind == "contention" else None
        if contention is None or (level := priority(contention, built.policy)) <= least:
            kept.append(duty)
            continue
        said = (
            f"{contention.host} {contention.dimension} {contention.probability:.0%} in {show_seconds(contention.lead)}"
        )
        text = f"{said}: priority {level}, and the policy's aggressiveness acts on {least} or more urgent"
        spared[built.rules.host_names[duty.host]] = Reason("NOT_URGENT", scrub(text))
    return replace(built, duties=tuple(kept)), spared
