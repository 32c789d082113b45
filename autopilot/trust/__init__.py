"""Autopilot trust: the right to act, measured from forecasts and from what came of plans (S2.28, S4.22)."""

from sidestep.autopilot.trust.evidence import Evidence, evidence_of
from sidestep.autopilot.trust.gate import LEVELS, Gate, TrustState, judge, lower
from sidestep.autopilot.trust.terms import Terms

__all__ = ["LEVELS", "Evidence", "Gate", "Terms", "TrustState", "evidence_of", "judge", "lower"]
