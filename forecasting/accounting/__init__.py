"""The accuracy account: what every forecast was worth, once its time had come (S4.22, S5.22).

``Ledger`` keeps it for every series and horizon, ``PeakLedger`` for the highest value within a
window. Bounded memory, O(1) a step, numpy only. docs/accuracy.md has the rules.
"""

from sidestep.forecasting.accounting.ledger import Ledger
from sidestep.forecasting.accounting.peaks import PeakLedger
from sidestep.forecasting.accounting.scores import LEVELS, Scores

__all__ = ["LEVELS", "Ledger", "PeakLedger", "Scores"]
