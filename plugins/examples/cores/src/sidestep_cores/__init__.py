"""The action ``cores``: a shard may use only some of its host's cores for a while; its neighbours have the rest.

Needs no root and no cgroup: the processes' own affinity, by ``taskset`` of util-linux. The shard runs on all the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from sidestep.plugins import Offer, Target, UsageError

__all__ = ["Cores"]


class Cores:
    """Holds a shard to the first ``cores`` of those that it may use."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        cores = params.get("cores")
        if set(params) != {"cores"} or isinstance(cores, bool) or not isinstance(cores, int) or not 0 < cores < 4096:
            raise UsageError(f"params are {dict(params)}", hint="write params = { cores = 1 }")
        self._cores = cores

    def offer(self, target: Target) -> Offer:
        """The same commands for every shard; what it costs depends on what the shard needs."""
        return Offer(
            says=f"runs on {self._cores} core{'s' if self._cores > 1 else ''} only",
            validate=self._command("validate"),
            execute=self._command("execute"),
            verify=self._command("verify"),
            revert=self._command("revert"),
            cpu=float(self._cores),
            loss=round(max(0.0, 1.0 - self._cores / max(target.cpu, 0.001)), 2),
            seconds=5.0,
        )

    def _command(self, name: str) -> str:
        """One of our scripts, with what they share and the number of cores in front of it."""
        said = "".join(files(__package__).joinpath(f"{part}.sh").read_text("utf-8") for part in ("lib", name))
        return f"cores={self._cores}\n{said}".rstrip("\n")
