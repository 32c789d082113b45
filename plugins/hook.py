"""The action ``hook``: commands of the fleet file, for what an app can be told. Ours, and found like anybody's.

[action.pause]
plugin = "hook"
apps = ["batch"]
params = { says = "stops taking work", cpu = 0.1, loss = 1.0, execute = "...", verify = "...", revert = "..." }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sidestep.fleet.actions import Offer, Target
from sidestep.fleet.errors import UsageError


class Hook:
    """Does to a shard what the params say, whichever it is: the keys are those of an Offer."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        unknown = sorted(set(params) - set(Offer.__struct_fields__))
        if unknown:
            known = ", ".join(Offer.__struct_fields__)
            raise UsageError(f"params have {unknown[0]}, which is nothing of an offer", hint=f"known are {known}")
        try:
            self._offer = msgspec.convert(dict(params), Offer)
        except msgspec.ValidationError as error:
            raise UsageError(f"params make no offer: {error}", hint="docs/plugins.md says what an offer is") from error

    def offer(self, target: Target) -> Offer | None:
        """The same for every shard."""
        return self._offer
