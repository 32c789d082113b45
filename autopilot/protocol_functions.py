"""What is asked about functions that run, on the daemon's socket, and the answer; part of ``protocol``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.functionruns import FunctionRun


class ListFunctions(Struct, frozen=True, tag="list-functions"):
    """Functions that run on hosts of the fleet, and what became of them lately. Answered by FunctionsView."""


class FunctionsView(Struct, frozen=True, tag="functions", kw_only=True):
    """Every process that runs some, as of the answer (unix time)."""

    time: float
    runs: tuple[FunctionRun, ...] = ()
