"""Functions that stop at a loop head when asked, and go on from there in another process.

Their hot path is untouched: nothing is polled. What cannot be captured at one place is refused by a code, and tried at
the next; a wrong result is never an outcome.
"""

from sidestep.sharding.resume.module import Refusal, Source
from sidestep.sharding.resume.program import Program, Unsuited
from sidestep.sharding.resume.suspending import Suspended, Suspender, suspender
from sidestep.sharding.resume.transform import Position

__all__ = ["Position", "Program", "Refusal", "Source", "Suspended", "Suspender", "Unsuited", "suspender"]
